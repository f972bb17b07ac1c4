from __future__ import annotations

from django.apps import AppConfig


class DashboardConfig(AppConfig):
    """Its subscription is in ``directus_subscriptions``, which is found by its name."""

    name = "example_project.dashboard"
    label = "dashboard"
