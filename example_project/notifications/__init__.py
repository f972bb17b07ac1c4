"""The notifications of Directus, for their recipients."""

from __future__ import annotations
