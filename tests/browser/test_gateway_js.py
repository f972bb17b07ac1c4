"""``gateway.js`` against a server that says what the test wants."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, WebSocketRoute

import directus_realtime
from tests.helpers.waiting import POLL_INTERVAL

pytestmark = pytest.mark.browser

URL = "http://127.0.0.1:9"  # nothing is there: all of it is routed
SCRIPT = Path(directus_realtime.__file__).parent / "static/directus_realtime/gateway.js"
TIMEOUT = 15.0
#: Writes down what it is told, in ``window.told``.
PAGE = """<!doctype html><script type="module">
import { connect } from "/gateway.js";
window.told = [];
const note = (name) => (...news) => window.told.push([name, ...news]);
window.open_gateway = (options = {}) => {
  window.gateway = connect("/directus/", {
    onState: note("state"), onConnection: note("connection"), onError: note("error"), ...options,
  });
};
window.subscribe = (collection, options = {}) => gateway.subscribe(collection, {
  onFirstLoad: note("load"), onEvent: note("event"), onError: note("refused"),
  onConfirmed: note("confirmed"), ...options,
});
window.isReady = true;
</script>"""


class Server:
    """The other end of the page's WebSockets."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.sockets: list[WebSocketRoute] = []
        self.received: list[dict[str, Any]] = []
        self.is_up = True

    def connected(self, socket: WebSocketRoute) -> None:
        if not self.is_up:
            socket.close(code=1013)
            return
        self.sockets.append(socket)
        socket.on_message(lambda text: self.received.append(json.loads(text)))

    def send(self, **message: Any) -> None:
        self.sockets[-1].send(json.dumps(message))

    def wait_for(self, condition: Callable[[], Any]) -> Any:
        """Playwright hands messages over only while it is waited for."""
        for _ in range(int(TIMEOUT / POLL_INTERVAL)):
            if value := condition():
                return value
            self.page.wait_for_timeout(POLL_INTERVAL * 1000)
        raise AssertionError(f"not within {TIMEOUT} s; received {self.received}")

    def next(self, kind: str = "subscribe") -> dict[str, Any]:
        """The next message of a kind; what came before it is left out."""
        found: dict[str, Any] = self.wait_for(
            lambda: next((each for each in self.received if each["type"] == kind), None)
        )
        del self.received[: self.received.index(found) + 1]
        return found

    def told(self, *names: str) -> list[Any]:
        told = self.page.evaluate("window.told")
        return [rest[0] if len(rest) == 1 else rest for name, *rest in told if name in names]

    def wait_until_told(self, name: str, *news: Any) -> None:
        self.wait_for(lambda: self.told(name) == list(news))


@pytest.fixture
def server(browser: Browser) -> Iterator[Server]:
    context = browser.new_context()
    page = context.new_page()
    server = Server(page)
    page.route_web_socket("**/directus/", server.connected)

    def answer(route: Route) -> None:
        if route.request.url.endswith("gateway.js"):
            route.fulfill(body=SCRIPT.read_text(), content_type="text/javascript")
        else:
            route.fulfill(body=PAGE, content_type="text/html")

    page.route("**/*", answer)
    page.goto(URL)
    page.wait_for_function("window.isReady")
    yield server
    context.close()


@pytest.fixture
def live(server: Server) -> Server:
    """Connected, with one subscription that has its first load."""
    server.page.evaluate("open_gateway()")
    server.page.evaluate("""window.first = subscribe("articles", {query: {fields: ["id"]}})""")
    asked = server.next()
    assert asked == {
        "type": "subscribe",
        "collection": "articles",
        "query": {"fields": ["id"]},
        "uid": "1",
    }
    server.send(type="subscription", event="init", data=[{"id": 1}], uid="1")
    server.wait_until_told("load", [[{"id": 1}], {"isComplete": True}])
    return server


def event(number: int, action: str = "update", uid: str = "1") -> dict[str, Any]:
    data = [str(number)] if action == "delete" else [{"id": number}]
    common = {"type": "subscription", "event": action, "data": data, "uid": uid}
    return {**common, "id": f"e{number}", "origin": "live"}


def told(number: int, action: str = "update") -> dict[str, Any]:
    data = str(number) if action == "delete" else {"id": number}
    return {"action": action, "data": data, "id": f"e{number}", "origin": "live"}


def test_events_and_states(live: Server) -> None:
    live.send(type="connection", connection="default", state="connected", reason="")
    live.send(**event(2, "create"))
    live.send(**event(3, "delete"))
    live.send(**event(4, uid="another"))
    live.wait_until_told("event", told(2, "create"), told(3, "delete"))
    [news] = live.told("connection")
    assert (news["connection"], news["state"]) == ("default", "connected")
    assert live.told("state") == ["connecting", "live"]
    live.send(type="ping")
    assert live.next("pong") == {"type": "pong"}


def test_goes_on_after_a_break(live: Server) -> None:
    """It asks for what was missed, and hands over nothing twice."""
    live.send(**event(2))
    live.wait_until_told("event", told(2))
    live.sockets[-1].close(code=1012)
    assert live.next()["last_event_id"] == "e2"
    assert live.told("state") == ["connecting", "live", "reconnecting", "live"]
    live.send(type="subscription", event="init", resumed=True, uid="1")
    for number in (2, 3):
        live.send(**event(number))
    live.wait_until_told("event", told(2), told(3))
    assert len(live.told("load")) == 1


def test_reads_again_where_too_much_was_missed(live: Server) -> None:
    live.send(**event(2))
    live.wait_until_told("event", told(2))
    live.sockets[-1].close(code=1012)
    live.next()
    live.send(type="subscription", event="init", resumed=False, data=[{"id": 9}], uid="1")
    live.wait_until_told(
        "load", [[{"id": 1}], {"isComplete": True}], [[{"id": 9}], {"isComplete": True}]
    )
    # Nothing is known any more to go on from.
    live.sockets[-1].close(code=1012)
    assert "last_event_id" not in live.next()


def test_a_server_that_is_away_is_tried_again(live: Server) -> None:
    live.is_up = False
    live.sockets[-1].close(code=1012)
    live.wait_for(lambda: live.told("state")[-1] == "reconnecting")
    live.is_up = True
    live.next()
    assert live.told("state") == ["connecting", "live", "reconnecting", "live"]


def test_a_silent_line_is_given_up(live: Server) -> None:
    """No close arrives from a server that is cut off; a ping without an answer tells."""
    live.page.clock.install()
    live.page.clock.fast_forward(26_000)
    live.next("ping")
    live.page.clock.fast_forward(11_000)
    live.wait_for(lambda: "reconnecting" in live.told("state"))
    live.page.clock.fast_forward(1_000)
    live.next()


@pytest.mark.parametrize("code", ["SERVICE_UNAVAILABLE", "REQUESTS_EXCEEDED"])
def test_a_temporary_refusal_is_tried_again(live: Server, code: str) -> None:
    refusal = {"code": code, "message": "Not now."}
    live.send(type="subscribe", status="error", error=refusal, uid="1")
    live.wait_until_told("refused", {**refusal, "isTemporary": True})
    assert live.next()["uid"] == "1"


def test_what_was_said_of_a_refusal_is_over_when_it_goes_on(live: Server) -> None:
    """Then no first load tells."""
    live.send(**event(2))
    live.wait_until_told("event", told(2))
    refusal = {"code": "SERVICE_UNAVAILABLE", "message": "Not now."}
    live.send(type="subscribe", status="error", error=refusal, uid="1")
    assert live.next()["last_event_id"] == "e2"
    assert live.told("confirmed") == [[]]
    live.send(type="subscription", event="init", resumed=True, uid="1")
    live.wait_until_told("confirmed", [], [])
    assert len(live.told("load")) == 1


def test_a_refusal_ends_it(live: Server) -> None:
    refusal = {"code": "FORBIDDEN", "message": "No."}
    live.send(type="subscribe", status="error", error=refusal, uid="1")
    live.wait_until_told("refused", {**refusal, "isTemporary": False})
    live.send(type="server", status="error", error=refusal)
    live.wait_until_told("error", refusal)


def test_a_token_comes_first(server: Server) -> None:
    server.page.evaluate("open_gateway({token: async () => 'secret'}); subscribe('articles')")
    server.wait_for(lambda: server.received)
    assert server.received == [{"type": "auth", "access_token": "secret"}]
    assert server.told("state") == ["connecting"]
    server.send(type="auth", status="ok")
    server.next()
    assert server.told("state") == ["connecting", "live"]


def test_only_one_action(live: Server) -> None:
    live.page.evaluate("subscribe('orders', {event: 'create'})")
    assert live.next()["event"] == "create"
    live.send(type="subscription", event="init", uid="2")
    live.wait_for(lambda: live.told("load")[1:] == [[[], {"isComplete": False}]])


def test_unsubscribe_and_close(live: Server) -> None:
    live.page.evaluate("first.unsubscribe()")
    assert live.next("unsubscribe")["uid"] == "1"
    live.send(**event(2))
    live.page.evaluate("gateway.close()")
    assert live.told("state")[-1] == "offline"
    assert live.told("event") == []


def test_the_example_of_the_documentation(server: Server) -> None:
    page = (Path(__file__).parents[2] / "docs" / "gateway-js.md").read_text()
    [code] = re.findall(r"^```js\n(.*?)^```$", page, flags=re.M | re.S)
    code = code.replace("/static/directus_realtime/gateway.js", "/gateway.js")
    server.page.add_script_tag(content=code + "\nwindow.orders = orders;", type="module")
    assert server.next()["query"]["limit"] == 50
    rows = [{"id": 1, "status": "open"}, {"id": 2, "status": "open"}]
    server.send(type="connection", connection="default", state="connected", reason="")
    server.send(type="subscription", event="init", data=rows, uid="1")
    server.send(**event(1, "delete"))
    server.send(**event(3, "create"))
    server.wait_for(lambda: server.page.evaluate("[...orders.keys()]") == ["2", "3"])
    assert server.page.evaluate("({...document.body.dataset})") == {
        "line": "live",
        "directus": "connected",
    }
