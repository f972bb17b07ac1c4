from __future__ import annotations

from typing import Any

from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import Value
from django.db.models.functions import SHA256, Concat, Substr

#: Keys of which no two differ in case only: numbers, and UUIDs as databases write them.
_PLAIN = r"^([0-9]+|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$"


class Digest(SHA256):
    """Of the text as UTF-8, and on PostgreSQL without its extension pgcrypto."""

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "ENCODE(SHA256(CONVERT_TO(%(expressions)s, 'UTF8')), 'hex')"
        return self.as_sql(compiler, connection, template=template, **context)

    def as_mysql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "SHA2(CONVERT(%(expressions)s USING utf8mb4), 256)"
        return self.as_sql(compiler, connection, template=template, **context)


def carry_over(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """What is remembered stays: an item that leaves its filter meanwhile is told only of it.

    Where keys are texts, some may be missing, as their database took them for others, or were
    cut; there the items are read again, on top of what is known.
    """
    alias = schema_editor.connection.alias
    rows = apps.get_model("directus_realtime", "MatchedItem").objects.using(alias)
    rows.update(digest=Digest("key"))
    of_texts = rows.exclude(key__regex=_PLAIN).values("subscription_id")  # type: ignore[misc]
    subscriptions = apps.get_model("directus_realtime", "DirectusSubscription").objects
    subscriptions.using(alias).filter(pk__in=of_texts).exclude(matched_of="").update(
        matched_of=Concat(Value("+"), Substr("matched_of", 1, 63))
    )


def forget(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """No key can be had of its digest; the items are read again."""
    alias = schema_editor.connection.alias
    apps.get_model("directus_realtime", "MatchedItem").objects.using(alias).all().delete()
    subscriptions = apps.get_model("directus_realtime", "DirectusSubscription").objects
    subscriptions.using(alias).update(matched_of="")


class Migration(migrations.Migration):
    dependencies = [
        ("directus_realtime", "0005_complete_until"),
    ]

    operations = [
        migrations.AddField(
            model_name="matcheditem",
            name="digest",
            field=models.CharField(default="", max_length=64),
            preserve_default=False,
        ),
        migrations.RunPython(carry_over, migrations.RunPython.noop),
        migrations.RemoveConstraint(
            model_name="matcheditem",
            name="directus_matched_item_once",
        ),
        migrations.RemoveField(
            model_name="matcheditem",
            name="key",
        ),
        migrations.AddConstraint(
            model_name="matcheditem",
            constraint=models.UniqueConstraint(
                fields=("subscription", "digest"), name="directus_matched_item_once"
            ),
        ),
        # The last, so that it is the first where the migration is undone.
        migrations.RunPython(migrations.RunPython.noop, forget),
    ]
