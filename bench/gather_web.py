"""What stands behind the URLs of bench/gather.py: nginx for what is well, a small server for what is not.

    python bench/gather_web.py PORT FOLDER SILENT     the hosts of the second kind; bench/gather.py runs it

nginx answers /good/NAME, /moved/NAME (a redirect to it), /page/NAME (HTML with status 200), and 404 to the
rest, on 127.0.0.1 also over TLS, and on the forty addresses of GOOD; on an address of its own it lets ten
requests a second through and answers 429 to the others.

What is wrong with hosts is wrong with hosts of their own, as it is in lists: SILENT addresses take
connections and say nothing, every second of them but for a 404 to /robots.txt; a few more end their answers
in the middle. No other row of a list leads to them.
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
from certificate import make_certificate
from web import _free_port, _wait_for

GOOD = tuple(f"127.0.1.{number}" for number in range(1, 41))
STRICT = "127.0.2.1"
CUT = tuple(f"127.0.3.{number}" for number in range(1, 6))

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
    {more}
    ssl_certificate {folder}/certificate.pem; ssl_certificate_key {folder}/key.pem;
    location /good/ {{ alias {served}/; }}
    location /moved/ {{ rewrite ^/moved/(.*)$ /good/$1 redirect; }}
    location /page/ {{ default_type text/html; return 200 "<html><body>not here any more</body></html>"; }}
  }}
  server {{ listen {STRICT}:{plain};
    location = /robots.txt {{ return 404; }}
    location /good/ {{ limit_req zone=strict burst=5 nodelay; alias {served}/; }}
  }}
}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosts:
    """Where things are served; `bundle` holds the usual authorities and the one of these servers."""

    plain: str
    tls: str
    good: tuple[str, ...]
    strict: str
    cut: tuple[str, ...]
    silent: tuple[str, ...]
    bundle: Path


def silent_addresses(count: int) -> list[str]:
    """So many addresses, on each of which a host says nothing."""
    return [f"127.1.{number // 250}.{number % 250 + 1}" for number in range(count)]


@contextmanager
def hosts(served: Path, folder: Path, silent: int = 1) -> Iterator[Hosts]:
    """Run both servers, the second with so many silent hosts; `folder` takes their configuration and key."""
    folder.mkdir(parents=True, exist_ok=True)
    make_certificate(folder)
    plain, tls, bad = (_free_port() for _ in range(3))
    user = "user root;\n" if os.geteuid() == 0 else ""
    more = " ".join(f"listen {address}:{plain};" for address in GOOD)
    ports = {"plain": plain, "tls": tls, "more": more, "STRICT": STRICT}
    text = CONFIG.format(user=user, folder=folder, served=served, **ports)
    (folder / "nginx.conf").write_text(text, encoding="utf-8")
    # Whoever reads the usual authorities for each request is to pay for that here, too.
    bundle = folder / "bundle.pem"
    bundle.write_bytes(Path(certifi.where()).read_bytes() + (folder / "certificate.pem").read_bytes())
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    processes = [
        subprocess.Popen([program, "-c", str(folder / "nginx.conf")], stderr=subprocess.DEVNULL),
        subprocess.Popen([sys.executable, __file__, str(bad), str(served), str(silent)]),
    ]
    try:
        for port in (plain, bad):
            _wait_for(port)
        yield Hosts(
            plain=f"http://127.0.0.1:{plain}",
            tls=f"https://127.0.0.1:{tls}",
            good=tuple(f"http://{address}:{plain}" for address in GOOD),
            strict=f"http://{STRICT}:{plain}",
            cut=tuple(f"http://{address}:{bad}" for address in CUT),
            silent=tuple(f"http://{address}:{bad}" for address in silent_addresses(silent)),
            bundle=bundle,
        )
    finally:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            process.wait()


async def _serve(port: int, served: Path, silent: list[str]) -> None:
    saying_nothing = frozenset(silent[::2])

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            line = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1].decode()
            kind, _, name = line.strip("/").partition("/")
            if kind == "hang" or writer.get_extra_info("sockname")[0] in saying_nothing:
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

    addresses = ["127.0.0.1", *CUT, *silent]
    server = await asyncio.start_server(answer, addresses, port, backlog=128)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), Path(sys.argv[2]), silent_addresses(int(sys.argv[3]))))
