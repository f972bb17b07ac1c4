from __future__ import annotations

import pytest

from directus_realtime.client.options import find_proxy, parse_proxy
from directus_realtime.exceptions import ConnectionImpossible

SERVER = "https://cms.example.com"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No proxy in it."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ws_proxy", "wss_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("given", "url", "address"),
    [
        ("http://proxy:3128", "http://proxy:3128", "http://proxy:3128"),
        ("http://proxy", "http://proxy:80", "http://proxy:80"),
        ("https://proxy/", "https://proxy:443", "https://proxy:443"),
        ("http://[::1]:8080", "http://[::1]:8080", "http://[::1]:8080"),
        ("http://u:p@proxy:1", "http://u:p@proxy:1", "http://proxy:1"),
        ("http://u@proxy:1", "http://u:@proxy:1", "http://proxy:1"),
        ("http://u:p%40ss@proxy:1", "http://u:p%40ss@proxy:1", "http://proxy:1"),
        ("http://u:p@ss@proxy:1", "http://u:p%40ss@proxy:1", "http://proxy:1"),
    ],
)
def test_a_proxy_from_its_url(given: str, url: str, address: str) -> None:
    proxy = parse_proxy(given)
    assert (proxy.url, proxy.address) == (url, address)
    assert url == address or url not in repr(proxy)


@pytest.mark.parametrize(
    "given",
    [
        "proxy:3128",
        "socks5://u:p4ss@proxy:1080",
        "http://",
        "http://u:p4ss@",
        "http://u:p4ss@proxy:port",
        "http://u:p4ss@proxy/path",
        "http://u:p4ss@proxy?query",
        "http://u:p4ss@[::1",
        "http://u:p4ss@pröxy",
        "http://u:p4ss @proxy",
        "http://u:p4ss@proxy\n",
    ],
)
def test_what_is_no_url_of_a_proxy(given: str) -> None:
    with pytest.raises(ValueError, match=r"is not a URL such as http://proxy") as caught:
        parse_proxy(given)
    assert "p4ss" not in str(caught.value)


@pytest.mark.parametrize(
    ("variables", "server", "expected"),
    [
        ({}, SERVER, None),
        ({"HTTPS_PROXY": "http://s:1"}, SERVER, "http://s:1"),
        ({"https_proxy": "s:1"}, SERVER, "http://s:1"),
        ({"HTTPS_PROXY": "http://s:1"}, "http://cms", None),
        ({"HTTP_PROXY": "http://h:1", "HTTPS_PROXY": "http://s:1"}, "http://cms", "http://h:1"),
        ({"ALL_PROXY": "http://a:1"}, SERVER, "http://a:1"),
        ({"ALL_PROXY": "http://a:1", "HTTPS_PROXY": "http://s:1"}, SERVER, "http://s:1"),
        ({"WSS_PROXY": "http://w:1"}, SERVER, None),
        ({"HTTPS_PROXY": "http://s:1", "NO_PROXY": "*"}, SERVER, None),
        ({"HTTPS_PROXY": "http://s:1", "NO_PROXY": "a, example.com"}, SERVER, None),
        ({"HTTPS_PROXY": "http://s:1", "NO_PROXY": ".example.com"}, SERVER, None),
        ({"HTTPS_PROXY": "http://s:1", "NO_PROXY": "ample.com"}, SERVER, "http://s:1"),
        ({"HTTPS_PROXY": "http://s:1", "NO_PROXY": "cms.example.com:443"}, SERVER, None),
        ({"HTTPS_PROXY": "http://s:1", "NO_PROXY": "cms.example.com:80"}, SERVER, "http://s:1"),
        ({"HTTP_PROXY": "http://h:1", "NO_PROXY": "127.0.0.1"}, "http://127.0.0.1:8055", None),
        ({"HTTP_PROXY": "http://h:1", "NO_PROXY": "::1"}, "http://[::1]:8055", None),
    ],
)
def test_the_proxy_of_the_environment(
    environment: pytest.MonkeyPatch,
    variables: dict[str, str],
    server: str,
    expected: str | None,
) -> None:
    for name, value in variables.items():
        environment.setenv(name, value)
    proxy = find_proxy(None, server)
    assert (proxy and proxy.url) == expected


def test_a_given_proxy_wins_over_the_environment(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("HTTPS_PROXY", "http://s:1")
    environment.setenv("NO_PROXY", "*")
    proxy = find_proxy("http://given:1", SERVER)
    assert proxy is not None
    assert proxy.url == "http://given:1"


def test_a_proxy_of_the_environment_that_cannot_be_used_is_named(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.setenv("ALL_PROXY", "socks5://u:p4ss@proxy:1080")
    with pytest.raises(ConnectionImpossible, match=r"'proxy:1080' is not .* NO_PROXY") as caught:
        find_proxy("", SERVER)
    assert "p4ss" not in str(caught.value)
