"""The page's WebSocket."""

from __future__ import annotations

from channels.db import database_sync_to_async

from directus_realtime.gateway.consumers import DirectusConsumer
from directus_realtime.groups import group_name
from directus_realtime.models import DirectusSubscription


class ArticlesConsumer(DirectusConsumer):
    """Hands everything that is subscribed to the browser.

    Anyone may watch this example. On a site of yours, look at ``self.scope["user"]`` first
    and call ``self.close()`` for those who may not.
    """

    async def connect(self) -> None:
        """Join the articles' group, and those of the subscriptions made in the admin."""
        self.directus_groups = [group_name("articles"), *await _other_groups()]
        await super().connect()


@database_sync_to_async
def _other_groups() -> list[str]:
    subscriptions = DirectusSubscription.objects.filter(enabled=True)
    groups = {s.group or group_name(s.collection, connection=s.connection) for s in subscriptions}
    return sorted(groups - {group_name("articles")})
