"""The articles of a Directus, live."""

from __future__ import annotations
