"""nginx without any limit, plain and over TLS: what loopback and the machine allow."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from certificate import make_certificate
from link import Source

CONFIG = """
{user}worker_processes 2;
pid {folder}/nginx.pid;
error_log {folder}/nginx.errors;
daemon off;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  sendfile on;
  tcp_nodelay on;
  keepalive_requests 100000;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  types {{ }}
  default_type application/octet-stream;
  server {{ listen 127.0.0.1:{plain}; location /bench/ {{ alias {served}/; }} }}
  server {{
    listen 127.0.0.1:{tls} ssl;
    ssl_certificate {folder}/certificate.pem;
    ssl_certificate_key {folder}/key.pem;
    location /bench/ {{ alias {served}/; }}
  }}
}}
"""


@dataclass(slots=True)
class Secure(Source):
    """A source over TLS."""

    @property
    def base(self) -> str:
        return f"https://{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Web:
    """A running nginx."""

    plain: Source
    tls: Source
    certificate: str


@contextmanager
def nginx(served: Path, folder: Path) -> Iterator[Web]:
    """Serve a folder below /bench/ on two ports of 127.0.0.1; `folder` takes configuration and key."""
    folder.mkdir(parents=True, exist_ok=True)
    make_certificate(folder)
    plain, tls = _free_port(), _free_port()
    user = "user root;\n" if os.geteuid() == 0 else ""
    text = CONFIG.format(user=user, folder=folder, served=served, plain=plain, tls=tls)
    (folder / "nginx.conf").write_text(text, encoding="utf-8")
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    process = subprocess.Popen([program, "-c", str(folder / "nginx.conf")], stderr=subprocess.DEVNULL)
    try:
        _wait_for(plain)
        certificate = str(folder / "certificate.pem")
        yield Web(Source("nginx", port=plain), Secure("nginx", port=tls), certificate)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        process.wait()


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _wait_for(port: int) -> None:
    end_s = time.monotonic() + 10
    while True:
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        if time.monotonic() > end_s:
            raise RuntimeError("nginx does not answer")
        time.sleep(0.05)
