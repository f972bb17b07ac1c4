"""Real proxies: nginx in front of Directus, and tinyproxy in front of us."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.helpers.certificates import Certificates
from tests.helpers.waiting import wait_for

SUB_PATH = "/cms"
#: What nginx demands of each request.
GATE = {"X-Gate": "g4te-s3cret"}

_NGINX = """\
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log;
events {{}}
http {{
    access_log {folder}/nginx-access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {certificates.certificate};
        ssl_certificate_key {certificates.key};
        {rules}
        location {path}/ {{
            if ($http_x_gate != "{gate}") {{ return 403; }}
            proxy_pass {upstream}/;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
        }}
    }}
}}
"""
_TINYPROXY = """\
Port {port}
Listen 127.0.0.1
Allow 127.0.0.1
Timeout 600
MaxClients 100
BasicAuth {user} {password}
ConnectPort {allowed}
LogFile "{folder}/tinyproxy.log"
LogLevel Connect
"""
#: In /usr/sbin, where nginx is, a user's PATH does not look.
_PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"


class ReverseProxy:
    """nginx that ends TLS, serves Directus below ``/cms`` and wants the headers of ``GATE``."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder = folder
        self.port = port
        self.url = f"https://127.0.0.1:{port}{SUB_PATH}"

    @property
    def requests(self) -> list[str]:
        """The lines of the access log."""
        return (self._folder / "nginx-access.log").read_text().splitlines()


class ForwardProxy:
    """tinyproxy that wants a password and lets through to one port only."""

    user, password = "proxy-user", "pr0xy-s3cret"

    def __init__(self, folder: Path, port: int) -> None:
        self._folder = folder
        self.address = f"http://127.0.0.1:{port}"
        self.url = f"http://{self.user}:{self.password}@127.0.0.1:{port}"

    @property
    def tunnels(self) -> list[str]:
        """What was asked for with CONNECT, once for each tunnel."""
        lines = (self._folder / "tinyproxy.log").read_text().splitlines()
        return [line for line in lines if "Request (file descriptor" in line and "CONNECT" in line]


@contextlib.contextmanager
def run_nginx(
    folder: Path, upstream: str, certificates: Certificates, rules: str = ""
) -> Iterator[ReverseProxy]:
    """nginx on a free port.

    Args:
        folder: Folder for its files.
        upstream: URL of Directus.
        certificates: Certificate and key of the server.
        rules: More locations of the server.

    Raises:
        FileNotFoundError: It is not installed.
    """
    port = _free_port()
    config = folder / "nginx.conf"
    config.write_text(
        _NGINX.format(
            folder=folder,
            port=port,
            certificates=certificates,
            path=SUB_PATH,
            gate=GATE["X-Gate"],
            upstream=upstream,
            rules=rules,
        )
    )
    with _running("nginx", ["-e", "stderr", "-p", str(folder), "-c", str(config)], port):
        yield ReverseProxy(folder, port)


@contextlib.contextmanager
def run_tinyproxy(folder: Path, allowed_port: int) -> Iterator[ForwardProxy]:
    """tinyproxy on a free port.

    Raises:
        FileNotFoundError: It is not installed.
    """
    port = _free_port()
    config = folder / "tinyproxy.conf"
    config.write_text(
        _TINYPROXY.format(
            folder=folder,
            port=port,
            user=ForwardProxy.user,
            password=ForwardProxy.password,
            allowed=allowed_port,
        )
    )
    with _running("tinyproxy", ["-d", "-c", str(config)], port):
        yield ForwardProxy(folder, port)


@contextlib.contextmanager
def _running(program: str, arguments: Sequence[str], port: int) -> Iterator[None]:
    found = shutil.which(program) or shutil.which(program, path=_PATH)
    if found is None:
        raise FileNotFoundError(program)
    process = subprocess.Popen(
        [found, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(lambda: _answers(port) or process.poll() is not None, what=f"{program} to listen")
        assert process.poll() is None, f"{program} ended with {process.returncode}"
        yield
    finally:
        process.terminate()
        process.wait(10)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
