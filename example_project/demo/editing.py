"""Changes something in the real Directus now and then; the fake one does so by itself."""

from __future__ import annotations

import os

from directus_realtime.testing.demo import Stream
from example_project.real_directus.directus_admin import DirectusAdmin


def main() -> None:
    """Work until stopped."""
    with DirectusAdmin(os.environ["DIRECTUS_URL"], os.environ["DIRECTUS_DEMO_TOKEN"]) as directus:
        Stream(directus).work()


if __name__ == "__main__":
    main()
