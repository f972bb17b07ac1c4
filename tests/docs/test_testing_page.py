"""The tests of docs/testing.md are files of a project of their own, and pass."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.docs.markdown import python_blocks
from tests.helpers.process import ROOT

FILES = {
    "shop/__init__.py": "",
    "shop/apps.py": """\
from django.apps import AppConfig


class ShopConfig(AppConfig):
    name = "shop"

    def ready(self):
        from shop import receivers
""",
    "shop_settings.py": """\
from tests.settings import *

INSTALLED_APPS = [name for name in INSTALLED_APPS if name != "tests.sample"] + ["shop"]
""",
    "pytest.ini": """\
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
addopts = -p no:cacheprovider
filterwarnings = error
""",
}


def test_every_example_passes(tmp_path: Path) -> None:
    blocks = python_blocks("testing.md")
    files = dict(FILES)
    for block in blocks:
        named = re.match(r"# (\S+\.py)\n", block.code)
        assert named, f"the block at line {block.line} of testing.md names no file"
        assert named[1] not in files, f"{named[1]} comes twice"
        files[named[1]] = block.code
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content, encoding="utf-8")
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST")},
        "DJANGO_SETTINGS_MODULE": "shop_settings",
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}",
        "DATABASE_URL": f"sqlite:///{tmp_path}/site.sqlite3",
        "REDIS_URL": "",
    }
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", str(tmp_path)],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
    )
    count = sum(len(re.findall(r"^(?:async )?def test_", block.code, re.M)) for block in blocks)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{count} passed" in done.stdout
