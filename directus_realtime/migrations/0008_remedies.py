"""Keys of matched items, deletes of loads, and the ids of the log that were given up."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("directus_realtime", "0007_follow_the_log")]

    operations = [
        migrations.AddField(
            "DirectusSubscription",
            "snapshot_deleted",
            models.PositiveIntegerField(default=0, editable=False, verbose_name="gone"),
        ),
        migrations.AddField("MatchedItem", "key_json", models.TextField(blank=True, default="")),
        migrations.AddField(
            "LogPosition", "dropped_ranges", models.JSONField(blank=True, default=list)
        ),
    ]
