"""Settings of a worker or a job, without one of the apps."""

from __future__ import annotations

from tests.projects.declarations.settings import *  # noqa: F403
from tests.projects.declarations.settings import INSTALLED_APPS as _ALL

INSTALLED_APPS = [app for app in _ALL if not app.endswith(".news")]
