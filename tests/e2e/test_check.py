"""``directus_check`` on a real Directus."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from directus_realtime.testing import DirectusAdmin, DirectusServer
from tests.helpers.process import Process
from tests.helpers.site import Site

pytestmark = pytest.mark.e2e


def run(process: Process) -> int:
    return process.wait(30)


def test_a_site_where_all_works(site: Site, directus_server: DirectusServer) -> None:
    site.subscribe()
    check = site.start("directus_check")
    assert run(check) == 0
    assert f"ok, as {directus_server.admin_email}" in check.output
    assert "Directus      11.17.4" in check.output
    assert "may read all of it" in check.output
    assert "all (articles): ok" in check.output


def test_a_refused_subscription_is_named_with_the_reason(site: Site) -> None:
    site.subscribe()
    site.subscribe("wrong", fields=["no_such_field"])
    check = site.start("directus_check")
    assert run(check) == 1
    assert "all (articles): ok" in check.output
    assert (
        "wrong (articles): refused: You don't have permission to access field \"no" in check.output
    )


def test_a_token_that_may_read_little(
    make_site: Callable[..., Site], directus: DirectusAdmin, directus_env: dict[str, str]
) -> None:
    rights = {"collection": "articles", "action": "read", "permissions": {}, "fields": ["*"]}
    token = directus.create_limited_user([rights])
    site = make_site({**directus_env, "DIRECTUS_TOKEN": token})
    site.subscribe()
    check = site.start("directus_check", "--json")
    assert run(check) == 0
    (report,) = json.loads(check.output)
    assert report["activity"] == "none"
    assert report["subscriptions"] == [
        {"name": "all", "collection": "articles", "ok": True, "reason": ""}
    ]
    assert token not in check.output


def test_a_refused_token(make_site: Callable[..., Site], directus_env: dict[str, str]) -> None:
    site = make_site({**directus_env, "DIRECTUS_TOKEN": "wrong-token"})
    check = site.start("directus_check")
    assert run(check) == 1
    assert "refused the credentials" in check.output
    assert "wrong-token" not in check.output
