"""What the example's pages share: layout, sign-in, the way to Directus."""

from __future__ import annotations
