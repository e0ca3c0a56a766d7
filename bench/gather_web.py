"""What stands behind the URLs of bench/gather.py: nginx for what is well, a small server for what is not.

    python bench/gather_web.py PORT FOLDER     /hang/NAME and /cut/NAME on 127.0.0.1; bench/gather.py runs it

nginx answers /good/NAME, /moved/NAME (a redirect to it), /page/NAME (HTML with status 200), and 404 to the
rest, also over TLS; on a port of its own it lets ten requests a second through and answers 429 to the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import certifi
from web import _free_port, _make_certificate, _wait_for

CONFIG = """
{user}worker_processes 2;
pid {folder}/nginx.pid;
error_log {folder}/nginx.errors crit;
daemon off;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  sendfile on;
  tcp_nodelay on;
  keepalive_requests 100000;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  types {{ image/jpeg jpg; text/html html; }}
  limit_req_zone $server_port zone=strict:1m rate=10r/s;
  limit_req_status 429;
  server {{ listen 127.0.0.1:{plain}; listen 127.0.0.1:{tls} ssl;
    ssl_certificate {folder}/certificate.pem; ssl_certificate_key {folder}/key.pem;
    location /good/ {{ alias {served}/; }}
    location /moved/ {{ rewrite ^/moved/(.*)$ /good/$1 redirect; }}
    location /page/ {{ default_type text/html; return 200 "<html><body>not here any more</body></html>"; }}
  }}
  server {{ listen 127.0.0.1:{strict};
    location = /robots.txt {{ return 404; }}
    location /good/ {{ limit_req zone=strict burst=5 nodelay; alias {served}/; }}
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Hosts:
    """Where things are served; `bundle` holds the usual authorities and the one of these servers."""

    plain: str
    tls: str
    strict: str
    bad: str
    bundle: Path


@contextmanager
def hosts(served: Path, folder: Path) -> Iterator[Hosts]:
    """Run both servers; `folder` takes their configuration and key."""
    folder.mkdir(parents=True, exist_ok=True)
    _make_certificate(folder)
    plain, tls, strict, bad = (_free_port() for _ in range(4))
    user = "user root;\n" if os.geteuid() == 0 else ""
    ports = {"plain": plain, "tls": tls, "strict": strict}
    text = CONFIG.format(user=user, folder=folder, served=served, **ports)
    (folder / "nginx.conf").write_text(text, encoding="utf-8")
    # Whoever reads the usual authorities for each request is to pay for that here, too.
    bundle = folder / "bundle.pem"
    bundle.write_bytes(Path(certifi.where()).read_bytes() + (folder / "certificate.pem").read_bytes())
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    processes = [
        subprocess.Popen([program, "-c", str(folder / "nginx.conf")], stderr=subprocess.DEVNULL),
        subprocess.Popen([sys.executable, __file__, str(bad), str(served)]),
    ]
    try:
        for port in (plain, bad):
            _wait_for(port)
        yield Hosts(
            f"http://127.0.0.1:{plain}",
            f"https://127.0.0.1:{tls}",
            f"http://127.0.0.1:{strict}",
            f"http://127.0.0.1:{bad}",
            bundle,
        )
    finally:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            process.wait()


async def _serve(port: int, served: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            line = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1].decode()
            kind, _, name = line.strip("/").partition("/")
            if kind == "hang":
                await reader.read()  # until the other side gives up
            elif kind == "cut":
                data = (served / name).read_bytes()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data))
                writer.write(data[: len(data) // 2])
                await writer.drain()
            else:
                writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", port, backlog=1024)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), Path(sys.argv[2])))
