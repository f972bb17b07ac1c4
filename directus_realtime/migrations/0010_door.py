"""The counters of the doors, and whether a door rings."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("directus_realtime", "0009_orphaned_declarations"),
    ]

    operations = [
        migrations.CreateModel(
            name="DoorRing",
            fields=[
                (
                    "alias",
                    models.CharField(
                        max_length=40, primary_key=True, serialize=False, verbose_name="connection"
                    ),
                ),
                ("rings", models.PositiveBigIntegerField(default=0, verbose_name="rings")),
                ("rung_at", models.DateTimeField(verbose_name="last rung")),
                ("event", models.CharField(max_length=100, verbose_name="event")),
                ("collection", models.CharField(max_length=100, verbose_name="collection")),
            ],
            options={
                "verbose_name": "rings of the door",
                "verbose_name_plural": "rings of the doors",
                "default_permissions": (),
            },
        ),
        migrations.AddField(
            model_name="connectionstatus",
            name="door_problem",
            field=models.TextField(
                blank=True,
                help_text="Why the door does not announce changes; empty where it does.",
                verbose_name="problem of the door",
            ),
        ),
    ]
