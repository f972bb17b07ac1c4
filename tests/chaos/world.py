"""The parts of a run: Directus behind a proxy, Redis, the site's database, the listeners."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType

from django.db import connections
from django.utils import timezone

from directus_realtime.models import (
    InboxState,
    ListenerProcess,
    ListenerRole,
    LogPosition,
    SubscriptionState,
)
from tests.chaos.app.models import Effect as EffectRow
from tests.chaos.app.models import ItemTally
from tests.chaos.databases import postgres_database
from tests.chaos.directus import VARIANTS, ChaosDirectus
from tests.chaos.evidence import (
    SUBSCRIPTIONS,
    Effect,
    Evidence,
    Stored,
    read_gaps,
    read_receivers,
)
from tests.chaos.ledger import Ledger
from tests.chaos.listeners import Listeners
from tests.chaos.proxy import Proxy
from tests.chaos.sampler import Sampler
from tests.chaos.writers import Writers
from tests.conftest import RedisServer
from tests.helpers.site import ALIAS, Site
from tests.helpers.waiting import wait_for

#: A server that is paused for some seconds counts as dead.
FAST_PINGS = (2.0, 3.0)
#: The default: events may be late by more than the catch-up waits for them.
SLOW_PINGS = (15.0, 10.0)
#: Directus tells its clock in whole seconds.
_CLOCK_SLACK = timedelta(seconds=2)
FINAL = (InboxState.DONE, InboxState.MERGED, InboxState.DEAD)


class World:
    """Everything that a run needs; a context manager that ends what it started.

    Args:
        folder: For logs and databases.
        database: ``sqlite`` or ``postgres``, for the site.
        listeners: How many run at the same time.
        pings: Seconds between the listener's pings, and until one without answer means that
            the connection is dead.
        env: More environment of the listeners.
        variant: A name in :data:`VARIANTS`: the settings and the database of Directus.
        directus_env: More settings of Directus.
    """

    def __init__(
        self,
        folder: Path,
        database: str,
        listeners: int = 1,
        pings: tuple[float, float] = FAST_PINGS,
        env: Mapping[str, str] = MappingProxyType({}),
        variant: str = "",
        directus_env: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.folder = folder
        self.database = database
        self.disk_full = folder / "disk-is-full"
        self.troubles: list[str] = []
        self.site_database_url = f"sqlite:///{folder}/site.sqlite3"
        #: Seconds of silence that the listener stands, at the most.
        self.patience = sum(pings)
        self._pings = pings
        self._listener_count = listeners
        self._env = dict(env)
        self._variant = variant
        self._directus_env = {**VARIANTS[variant], **directus_env}
        self._exits = contextlib.ExitStack()

    def __enter__(self) -> World:
        try:
            self._start()
        except BaseException:
            self._exits.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    def _start(self) -> None:
        enter = self._exits.enter_context
        is_on_sqlite = self._variant == "sqlite"
        url = "sqlite" if is_on_sqlite else enter(postgres_database("directus"))
        self.directus = ChaosDirectus(url, self.folder / "directus", self._directus_env)
        self._exits.callback(self.directus.server.close)
        self.directus.start()
        self.proxy = Proxy(self.directus.server.port)
        self.proxy.start()
        self._exits.callback(self.proxy.close)
        self.redis = RedisServer(self.folder)
        self.redis.start()
        self._exits.callback(self.redis.stop)
        if self.database == "postgres":
            self.site_database_url = enter(postgres_database("site"))
        self.site = Site(self.folder, self.site_database_url, self._site_env())
        self._exits.callback(self.site.close)
        for name, (collection, status) in SUBSCRIPTIONS.items():
            filter = {"status": {"_eq": status}} if status else {}
            self.site.subscribe(name, collection, filter=filter)
        self.listeners = Listeners(self.folder, self.site.env, self._listener_count)
        self._exits.callback(self.listeners.close)

    def _site_env(self) -> dict[str, str]:
        return {
            "DJANGO_SETTINGS_MODULE": "tests.chaos.settings",
            "DIRECTUS_URL": self.proxy.url,
            "DIRECTUS_TOKEN": self.directus.server.admin_token,
            "DIRECTUS_PING_INTERVAL": str(self._pings[0]),
            "DIRECTUS_PONG_TIMEOUT": str(self._pings[1]),
            "REDIS_URL": self.redis.url,
            "SAMPLE_LOG": "",
            "CHAOS_FOLDER": str(self.folder),
            "CHAOS_DISK_FULL": str(self.disk_full),
            "PYTHONDEVMODE": "",
            **self._env,
        }

    # The listener

    def listen(self) -> None:
        """Start the listeners and wait until all is subscribed."""
        self.listeners.start()
        wait_for(self.is_subscribed, 60, "all to be subscribed")

    def is_subscribed(self) -> bool:
        """Whether the server has confirmed every subscription."""
        states = {row.state for row in self.site.subscriptions.all()}
        return states == {SubscriptionState.SUBSCRIBED}

    def wait_until_live(self, timeout: float) -> bool:
        """Wait until live events go their way, or for so many seconds."""
        since, until = timezone.now(), time.monotonic() + timeout
        while time.monotonic() < until:
            self.watch()
            status = self.site.statuses.first()
            is_connected = status and status.state == "connected" and status.heartbeat_at > since
            if is_connected and self.is_subscribed():
                return True
            time.sleep(0.1)
        return False

    def active_listener(self) -> int:
        """The process id of the active listener; of any, while there is none."""
        pids = self.listeners.pids
        active = ListenerProcess.objects.using(ALIAS).filter(role=ListenerRole.ACTIVE, pid__in=pids)
        newest = active.order_by("-heartbeat_at").first()
        return newest.pid if newest else pids[0]

    def is_replaced(self, pid: int) -> bool:
        """Whether another listener than this one is active."""
        others = [each for each in self.listeners.pids if each != pid]
        rows = ListenerProcess.objects.using(ALIAS).filter(pid__in=others)
        return rows.filter(role=ListenerRole.ACTIVE).exists()

    def stands_by(self, pid: int) -> bool:
        """Whether a listener waits for another one to go."""
        roles = ListenerProcess.objects.using(ALIAS).filter(pid=pid)
        return [each.role for each in roles] == [ListenerRole.STANDBY]

    def watch(self) -> None:
        """Restart what ended by itself, and remember that it did."""
        self.listeners.watch()
        if self.directus.server.pid is None:
            self.troubles.append("Directus ended by itself")
            self.directus.server.start()

    # The end

    def wait_until_settled(self, deadline: float) -> str:
        """Wait until nothing is under way in Directus, the log is read, and all is delivered.

        Returns:
            What is still missing after so many seconds; ``""`` if nothing.
        """
        until = time.monotonic() + deadline
        wait_for(self.directus.is_quiet, 60, "Directus to be quiet")
        since = timezone.now() + _CLOCK_SLACK
        while missing := self._missing(since):
            if time.monotonic() > until:
                return missing
            self.watch()
            time.sleep(0.25)
        return ""

    def _missing(self, since: datetime) -> str:
        """What the site has not done yet."""
        if not self.is_subscribed():
            return "not everything is subscribed"
        position = LogPosition.objects.using(ALIAS).first()
        if position is None or position.read_at is None or position.read_at < since:
            return f"log read at {position and position.read_at}, not after {since}"
        if waiting := self.site.inbox.exclude(state__in=FINAL).count():
            return f"{waiting} events of the inbox are not delivered"
        return ""

    def collect(self, writers: Writers, sampler: Sampler, since: int) -> Evidence:
        """Everything that is known; of the activity log, what came after a row."""
        connections[ALIAS].close()
        claims, gaps = read_gaps(self.folder)
        return Evidence(
            entries=writers.ledger.entries,
            activity=self.directus.activity(since),
            history=self.directus.history(),
            rows=self.directus.rows(),
            files=self.directus.files(),
            first_seen=sampler.first_seen,
            claims=[*sampler.claims, *claims],
            gaps=gaps,
            effects=[
                Effect(**values)
                for values in EffectRow.objects.using(ALIAS)
                .order_by("id")
                .values(*Effect.__dataclass_fields__)
            ],
            tallies={
                (row.subscription, row.key): row.count
                for row in ItemTally.objects.using(ALIAS).all()
            },
            inbox=[
                Stored(
                    str(row.event_id),
                    row.subscription,
                    row.key_json,
                    row.action,
                    row.state,
                    row.failures,
                    row.activity_id,
                    row.received_at.timestamp(),
                )
                for row in self.site.inbox.order_by("id")
            ],
            received=read_receivers(self.folder),
            troubles=[*self.troubles, *self.listeners.troubles, *writers.failures],
        )

    def write_changes(self, changes: int, seed: int) -> Writers:
        """Writers for this Directus, not started."""
        ledger = Ledger(self.folder / "ledger.jsonl")
        return Writers(self.directus, changes, seed, ledger)

    def sample(self, since: int) -> Sampler:
        """A sampler of what this site says, not started."""
        return Sampler(self.directus, self.site.env, since)
