"""Settings of the sites of the chaos suite: those of the tests, and an app with receivers."""

from __future__ import annotations

import tests.settings
from tests.settings import *  # noqa: F403

INSTALLED_APPS = [*tests.settings.INSTALLED_APPS, "tests.chaos.app"]

DIRECTUS_REALTIME = {
    "default": {
        **tests.settings.DIRECTUS_REALTIME["default"],
        # A receiver that fails at random, and databases that go away, must kill no letter.
        "RETRY_ATTEMPTS": 60,
        "CATCH_UP_INTERVAL": 5.0,
    }
}
