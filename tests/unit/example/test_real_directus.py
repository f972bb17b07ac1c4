from __future__ import annotations

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from example_project.real_directus import DirectusServer, DirectusUnavailable
from example_project.real_directus import install as install_name
from example_project.real_directus.directus_admin import DirectusAdmin
from example_project.real_directus.npm import CACHE_VARIABLE, cache_folder, install, is_installed
from example_project.real_directus.server_database import Credentials


def fake_program(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with a Node that is new enough and nothing else."""
    folder = tmp_path / "bin"
    fake_program(folder, "node", "echo v22.1.0")
    monkeypatch.setenv("PATH", str(folder))
    return folder


NPM = """
/bin/mkdir -p node_modules/directus
echo x > node_modules/directus/cli.js
echo '{"version": "1.2.3"}' > node_modules/directus/package.json
"""


def test_name_is_exported() -> None:
    assert install_name is install


def test_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_folder(tmp_path) == tmp_path
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "env"))
    assert cache_folder() == tmp_path / "env"
    monkeypatch.delenv(CACHE_VARIABLE)
    assert cache_folder() == Path.home() / ".cache" / "django-directus-realtime"


@pytest.mark.usefixtures("programs")
def test_install_once(programs: Path, tmp_path: Path) -> None:
    fake_program(programs, "npm", NPM)
    said: list[str] = []
    folder = install("1.2.3", tmp_path / "cache", log=said.append)
    assert folder == tmp_path / "cache" / "directus-1.2.3"
    assert is_installed("1.2.3", tmp_path / "cache")
    assert len(said) == 1
    fake_program(programs, "npm", "exit 1")
    assert install("1.2.3", tmp_path / "cache", log=said.append) == folder
    assert len(said) == 1


def test_two_at_once_install_once(programs: Path, tmp_path: Path) -> None:
    fake_program(programs, "npm", f"echo run >> {tmp_path}/runs\n{NPM}")

    def run(_: int) -> Path:
        return install("1.2.3", tmp_path / "cache", log=lambda text: None)

    with ThreadPoolExecutor() as pool:
        folders = set(pool.map(run, range(4)))
    assert len(folders) == 1
    assert (tmp_path / "runs").read_text() == "run\n"


def test_install_without_marker_is_recognised(tmp_path: Path) -> None:
    package = tmp_path / "directus-1.2.3" / "node_modules" / "directus"
    package.mkdir(parents=True)
    (package / "package.json").write_text(json.dumps({"version": "1.2.3"}))
    assert not is_installed("1.2.3", tmp_path)
    (package / "cli.js").touch()
    assert is_installed("1.2.3", tmp_path)
    (package / "package.json").write_text(json.dumps({"version": "1.2.4"}))
    assert not is_installed("1.2.3", tmp_path)


def test_failed_install_leaves_nothing(programs: Path, tmp_path: Path) -> None:
    fake_program(programs, "npm", "echo no such version >&2; exit 1")
    with pytest.raises(DirectusUnavailable, match="no such version"):
        install("1.2.3", tmp_path / "cache", log=lambda text: None)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [".directus-1.2.3.lock"]


def test_override_for_12(programs: Path, tmp_path: Path) -> None:
    fake_program(programs, "npm", f"/bin/cp package.json {tmp_path}/seen.json; exit 1")
    with pytest.raises(DirectusUnavailable):
        install("12.4.1", tmp_path / "cache", log=lambda text: None)
    manifest = json.loads((tmp_path / "seen.json").read_text())
    assert manifest["overrides"] == {"@directus/app": "18.0.0"}


def test_no_node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DirectusUnavailable, match="not installed"):
        install(cache=tmp_path)


def test_old_node(programs: Path, tmp_path: Path) -> None:
    fake_program(programs, "node", "echo v18.20.0")
    with pytest.raises(DirectusUnavailable, match=r"v18\.20\.0 is too old"):
        install(cache=tmp_path)


def test_no_npm(programs: Path, tmp_path: Path) -> None:
    with pytest.raises(DirectusUnavailable, match="npm is not installed"):
        install("1.2.3", tmp_path / "cache", log=lambda text: None)


def test_credentials_stay_private(tmp_path: Path) -> None:
    credentials = Credentials.generate()
    credentials.save(tmp_path)
    assert Credentials.load(tmp_path) == credentials
    [path] = tmp_path.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for secret in (credentials.password, credentials.token, credentials.secret):
        assert secret not in repr(credentials)
        assert secret not in credentials.mask(f"a {secret} b")


def test_repr_has_no_secrets(tmp_path: Path) -> None:
    server = DirectusServer(workdir=tmp_path, port=12345)
    assert repr(server) == "<DirectusServer 11.17.4 http://127.0.0.1:12345 pid=None>"
    with pytest.raises(RuntimeError, match="never started"):
        _ = server.admin_token
    with DirectusAdmin("http://x/", "secret") as admin:
        assert repr(admin) == "<DirectusAdmin http://x>"
