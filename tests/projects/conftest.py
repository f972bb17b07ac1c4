from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from directus_realtime.testing import run_in_thread
from directus_realtime.testing.fake.fake_collection import FakeCollection, default_collections
from directus_realtime.testing.fake.threaded_fake import ThreadedFakeDirectus
from tests.projects.project import Project

Open = Callable[[str], Project]


@pytest.fixture
def open_project(tmp_path: Path) -> Iterator[Open]:
    """Opens a project by its name, with databases in files."""
    opened: list[Project] = []

    def open_(name: str) -> Project:
        folder = tmp_path / f"{name}-{len(opened)}"
        folder.mkdir()
        opened.append(Project(name, folder))
        return opened[-1]

    yield open_
    for project in opened:
        project.close()


@pytest.fixture
def fake() -> Iterator[ThreadedFakeDirectus]:
    authors = FakeCollection("authors", fields={"name": "string"})
    with run_in_thread(collections=[*default_collections(), authors]) as fake:
        yield fake
