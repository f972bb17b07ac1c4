from __future__ import annotations

import random

from directus_realtime.settings import ConnectionSettings
from directus_realtime.testing import ThreadedFakeDirectus
from directus_realtime.testing.demo import FEWEST, MOST
from example_project.articles.directus import Directus
from example_project.articles.editor import make_change, plain_title


def test_make_change__keeps_a_readable_number_of_different_articles(
    fake: ThreadedFakeDirectus,
) -> None:
    chance = random.Random(11)
    connection = ConnectionSettings(alias="default", url=fake.url, token=fake.token)
    with Directus(connection) as directus:
        for _ in range(80):
            before = fake.items("articles")
            make_change(directus, chance)
            after = fake.items("articles")
            assert after != before
            assert FEWEST <= len(after) <= MOST
            titles = [plain_title(item["title"]) for item in after]
            assert len(set(titles)) == len(titles)
