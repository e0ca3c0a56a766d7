"""The lab: clients behind a wall, an origin and a mirror beyond it, a machine with proxies abroad.

    client 10.77.N.2 ──┐
    client 10.77.M.2 ──┤                 ┌── mirror 11.77.3.2
                       ├──── wall ───────┤
                       │                 ├── origin 11.77.2.2 ──┐
                       │                 └── proxy  11.77.4.2 ──┘ abroad 11.77.5.0/24
                       │
                     each leg ends at .1 of its net, in the wall

The proxy reaches the origin abroad, without the wall. Hosts have addresses that look public, since a public
name with a private address is a sign of poisoned names. Nothing here has a way to the real network.
"""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.netlab import servers
from tests.netlab.authority import Authority, make_authority
from tests.netlab.namespaces import Namespace, Namespaces, namespaces
from tests.netlab.servers import Command, Maker, Place, wait_until_ready
from tests.netlab.wall import Wall

ORIGIN, MIRROR, PROXY = "origin.g3m.example", "mirror.g3m.example", "proxy.g3m.example"
HUB, HUB_MIRROR, CDN = "huggingface.co", "hub-mirror.g3m.example", "cdn.g3m.example"
ADDRESSES = {
    ORIGIN: "11.77.2.2",
    HUB: "11.77.2.3",
    CDN: "11.77.2.4",
    MIRROR: "11.77.3.2",
    HUB_MIRROR: "11.77.3.3",
    PROXY: "11.77.4.2",
}
NOWHERE = "11.77.9.9"
"""An address where nobody lives; packets to it vanish."""

LEGS = {"origin": 2, "mirror": 3, "proxy": 4}
PROXY_SERVERS: dict[str, Maker] = {
    "squid": servers.squid,
    "tinyproxy": servers.tinyproxy,
    "microsocks": servers.microsocks,
    "microsocks-login": servers.microsocks_login,
    "danted": servers.danted,
    "ss-server": servers.ss_server,
    "v2ray-server": servers.v2ray_server,
    "trojan-server": servers.trojan_server,
}


@dataclass
class Client:
    """A machine behind the wall. What it thinks of names and what the wall does to it are its own."""

    lab: Lab
    namespace: Namespace
    address: str

    def names(self, **changed: str) -> None:
        """What the client takes names for; an address given for `origin` or `mirror`, or none: NXDOMAIN."""
        known = dict(ADDRESSES)
        for short, address in changed.items():
            known[f"{short}.g3m.example"] = address
        gateway = self.address.rpartition(".")[0] + ".1"
        self.namespace.write_names({name: ip for name, ip in known.items() if ip}, gateway)

    def wall(self, **modes: str) -> None:
        """How the wall treats this client's packets to `origin`, `mirror` or another host, by short name."""
        for short, mode in modes.items():
            name = {"hub": HUB, "hub_mirror": HUB_MIRROR}.get(short, f"{short}.g3m.example")
            self.lab.wall.set(self.address, ADDRESSES[name], mode, name)

    def run(
        self,
        words: Sequence[str | Path],
        variables: Mapping[str, str],
        *,
        limit_s: float = 60,
        cwd: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on this machine to its end."""
        return subprocess.run(
            ["ip", "netns", "exec", self.namespace.name, *map(str, words)],
            env=dict(variables),
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=limit_s,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
        )

    def start(self, name: str, maker: Maker) -> None:
        """Start a server on this machine; it ends with the machine."""
        self.lab.start(name, self.namespace, maker)


@dataclass
class Lab:
    """The standing lab: hosts and proxies run until it is closed; clients come and go."""

    spaces: Namespaces
    authority: Authority
    files: Path
    hosts: dict[str, Namespace] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(10))
    wall: Wall = field(init=False)

    def build(self) -> None:
        """Machines, cables and names, then every server that all clients share."""
        add = self.spaces.add
        self.hosts = {name: add(name) for name in ("wall", *LEGS)}
        wall = self.hosts["wall"]
        wall.call("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.netfilter.nf_conntrack_acct=1")
        wall.ip("route add blackhole 11.77.9.0/24")
        self.wall = Wall(wall)
        for leg, net in LEGS.items():
            host = self.hosts[leg]
            self.spaces.connect(host, f"wall0 11.77.{net}.2/24", wall, f"{leg}0 11.77.{net}.1/24")
            host.ip(f"route add default via 11.77.{net}.1")
            host.write_names(ADDRESSES, "127.0.0.1")
        self.spaces.connect(
            self.hosts["proxy"], "abroad0 11.77.5.1/24", self.hosts["origin"], "abroad0 11.77.5.2/24"
        )
        self.hosts["origin"].ip("addr add 11.77.2.3/24 dev wall0", "addr add 11.77.2.4/24 dev wall0")
        self.hosts["mirror"].ip("addr add 11.77.3.3/24 dev wall0")
        self.hosts["proxy"].ip("route add 11.77.2.0/24 via 11.77.5.2")
        self._start_servers()

    def _start_servers(self) -> None:
        """All at once, then wait for each: some take a second."""
        wanted = {name: (self.hosts["proxy"], maker) for name, maker in PROXY_SERVERS.items()}
        for name, host in (("origin", ORIGIN), ("mirror", MIRROR)):
            wanted[name] = (self.hosts[name], servers.nginx(ADDRESSES[host], host, self.files))
        wanted["names"] = (self.hosts["wall"], no_names)
        begun = [self._begin(name, namespace, maker) for name, (namespace, maker) in wanted.items()]
        for wait in begun:
            wait()

    def start(self, name: str, namespace: Namespace, maker: Maker) -> subprocess.Popen[bytes]:
        """Start one server and wait until it is ready."""
        wait = self._begin(name, namespace, maker)
        wait()
        return namespace.started[-1]

    def _begin(self, name: str, namespace: Namespace, maker: Maker) -> partial[None]:
        folder = self.spaces.folder / f"{namespace.name}-{name}"
        folder.mkdir(exist_ok=True)
        place = Place(namespace, folder, self.authority, ADDRESSES[PROXY], PROXY)
        command = maker(place)
        variables = {"SSL_CERT_FILE": str(self.authority.bundle), "HOME": str(folder)}
        process = namespace.start(command.words, folder / "log", variables)
        return partial(wait_until_ready, namespace, name, command, folder / "log", process.poll)

    def requests(self, leg: str) -> list[str]:
        """The lines of the access log of `origin` or `mirror`."""
        log = self.spaces.folder / f"{self.hosts[leg].name}-{leg}" / "access.log"
        return log.read_text().splitlines()

    @contextmanager
    def client(self) -> Iterator[Client]:
        """A machine behind the wall, for one test."""
        number = next(self.numbers)
        net = f"10.77.{number % 250}"
        wall = self.hosts["wall"]
        namespace = self.spaces.add(f"client{number}")
        client = Client(self, namespace, f"{net}.2")
        try:
            self.spaces.connect(namespace, f"wall0 {net}.2/24", wall, f"client{number} {net}.1/24")
            namespace.ip(f"route add default via {net}.1")
            client.names()
            yield client
        finally:
            self.spaces.remove(namespace)
            self.wall.forget(client.address)


def no_names(place: Place) -> Command:
    """A resolver for clients that knows no name at all: what is not in their hosts file does not exist."""
    words = ("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts")
    return Command((*words, "--address=/#/", "--pid-file=", "--user=root", "--bind-dynamic"), (":53",))


@contextmanager
def open_lab(files: Path) -> Iterator[Lab]:
    """Build the lab; origin and mirror serve a folder. Everything is taken away at the end."""
    with ExitStack() as stack:
        spaces = stack.enter_context(namespaces())
        authority = make_authority(spaces.folder / "authority", ADDRESSES)
        lab = Lab(spaces, authority, files)
        lab.build()
        yield lab
