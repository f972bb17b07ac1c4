from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("directus_realtime", "0008_remedies")]

    operations = [
        migrations.AddField(
            model_name="directussubscription",
            name="orphaned_at",
            field=models.DateTimeField(
                editable=False, null=True, verbose_name="not declared since"
            ),
        ),
    ]
