"""The servers of the lab as others wrote them: how each is configured, started and known to be ready."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.netlab.authority import Authority
from tests.netlab.namespaces import LabError, Namespace, call

USER, PASSWORD = "canary-user", "canary-5ae1c0de"
"""The login of every proxy that wants one; where it is printed, a secret is."""

SECRET = "canary-core-77"
"""The secret of the controllers of the real cores, and of the tunnels."""

IDENTITY = "b2a7c1de-5f0e-4c3b-9d57-6c6f6d2f7a10"
CIPHER = "chacha20-ietf-poly1305"
READY_S = 15.0

NGINX = """
daemon off;
master_process off;
user root;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{
    access_log {folder}/access.log combined;
    default_type application/octet-stream;
    sendfile on;
    etag on;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen {address}:80;
        listen {address}:443 ssl;
        server_name {host};
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        root {files};
        location = /generate_204 {{ return 204; }}
    }}
}}
"""

SQUID = """
http_port 0.0.0.0:3128 name=open
http_port 0.0.0.0:3129 name=login
acl open_port myportname open
acl login_port myportname login
auth_param basic program /usr/lib/squid/basic_ncsa_auth {folder}/passwords
auth_param basic realm lab
acl known proxy_auth REQUIRED
http_access allow open_port
http_access allow login_port known
http_access deny all
hosts_file /etc/hosts
dns_nameservers 127.0.0.1
cache deny all
cache_mem 8 MB
max_filedescriptors 1024
shutdown_lifetime 0 seconds
pinger_enable off
netdb_filename none
pid_filename {folder}/squid.pid
coredump_dir {folder}
access_log stdio:{folder}/access.log
cache_log {folder}/cache.log
"""

TINYPROXY = """
Listen 0.0.0.0
Port 8888
Timeout 60
MaxClients 100
ConnectPort 443
DisableViaHeader Yes
"""

DANTED = """
logoutput: stderr
internal: 0.0.0.0 port = 1085
external: abroad0
clientmethod: none
socksmethod: none
user.privileged: root
user.unprivileged: nobody
client pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}
socks pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 command: connect }}
"""


@dataclass(frozen=True)
class Place:
    """Where a server stands: its machine, a folder of its own, and what it shall know of the lab."""

    namespace: Namespace
    folder: Path
    authority: Authority
    proxy_address: str
    proxy_name: str

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def write_json(self, name: str, document: Mapping[str, Any]) -> Path:
        return self.write(name, json.dumps(document, indent=1))


@dataclass(frozen=True)
class Command:
    """How a server is started, and where it takes connections once it is ready (`:PORT`)."""

    words: tuple[str | Path, ...]
    ready: tuple[str, ...]


Maker = Callable[[Place], Command]


def nginx(address: str, host: str, files: Path) -> Maker:
    """A host that serves a folder, by http and https."""

    def make(place: Place) -> Command:
        config = NGINX.format(
            folder=place.folder,
            address=address,
            host=host,
            files=files,
            certificate=place.authority.certificate(host),
            key=place.authority.key(host),
        )
        path = place.write("nginx.conf", config)
        words = ("nginx", "-p", place.folder, "-c", path, "-e", place.folder / "error.log")
        return Command(words, (f"{address}:80", f"{address}:443"))

    return make


def squid(place: Place) -> Command:
    """An HTTP proxy: 3128 for everybody, 3129 with Basic login."""
    hashed = call("openssl", "passwd", "-apr1", "-stdin", given=PASSWORD).strip()
    place.write("passwords", f"{USER}:{hashed}\n")
    place.folder.chmod(0o777)  # squid gives up being root
    config = place.write("squid.conf", SQUID.format(folder=place.folder))
    return Command(
        ("squid", "-N", "-n", place.namespace.name.split("-")[0], "-f", config), (":3128", ":3129")
    )


def tinyproxy(place: Place) -> Command:
    """A small HTTP proxy."""
    return Command(("tinyproxy", "-d", "-c", place.write("tinyproxy.conf", TINYPROXY)), (":8888",))


def microsocks(place: Place) -> Command:
    """A small SOCKS5 proxy."""
    return Command(("microsocks", "-i", "0.0.0.0", "-p", "1080"), (":1080",))


def microsocks_login(place: Place) -> Command:
    """The same, with a login."""
    return Command(("microsocks", "-i", "0.0.0.0", "-p", "1081", "-u", USER, "-P", PASSWORD), (":1081",))


def danted(place: Place) -> Command:
    """A large SOCKS5 proxy."""
    config = place.write("danted.conf", DANTED.format())
    return Command(("danted", "-f", config, "-p", place.folder / "danted.pid"), (":1085",))


def ss_server(place: Place) -> Command:
    """The far end of a shadowsocks tunnel."""
    words = ("ss-server", "-s", "0.0.0.0", "-p", "8388", "-k", SECRET, "-m", CIPHER)
    return Command(words, (":8388",))


def ss_local(place: Place) -> Command:
    """Its near end: a SOCKS5 proxy on the client's own machine."""
    server = ("-s", place.proxy_address, "-p", "8388", "-k", SECRET, "-m", CIPHER)
    return Command(("ss-local", *server, "-b", "127.0.0.1", "-l", "1090"), (":1090",))


def v2ray_server(place: Place) -> Command:
    """The far end of a vmess tunnel in WebSocket."""
    inbound = {
        "listen": "0.0.0.0",
        "port": 10086,
        "protocol": "vmess",
        "settings": {"clients": [{"id": IDENTITY, "alterId": 0}]},
        "streamSettings": {"network": "ws", "wsSettings": {"path": "/tunnel"}},
    }
    outbound = {"protocol": "freedom", "settings": {"domainStrategy": "AsIs"}}
    config = {"log": {"loglevel": "warning"}, "inbounds": [inbound], "outbounds": [outbound]}
    return Command(("v2ray", "-config", place.write_json("v2ray.json", config)), (":10086",))


def v2ray_local(place: Place) -> Command:
    """Its near end: an HTTP proxy on the client's own machine."""
    user = {"id": IDENTITY, "alterId": 0, "security": "auto"}
    server = {"address": place.proxy_address, "port": 10086, "users": [user]}
    outbound = {
        "protocol": "vmess",
        "settings": {"vnext": [server]},
        "streamSettings": {"network": "ws", "wsSettings": {"path": "/tunnel"}},
    }
    inbound = {"listen": "127.0.0.1", "port": 10809, "protocol": "http", "settings": {}}
    config = {"log": {"loglevel": "warning"}, "inbounds": [inbound], "outbounds": [outbound]}
    return Command(("v2ray", "-config", place.write_json("v2ray.json", config)), (":10809",))


def trojan_server(place: Place) -> Command:
    """The far end of a trojan tunnel: TLS, and a web page for whoever does not know the password."""
    tls = {
        "cert": str(place.authority.certificate(place.proxy_name)),
        "key": str(place.authority.key(place.proxy_name)),
        "cipher": "ECDHE-ECDSA-AES128-GCM-SHA256",
        "alpn": ["http/1.1"],
    }
    config = {
        "run_type": "server",
        "local_addr": "0.0.0.0",
        "local_port": 4430,
        "remote_addr": "127.0.0.1",
        "remote_port": 80,
        "password": [SECRET],
        "log_level": 1,
        "ssl": tls,
    }
    return Command(("trojan", place.write_json("trojan.json", config)), (":4430",))


def wait_until_ready(
    namespace: Namespace, name: str, command: Command, log: Path, ended: Callable[[], int | None]
) -> None:
    """Return once all ports are open; LabError with the end of the server's log if it does not come up."""
    end_s = time.monotonic() + READY_S
    while not all(namespace.listening(endpoint) for endpoint in command.ready):
        if ended() is not None or time.monotonic() > end_s:
            words = log.read_text(errors="replace")[-800:] if log.exists() else ""
            raise LabError(f"{name} does not come up (exit code {ended()}): {words}")
        time.sleep(0.02)
