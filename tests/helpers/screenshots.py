"""Pictures of pages for the documentation, taken where ``SCREENSHOTS`` names a folder."""

from __future__ import annotations

import os
from pathlib import Path

from playwright.sync_api import Page

_FOLDER = os.environ.get("SCREENSHOTS", "")


def take_screenshot(page: Page, name: str) -> None:
    """Write ``NAME.png``, of the whole page."""
    if _FOLDER:
        page.screenshot(path=Path(_FOLDER) / f"{name}.png", full_page=True)
