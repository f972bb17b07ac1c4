"""``python -m example_project.demo``: starts everything, and stops everything."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence

import environ

from example_project.demo import ROOT, STAMP, STEPS, sources
from example_project.demo.ports import HOST
from example_project.demo.site import Site
from example_project.demo.state import make_folder, only_one
from example_project.demo.steps import StepFailed, Steps, say
from example_project.demo.supervisor import ChildDied, Supervisor

#: Steps that making .venv took.
_ENVIRONMENT_STEPS = 2
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo until Ctrl-C, and return the exit code."""
    options = _parser().parse_args(argv)
    for number in _SIGNALS:  # SIGINT, too: a shell starts background jobs without it
        signal.signal(number, signal.default_int_handler)
    try:
        make_folder()
        with only_one():
            _run(options.directus)
    except KeyboardInterrupt:
        say("Stopped.")
    except (StepFailed, ChildDied) as error:
        say(f"\n{error}")
        return 1
    return 0


def _run(with_directus: bool) -> None:
    steps = _steps()
    supervisor = Supervisor(ROOT)
    try:
        _read_env_file()
        _spare_proxies()
        site = Site(steps, supervisor)
        if with_directus:
            source = sources.real
        else:
            source = sources.yours if os.environ.get("DIRECTUS_URL") else sources.fake
        with source(steps, supervisor) as directus:
            try:
                site.run(directus)
            finally:
                _stop(supervisor)
    finally:
        _stop(supervisor)


def _stop(supervisor: Supervisor) -> None:
    # A second Ctrl-C must not leave processes behind; stopping has its own deadline.
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    supervisor.stop()


def _steps() -> Steps:
    """Count on after the steps that made .venv, if that was just now."""
    if STAMP.is_file() and STAMP.read_text(encoding="utf-8").strip() == "new":
        STAMP.write_text("", encoding="utf-8")
        return Steps(STEPS, _ENVIRONMENT_STEPS)
    return Steps(STEPS - _ENVIRONMENT_STEPS)


def _read_env_file() -> None:
    """Read the variables of .env that the environment does not have."""
    path = ROOT / ".env"
    if path.is_file():
        environ.Env.read_env(path)


def _spare_proxies() -> None:
    """Reach this machine directly, also where the rest of the world is behind a proxy."""
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), HOST]))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m example_project.demo",
        description="Start the example site with a Directus and the listener.",
    )
    parser.add_argument(
        "--directus",
        action="store_true",
        help="a real Directus from npm instead of the built-in fake one (needs Node.js 20)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
