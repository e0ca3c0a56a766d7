"""A host of the hub's kind on one address, run as a program: it lists, redirects, serves, and writes down who asked.

    serve   the listing; files by a 302 to the CDN; blobs with ranges, as the CDN does
    moved   files by a 308 to the same path at another host
    login   files by a 302 to a page that asks to sign in
    wrong   files of the right size with one wrong byte

Its only argument is a JSON file; each request becomes one line of JSON in the log, with its credentials.
"""

from __future__ import annotations

import hashlib
import http.server
import json
import ssl
import sys
import threading
from pathlib import Path
from typing import Any

PAGE = b"<!doctype html><title>Sign in</title><p>Please sign in to continue.</p>"
WRITING = threading.Lock()


def listing(files: Path) -> bytes:
    """The entries of a repository's tree, as the hub writes them for large files."""
    rows = []
    for path in sorted(files.iterdir()):
        content = path.read_bytes()
        digests = hashlib.sha1(content).hexdigest(), hashlib.sha256(content).hexdigest()
        row = {"type": "file", "path": path.name, "size": len(content), "oid": digests[0]}
        rows.append({**row, "lfs": {"oid": digests[1], "size": len(content), "pointerSize": 134}})
    return json.dumps(rows).encode()


def span(header: str, size_bytes: int) -> tuple[int, int] | None:
    """First and last byte of a Range header with one range."""
    first, _, last = header.removeprefix("bytes=").partition("-")
    if not first.isdecimal() or int(first) >= size_bytes:
        return None
    return int(first), min(int(last), size_bytes - 1) if last else size_bytes - 1


def handler(config: dict[str, Any]) -> type[http.server.BaseHTTPRequestHandler]:
    """The class that answers requests for a configuration."""
    files, behaviour = Path(config["files"]), config["behaviour"]

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.write_down()
            path = self.path.partition("?")[0]
            name = path.rpartition("/")[2]
            if path.startswith("/api/datasets/"):
                self.answer(200, listing(files), {"Content-Type": "application/json"})
            elif path == "/login":
                self.answer(200, PAGE, {"Content-Type": "text/html"})
            elif not (files / name).is_file():
                self.answer(404, b"no such file", {})
            elif path.startswith("/blob/"):
                self.serve((files / name).read_bytes())
            elif behaviour == "wrong":
                content = bytearray((files / name).read_bytes())
                content[len(content) // 2] ^= 1
                self.serve(bytes(content))
            else:
                self.redirect(name)

        def redirect(self, name: str) -> None:
            codes = {"serve": 302, "moved": 308, "login": 302}
            ends = {
                "serve": f"/blob/{name}?Signature=canary-signature",
                "moved": self.path,
                "login": "/login",
            }
            self.answer(codes[behaviour], b"", {"Location": config["to"] + ends[behaviour]})

        def serve(self, content: bytes) -> None:
            headers = {"Accept-Ranges": "bytes", "ETag": f'"{hashlib.md5(content).hexdigest()}"'}
            wanted = span(self.headers.get("Range", ""), len(content))
            if wanted is None:
                self.answer(200, content, headers)
                return
            first, last = wanted
            headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
            self.answer(206, content[first : last + 1], headers)

        def answer(self, code: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def write_down(self) -> None:
            seen = {"path": self.path, "headers": dict(self.headers.items())}
            with WRITING, Path(config["log"]).open("a") as log:
                log.write(json.dumps(seen) + "\n")

        def log_message(self, *args: Any) -> None:
            pass

    return Handler


class Server(http.server.ThreadingHTTPServer):
    """Shakes hands in the connection's own thread, so that no client holds up another."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no news."""


def main() -> None:
    """Serve until killed."""
    config = json.loads(Path(sys.argv[1]).read_text())
    server = Server((config["address"], 443), handler(config))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(config["certificate"], config["key"])
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()


if __name__ == "__main__":
    main()
