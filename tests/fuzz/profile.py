"""How hard Hypothesis tries: ``FUZZ_EXAMPLES=20000`` for a long run with new examples each time.

Without it the same examples are tried each time, so that what fails once fails again.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings

# What Hypothesis remembers of the code is no part of the repository.
os.environ.setdefault(
    "HYPOTHESIS_STORAGE_DIRECTORY", str(Path(tempfile.gettempdir(), "directus-realtime-hypothesis"))
)

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "0"))


def examples(usual: int) -> settings:
    """The settings of a test that tries so many examples in ``make test``."""
    return settings(
        max_examples=EXAMPLES or usual,
        stateful_step_count=40,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
        report_multiple_bugs=False,
    )
