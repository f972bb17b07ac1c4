"""Settings that the projects have in common; the environment names the database and Directus."""

from __future__ import annotations

import os
from pathlib import Path

import environ

env = environ.Env()
FOLDER = Path(os.environ["PROJECT_FOLDER"])

SECRET_KEY = "only-for-tests"
USE_TZ = True
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "tests.projects.urls"

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "channels",
    "directus_realtime",
]


def sqlite(name: str) -> dict[str, object]:
    """Return a database in a file of the project's folder."""
    options = {"transaction_mode": "IMMEDIATE", "timeout": 20}
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": FOLDER / f"{name}.sqlite3",
        "TEST": {"NAME": FOLDER / f"{name}-test.sqlite3"},
        "OPTIONS": options,
    }


DATABASES = {
    "default": env.db("PROJECT_DATABASE") if "PROJECT_DATABASE" in os.environ else sqlite("default")
}
CHANNEL_LAYERS = {"default": {"BACKEND": "directus_realtime.layers.InboxChannelLayer"}}
DIRECTUS_REALTIME = {
    "default": {
        "URL": env.str("DIRECTUS_URL", default="http://127.0.0.1:9"),
        "TOKEN": env.str("DIRECTUS_TOKEN", default="a-token"),
    }
}
