"""A real Directus from npm as a child process, and its administrator's REST client.

Needs Node.js and npm.
"""

from __future__ import annotations

from example_project.real_directus.directus_admin import DirectusAdmin, DirectusAdminError
from example_project.real_directus.directus_server import DirectusServer
from example_project.real_directus.npm import DirectusUnavailable, install

__all__ = [
    "DirectusAdmin",
    "DirectusAdminError",
    "DirectusServer",
    "DirectusUnavailable",
    "install",
]
