"""The tables: subscriptions, the inbox, and the state of connections and listeners."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, ClassVar, TypeVar

from django.apps import apps
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models, router
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from directus_realtime.events import Event, Key
from directus_realtime.groups import is_legal_group_name
from directus_realtime.protocol.messages import ACTIONS, Action
from directus_realtime.protocol.queries import Query, check_filter
from directus_realtime.settings import DEFAULT_ALIAS, aliases
from directus_realtime.subscriptions import is_permission_name
from directus_realtime.utils.json_parser import parse_json

#: Age of the last heartbeat at which a listener counts as dead.
HEARTBEAT_LIMIT = timedelta(seconds=5)
#: Beginning of ``snapshot_of`` while a load that was requested is not complete.
LOAD_AGAIN = "again"

M = TypeVar("M", bound=models.Model)


class WriteDatabaseManager(models.Manager[M]):
    """Manager that reads from the database for writes.

    A replica may lag behind, and leases, inbox and positions are compared with recent writes.
    """

    def get_queryset(self) -> models.QuerySet[M]:
        """All rows, in the database that a router chooses for writes."""
        rows = super().get_queryset()
        return rows if self._db else rows.using(router.db_for_write(self.model))


class _StoredModel(models.Model):
    """Base of the tables."""

    objects = WriteDatabaseManager()

    class Meta:
        abstract = True


class _ConnectionModel(_StoredModel):
    """Base of the tables with one row for each connection."""

    alias = models.CharField(_("connection"), max_length=40, primary_key=True)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.alias


class SubscriptionState(models.TextChoices):
    """State of a subscription, written by the listener."""

    WAITING = "waiting", _("waiting")
    SUBSCRIBED = "subscribed", _("subscribed")
    REFUSED = "refused", _("refused")


class DebounceBy(models.TextChoices):
    """Scope of a debounce window."""

    ITEM = "item", _("each item")
    SUBSCRIPTION = "subscription", _("the subscription as a whole")


class BrowserAccess(models.TextChoices):
    """Browsers that may subscribe through the gateway."""

    NOBODY = "nobody", _("nobody")
    PUBLIC = "public", _("everybody")
    SIGNED_IN = "signed_in", _("users who are signed in")
    PERMISSION = "permission", _("users with a permission")
    FUNCTION = "function", _("as a function in code decides")


class SubscriptionManager(WriteDatabaseManager["DirectusSubscription"]):
    """Manager of the subscriptions."""

    def followed(self) -> models.QuerySet[DirectusSubscription]:
        """The rows that a listener follows: enabled, and not orphaned."""
        return self.filter(enabled=True, orphaned_at=None)

    def get_by_natural_key(self, name: str) -> DirectusSubscription:
        """The subscription with a name, for ``loaddata``."""
        return self.get(name=name)


class DirectusSubscription(_StoredModel):
    """A subscription: a collection with actions, a filter and fields."""

    name = models.CharField(_("name"), max_length=100, unique=True)
    connection = models.CharField(
        _("connection"),
        max_length=40,
        default=DEFAULT_ALIAS,
        help_text=_("A key of the setting DIRECTUS_REALTIME."),
    )
    collection = models.CharField(
        _("collection"), max_length=100, help_text=_("Such as articles or directus_users.")
    )
    on_create = models.BooleanField(_("on create"), default=True)
    on_update = models.BooleanField(_("on update"), default=True)
    on_delete = models.BooleanField(
        _("on delete"),
        default=True,
        help_text=_("Directus sends the deletes of all items, whatever the filter says."),
    )
    filter = models.JSONField(
        _("filter"),
        default=dict,
        blank=True,
        help_text=_('A Directus filter such as {"status": {"_eq": "published"}}; {} for all.'),
    )
    fields = models.JSONField(
        _("fields"),
        default=list,
        blank=True,
        help_text=_('Such as ["title", "author.name"]; [] for all of the item\'s own.'),
    )
    item = models.CharField(
        _("item"),
        max_length=255,
        blank=True,
        help_text=_("Only the item with this primary key."),
    )
    group = models.CharField(
        _("group"),
        max_length=99,
        blank=True,
        help_text=_("Own Channels group, instead of the collection's."),
    )
    snapshot = models.BooleanField(
        _("first load"),
        default=False,
        help_text=_(
            "Deliver all items that match once, as updates with the origin “snapshot”, "
            "and again whenever the collection, the filter or the fields change."
        ),
    )
    debounce = models.FloatField(
        _("debounce"),
        default=0,
        validators=[MinValueValidator(0), MaxValueValidator(3600)],
        help_text=_(
            "Seconds; of the changes within them, only the last state of each item is "
            "delivered. 0 delivers every change."
        ),
    )
    debounce_by = models.CharField(
        _("debounce by"), max_length=20, choices=DebounceBy.choices, default=DebounceBy.ITEM
    )
    browser_access = models.CharField(
        _("browsers"),
        max_length=10,
        choices=BrowserAccess.choices,
        default=BrowserAccess.NOBODY,
        help_text=_("Whose browsers may subscribe to it through the gateway."),
    )
    browser_permission = models.CharField(
        _("permission"),
        max_length=200,
        blank=True,
        help_text=_("Such as articles.view_article; for users with a permission."),
    )
    browser_first_load = models.PositiveIntegerField(
        _("first load of browsers"),
        default=0,
        help_text=_("So many items, the newest, are sent when a browser subscribes; 0 for none."),
    )
    enabled = models.BooleanField(_("enabled"), default=True)
    declared_in = models.CharField(_("declared in"), max_length=200, blank=True, editable=False)
    # When the listener found that its declaration is missing; it is not followed since then.
    orphaned_at = models.DateTimeField(_("not declared since"), null=True, editable=False)

    state = models.CharField(
        _("state"),
        max_length=20,
        choices=SubscriptionState.choices,
        default=SubscriptionState.WAITING,
        editable=False,
    )
    last_error = models.TextField(_("last error"), blank=True, editable=False)
    last_event_at = models.DateTimeField(_("last event"), null=True, blank=True, editable=False)
    event_count = models.PositiveBigIntegerField(_("events"), default=0, editable=False)
    # Digest of the query whose snapshot was loaded; empty until a snapshot is complete. Of a
    # requested load, LOAD_AGAIN and the id of the request.
    snapshot_of = models.CharField(max_length=64, blank=True, editable=False)
    snapshot_done = models.PositiveIntegerField(_("loaded"), default=0, editable=False)
    snapshot_total = models.PositiveIntegerField(_("to load"), default=0, editable=False)
    # Items that the last requested load reported as deleted.
    snapshot_deleted = models.PositiveIntegerField(_("gone"), default=0, editable=False)
    # Top of the activity log when the subscription began to follow it; null before that.
    followed_from = models.BigIntegerField(null=True, blank=True, editable=False)
    # Connection and collection at that time; the position is invalid for others.
    followed_in = models.CharField(max_length=150, blank=True, editable=False)
    # Ranges of ids of the activity log, [first, last or null], whose items could not be read
    # for this subscription while it was refused.
    unread = models.JSONField(default=list, blank=True, editable=False)
    # Digest of the query that the matched items belong to; empty where they are incomplete. With
    # a plus before it, the known ones are right, but some may be missing.
    matched_of = models.CharField(max_length=64, blank=True, editable=False)

    objects: ClassVar[SubscriptionManager] = SubscriptionManager()

    class Meta:
        verbose_name = _("subscription")
        verbose_name_plural = _("subscriptions")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def actions(self) -> tuple[Action, ...]:
        """The chosen actions."""
        wanted = {"create": self.on_create, "update": self.on_update, "delete": self.on_delete}
        return tuple(action for action in ACTIONS if wanted[action])

    def natural_key(self) -> tuple[str]:
        """Its name, for ``dumpdata --natural-primary --natural-foreign``."""
        return (self.name,)

    def hold_place(self, position: LogPosition | None) -> None:
        """Keep the place in the log while nothing is read for the subscription.

        Args:
            position: Present position of its connection; ``None`` where there is none.
        """
        is_held = any(last is None for _first, last in self.unread)
        if position is not None and self.followed_from is not None and not is_held:
            self.unread = [*self.unread, *position.unread]

    def to_query(self) -> Query:
        """The query for Directus."""
        return Query(
            collection=self.collection,
            events=self.actions,
            filter=self.filter,
            fields=tuple(self.fields),
            item=self.item or None,
        )

    def clean(self) -> None:
        """Validate all fields."""
        _raise_errors({**dict(self._query_errors()), **dict(self._browser_errors())})

    def clean_query(self) -> None:
        """Validate the query alone, without the access of browsers."""
        _raise_errors(dict(self._query_errors()))

    def _query_errors(self) -> Iterator[tuple[str, Any]]:
        if self.connection not in aliases():
            text = _(
                "There is no connection “%(name)s” in DIRECTUS_REALTIME. Configured: %(known)s."
            )
            known = ", ".join(aliases()) or "–"
            yield "connection", text % {"name": self.connection, "known": known}
        # Or requests with the token of the connection could have other targets than its items.
        if self.collection in {".", ".."} or {"/", "\\"} & set(self.collection):
            yield "collection", _("Write the name of the collection alone, without a path.")
        if not self.actions:
            yield "on_create", _("Choose at least one action.")
        try:
            check_filter(self.filter)
        except ValueError as error:
            yield "filter", str(error)
        fields = self.fields
        if not isinstance(fields, list) or not all(isinstance(f, str) and f for f in fields):
            yield "fields", _('Fields must be a list of names such as ["title", "author.name"].')
        if self.group and not is_legal_group_name(self.group):
            text = _(
                "Use fewer than 100 letters, digits, hyphens, underscores and dots "
                "(Channels allows no others)."
            )
            yield "group", text

    def _browser_errors(self) -> Iterator[tuple[str, Any]]:
        if self.declared_in:
            return
        if self.browser_access == BrowserAccess.FUNCTION:
            text = _("Only a subscription that is declared in code can have a function decide.")
            yield "browser_access", text
        if self.browser_access == BrowserAccess.PERMISSION:
            name = self.browser_permission
            if not is_permission_name(name):
                text = _("Write the permission as application.codename: articles.view_article.")
                yield "browser_permission", text
            elif not _is_known_permission(name):
                text = _("There is no permission “%(name)s”.")
                yield "browser_permission", text % {"name": name}


def _raise_errors(errors: dict[str, Any]) -> None:
    if errors:
        raise ValidationError(errors)


def _is_known_permission(name: str) -> bool:
    """Whether a permission exists; ``True`` where ``django.contrib.auth`` is not installed."""
    if not apps.is_installed("django.contrib.auth"):
        return True
    app_label, codename = name.split(".", 1)
    permissions = apps.get_model("auth", "Permission")._default_manager
    return permissions.filter(content_type__app_label=app_label, codename=codename).exists()


class MatchedItem(_StoredModel):
    """An item that matched the filter of a subscription when it was last read.

    Directus does not report an item that leaves the filter, and sends deletes of items that never
    matched.
    """

    subscription = models.ForeignKey(
        DirectusSubscription, on_delete=models.CASCADE, related_name="matched_items"
    )
    # Digest of the key, which may be long, or differ from another one in case only, which
    # MariaDB ignores.
    digest = models.CharField(max_length=64)
    # Empty where an earlier version stored the digest alone.
    key_json = models.TextField(blank=True, default="")

    class Meta:
        verbose_name = _("matched item")
        verbose_name_plural = _("matched items")
        constraints = [
            models.UniqueConstraint(
                fields=["subscription", "digest"], name="directus_matched_item_once"
            )
        ]

    def __str__(self) -> str:
        return self.digest


class InboxState(models.TextChoices):
    """State of the delivery of an event."""

    PENDING = "pending", _("pending")
    HELD = "held", _("held back")
    DELIVERING = "delivering", _("with a worker")
    FAILED = "failed", _("waiting for the next try")
    DEAD = "dead", _("dead letter")
    HANDLED = "handled", _("handled by a person")
    DONE = "done", _("done")
    MERGED = "merged", _("merged into another")


def key_as_json(key: Key) -> str:
    """The stored form of a key."""
    return json.dumps(key)


class InboxEvent(_StoredModel):
    """A received event; it is stored before its delivery."""

    event_id = models.UUIDField(_("event id"), unique=True)
    connection = models.CharField(_("connection"), max_length=40)
    subscription = models.CharField(_("subscription"), max_length=100)
    group = models.CharField(_("group"), max_length=99, blank=True)
    collection = models.CharField(_("collection"), max_length=100)
    action = models.CharField(_("action"), max_length=10)
    # JSON as plain ASCII text: it keeps the type of the key, and characters that a JSON column
    # refuses (NUL on PostgreSQL, half a surrogate pair anywhere).
    key_json = models.TextField(_("key"))
    data_json = models.TextField(_("data"), blank=True)
    left_filter = models.BooleanField(_("left the filter"), default=False)
    origin = models.CharField(_("origin"), max_length=10)
    received_at = models.DateTimeField(_("received"))
    activity_id = models.BigIntegerField(_("activity id"), null=True, blank=True)
    changed_at = models.DateTimeField(_("changed"), null=True, blank=True)
    changed_by = models.CharField(_("changed by"), max_length=36, blank=True)

    state = models.CharField(
        _("state"), max_length=10, choices=InboxState.choices, default=InboxState.PENDING
    )
    attempts = models.PositiveIntegerField(_("attempts"), default=0)
    next_attempt_at = models.DateTimeField(_("next attempt"), null=True, blank=True)
    failures = models.JSONField(_("failures"), default=dict, blank=True)
    # Names of the receivers that have succeeded, while others have not.
    delivered = models.JSONField(_("delivered to"), default=list, blank=True)
    sent_at = models.DateTimeField(_("sent to groups"), null=True, blank=True)
    done_at = models.DateTimeField(_("done"), null=True, blank=True)

    class Meta:
        verbose_name = _("inbox event")
        verbose_name_plural = _("inbox events")
        ordering = ["-id"]
        permissions = [
            ("retry_inboxevent", "Can retry inbox events, or mark them as handled"),
            ("replay_inboxevent", "Can replay changes from the activity log"),
        ]
        # Each index serves queries that run all the time. Rare queries of users have none: the
        # list in the admin searches a part of the table at a time. An index by key, or by
        # collection, cost a fifth more CPU for each event on SQLite.
        indexes = [
            # delivery: the oldest pending events; status: numbers of events by state
            models.Index(fields=["state", "id"], name="directus_inbox_state"),
            # the channel layer: new events of a connection; prune: its oldest events
            models.Index(fields=["connection", "id"], name="directus_inbox_follow"),
            # delivery: the failed events whose next attempt is due
            models.Index(fields=["state", "next_attempt_at"], name="directus_inbox_retry"),
        ]

    def __str__(self) -> str:
        return f"{self.collection} {self.key_json} {self.action}"

    @classmethod
    def from_event(cls, event: Event, group: str = "") -> InboxEvent:
        """Return an unsaved row."""
        return cls(
            event_id=uuid.UUID(event.id),
            connection=event.connection,
            subscription=event.subscription,
            group=group,
            collection=event.collection,
            action=event.action,
            key_json=key_as_json(event.key),
            data_json="" if event.data is None else json.dumps(event.data),
            origin=event.origin,
            received_at=event.received_at,
            activity_id=event.activity_id,
            changed_at=event.changed_at,
            changed_by=event.changed_by or "",
            left_filter=event.left_filter,
        )

    @property
    def key(self) -> Key:
        """The primary key of the item, with the type of the column."""
        return parse_json(self.key_json)  # type: ignore[no-any-return]

    def to_event(self) -> Event:
        """Return the event for receivers."""
        return Event(
            id=str(self.event_id),
            connection=self.connection,
            subscription=self.subscription,
            collection=self.collection,
            action=self.action,  # type: ignore[arg-type]
            key=self.key,
            data=parse_json(self.data_json) if self.data_json else None,
            origin=self.origin,  # type: ignore[arg-type]
            received_at=self.received_at,
            activity_id=self.activity_id,
            changed_at=self.changed_at,
            changed_by=self.changed_by or None,
            left_filter=self.left_filter,
        )


class EventCount(_StoredModel):
    """Number of events of a subscription in one minute; kept for some hours."""

    subscription = models.CharField(_("subscription"), max_length=100)
    connection = models.CharField(_("connection"), max_length=40)
    minute = models.DateTimeField(_("minute"))
    events = models.PositiveIntegerField(_("events"), default=0)

    class Meta:
        verbose_name = _("event count")
        verbose_name_plural = _("event counts")
        default_permissions = ()
        constraints = [
            # Also the index for the charts of the last hour.
            models.UniqueConstraint(
                fields=["minute", "subscription"], name="directus_event_count_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.subscription} {self.minute:%Y-%m-%d %H:%M}: {self.events}"


class ConnectionStatus(_ConnectionModel):
    """State of a connection, written by its listener every two seconds."""

    state = models.CharField(_("state"), max_length=20)
    reason = models.TextField(_("reason"), blank=True)
    changed_at = models.DateTimeField(_("since"))
    url = models.CharField(_("URL"), max_length=500, blank=True)
    version = models.CharField(_("version"), max_length=40, blank=True)
    identity = models.CharField(_("identity"), max_length=255, blank=True)
    errors = models.PositiveIntegerField(
        _("errors"),
        default=0,
        help_text=_("Frames and events that came to grief since the listener was started."),
    )
    heartbeat_at = models.DateTimeField(_("heartbeat"))
    socket_problem = models.TextField(
        _("problem of the socket"),
        blank=True,
        help_text=_("Why the WebSocket does not announce changes; empty where it does."),
    )
    door_problem = models.TextField(
        _("problem of the door"),
        blank=True,
        help_text=_("Why the door does not announce changes; empty where it does."),
    )
    complete_until = models.DateTimeField(
        _("complete until"),
        null=True,
        blank=True,
        help_text=_(
            "Up to this moment nothing is unaccounted for: Directus was heard, or the gap was "
            "announced."
        ),
    )

    class Meta:
        verbose_name = _("connection")
        verbose_name_plural = _("connections")

    @property
    def has_listener(self) -> bool:
        """Whether the heartbeat is recent; otherwise the state is out of date."""
        return timezone.now() - self.heartbeat_at < HEARTBEAT_LIMIT

    @property
    def current_state(self) -> str:
        """The current state: ``disconnected`` where no listener runs."""
        return self.state if self.has_listener else "disconnected"

    @property
    def current_reason(self) -> str:
        """The reason of the current state, as a sentence."""
        if self.has_listener:
            return self.reason
        return gettext("No listener is running. Start it: python manage.py directus_listen")


class Live(ConnectionStatus):
    """Proxy that gives the page “Directus live” its place in the index of the admin."""

    class Meta:
        proxy = True
        default_permissions = ()
        verbose_name = _("Directus live")
        verbose_name_plural = _("Directus live")


class LogPosition(_ConnectionModel):
    """Position in the activity log of a connection, and its last gap."""

    # Highest id that was read; null before the first read.
    top = models.BigIntegerField(null=True, blank=True)
    # Ranges of ids below the top that were not visible: [first, last, seconds since 1970 when
    # the range was first seen]. Transactions that are still open may fill them.
    holes = models.JSONField(default=list, blank=True)
    # The last rows that were read, as [id, timestamp]; they identify the log.
    anchors = models.JSONField(default=list, blank=True)
    dropped = models.PositiveBigIntegerField(
        _("dropped ids"),
        default=0,
        help_text=_("Ids of the activity log that never became visible, and are given up."),
    )
    # The last ranges that were dropped: [first, last, seconds since 1970 when].
    dropped_ranges = models.JSONField(default=list, blank=True)
    problem = models.TextField(_("problem"), blank=True)
    rows_done = models.PositiveBigIntegerField(_("rows read"), default=0)
    rows_total = models.PositiveBigIntegerField(_("rows to read"), default=0)
    read_at = models.DateTimeField(_("log read"), null=True, blank=True)
    gap_since = models.DateTimeField(_("last gap since"), null=True, blank=True)
    gap_until = models.DateTimeField(_("last gap until"), null=True, blank=True)
    gap_recovered = models.BooleanField(_("last gap recovered"), null=True, blank=True)
    gap_reason = models.TextField(_("reason of the last gap"), blank=True)
    gap_collections = models.JSONField(_("collections of the last gap"), default=list, blank=True)
    gap_acknowledged_at = models.DateTimeField(_("last gap acknowledged"), null=True, blank=True)

    class Meta:
        verbose_name = _("position in the activity log")
        verbose_name_plural = _("positions in the activity log")

    @property
    def unread(self) -> list[list[int | None]]:
        """Ranges of ids that are not read yet, as first and last; ``None`` for no end."""
        if self.top is None:
            return []
        holes: list[list[int | None]] = [[int(first), int(last)] for first, last, _at in self.holes]
        return [*holes, [self.top + 1, None]]

    def acknowledge_gap(self) -> bool:
        """Acknowledge the last gap.

        Returns:
            ``False`` for a gap that is recovered, acknowledged already, or replaced by a newer
            one.
        """
        gap = LogPosition.objects.filter(
            pk=self.pk,
            gap_since=self.gap_since,
            gap_recovered=False,
            gap_acknowledged_at=None,
        )
        return bool(gap.update(gap_acknowledged_at=timezone.now()))


class ParkedState(models.TextChoices):
    """State of a change whose item was not found."""

    PARKED = "parked", _("parked")
    UNEXPLAINED = "unexplained", _("unexplained")


class ParkedChange(_StoredModel):
    """A logged change whose item was not found, and whose delete is not in the log.

    Directus gives the same answer for missing and forbidden items, so *not found* does not mean
    *deleted*.
    """

    connection = models.CharField(_("connection"), max_length=40)
    subscription = models.ForeignKey(
        DirectusSubscription, on_delete=models.CASCADE, related_name="parked_changes"
    )
    activity_id = models.BigIntegerField(_("activity id"))
    collection = models.CharField(_("collection"), max_length=100)
    key_json = models.TextField(_("key"))
    action = models.CharField(_("action"), max_length=10)
    changed_at = models.DateTimeField(_("changed"))
    changed_by = models.CharField(_("changed by"), max_length=36, blank=True)
    parked_at = models.DateTimeField(_("parked"))
    state = models.CharField(
        _("state"), max_length=12, choices=ParkedState.choices, default=ParkedState.PARKED
    )
    reason = models.TextField(_("reason"), blank=True)

    class Meta:
        verbose_name = _("parked change")
        verbose_name_plural = _("parked changes")
        default_permissions = ("view", "delete")
        constraints = [
            models.UniqueConstraint(
                fields=["subscription", "activity_id"], name="directus_parked_once"
            )
        ]
        indexes = [models.Index(fields=["connection", "state"], name="directus_parked_state")]

    def __str__(self) -> str:
        return f"{self.collection} {self.key_json} {self.action}"


class DoorRing(_ConnectionModel):
    """Rings of a connection's door, counted by the web processes; the listener polls the number."""

    rings = models.PositiveBigIntegerField(_("rings"), default=0)
    rung_at = models.DateTimeField(_("last rung"))
    event = models.CharField(_("event"), max_length=100)
    collection = models.CharField(_("collection"), max_length=100)

    class Meta:
        verbose_name = _("rings of the door")
        verbose_name_plural = _("rings of the doors")
        default_permissions = ()


class ListenerLease(_ConnectionModel):
    """The lease of a connection. Its fencing token grows with each change of the holder."""

    holder = models.UUIDField(_("holder"), null=True, blank=True)
    token = models.PositiveBigIntegerField(_("fencing token"), default=0)
    # Grows with each renewal; a standby takes over when it stops growing. So the clocks of the
    # machines need not agree.
    beat = models.PositiveBigIntegerField(default=0)

    class Meta:
        verbose_name = _("lease")
        verbose_name_plural = _("leases")


class ListenerRole(models.TextChoices):
    """Role of a listener."""

    ACTIVE = "active", _("active")
    STANDBY = "standby", _("standing by")


class ListenerProcess(_StoredModel):
    """One process of ``directus_listen``, written by itself every two seconds."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    host = models.CharField(_("host"), max_length=255)
    pid = models.PositiveIntegerField(_("process id"))
    aliases = models.JSONField(_("connections"), default=list)
    role = models.CharField(_("role"), max_length=10, choices=ListenerRole.choices)
    started_at = models.DateTimeField(_("started"))
    heartbeat_at = models.DateTimeField(_("heartbeat"))
    # By connection, why a standby could not take it over.
    problems = models.JSONField(_("problems"), default=dict, blank=True)

    class Meta:
        verbose_name = _("listener")
        verbose_name_plural = _("listeners")

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"

    @property
    def is_alive(self) -> bool:
        """Whether the heartbeat is recent; a process that was killed leaves its row behind."""
        return timezone.now() - self.heartbeat_at < HEARTBEAT_LIMIT
