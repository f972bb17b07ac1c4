"""Settings of the simulation: one SQLite file in memory, and one Directus that does not exist."""

from __future__ import annotations

import os
from pathlib import Path

_memory = Path("/dev/shm")
FOLDER = _memory if _memory.is_dir() else Path(os.environ.get("TMPDIR", "/tmp"))
#: The database of this process.
DATABASE = FOLDER / f"directus-simulation-{os.getpid()}.sqlite3"

# The jobs of database threads run in the loop, and nothing else uses the database there.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"

SECRET_KEY = "only-for-the-simulation"
USE_TZ = True
DEBUG = False
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "channels",
    "directus_realtime",
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(DATABASE),
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 0,
            "init_command": "PRAGMA journal_mode=MEMORY; PRAGMA synchronous=OFF",
        },
    }
}
CHANNEL_LAYERS = {"default": {"BACKEND": "directus_realtime.layers.InboxChannelLayer"}}
URL = "http://directus.simulation"
DIRECTUS_REALTIME = {"default": {"URL": URL, "TOKEN": "a-token-of-the-simulation"}}
LOGGING_CONFIG = None
