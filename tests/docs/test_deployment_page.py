"""The files of docs/deployment are ones for their tools, and do what docs/deployment.md says."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import get_commands

from tests.conftest import missing
from tests.docs.markdown import DOCS, blocks_of
from tests.helpers.dockerfile import DockerfileRun

ROOT = DOCS.parent
FILES = DOCS / "deployment"
PAGE = (DOCS / "deployment.md").read_text(encoding="utf-8")
BIN = Path(sys.executable).parent


def run(*command: object) -> str:
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def status_of(process: subprocess.Popen[str]) -> int:
    process.communicate(timeout=60)
    return process.returncode


def test_every_file_is_named_on_the_page() -> None:
    named = set(re.findall(r"\(deployment/([\w.-]+)\)", PAGE))
    assert named == {file.name for file in FILES.iterdir()} - {"Dockerfile.dockerignore"}


def test_the_unit_is_one_for_systemd(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        missing("systemd-analyze (Debian's package systemd)")
    text = (FILES / "directus-listen.service").read_text(encoding="utf-8")
    command = "/srv/shop/.venv/bin/python manage.py directus_listen"
    assert command in text
    unit = tmp_path / "directus-listen.service"
    unit.write_text(text.replace("/srv/shop/.venv/bin/python", sys.executable))
    assert run("systemd-analyze", "verify", unit).strip() == ""


def test_the_manifest_is_one_for_kubernetes() -> None:
    validate = BIN / "kubernetes-validate"
    said = run(validate, "--strict", "-k", "1.37", FILES / "kubernetes.yaml")
    assert said.count(" passed for resource ") == 4
    manifest = (FILES / "kubernetes.yaml").read_text(encoding="utf-8")
    assert "replicas: 2" in manifest
    assert manifest.count("directus_status, --this-host") == 2


PROBE = "python manage.py directus_status --this-host"
#: Seconds between two looks, seconds for an answer, failures.
LOOKS = (30, 15, 3)


def kubernetes_probes(container: Any) -> dict[str, tuple[str, int, int, int]]:
    found = {name: container[name] for name in container if name.endswith("Probe")}
    return {
        name: (
            " ".join(probe["exec"]["command"]),
            probe["periodSeconds"],
            probe["timeoutSeconds"],
            probe["failureThreshold"],
        )
        for name, probe in found.items()
    }


def test_one_probe_is_recommended_everywhere() -> None:
    manifest = (FILES / "kubernetes.yaml").read_text(encoding="utf-8")
    (listener,) = [each for each in yaml.safe_load_all(manifest) if each["kind"] == "Deployment"]
    (container,) = listener["spec"]["template"]["spec"]["containers"]
    blocks = [block.code for block in blocks_of("operations.md") if block.language == "yaml"]
    on_page = [yaml.safe_load(code) for code in blocks]
    in_manifest = kubernetes_probes(container)
    assert in_manifest["livenessProbe"] == (PROBE, *LOOKS)
    assert kubernetes_probes(on_page[0]) == in_manifest

    compose = on_page[1]["healthcheck"]
    times = [int(compose[name].removesuffix("s")) for name in ("interval", "timeout")]
    assert (" ".join(compose["test"][1:]), *times, compose["retries"]) == (PROBE, *LOOKS)

    dockerfile = (FILES / "Dockerfile").read_text(encoding="utf-8")
    start = f"--start-period={compose['start_period']}"
    options = f"--interval=30s --timeout=15s {start} --retries=3"
    command = json.dumps(PROBE.split())
    assert f"HEALTHCHECK {options} \\\n    CMD {command}" in dockerfile


def test_no_other_page_has_a_probe_of_its_own() -> None:
    pages = [ROOT / "README.md", *DOCS.rglob("*.md")]
    words = re.compile("livenessProbe|healthcheck:|periodSeconds")
    found = {page.name for page in pages if words.search(page.read_text(encoding="utf-8"))}
    assert found == {"operations.md"}


def test_the_procfile_has_commands_that_there_are() -> None:
    lines = (FILES / "Procfile").read_text(encoding="utf-8").splitlines()
    processes = dict(re.fullmatch(r"([\w-]+): (.+)", line).groups() for line in lines)  # type: ignore[union-attr]
    assert set(processes) == {"release", "web", "listen"}
    for command in (processes["release"], processes["listen"]):
        python, manage, name, *_ = command.split()
        assert (python, manage) == ("python", "manage.py")
        assert name in get_commands()
    assert processes["web"].endswith("example_project.asgi:application")


def test_the_dockerfile_is_without_blame() -> None:
    assert run(BIN / "hadolint", FILES / "Dockerfile") == ""


def test_the_context_of_the_dockerfile_holds_what_is_copied() -> None:
    text = (FILES / "Dockerfile").read_text(encoding="utf-8")
    ignore = (FILES / "Dockerfile.dockerignore").read_text(encoding="utf-8")
    copied = {
        name
        for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.M)
        for name in line.split()[:-1]
    }
    assert copied == set(re.findall(r"^!(\S+)$", ignore, re.M))
    assert all((ROOT / name).exists() for name in copied)


@pytest.mark.skipif(
    not os.environ.get("TEST_DOCKERFILE"), reason="takes minutes; make test-dockerfile runs it"
)
@pytest.mark.timeout(900)
def test_the_steps_of_the_dockerfile_make_a_listener_that_can_be_probed_and_stopped(
    tmp_path: Path,
) -> None:
    image = DockerfileRun(ROOT, tmp_path / "root")
    image.run(FILES / "Dockerfile")
    assert image.user == "10001:10001"
    env = {
        "SECRET_KEY": "x",
        "DIRECTUS_URL": "http://127.0.0.1:9",
        "DIRECTUS_TOKEN": "x",
        "DATABASE_URL": f"sqlite:///{tmp_path}/db.sqlite3",
    }
    probe = image.commands["HEALTHCHECK"]
    assert status_of(image.start(["python", "manage.py", "migrate"], env)) == 0
    assert status_of(image.start(probe, env)) == 1
    *command, address = image.commands["CMD"]
    assert address == "0.0.0.0:9123"
    listener = image.start([*command, "127.0.0.1:0"], env)
    try:
        assert listener.stdout is not None
        while "reconnecting" not in (line := listener.stdout.readline()):
            assert line, "the listener ended"
        assert status_of(image.start(probe, env)) == 0
        listener.send_signal(signal.SIGTERM)
        assert listener.communicate(timeout=20)[0].endswith("Stopped.\n")
        assert listener.returncode == 0
    finally:
        listener.kill()
        listener.communicate()
    assert status_of(image.start(probe, env)) == 1
