from __future__ import annotations

from django.contrib.auth.views import LogoutView
from django.urls import path

from example_project.site import views

app_name = "site"
urlpatterns = [
    path("status/", views.status, name="status"),
    path("change/<str:what>/", views.change, name="change"),
    path("login/", views.Login.as_view(), name="login"),
    path("login/as/", views.sign_in_as, name="sign_in_as"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("favicon.ico", views.favicon, name="favicon"),
]
