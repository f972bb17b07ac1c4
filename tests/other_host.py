"""The tests' settings on a machine of another name, which ``OTHER_HOST`` gives."""

from __future__ import annotations

import os
import socket

from tests.settings import *  # noqa: F403

_name = os.environ["OTHER_HOST"]
socket.gethostname = lambda: _name
