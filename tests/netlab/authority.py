"""A certificate authority that only the lab trusts, and one certificate for each host."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.netlab.namespaces import call

CONFIG = """
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
[host]
basicConstraints = critical, CA:FALSE
extendedKeyUsage = serverAuth
subjectAltName = ${ENV::SUBJECT}
"""


@dataclass(frozen=True)
class Authority:
    """Where the certificates lie; `bundle` goes into SSL_CERT_FILE."""

    folder: Path

    @property
    def bundle(self) -> Path:
        return self.folder / "authority.pem"

    def certificate(self, host: str) -> Path:
        return self.folder / f"{host}.pem"

    def key(self, host: str) -> Path:
        return self.folder / f"{host}.key"


def make_authority(folder: Path, hosts: Iterable[str]) -> Authority:
    """Keys and certificates for two days; a certificate is good for one host and no other."""
    folder.mkdir()
    made = Authority(folder)
    config = folder / "openssl.conf"
    config.write_text(CONFIG)
    _request(made, "authority", config, "authority", [])
    for host in hosts:
        _request(made, host, config, "host", ["-CA", str(made.bundle), "-CAkey", str(made.key("authority"))])
    return made


def _request(authority: Authority, name: str, config: Path, section: str, signer: list[str]) -> None:
    call(
        *("env", f"SUBJECT=DNS:{name}", "openssl", "req", "-x509", "-config", config, "-extensions", section),
        *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"),
        *("-subj", f"/CN={name} of the netlab", *signer),
        *("-keyout", authority.key(name), "-out", authority.certificate(name)),
    )
