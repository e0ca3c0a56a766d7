"""Every kind of proxy of the lab as a user names it, with what must run on the client's own machine for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tests.netlab import cores, servers
from tests.netlab.lab import ADDRESSES, ORIGIN, PROXY, Client
from tests.netlab.servers import PASSWORD, USER, Maker

LOGIN = f"{USER}:{PASSWORD}@"
TEST_URL = f"https://{ORIGIN}/generate_204"


@dataclass(frozen=True)
class Way:
    """A proxy's URL, and the server that must first be started on the client's machine, if any."""

    url: str
    local: tuple[str, Maker] | None = None

    @property
    def label(self) -> str:
        """How g3m names the way: without the login."""
        return f"proxy {self.url.rpartition('@')[2].rpartition('//')[2]}"

    def open(self, client: Client) -> None:
        """Start what must run on the client."""
        if self.local is not None:
            client.start(*self.local)


def _core(make: Callable[..., servers.Command], node: int) -> tuple[str, Maker]:
    return make.__name__, partial(make, node=cores.NODES[node], test_url=TEST_URL)


WAYS = {
    "squid": Way(f"http://{PROXY}:3128"),
    "squid-login": Way(f"http://{LOGIN}{PROXY}:3129"),
    "tinyproxy": Way(f"http://{PROXY}:8888"),
    "microsocks": Way(f"socks5://{PROXY}:1080"),
    "microsocks-login": Way(f"socks5h://{LOGIN}{PROXY}:1081"),
    "danted": Way(f"socks5h://{ADDRESSES[PROXY]}:1085"),
    "shadowsocks": Way("socks5h://127.0.0.1:1090", ("ss-local", servers.ss_local)),
    "v2ray": Way("http://127.0.0.1:10809", ("v2ray-local", servers.v2ray_local)),
    "sing-box": Way(f"http://127.0.0.1:{cores.SING_BOX_PORT}", _core(cores.sing_box, 1)),
}
if cores.HAS_MIHOMO:
    WAYS["mihomo"] = Way(f"socks5h://127.0.0.1:{cores.MIHOMO_PORT}", _core(cores.mihomo, 0))

CORES = [name for name in cores.PORTS if name != "mihomo" or cores.HAS_MIHOMO]
"""Every core that there is for this Python."""

CORE_NODES = [(name, node) for name in CORES for node in range(4)]
"""Every living node of theirs."""


def core_way(name: str, node: int) -> Way:
    """A core with a certain node chosen."""
    return Way(f"http://127.0.0.1:{cores.PORTS[name]}", _core(getattr(cores, name), node))
