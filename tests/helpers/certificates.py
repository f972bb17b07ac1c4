"""A private CA and a certificate that it signed, made with openssl."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

_NEW_KEY = ("-newkey", "rsa:2048", "-nodes", "-days", "2")


@dataclass(frozen=True)
class Certificates:
    """Files: the CA's certificate, and a server's certificate with its key."""

    ca: Path
    certificate: Path
    key: Path


def make_certificates(folder: Path, host: str = "127.0.0.1") -> Certificates:
    """A CA of its own and a certificate for an IP address."""
    made = Certificates(folder / "ca.pem", folder / "server.pem", folder / "server.key")
    ca_key = folder / "ca.key"
    _openssl(
        *("req", "-x509", *_NEW_KEY, "-subj", "/CN=Private CA"),
        *("-addext", "keyUsage=critical,keyCertSign"),
        *("-keyout", str(ca_key), "-out", str(made.ca)),
    )
    _openssl(
        *("req", "-x509", *_NEW_KEY, "-subj", f"/CN={host}"),
        *("-addext", f"subjectAltName=IP:{host}", "-addext", "basicConstraints=critical,CA:FALSE"),
        *("-CA", str(made.ca), "-CAkey", str(ca_key)),
        *("-keyout", str(made.key), "-out", str(made.certificate)),
    )
    return made


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
