"""``make demo``: the example site, a Directus and the listener with one command.

This file, ``steps`` and ``environment`` need nothing but Python: they make ``.venv``.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
VENV = ROOT / ".venv"
#: Written when ``.venv`` is complete; says ``new`` until the demo has started from it once.
STAMP = VENV / ".installed"
STEPS = 5
