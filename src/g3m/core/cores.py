"""What the controller of a proxy core says, as values: Clash, mihomo and sing-box answer almost alike.

Reading documents that came over a socket, choosing a group, and naming what is left open. Asking the core,
and every call that changes something, is adapters/cores.py. The names of nodes and groups come from
strangers: whoever shows them makes them printable first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from g3m.core.errors import SettingsError, UsageError
from g3m.core.recipe import suggest
from g3m.core.secrets import LOOPBACK, mask

CONTROLLER_PORTS = (9090, 9097, 9091)
DELAY_LIMIT_MS = 32_767
"""The cores read a timeout into 16 bits; a larger one is refused."""

GLOBAL = "GLOBAL"
"""The group that decides in global mode only; it holds every node, so it is never a guess."""

_NO_WAY = frozenset({"reject", "rejectdrop", "pass", "passrule", "compatible", "block", "dns"})
_ADDRESS = (
    "name a controller on this machine: 127.0.0.1:9090, or unix:/path/to/the.sock",
    "请填写本机的控制器地址：127.0.0.1:9090 或 unix:/路径/文件.sock",
)
_ELSEWHERE = (
    "g3m speaks to controllers on this machine only; run it where the core runs",
    "g3m 只与本机的控制器通信；请在内核所在的机器上运行",
)


@dataclass(frozen=True, slots=True)
class Controller:
    """Where a core listens for commands: a port on loopback, or a unix socket."""

    host: str = "127.0.0.1"
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        return f"unix:{self.path}" if self.path else self._place

    @property
    def _place(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The address that HTTP requests to it begin with."""
        return "http://localhost" if self.path else f"http://{self._place}"


def controller_at(text: str) -> Controller:
    """The controller that a user named; SettingsError unless it is on this machine.

    >>> str(controller_at("http://localhost:9090/")), str(controller_at("/tmp/verge/verge-mihomo.sock"))
    ('127.0.0.1:9090', 'unix:/tmp/verge/verge-mihomo.sock')
    """
    text = text.strip()
    path = text.removeprefix("unix://").removeprefix("unix:")
    if path != text or text.startswith("/"):
        if not path.startswith("/") or not path.isprintable():
            raise SettingsError("the controller's socket is no absolute path", hint=_ADDRESS)
        return Controller(path=path)
    whole = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(whole)
        host, port = parts.hostname or "", parts.port
        local = host in LOOPBACK or ip_address(host).is_loopback
    except ValueError:
        raise SettingsError(f"{mask(whole)}: no controller's address", hint=_ADDRESS) from None
    if not local:
        raise SettingsError(f"{mask(whole)}: this controller is not on this machine", hint=_ELSEWHERE)
    if parts.scheme != "http" or not port or parts.username or parts.path not in ("", "/") or parts.query:
        raise SettingsError(f"{mask(whole)}: no controller's address", hint=_ADDRESS)
    return Controller(host="127.0.0.1" if host == "localhost" else host, port=port)


def secret_line(text: str) -> str:
    """The secret in a core's config, or an empty text: one line of YAML, or `clash_api` in JSON.

    >>> secret_line("mixed-port: 7890\\nsecret: 'it''s'  # mine\\n"), secret_line('secret: "a\\\\"b"')
    ("it's", 'a"b')
    """
    _, api, rest = text.partition('"clash_api"')
    found = re.search(r'"secret"\s*:\s*("(?:[^"\\]|\\.)*")', rest) if api else None
    if found:
        return _json_text(found[1])
    line = re.search(r"^secret[ \t]*:[ \t]+(.+?)[ \t]*$", text, re.MULTILINE)
    value = line[1] if line else ""
    quoted = re.match(r"""("(?:[^"\\]|\\.)*")|'((?:[^']|'')*)'""", value)
    if quoted:
        return _json_text(quoted[1]) if quoted[1] else quoted[2].replace("''", "'")
    if value[:1] in ("#", "&", "*", "!", "|", ">", '"', "'"):
        return ""  # nothing, or a form that only a YAML reader understands
    return re.split(r"[ \t]#", value, maxsplit=1)[0].strip()


def _json_text(quoted: str) -> str:
    try:
        value = json.loads(quoted)
    except ValueError:
        return ""
    return value if isinstance(value, str) else ""


@dataclass(frozen=True, slots=True)
class Version:
    """Which core it is (`mihomo`, `clash` or `sing-box`), and its number."""

    kind: str
    number: str


def read_version(body: object) -> Version | None:
    """The answer to /version, or None if no core that is known answers so."""
    table = _table(body)
    number = table.get("version")
    if not isinstance(number, str) or not number:
        return None
    if number.startswith("sing-box"):
        return Version("sing-box", number.removeprefix("sing-box").strip())
    return Version("mihomo" if table.get("meta") is True else "clash", number)


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreState:
    """What /configs tells: the mode, the ports (0: unknown; sing-box never says) and who may use them."""

    mode: str = ""
    mixed_port: int = 0
    http_port: int = 0
    socks_port: int = 0
    allow_lan: bool = False
    asks_login: bool = False

    @property
    def ports(self) -> dict[str, int]:
        """The ports that are open, the most useful first."""
        named = {"mixed": self.mixed_port, "http": self.http_port, "socks": self.socks_port}
        return {name: port for name, port in named.items() if port}


def read_state(body: object) -> CoreState:
    """The answer to /configs; the names of users in it are not kept."""
    table = _table(body)
    mode = table.get("mode")
    return CoreState(
        mode=mode.lower() if isinstance(mode, str) else "",
        mixed_port=_port(table.get("mixed-port")),
        http_port=_port(table.get("port")),
        socks_port=_port(table.get("socks-port")),
        allow_lan=table.get("allow-lan") is True,
        asks_login=bool(table.get("authentication")),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node, or a group of them: `delay_ms` is the last test's (0: failed, None: not tested)."""

    name: str
    kind: str
    delay_ms: int | None = None
    now: str = ""
    members: tuple[str, ...] = ()

    @property
    def is_group(self) -> bool:
        return bool(self.members)

    @property
    def is_chosen_by_hand(self) -> bool:
        """Whether somebody may choose in this group; the others choose by themselves."""
        return self.is_group and self.kind.lower() == "selector"

    @property
    def leads_out(self) -> bool:
        """Whether traffic can get anywhere through it."""
        return self.kind.lower() not in _NO_WAY


def read_nodes(body: object) -> dict[str, Node]:
    """The answer to /proxies: every node and group by its name."""
    return {
        name: Node(
            name=name,
            kind=_text(raw.get("type")),
            delay_ms=_last_delay(raw.get("history")),
            now=_text(raw.get("now")),
            members=tuple(item for item in _list(raw.get("all")) if isinstance(item, str)),
        )
        for name, raw in _table(_table(body).get("proxies")).items()
        if isinstance(raw, Mapping)
    }


def _last_delay(history: object) -> int | None:
    last = _table(_list(history)[-1]) if _list(history) else {}
    delay = last.get("delay")
    return delay if isinstance(delay, int) and delay >= 0 else None


@dataclass(frozen=True, slots=True)
class Link:
    """The way that the core gave to one connection: groups from the outside in, the node last."""

    chain: tuple[str, ...]
    rule: str


def find_link(body: object, source_port: int) -> Link | None:
    """Our own connection among the answer to /connections, or None if it is not (or no longer) there."""
    for raw in map(_table, _list(_table(body).get("connections"))):
        if str(_table(raw.get("metadata")).get("sourcePort")) == str(source_port):
            names = [name for name in _list(raw.get("chains")) if isinstance(name, str)]
            rule, payload = _text(raw.get("rule")), _text(raw.get("rulePayload"))
            return Link(tuple(reversed(names)), f"{rule}({payload})" if payload else rule)
    return None


def groups_to_show(nodes: Mapping[str, Node], named: str, mode: str) -> tuple[str, ...]:
    """The groups to list: the named one (UsageError if there is none), or all; GLOBAL in global mode only."""
    groups = [node.name for node in nodes.values() if node.is_group]
    if named and named not in groups:
        raise UsageError(f"no group is called {named!r}{suggest(named, groups)}", hint=_SEE_NODES)
    return (named,) if named else tuple(name for name in groups if name != GLOBAL or mode == "global")


def choosable(group: Node, nodes: Mapping[str, Node]) -> tuple[str, ...]:
    """The members of a group through which traffic can go."""
    return tuple(name for name in group.members if name not in nodes or nodes[name].leads_out)


def group_for(nodes: Mapping[str, Node], chain: Sequence[str], *, member: str = "", named: str = "") -> str:
    """The group in which to choose: the named one, else the outermost on a host's way, else the only one.

    `member` is the node that is to be chosen in it. UsageError says what can be chosen instead.
    """
    if named:
        _must_be_chosen_by_hand(nodes, named)
    if member and member not in nodes:
        near = suggest(member, list(nodes))
        raise UsageError(f"no node is called {member!r}{near}", hint=_SEE_NODES)
    fitting = [
        node.name
        for node in nodes.values()
        if node.is_chosen_by_hand and (not member or member in node.members) and named in ("", node.name)
    ]
    on_the_way = [name for name in chain if name in fitting]
    guesses = fitting if named else [name for name in fitting if name != GLOBAL]
    if on_the_way or len(guesses) == 1:
        return (on_the_way or guesses)[0]
    if not guesses:
        where = named or "no group that is chosen by hand"
        raise UsageError(f"{where} has no node {member!r}" if member else where, hint=_SEE_NODES)
    raise UsageError(f"several groups are possible: {', '.join(guesses)}", hint=_NAME_GROUP)


def _must_be_chosen_by_hand(nodes: Mapping[str, Node], name: str) -> None:
    group = nodes.get(name)
    if group is None or not group.is_group:
        near = suggest(name, [node.name for node in nodes.values() if node.is_group])
        raise UsageError(f"no group is called {name!r}{near}", hint=_SEE_NODES)
    if not group.is_chosen_by_hand:
        raise UsageError(f"the group {name!r} ({group.kind}) chooses by itself", hint=_SEE_NODES)


_SEE_NODES = ("`g3m proxy nodes` lists groups and nodes", "`g3m proxy nodes` 会列出分组和节点")
_NAME_GROUP = ("say which with --group", "请用 --group 指定")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """What decides who else can use a core: the addresses its ports listen on, and its locks."""

    controller_addresses: tuple[str, ...] = ()
    proxy_addresses: tuple[str, ...] = ()
    has_secret: bool = True
    asks_login: bool = False
    allow_lan: bool = False


def risks(exposure: Exposure) -> Iterator[str]:
    """What stands open: `open-controller`, `empty-secret`, `open-proxy`."""
    if any(map(_is_open, exposure.controller_addresses)):
        yield "open-controller"
    if not exposure.has_secret:
        yield "empty-secret"
    reachable = any(map(_is_open, exposure.proxy_addresses)) or (
        exposure.allow_lan and not exposure.proxy_addresses
    )
    if reachable and not exposure.asks_login:
        yield "open-proxy"


def _is_open(address: str) -> bool:
    found = ip_address(address)
    mapped = getattr(found, "ipv4_mapped", None)
    return not (mapped or found).is_loopback


def _table(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else ()


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _port(value: object) -> int:
    return value if isinstance(value, int) and 0 < value < 65536 else 0
