"""axe-core, which looks for what keeps people with disabilities from using a page."""

from __future__ import annotations

from functools import cache

from playwright.sync_api import Page

from example_project.real_directus import DirectusUnavailable
from tests.conftest import missing
from tests.helpers.npm import installed

VERSION = "4.11.0"
#: Pages that axe-core looks at now: it tries styles of its own, which their policy refuses.
under_test: set[Page] = set()
_SERIOUS = frozenset({"serious", "critical"})


@cache
def _script() -> str:
    try:
        modules = installed(f"axe-core-{VERSION}", f"axe-core@{VERSION}")
    except DirectusUnavailable as error:
        missing(str(error))
    return (modules / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


def serious_faults(page: Page) -> list[str]:
    """What axe-core calls serious or critical in a page as it is now, one line each."""
    # Evaluated by the debugger, so that the page's Content-Security-Policy stays as it is.
    page.evaluate(_script())
    under_test.add(page)
    try:
        result = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    finally:
        under_test.discard(page)
    return [
        f"{fault['id']}: {fault['help']} – {node['html'][:200]}"
        for fault in result["violations"]
        if fault["impact"] in _SERIOUS
        for node in fault["nodes"]
    ]
