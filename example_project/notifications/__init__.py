"""The notifications of Directus, for whom they are."""

from __future__ import annotations
