"""Changes an article of the real Directus now and then, as the fake one does by itself."""

from __future__ import annotations

import os
import time

import httpx

from directus_realtime.settings import ConnectionSettings
from directus_realtime.testing.demo import PERIOD
from example_project.articles.directus import Directus, Refused
from example_project.articles.editor import make_change


def main() -> None:
    """Work until stopped."""
    connection = ConnectionSettings(
        alias="default", url=os.environ["DIRECTUS_URL"], token=os.environ["DIRECTUS_TOKEN"]
    )
    while True:
        time.sleep(PERIOD)
        try:
            with Directus(connection) as directus:
                make_change(directus)
        except (Refused, httpx.HTTPError) as error:
            print(f"No change this time: {error}", flush=True)


if __name__ == "__main__":
    main()
