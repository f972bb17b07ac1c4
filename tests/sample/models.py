"""What receivers of the tests write to the database."""

from __future__ import annotations

from django.db import models


class Effect(models.Model):
    """That a receiver was called for an event, with a foreign key that is checked at commit."""

    id = models.BigAutoField(primary_key=True)
    event_id = models.UUIDField()
    receiver = models.CharField(max_length=100)
    parent = models.ForeignKey("self", on_delete=models.CASCADE, null=True)

    def __str__(self) -> str:
        return f"{self.receiver} {self.event_id}"
