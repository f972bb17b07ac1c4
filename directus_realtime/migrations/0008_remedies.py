"""Keys of matched items, deletes of loads, and the ids of the log that were given up."""

from __future__ import annotations

from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import Value
from django.db.models.functions import Concat, Substr


def read_again(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Have the matched items read again, since only their digests are known; none is wrong."""
    rows = apps.get_model("directus_realtime", "DirectusSubscription").objects
    known = rows.using(schema_editor.connection.alias).exclude(matched_of="")
    incomplete = Concat(Value("+"), Substr("matched_of", 1, 63))
    known.exclude(matched_of__startswith="+").update(matched_of=incomplete)


class Migration(migrations.Migration):
    dependencies = [("directus_realtime", "0007_follow_the_log")]

    operations = [
        migrations.AddField(
            "DirectusSubscription",
            "snapshot_deleted",
            models.PositiveIntegerField(default=0, editable=False, verbose_name="gone"),
        ),
        migrations.AddField("MatchedItem", "key_json", models.TextField(blank=True, default="")),
        migrations.RunPython(read_again, migrations.RunPython.noop),
        migrations.AddField(
            "LogPosition", "dropped_ranges", models.JSONField(blank=True, default=list)
        ),
    ]
