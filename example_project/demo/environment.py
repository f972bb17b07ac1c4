"""Makes ``.venv`` with everything the example needs."""

from __future__ import annotations

import subprocess
import sys
import venv

from example_project.demo import ROOT, STAMP, STEPS, VENV
from example_project.demo.steps import StepFailed, Steps, say

PIP = [str(VENV / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]


def main() -> int:
    """Make it, and return the exit code."""
    steps = Steps(STEPS)
    try:
        with steps.step("Creating .venv"):
            venv.create(VENV, with_pip=True)
        with steps.step("Installing the packages"):
            _run([*PIP, "install", "--quiet", "-r", "requirements.txt", "-e", "."])
    except StepFailed as error:
        say(f"\n{error}")
        return 1
    except KeyboardInterrupt:
        say("Stopped. The next start begins here again.")
        return 130
    STAMP.write_text("new\n", encoding="utf-8")
    return 0


def _run(command: list[str]) -> None:
    done = subprocess.run(  # noqa: S603 - pip of our own environment
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode != 0:
        raise StepFailed(f"{done.stdout}\npip could not install the packages; see above.")


if __name__ == "__main__":
    sys.exit(main())
