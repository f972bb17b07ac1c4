"""Directus's cache of responses, as with ``CACHE_ENABLED``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable

from aiohttp import web

from directus_realtime.testing.fake.query import Query

LIFE = 300  # seconds that the header names; here an answer stays until it is forgotten
NEVER_CACHED = ("/server/ping", "/server/health")
OTHER_PARAMETERS = ("deep", "version", "backlink", "export")  # that are in Directus's key, too


class ResponseCache:
    """Answers of GET by user, path and the query as Directus understands it."""

    def __init__(self) -> None:
        self._answers: dict[Hashable, tuple[bytes, str]] = {}

    def forget(self) -> None:
        """Remove every answer."""
        self._answers.clear()

    async def answer(
        self,
        request: web.Request,
        user: str | None,
        query: Query,
        read: Callable[[], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        """Return the cached answer, or read one and keep it; refusals are raised, not kept.

        Args:
            request: The request.
            user: The id of the user whose answer it is.
            query: What Directus makes of the parameters; others do not count.
            read: Called where no answer is cached.
        """
        if request.path in NEVER_CACHED:
            return await read()
        others = tuple(request.query.get(name) for name in OTHER_PARAMETERS)
        key = (user, request.path, repr(query), others)
        if key not in self._answers:
            made = await read()
            if not isinstance(made, web.Response) or not isinstance(made.body, bytes):
                return made
            self._answers[key] = made.body, made.content_type
        body, kind = self._answers[key]
        scope = "private" if user else "public"
        headers = {"Cache-Control": f"{scope}, max-age={LIFE}"}
        return web.Response(body=body, content_type=kind, headers=headers)
