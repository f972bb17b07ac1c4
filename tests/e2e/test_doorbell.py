"""``directus_doorbell`` on real servers: from nothing to the first ring."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from directus_realtime.models import DirectusSubscription, DoorRing
from example_project.real_directus import DirectusServer
from tests.helpers.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]

SECRET = "s3cret-of-the-door-0123456789abcdef"
#: Directus refuses to call its own host otherwise.
LOCAL = {"IMPORT_IP_DENY_LIST": "169.254.169.254"}


@pytest.fixture(params=["11.17.4", "12.4.1"])
def server(request: pytest.FixtureRequest, settings: Any) -> Iterator[DirectusServer]:
    with DirectusServer(request.param, env=LOCAL) as server:
        with server.admin() as admin:
            admin.create_collection("articles", {"title": "string"})
        configure(settings, server)
        yield server


def configure(settings: Any, server: DirectusServer) -> None:
    connection = {"URL": server.url, "TOKEN": server.admin_token, "DOOR_SECRET": SECRET}
    settings.DIRECTUS_REALTIME = {"default": connection}
    DirectusSubscription.objects.create(name="all", collection="articles")


def run(*arguments: str) -> tuple[int, str]:
    output = StringIO()
    try:
        call_command("directus_doorbell", *arguments, stdout=output, no_color=True)
    except SystemExit as error:
        return int(error.code or 0), output.getvalue()
    except CommandError as error:
        return error.returncode, str(error)
    return 0, output.getvalue()


def test_from_nothing_to_the_first_ring(server: DirectusServer, live_server: Any) -> None:
    url = f"{live_server.url}/directus/door/"
    assert "There is no such Flow." in run("check")[1]
    assert SECRET not in run("print", "--url", url)[1]
    assert run("create", "--url", url)[0] == 0
    assert run("create", "--url", url)[0] == 0  # in place of the first
    assert run("check")[0] == 0
    status, output = run("ring")
    assert (status, DoorRing.objects.get().event) == (0, "doorbell.test"), output
    with server.admin() as admin:
        admin.create_item("articles", {"title": "x"})
    wait_for(lambda: DoorRing.objects.get().event == "articles.items.create")
    DirectusSubscription.objects.create(name="users", collection="directus_users")
    status, output = run("check")
    assert status == 1
    assert "It does not ring for the collections directus_access, directus_users." in output
    assert "Removed" in run("remove")[1]
    assert run("check")[0] == 1


def test_a_directus_that_may_not_call_its_own_host_is_found_out(
    settings: Any, live_server: Any
) -> None:
    with DirectusServer() as server:
        configure(settings, server)
        status, output = run("ring", "--url", f"{live_server.url}/directus/door/")
    assert status == 1
    assert "IMPORT_IP_DENY_LIST" in output
