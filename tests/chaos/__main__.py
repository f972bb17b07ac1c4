"""Chaos: a real Directus, a listener, writers, and faults from a seed.

Run it: ``make test-chaos``, or ``python -m tests.chaos --seed 7 --database postgres``.
It ends by itself, with status 0 if every promise held. Where one did not, the folder with
the logs and the evidence is kept and named.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.chaos.settings"

import django

django.setup()

from tests.chaos.directus import VARIANTS  # noqa: E402
from tests.chaos.run import ChaosRun  # noqa: E402


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--changes", type=int, default=10_000)
    parser.add_argument("--faults", type=int, default=20)
    parser.add_argument("--database", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--listeners", type=int, default=1)
    parser.add_argument("--only", default="", help="faults with this in their names")
    parser.add_argument("--variant", choices=[*VARIANTS], default="", help="settings of Directus")
    parser.add_argument(
        "--directus-env",
        nargs="+",
        default=[],
        type=_setting,
        metavar="NAME=VALUE",
        help="more settings of Directus",
    )
    parser.add_argument("--keep", action="store_true", help="keep the folder of a good run, too")
    return parser.parse_args()


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is no setting: write NAME=VALUE")
    return name, value


def main() -> int:
    """Do one run and print what came of it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # end what was started, too
    options = parse()
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    print(
        f"Chaos: seed {options.seed}, {options.changes} changes, {options.faults} faults, "
        f"site on {options.database}, {options.listeners} listener(s), "
        f"Directus {options.variant or 'on postgres'} {dict(options.directus_env) or ''}; "
        f"logs in {folder}",
        flush=True,
    )
    results = ChaosRun(
        folder,
        options.seed,
        options.changes,
        options.faults,
        options.database,
        options.listeners,
        options.only,
        options.variant,
        dict(options.directus_env),
    ).run()
    print("\n".join(map(str, results)))
    is_good = not any(result.problems for result in results)
    if is_good and not options.keep:
        shutil.rmtree(folder)
    else:
        print(f"Logs and evidence: {folder}")
    print(f"Chaos with seed {options.seed}: {'all promises held' if is_good else 'FAILED'}")
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
