"""The shared part of the example's pages: layout, sign-in, access to Directus."""

from __future__ import annotations
