"""Settings of the example site, from the environment and ``.env`` (see ``.env.example``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
# The environment has precedence over the file.
if (BASE_DIR / ".env").is_file():
    env.read_env(BASE_DIR / ".env")

DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = env.str("SECRET_KEY", default="only-for-development" if DEBUG else "")
if not SECRET_KEY:
    raise ImproperlyConfigured(
        "Set SECRET_KEY, or DEBUG=true while you develop. To begin: cp .env.example .env"
    )
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=[])

# Set by the demo: "fake" or "directus", and a token that may do everything. Only then may
# visitors make changes with a button, and sign in as one of its people without a password.
DEMO = env.str("DEMO", default="")
DIRECTUS_DEMO_TOKEN = env.str("DIRECTUS_DEMO_TOKEN", default="")

INSTALLED_APPS = [
    "daphne",  # first, so that runserver speaks ASGI
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "channels",
    "directus_realtime",
    "example_project.site",
    "example_project.articles",
    "example_project.chat",
    "example_project.notifications",
    "example_project.dashboard",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "example_project.middleware.content_security_policy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "example_project.urls"
ASGI_APPLICATION = "example_project.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

DATABASES: dict[str, dict[str, Any]] = {
    "default": env.db("DATABASE_URL", default=f"sqlite:///{BASE_DIR / 'db.sqlite3'}")
}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # The listener and the site write to it at the same time.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL",
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = env.str("REDIS_URL", default="")
CHANNEL_LAYERS: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": "directus_realtime.layers.InboxChannelLayer"}
}
if REDIS_URL:
    CHANNEL_LAYERS["default"] = {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [REDIS_URL]},
    }

_directus = {
    "URL": env.str("DIRECTUS_URL", default=""),
    "TOKEN": env.str("DIRECTUS_TOKEN", default=""),
    "EMAIL": env.str("DIRECTUS_EMAIL", default=""),
    "PASSWORD": env.str("DIRECTUS_PASSWORD", default=""),
    "DOOR_SECRET": env.str("DIRECTUS_DOOR_SECRET", default=""),
}
# Without a URL there is nothing to listen to, and the page says so.
DIRECTUS_REALTIME = {"default": _directus} if _directus["URL"] else {}

# The pages write messages and read marks with it. The listener only reads.
DIRECTUS_WRITE_TOKEN = env.str("DIRECTUS_WRITE_TOKEN", default="")

LOGIN_URL = "site:login"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/"

LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("fr", _("French"))]
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s  %(message)s", "datefmt": "%H:%M:%S"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "loggers": {
        "example_project": {"handlers": ["console"], "level": "INFO"},
        # Each open page asks for the state now and then; such lines would hide the others.
        "django.channels.server": {"level": "WARNING"},
    },
}
