"""``directus_listen --metrics`` as people run it, on a real Directus."""

from __future__ import annotations

import signal
from urllib.request import ProxyHandler, build_opener

import pytest

from example_project.real_directus import DirectusAdmin
from tests.helpers.site import Site

pytestmark = pytest.mark.e2e


def test_metrics_are_served_while_the_command_runs(site: Site, directus: DirectusAdmin) -> None:
    site.subscribe()
    listener = site.listen("--metrics", "127.0.0.1:0")
    url = listener.wait_for_line("metrics at ").rpartition(" ")[2]
    directus.create_item("articles", {"title": "measured"})
    site.wait_for_received(1)
    with build_opener(ProxyHandler({})).open(url, timeout=10) as answer:
        text = answer.read().decode()
    labels = 'action="create",collection="articles",connection="default",origin="live"'
    assert f"directus_realtime_events_total{{{labels}}} 1.0" in text
    assert 'directus_realtime_connected{connection="default"} 1.0' in text
    assert 'directus_realtime_active{connection="default"} 1.0' in text
    assert "process_resident_memory_bytes " in text
    assert site.env["DIRECTUS_TOKEN"] not in text
    listener.send_signal(signal.SIGTERM)
    assert listener.wait() == 0
    assert listener.lines[-1] == "Stopped."
