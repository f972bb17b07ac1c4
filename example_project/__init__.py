"""A runnable site that shows django-directus-realtime at work."""

from __future__ import annotations
