"""A large inbox, made by the database itself."""

from __future__ import annotations

from django.db import connection

_COLUMNS = """
    (event_id, connection, subscription, "group", collection, action, key_json, data_json,
     left_filter, origin, received_at, activity_id, changed_by, state, attempts, failures,
     delivered, sent_at, done_at)
"""
# 50 collections; of 1,000 events one is caught up, of 5,000 one is a dead letter, and the
# payloads are of some 500 bytes.
_SQLITE = """
    WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < %s)
    INSERT INTO directus_realtime_inboxevent {columns}
    SELECT lower(hex(randomblob(16))), 'default', {subscription}, '', 'collection_' || (n %% 50),
        CASE n %% 3 WHEN 0 THEN 'create' WHEN 1 THEN 'update' ELSE 'delete' END,
        (n %% 200000) || '', '{{"title": "' || printf('%%.*c', 480, 'x') || '"}}', 0,
        CASE WHEN n %% 1000 = 0 THEN 'catch-up' ELSE 'live' END,
        datetime('now', '-' || (%s - n) || ' seconds'), n, '',
        CASE WHEN n %% 5000 = 0 THEN 'dead' ELSE 'done' END, 1,
        CASE WHEN n %% 5000 = 0 THEN %s ELSE '{{}}' END, '[]', datetime('now'), datetime('now')
    FROM numbers
"""
_POSTGRES = """
    INSERT INTO directus_realtime_inboxevent {columns}
    SELECT gen_random_uuid(), 'default', {subscription}, '', 'collection_' || (n %% 50),
        CASE n %% 3 WHEN 0 THEN 'create' WHEN 1 THEN 'update' ELSE 'delete' END,
        (n %% 200000) || '', '{{"title": "' || repeat('x', 480) || '"}}', false,
        CASE WHEN n %% 1000 = 0 THEN 'catch-up' ELSE 'live' END,
        now() - (%s - n) * interval '1 second', n, '',
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
            name = "printf('subscription-%%04d', n %% 1000)"
            cursor.execute(
                _SQLITE.format(columns=_COLUMNS, subscription=name), [rows, rows, _FAILURES]
            )
        else:
            name = "'subscription-' || lpad((n %% 1000)::text, 4, '0')"
            cursor.execute(
                _POSTGRES.format(columns=_COLUMNS, subscription=name), [rows, _FAILURES, rows]
            )
            cursor.execute("ANALYZE directus_realtime_inboxevent")
