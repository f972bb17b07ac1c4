"""docs/metrics.md tells of what is served, and docs/monitoring of what docs/metrics.md tells."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.models.dashboard import Dashboard
from prometheus_client import Metric

from directus_realtime.listener.metrics import metrics_server
from directus_realtime.listener.metrics.counts import SERIES_LIMIT
from directus_realtime.models import LogPosition
from directus_realtime.signals import directus_item_created
from directus_realtime.testing import FakeCollection, FakeDirectus
from tests.conftest import missing
from tests.docs.markdown import DOCS
from tests.helpers.metrics import PREFIX, endpoint
from tests.integration.listening import (
    TOKEN,
    connection,
    listening,
    state_is,
    subscribe,
    until,
    until_subscribed,
)

PAGE = (DOCS / "metrics.md").read_text(encoding="utf-8")
MONITORING = DOCS / "monitoring"
DASHBOARD = json.loads((MONITORING / "grafana-dashboard.json").read_text(encoding="utf-8"))
NAME = re.compile(r"\b(?:directus_realtime|process)_\w+")
SUFFIXES = ("_bucket", "_count", "_sum")


def documented() -> dict[str, tuple[str, set[str]]]:
    """Type and labels of each metric in the page's table."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|([^|]*)\|", PAGE, re.M)
    return {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


def shown_name(family: Metric) -> str:
    return family.name + ("_total" if family.type == "counter" else "")


@pytest.fixture
async def served(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[list[Metric]]:
    """What a listener serves that has seen everything once."""
    monkeypatch.setattr(metrics_server, "SAMPLE_INTERVAL", 0.05)

    def fail(**kwargs: Any) -> None:
        raise ValueError("it does not work")

    directus_item_created.connect(fail, sender="articles")
    await subscribe()
    async with (
        endpoint(monkeypatch, caplog) as metrics,
        FakeDirectus([ARTICLES], TOKEN) as fake,
        listening(connection(fake.url, retry_attempts=1)),
    ):
        await until_subscribed(fake)
        await until(lambda: LogPosition.objects.exclude(read_at=None).exists())
        await until(state_is("all", "subscribed"))
        item = await fake.create("articles", {"title": "x"})
        await metrics.until_all(
            {
                "inbox_events{connection=default,state=dead}": 1,
                "catch_up_rows{connection=default}": 0,
            }
        )
        await fake.update("articles", item["id"], {"title": "y"})
        await metrics.until(delivery_seconds_count=1)
        yield metrics.families()
    directus_item_created.disconnect(fail, sender="articles")


ARTICLES = FakeCollection("articles", fields={"title": "string"})


@pytest.mark.django_db(transaction=True)
async def test_the_table_is_what_is_served(served: list[Metric]) -> None:
    ours = [family for family in served if family.name.startswith(PREFIX)]
    found = {}
    for family in ours:
        labels = {name for sample in family.samples for name in sample.labels} - {"le"}
        assert family.samples, f"{family.name} has no series"
        found[shown_name(family)] = (family.type, labels)
    assert found == documented()


@pytest.mark.django_db(transaction=True)
async def test_what_the_library_adds_is_served(served: list[Metric]) -> None:
    names = {shown_name(family) for family in served}
    assert set(re.findall(r"`(process_\w+)`", PAGE)) <= names


def test_the_number_of_series_is_the_documented_one() -> None:
    assert f"its first {SERIES_LIMIT} combinations" in PAGE


def metrics_in(text: str) -> set[str]:
    """The metrics that a text uses, without the parts that a histogram adds."""
    names = set(NAME.findall(text))
    known = documented().keys()
    return {
        next((n.removesuffix(s) for s in SUFFIXES if n.removesuffix(s) in known), n) for n in names
    }


def expressions() -> list[str]:
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]


def test_the_dashboard_shows_every_metric_and_no_other() -> None:
    used = metrics_in("\n".join(expressions()))
    process = set(re.findall(r"`(process_\w+)`", PAGE))
    assert used - process == documented().keys()


def test_the_alerts_use_metrics_that_there_are() -> None:
    used = metrics_in((MONITORING / "alerts.yml").read_text(encoding="utf-8"))
    assert used - {"directus_realtime"} <= documented().keys()


def test_the_dashboard_is_one_for_grafanas_own_models() -> None:
    dashboard = Dashboard.from_json(DASHBOARD)
    assert dashboard.uid == "directus-realtime"
    assert dashboard.panels is not None
    assert len(dashboard.panels) == len(DASHBOARD["panels"])
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)


def test_no_panel_lies_on_another() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                assert (x, y) not in taken, f"{panel['title']} lies on {taken[x, y]}"
                taken[x, y] = panel["title"]


def promtool(*arguments: object) -> str:
    if not shutil.which("promtool"):
        missing("promtool (Debian's package prometheus)")
    done = subprocess.run(
        ["promtool", *map(str, arguments)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_alert_rules_are_ones_for_prometheus() -> None:
    assert "17 rules found" in promtool("check", "rules", MONITORING / "alerts.yml")


def test_the_alerts_fire_when_they_should_and_only_then() -> None:
    tested = (MONITORING / "alerts-test.yml").read_text(encoding="utf-8")
    for alert in re.findall(r"- alert: (\w+)", (MONITORING / "alerts.yml").read_text()):
        assert re.search(rf"alertname: {alert}\n +exp_alerts", tested), f"{alert} never fires"
    assert "SUCCESS" in promtool("test", "rules", MONITORING / "alerts-test.yml")


def test_the_dashboard_asks_in_promql(tmp_path: Path) -> None:
    rules = [
        {
            "record": f"panel:{number}",
            "expr": expr.replace("$__rate_interval", "5m").replace("$connection", ".*"),
        }
        for number, expr in enumerate(expressions())
    ]
    file = tmp_path / "panels.yml"  # JSON is YAML
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", file)


def test_the_configuration_of_prometheus_is_one(tmp_path: Path) -> None:
    (block,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.M | re.S)
    shutil.copy(MONITORING / "alerts.yml", tmp_path)
    (tmp_path / "prometheus.yml").write_text(block)
    promtool("check", "config", tmp_path / "prometheus.yml")
