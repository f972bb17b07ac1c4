"""One position in the activity log for each connection; changes whose item was not found."""

from __future__ import annotations

import django.db.models.deletion
from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import Value
from django.db.models.functions import Concat


def deliver_waiting(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Release the events that an earlier version held back for its catch-up."""
    rows = apps.get_model("directus_realtime", "InboxEvent").objects
    rows.using(schema_editor.connection.alias).filter(state="waiting").update(state="pending")


def name_place(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Note of the subscriptions that have a place in a log in which log that is."""
    rows = apps.get_model("directus_realtime", "DirectusSubscription").objects
    begun = rows.using(schema_editor.connection.alias).exclude(followed_from=None)
    begun.update(followed_in=Concat("connection", Value("/"), "collection"))


class Migration(migrations.Migration):
    dependencies = [("directus_realtime", "0006_digests_of_matched_items")]

    operations = [
        migrations.RunPython(deliver_waiting, migrations.RunPython.noop),
        migrations.RenameModel("ActivityCursor", "LogPosition"),
        migrations.RenameField("LogPosition", "position", "top"),
        migrations.RenameField("LogPosition", "caught_up_at", "read_at"),
        migrations.RemoveField("LogPosition", "position_at"),
        migrations.RenameField("DirectusSubscription", "caught_up_to", "followed_from"),
        migrations.AddField(
            "DirectusSubscription",
            "followed_in",
            models.CharField(blank=True, default="", editable=False, max_length=150),
            preserve_default=False,
        ),
        migrations.RunPython(name_place, migrations.RunPython.noop),
        migrations.RemoveIndex("InboxEvent", "directus_inbox_activity"),
        migrations.AlterModelOptions(
            name="logposition",
            options={
                "verbose_name": "position in the activity log",
                "verbose_name_plural": "positions in the activity log",
            },
        ),
        migrations.AddField(
            model_name="connectionstatus",
            name="socket_problem",
            field=models.TextField(
                blank=True,
                help_text="Why the WebSocket does not announce changes; empty where it does.",
                verbose_name="problem of the socket",
            ),
        ),
        migrations.AddField(
            model_name="directussubscription",
            name="unread",
            field=models.JSONField(blank=True, default=list, editable=False),
        ),
        migrations.AddField(
            model_name="inboxevent",
            name="changed_at",
            field=models.DateTimeField(blank=True, null=True, verbose_name="changed"),
        ),
        migrations.AddField(
            model_name="inboxevent",
            name="changed_by",
            field=models.CharField(blank=True, max_length=36, verbose_name="changed by"),
        ),
        migrations.AddField(
            model_name="listenerprocess",
            name="problems",
            field=models.JSONField(blank=True, default=dict, verbose_name="problems"),
        ),
        migrations.AddField(
            model_name="logposition",
            name="anchors",
            field=models.JSONField(blank=True, default=list),
        ),
        migrations.AddField(
            model_name="logposition",
            name="dropped",
            field=models.PositiveBigIntegerField(
                default=0,
                help_text="Ids of the activity log that never became visible, and are given up.",
                verbose_name="dropped ids",
            ),
        ),
        migrations.AddField(
            model_name="logposition",
            name="gap_acknowledged_at",
            field=models.DateTimeField(blank=True, null=True, verbose_name="last gap acknowledged"),
        ),
        migrations.AddField(
            model_name="logposition",
            name="gap_collections",
            field=models.JSONField(
                blank=True, default=list, verbose_name="collections of the last gap"
            ),
        ),
        migrations.AddField(
            model_name="logposition",
            name="gap_reason",
            field=models.TextField(blank=True, verbose_name="reason of the last gap"),
        ),
        migrations.AddField(
            model_name="logposition",
            name="holes",
            field=models.JSONField(blank=True, default=list),
        ),
        migrations.AlterField(
            model_name="inboxevent",
            name="state",
            field=models.CharField(
                choices=[
                    ("pending", "pending"),
                    ("held", "held back"),
                    ("delivering", "with a worker"),
                    ("failed", "waiting for the next try"),
                    ("dead", "dead letter"),
                    ("handled", "handled by a person"),
                    ("done", "done"),
                    ("merged", "merged into another"),
                ],
                default="pending",
                max_length=10,
                verbose_name="state",
            ),
        ),
        migrations.AlterField(
            model_name="logposition",
            name="read_at",
            field=models.DateTimeField(blank=True, null=True, verbose_name="log read"),
        ),
        migrations.CreateModel(
            name="ParkedChange",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("connection", models.CharField(max_length=40, verbose_name="connection")),
                ("activity_id", models.BigIntegerField(verbose_name="activity id")),
                ("collection", models.CharField(max_length=100, verbose_name="collection")),
                ("key_json", models.TextField(verbose_name="key")),
                ("action", models.CharField(max_length=10, verbose_name="action")),
                ("changed_at", models.DateTimeField(verbose_name="changed")),
                (
                    "changed_by",
                    models.CharField(blank=True, max_length=36, verbose_name="changed by"),
                ),
                ("parked_at", models.DateTimeField(verbose_name="parked")),
                (
                    "state",
                    models.CharField(
                        choices=[("parked", "parked"), ("unexplained", "unexplained")],
                        default="parked",
                        max_length=12,
                        verbose_name="state",
                    ),
                ),
                ("reason", models.TextField(blank=True, verbose_name="reason")),
                (
                    "subscription",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="parked_changes",
                        to="directus_realtime.directussubscription",
                    ),
                ),
            ],
            options={
                "verbose_name": "parked change",
                "verbose_name_plural": "parked changes",
                "default_permissions": ("view", "delete"),
                "indexes": [
                    models.Index(fields=["connection", "state"], name="directus_parked_state")
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("subscription", "activity_id"), name="directus_parked_once"
                    )
                ],
            },
        ),
    ]
