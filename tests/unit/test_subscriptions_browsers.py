from __future__ import annotations

from typing import Any

import pytest

import directus_realtime
from directus_realtime.subscriptions import Browsers, is_permission_name


def anyone(user: Any, subscription: Any, query: Any) -> bool:
    return True


async def anyone_later(user: Any, subscription: Any, query: Any) -> bool:
    return True


@pytest.mark.parametrize(
    ("allow", "access", "permission"),
    [
        ("public", "public", ""),
        ("signed-in", "signed_in", ""),
        ("articles.view_article", "permission", "articles.view_article"),
        (anyone, "function", ""),
    ],
)
def test_how_it_is_written_down(allow: Any, access: str, permission: str) -> None:
    browsers = Browsers(allow)
    assert (browsers.access, browsers.permission) == (access, permission)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"allow": "everybody"}, "by 'everybody': use 'public'"),
        ({"allow": ""}, "by ''"),
        ({"allow": "signed_in"}, "by 'signed_in'"),
        ({"allow": 5}, "The allow of Browsers must be a function, not 5"),
        ({"allow": None}, "must be a function, not None"),
        ({"allow": anyone_later}, "is async"),
        ({"allow": "public", "rows": {"owner": 1}}, "The rows of Browsers must be a function"),
        ({"allow": "public", "rows": anyone_later}, "is async"),
        ({"allow": "public", "first_load": -1}, "first_load must be a number of items"),
        ({"allow": "public", "first_load": True}, "not True"),
        ({"allow": "public", "first_load": 2**31}, "first_load"),
    ],
)
def test_a_wrong_part_is_named(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Browsers(**given)


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("articles.view_article", True),
        ("shop.may-sell", True),
        ("articles", False),
        ("articles.", False),
        (".view", False),
        ("articles.view article", False),
        ("", False),
    ],
)
def test_the_form_of_a_permission(name: str, is_one: bool) -> None:
    assert is_permission_name(name) is is_one


def test_it_is_public() -> None:
    assert directus_realtime.Browsers is Browsers
