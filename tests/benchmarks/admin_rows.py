"""A large inbox and many subscriptions, made by the database itself."""

from __future__ import annotations

from datetime import timedelta

from django.db import connection
from django.utils import timezone

from directus_realtime.models import DirectusSubscription, EventCount

_COLUMNS = """
    (event_id, connection, subscription, "group", collection, action, key_json, data_json,
     left_filter, origin, received_at, activity_id, state, attempts, failures, delivered,
     sent_at, done_at)
"""
# 50 collections; of 1,000 events one is caught up, of 5,000 one is a dead letter, and the
# payloads are of some 500 bytes.
_SQLITE = """
    WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < %s)
    INSERT INTO directus_realtime_inboxevent {columns}
    SELECT lower(hex(randomblob(16))), 'default', 's-' || (n %% 1000), '', 'c-' || (n %% 50),
        CASE n %% 3 WHEN 0 THEN 'create' WHEN 1 THEN 'update' ELSE 'delete' END,
        (n %% 200000) || '', '{{"title": "' || printf('%%.*c', 480, 'x') || '"}}', 0,
        CASE WHEN n %% 1000 = 0 THEN 'catch-up' ELSE 'live' END,
        datetime('now', '-' || (%s - n) || ' seconds'), n,
        CASE WHEN n %% 5000 = 0 THEN 'dead' ELSE 'done' END, 1,
        CASE WHEN n %% 5000 = 0 THEN %s ELSE '{{}}' END, '[]', datetime('now'), datetime('now')
    FROM numbers
"""
_POSTGRES = """
    INSERT INTO directus_realtime_inboxevent {columns}
    SELECT gen_random_uuid(), 'default', 's-' || (n %% 1000), '', 'c-' || (n %% 50),
        CASE n %% 3 WHEN 0 THEN 'create' WHEN 1 THEN 'update' ELSE 'delete' END,
        (n %% 200000) || '', '{{"title": "' || repeat('x', 480) || '"}}', false,
        CASE WHEN n %% 1000 = 0 THEN 'catch-up' ELSE 'live' END,
        now() - (%s - n) * interval '1 second', n,
        CASE WHEN n %% 5000 = 0 THEN 'dead' ELSE 'done' END, 1,
        CASE WHEN n %% 5000 = 0 THEN %s::jsonb ELSE '{{}}'::jsonb END, '[]'::jsonb, now(), now()
    FROM generate_series(1, %s) AS n
"""
_FAILURES = (
    '{"app.receiver": {"receiver": "app.receiver", "error": "ValueError: no", '
    '"traceback": "Traceback"}}'
)


def fill_inbox(rows: int) -> None:
    """Make so many rows, one a second, the last one now."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(_SQLITE.format(columns=_COLUMNS), [rows, rows, _FAILURES])
        else:
            cursor.execute(_POSTGRES.format(columns=_COLUMNS), [rows, _FAILURES, rows])
            cursor.execute("ANALYZE directus_realtime_inboxevent")


def fill_subscriptions(number: int) -> None:
    """Make so many subscriptions, each with an event in each minute of the last hour."""
    DirectusSubscription.objects.bulk_create(
        DirectusSubscription(name=f"s-{n}", collection=f"c-{n % 50}", state="subscribed")
        for n in range(number)
    )
    now = timezone.now().replace(second=0, microsecond=0)
    EventCount.objects.bulk_create(
        (
            EventCount(
                subscription=f"s-{n}",
                connection="default",
                minute=now - timedelta(minutes=minute),
                events=n % 7,
            )
            for n in range(number)
            for minute in range(60)
        ),
        batch_size=5000,
    )
