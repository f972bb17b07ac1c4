"""Settings of the tests: SQLite by default, ``DATABASE_URL`` and ``REDIS_URL`` for others."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import environ

env = environ.Env()

SECRET_KEY = "only-for-tests"
USE_TZ = True
ROOT_URLCONF = "tests.urls"
ALLOWED_HOSTS = ["*"]
STATIC_URL = "static/"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "channels",
    "directus_realtime",
    "example_project.site",
    "tests.sample",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
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

_folder = Path(tempfile.gettempdir()) / f"directus-realtime-tests-{os.getpid()}"
DATABASES = {
    "default": env.db("DATABASE_URL", default=f"sqlite:///{_folder}.sqlite3"),
}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        # Tests kill processes and no machine, so nothing needs to wait for the disk.
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF",
    }
    # A file, because the threads of the listener have connections of their own.
    DATABASES["default"]["TEST"] = {"NAME": f"{_folder}-test.sqlite3"}

_redis = env.str("REDIS_URL", default="")
CHANNEL_LAYERS = {
    "default": (
        {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [_redis], "prefix": env.str("REDIS_PREFIX", default="asgi")},
        }
        if _redis
        else {"BACKEND": "directus_realtime.layers.InboxChannelLayer"}
    )
}

_token_file = env.str("DIRECTUS_TOKEN_FILE", default="")
_connection = {
    "URL": env.str("DIRECTUS_URL", default="http://127.0.0.1:9"),
    "TOKEN": (
        Path(_token_file).read_text
        if _token_file
        else env.str("DIRECTUS_TOKEN", default="a-token-for-tests")
    ),
    "EMAIL": env.str("DIRECTUS_EMAIL", default=""),
    "PASSWORD": env.str("DIRECTUS_PASSWORD", default=""),
    "HEADERS": env.json("DIRECTUS_HEADERS", default={}),
    "CA_FILE": env.str("DIRECTUS_CA_FILE", default=""),
    "PROXY": env.str("DIRECTUS_PROXY", default=""),
    "PING_INTERVAL": env.float("DIRECTUS_PING_INTERVAL", default=15.0),
    "PONG_TIMEOUT": env.float("DIRECTUS_PONG_TIMEOUT", default=10.0),
    "RETRY_CEILING": 1.0,
    # So rarely that it hides no live event that was lost: a test which needs it says so.
    "CATCH_UP_INTERVAL": env.float("DIRECTUS_CATCH_UP_INTERVAL", default=600.0),
    "POLL_INTERVAL": env.float("DIRECTUS_POLL_INTERVAL", default=1.0),
    "HOLE_AGE": env.float("DIRECTUS_HOLE_AGE", default=3600.0),
    "RETRY_ATTEMPTS": env.int("DIRECTUS_RETRY_ATTEMPTS", default=8),
    "DELIVERY": env.str("DIRECTUS_DELIVERY", default="inline"),
    "DOOR_SECRET": env.str("DIRECTUS_DOOR_SECRET", default=""),
    "TASK_TIMEOUT": env.float("DIRECTUS_TASK_TIMEOUT", default=600.0),
}
DIRECTUS_REALTIME = {"default": _connection}
if env.bool("LOG_HTTP", default=False):
    LOGGING = {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"console": {"class": "logging.StreamHandler"}},
        "loggers": {
            "httpx": {"handlers": ["console"], "level": "INFO"},
            "directus_realtime": {"handlers": ["console"], "level": "INFO"},
        },
    }
if _connection["DELIVERY"] == "tasks":
    INSTALLED_APPS.append("django_tasks_db")
    TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}
