"""Whether the lab can stand on this machine: root, network namespaces with a firewall, and the servers.

python -m tests.netlab.usable             exits with 0, or says why not and exits with 1
python -m tests.netlab.usable packages    the Debian packages that are missing, those of the other tests included
"""

from __future__ import annotations

import os
import shutil
import sys

from tests.netlab.namespaces import PATH, LabError, call

PROGRAMS = {
    "ip": "iproute2",
    "ss": "iproute2",
    "tc": "iproute2",
    "nft": "nftables",
    "iptables": "iptables",
    "sysctl": "procps",
    "openssl": "openssl",
    "curl": "curl",
    "nginx": "nginx-light",
    "squid": "squid",
    "tinyproxy": "tinyproxy",
    "microsocks": "microsocks",
    "danted": "dante-server",
    "ss-server": "shadowsocks-libev",
    "v2ray": "v2ray",
    "trojan": "trojan",
    "dnsmasq": "dnsmasq-base",
}
"""Each program and the Debian package that has it."""

OTHERS = {
    "aria2c": "aria2",
    "chromium": "chromium",
    "strace": "strace",
    "mount": "mount",
    "losetup": "mount",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "mkfs.ext4": "e2fsprogs",
}
"""What tests/ui, tests/web, tests/crash and tests/machine need."""


def missing_packages() -> list[str]:
    """The packages whose programs are not here."""
    return _missing(PROGRAMS)


def _missing(programs: dict[str, str]) -> list[str]:
    return sorted({package for name, package in programs.items() if shutil.which(name, path=PATH) is None})


def why_not() -> str:
    """What stands against the lab, as one line; empty if nothing does."""
    if sys.platform != "linux":
        return "needs Linux"
    if os.geteuid() != 0:
        return "needs root, for network namespaces"
    if missing := missing_packages():
        return f"needs {' '.join(missing)}"
    name = f"g3mtry{os.getpid()}"
    try:
        call("ip", "netns", "add", name)
        try:
            call("ip", "netns", "exec", name, "nft", "add", "table", "ip", "lab")
        finally:
            call("ip", "netns", "delete", name)
    except LabError as error:
        return f"needs network namespaces ({error})"
    return ""


def main() -> int:
    """Say what is missing, on one line."""
    packages = sys.argv[1:] == ["packages"]
    words = " ".join(_missing(PROGRAMS | OTHERS)) if packages else why_not()
    if words:
        print(words)
    return 1 if words and not packages else 0


if __name__ == "__main__":
    sys.exit(main())
