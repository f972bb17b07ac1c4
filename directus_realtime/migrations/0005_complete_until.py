from __future__ import annotations

from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import F


def take_the_heartbeat(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """The best that is known of a listener before this field."""
    rows = apps.get_model("directus_realtime", "ConnectionStatus").objects
    rows.using(schema_editor.connection.alias).update(complete_until=F("heartbeat_at"))


class Migration(migrations.Migration):
    dependencies = [
        ("directus_realtime", "0004_live"),
    ]

    operations = [
        migrations.AddField(
            model_name="connectionstatus",
            name="complete_until",
            field=models.DateTimeField(
                blank=True,
                help_text=(
                    "Up to this moment nothing is unaccounted for: "
                    "Directus was heard, or the gap was announced."
                ),
                null=True,
                verbose_name="complete until",
            ),
        ),
        migrations.AddField(
            model_name="activitycursor",
            name="position_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.RunPython(take_the_heartbeat, migrations.RunPython.noop),
    ]
