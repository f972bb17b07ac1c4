"""A chat whose messages live in Directus."""

from __future__ import annotations
