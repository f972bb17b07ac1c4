from __future__ import annotations

import subprocess
import sys

WITHOUT_AIOHTTP = """
import runpy, sys
sys.modules["aiohttp"] = None
runpy.run_module("directus_realtime.testing", run_name="__main__")
"""


def test_without_aiohttp_the_fake_says_what_to_install() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_AIOHTTP], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "The fake Directus needs aiohttp: pip install 'django-directus-realtime[testing]'"
    )
