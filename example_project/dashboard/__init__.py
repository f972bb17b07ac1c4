"""Orders, added up and kept current."""

from __future__ import annotations
