"""Frames guided by the code they reach; needs ``pip install atheris``.

Run it: ``python -m tests.fuzz.atheris_frames -max_total_time=60`` (60 seconds where no time is
given; all options of libFuzzer). A crash ends it, with the frame in a file.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["directus_realtime.protocol", "directus_realtime.client"]):
    from directus_realtime.protocol import messages
    from tests.fuzz import frames

TIME = "-max_total_time=60"
_LONGEST = 2_000  # bytes; where Python refuses integers is reached by the other fuzzers


def one_frame(data: bytes) -> None:
    """The first byte chooses the session and the feed, the rest is the frame."""
    choice, frame = (data[0], data[1:]) if data else (0, b"")
    received: str | bytes = frame if choice & 1 else frame.decode("utf-8", "replace")
    message = frames.check_decode(received)
    state = frames.SESSION_STATES[choice // 2 % len(frames.SESSION_STATES)]
    frames.check_receive(frames.session_in(state), received, 0)
    if isinstance(message, messages.Changed):
        key = frames.PRIMARY_KEYS[choice // 2 % len(frames.PRIMARY_KEYS)]
        frames.Watcher(key).check(message)


def main() -> None:
    options = sys.argv[1:]
    if not any(option.startswith("-max_total_time") for option in options):
        options.append(TIME)
    with tempfile.TemporaryDirectory() as folder:
        for number, message in enumerate(frames.REAL_MESSAGES):
            seed = bytes([number * 2]) + json.dumps(message).encode()
            Path(folder, str(number)).write_bytes(seed)
        atheris.Setup([sys.argv[0], *options, f"-max_len={_LONGEST}", folder], one_frame)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
