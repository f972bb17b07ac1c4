"""The example site without the lines that ``runserver`` begins with.

They name CONTROL-C, which stops only the site; the demo prints its own instructions.
"""

from __future__ import annotations

import io
import sys

import django
from django.core.management import call_command


def main(address: str) -> None:
    """Serve on an address such as ``127.0.0.1:8000`` until stopped."""
    django.setup()
    # Only the first lines go there; later output is logged.
    call_command("runserver", address, use_reloader=False, stdout=io.StringIO())


if __name__ == "__main__":
    main(sys.argv[1])
