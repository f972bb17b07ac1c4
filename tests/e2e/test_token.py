"""A token that is changed in Directus while the listener runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from example_project.real_directus import DirectusServer, DirectusUnavailable
from tests.conftest import missing
from tests.helpers.site import Site
from tests.helpers.waiting import wait_for

pytestmark = pytest.mark.e2e

OLD, NEW = "the-old-s3cret-token", "the-new-s3cret-token"


@pytest.fixture
def server() -> Iterator[DirectusServer]:
    """A Directus of its own, because it is stopped and started."""
    try:
        with DirectusServer() as server, server.admin() as admin:
            admin.create_collection("articles", {"title": "string"})
            yield server
    except DirectusUnavailable as error:
        missing(str(error))


def test_a_changed_token_is_taken_up_by_the_running_listener(
    make_site: Callable[..., Site], server: DirectusServer, tmp_path: Path
) -> None:
    """T21: the open socket goes on; the next one needs the new token."""
    with server.admin() as admin:
        policy = {"name": "all", "admin_access": True, "app_access": False}
        admin.create_user([policy], email="django@example.com", token=OLD)
        users = admin.request("GET", "/users", params={"filter[email][_eq]": "django@example.com"})
        user = f"/users/{users[0]['id']}"
    file = tmp_path / "token"
    file.write_text(OLD)
    site = make_site({"DIRECTUS_URL": server.url, "DIRECTUS_TOKEN_FILE": str(file)})
    site.subscribe()
    listener = site.listen()

    with server.admin() as admin:
        admin.request("PATCH", user, {"token": NEW})
    server.restart()
    refused = listener.wait_for_line("refused the credentials")
    assert "Check TOKEN" in refused
    wait_for(lambda: "refused the credentials" in site.statuses.get().reason, what="the reason")
    assert site.statuses.get().state == "reconnecting"

    file.write_text(NEW)
    listener.wait_for_line("connected to", count=2)
    listener.wait_for_line("subscribed all:", count=2)
    with server.admin() as admin:
        made = admin.create_item("articles", {"title": "after"})["id"]
    assert [entry["key"] for entry in site.wait_for_received(1)] == [made]
    assert listener.output.count("refused the credentials") == 1
    assert not [secret for secret in (OLD, NEW) if secret in listener.output]
