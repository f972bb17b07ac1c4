"""What the receiver with the database leaves behind; nothing here hides a second effect."""

from __future__ import annotations

from django.db import models


class Effect(models.Model):
    """One run of the receiver that was committed; not unique, so that a second one shows."""

    event_id = models.CharField(max_length=36, db_index=True)
    subscription = models.CharField(max_length=100)
    collection = models.CharField(max_length=100)
    key = models.CharField(max_length=100)
    action = models.CharField(max_length=10)
    version = models.IntegerField(null=True)
    status = models.CharField(max_length=20, blank=True)
    title = models.CharField(max_length=100, blank=True)
    left_filter = models.BooleanField()
    origin = models.CharField(max_length=10)
    activity_id = models.BigIntegerField(null=True)
    size = models.BigIntegerField(null=True)
    digest = models.CharField(max_length=64)
    pid = models.IntegerField()

    def __str__(self) -> str:
        return f"{self.subscription} {self.action} {self.key}"


class ItemTally(models.Model):
    """How many effects an item had: read, incremented and written, so that it is not idempotent."""

    subscription = models.CharField(max_length=100)
    key = models.CharField(max_length=100)
    count = models.IntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["subscription", "key"], name="chaos_item_tally_once")
        ]

    def __str__(self) -> str:
        return f"{self.subscription} {self.key}"
