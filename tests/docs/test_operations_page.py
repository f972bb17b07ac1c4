"""The example of docs/operations.md runs."""

from __future__ import annotations

import pytest

from tests.docs.markdown import python_blocks
from tests.helpers.admin import subscription


@pytest.mark.django_db
def test_a_load_is_requested_and_its_progress_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    row = subscription("articles", collection="articles")
    (block,) = python_blocks("operations.md")
    exec(block.code, {})
    row.refresh_from_db()
    assert row.snapshot_of.startswith("again")
    assert capsys.readouterr().out.startswith("0 0 False No listener of 'default' is running.")
