"""What the demonstration shows: articles, a chat, orders and notifications, and who changes them.

The same for the fake Directus and for a real one: :mod:`.schema` says what there is,
:mod:`.articles`, :mod:`.chat`, :mod:`.shop` and :mod:`.notices` what is in it and what
happens to it, and :class:`.stream.Stream` lets it happen.
"""

from __future__ import annotations

from directus_realtime.testing.demo.articles import Editor
from directus_realtime.testing.demo.stream import Stream

__all__ = ["Editor", "Stream"]
