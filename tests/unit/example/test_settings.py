from __future__ import annotations

import re
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import environ
import pytest
from django.core.exceptions import ImproperlyConfigured

from example_project.demo import ROOT

Load = Callable[..., dict[str, Any]]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Loads the settings with an environment and a ``.env`` of the test's own."""

    def run(env_file: str = "", **env: str) -> dict[str, Any]:
        (tmp_path / "example_project").mkdir(exist_ok=True)
        copy = shutil.copy(ROOT / "example_project" / "settings.py", tmp_path / "example_project")
        (tmp_path / ".env").write_text(env_file)
        monkeypatch.setattr(environ.Env, "ENVIRON", dict(env))
        return runpy.run_path(str(copy))

    return run


def test_defaults(load: Load, tmp_path: Path) -> None:
    settings = load(DEBUG="true")
    database = settings["DATABASES"]["default"]
    assert database["NAME"] == str(tmp_path / "db.sqlite3")
    assert database["OPTIONS"]["transaction_mode"] == "IMMEDIATE"
    assert settings["DIRECTUS_REALTIME"] == {}
    assert settings["CHANNEL_LAYERS"]["default"]["BACKEND"].endswith("InboxChannelLayer")
    assert settings["DEMO"] == ""


def test_secret_key__needed_without_debug(load: Load) -> None:
    with pytest.raises(ImproperlyConfigured, match="Set SECRET_KEY, or DEBUG=true"):
        load()
    assert load(SECRET_KEY="given")["SECRET_KEY"] == "given"


def test_directus__from_the_environment(load: Load) -> None:
    settings = load(
        DEBUG="true",
        DIRECTUS_URL="https://cms.example.com",
        DIRECTUS_EMAIL="django@example.com",
        DIRECTUS_PASSWORD="secret",
    )
    assert settings["DIRECTUS_REALTIME"]["default"] == {
        "URL": "https://cms.example.com",
        "TOKEN": "",
        "EMAIL": "django@example.com",
        "PASSWORD": "secret",
        "DOOR_SECRET": "",
    }


def test_env_file__is_read_and_the_environment_wins(load: Load) -> None:
    text = "DEBUG=true\nDIRECTUS_URL=https://file.example.com\nDIRECTUS_TOKEN=from-file\n"
    connection = load(text, DIRECTUS_TOKEN="from-environment")["DIRECTUS_REALTIME"]["default"]
    assert connection["URL"] == "https://file.example.com"
    assert connection["TOKEN"] == "from-environment"


def test_servers(load: Load) -> None:
    settings = load(
        SECRET_KEY="x",
        DATABASE_URL="postgres://user:password@db.example.com/site",
        REDIS_URL="redis://redis.example.com/0",
        ALLOWED_HOSTS="a.example.com,b.example.com",
    )
    assert settings["DATABASES"]["default"]["ENGINE"].endswith("postgresql")
    assert "OPTIONS" not in settings["DATABASES"]["default"]
    assert settings["CHANNEL_LAYERS"]["default"] == {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": ["redis://redis.example.com/0"]},
    }
    assert settings["ALLOWED_HOSTS"] == ["a.example.com", "b.example.com"]


def test_env_example__names_what_the_settings_read(load: Load) -> None:
    text = (ROOT / ".env.example").read_text()
    source = (ROOT / "example_project" / "settings.py").read_text()
    names = set(re.findall(r'env\.\w+\(\s*"(\w+)"', source))
    explained = set(re.findall(r"^#? ?([A-Z_]+)=", text, flags=re.MULTILINE))
    assert "DIRECTUS_URL" in names
    assert names - {"DEMO", "DIRECTUS_DEMO_TOKEN"} <= explained
    load(text)
