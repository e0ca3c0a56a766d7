"""The controller of a proxy core on this machine: finds it, asks it, and lets it choose another node.

Requests go to loopback or a unix socket, never through a proxy, follow no redirect and are bounded in time
and size. The one call that changes something is `choose`, in a group that is chosen by hand. Not here, on
purpose: whatever replaces a core's configuration, restarts it, tests a whole group (that undoes a pin) or
ends connections. The secret is read from a variable or from its line in a config, and kept in memory only.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlencode

import pycurl

from g3m.adapters.curl import HttpOptions, make_handle
from g3m.core.cores import (
    CONTROLLER_PORTS,
    DELAY_LIMIT_MS,
    Controller,
    CoreState,
    Link,
    Node,
    Version,
    controller_at,
    find_link,
    read_nodes,
    read_state,
    read_version,
    secret_line,
)
from g3m.core.errors import Refused, SettingsError, Unreachable
from g3m.core.secrets import Secret

ANSWER_TIMEOUT_S = 5.0
ANSWER_LIMIT_BYTES = 16 * 2**20
CONFIG_LIMIT_BYTES = 4 * 2**20
TESTS_AT_ONCE = 8
SECRET_VARIABLES = ("G3M_CLASH_SECRET", "CLASH_SECRET")
CONTROLLER_VARIABLE = "CLASH_API"
_CONFIGS = (".config/mihomo/config.yaml", ".config/clash/config.yaml")
_SOCKETS = ("verge/verge-mihomo.sock", "verge-mihomo.sock", "mihomo-party.sock", "mihomo.sock")
_SOCKETS_FOLDER = Path("/tmp")  # noqa: S108  # where these programs put them; the owner is looked at
_NEEDS_SECRET = (
    "set G3M_CLASH_SECRET to the secret of the core's config, or name that config with --config",
    "请将 G3M_CLASH_SECRET 设为内核配置中的 secret，或用 --config 指定该配置文件",
)
_NO_ANSWER = (
    "is the core running? --controller names its address (external-controller in its config)",
    "内核在运行吗？可用 --controller 指定其地址（配置中的 external-controller）",
)


@dataclass(frozen=True, slots=True)
class Reply:
    """A controller's answer: its status, and its body if that was JSON."""

    status: int
    body: object = None


class Core:
    """A core that answers at a controller; `secret` is shown to this controller only."""

    def __init__(self, controller: Controller, secret: Secret | None, options: HttpOptions) -> None:
        self.controller = controller
        self._secret = secret
        self._options = HttpOptions(user_agent=options.user_agent, variables=options.variables)

    def version(self) -> Version:
        """Which core it is; Refused if it wants another secret, Unreachable if it is none that is known."""
        found = read_version(self._good("/version").body)
        if found is None:
            raise Unreachable(f"{self.controller}: what answers there is no core", hint=_NO_ANSWER)
        return found

    def greets(self) -> str:
        """Asked without a secret: `open` if it answers, `locked` if it wants one, else it is no core."""
        with suppress(Unreachable):
            reply = self._send("GET", "/version", with_secret=False)
            if reply.status == 200 and read_version(reply.body) is not None:
                return "open"
            if reply.status == 401 and _message(reply) == "Unauthorized":
                return "locked"
        return ""

    def state(self) -> CoreState:
        """Mode, ports, and who may use them."""
        return read_state(self._good("/configs").body)

    def nodes(self) -> dict[str, Node]:
        """Every node and group by its name."""
        return read_nodes(self._good("/proxies").body)

    def link(self, source_port: int) -> Link | None:
        """The way of our own connection from this port, while it is open."""
        return find_link(self._good("/connections").body, source_port)

    def delay_ms(self, name: str, url: str, timeout_ms: int) -> int:
        """Ask the core to reach a URL through one node: milliseconds, 0 if it did not succeed."""
        timeout_ms = max(1, min(timeout_ms, DELAY_LIMIT_MS))
        query = urlencode({"url": url, "timeout": timeout_ms})
        wait_s = timeout_ms / 1000 + ANSWER_TIMEOUT_S
        with suppress(Unreachable):
            reply = self._send("GET", f"/proxies/{_quoted(name)}/delay?{query}", timeout_s=wait_s)
            delay = reply.body.get("delay") if isinstance(reply.body, Mapping) else None
            return delay if reply.status == 200 and isinstance(delay, int) and delay > 0 else 0
        return 0

    def delays_ms(self, names: Sequence[str], url: str, timeout_ms: int) -> dict[str, int]:
        """The delays of many nodes, one by one and several at once; never by the group's own test."""
        pool = ThreadPoolExecutor(TESTS_AT_ONCE)
        try:
            found = pool.map(lambda name: self.delay_ms(name, url, timeout_ms), names)
            return dict(zip(names, found, strict=True))
        finally:
            pool.shutdown(cancel_futures=True)

    def choose(self, group: str, name: str) -> None:
        """Let a group use another node, and read back that it does; connections that are open stay."""
        reply = self._send("PUT", f"/proxies/{_quoted(group)}", body={"name": name})
        if reply.status not in (200, 204) or self.nodes().get(group, Node(name="", kind="")).now != name:
            words = _message(reply) or reply.status
            raise Unreachable(
                f"{self.controller}: {group!r} does not take {name!r} ({words})",
                hint=("`g3m proxy nodes` lists what it takes", "`g3m proxy nodes` 会列出可选的节点"),
            )

    def _good(self, path: str) -> Reply:
        reply = self._send("GET", path)
        if reply.status == 401:
            raise Refused(f"{self.controller}: the core refuses the secret, or wants one", hint=_NEEDS_SECRET)
        if reply.status != 200 or reply.body is None:
            raise Unreachable(f"{self.controller}: {path} is answered with {reply.status}", hint=_NO_ANSWER)
        return reply

    def _send(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, str] | None = None,
        with_secret: bool = True,
        timeout_s: float = ANSWER_TIMEOUT_S,
    ) -> Reply:
        headers = ["Content-Type: application/json", "Expect:"] if body is not None else []
        if self._secret is not None and with_secret:
            headers.append(f"Authorization: Bearer {self._secret.reveal()}")
        easy = make_handle(self.controller.url + path, "", headers, self._options)
        received = io.BytesIO()

        def take(data: bytes) -> int:
            room = received.tell() + len(data) <= ANSWER_LIMIT_BYTES
            return received.write(data) if room else 0

        try:
            if self.controller.path:
                easy.setopt(pycurl.UNIX_SOCKET_PATH, self.controller.path)
            easy.setopt(pycurl.TIMEOUT_MS, int(timeout_s * 1000))
            easy.setopt(pycurl.WRITEFUNCTION, take)
            easy.setopt(pycurl.CUSTOMREQUEST, method)
            if body is not None:
                easy.setopt(pycurl.POSTFIELDS, json.dumps(body).encode())
            easy.perform()
            status = int(easy.getinfo(pycurl.RESPONSE_CODE))
        except pycurl.error as error:
            # libcurl's own words are left out: they are about an address that is named already.
            raise Unreachable(
                f"{self.controller}: no usable answer (curl {error.args[0]})", hint=_NO_ANSWER
            ) from None
        finally:
            easy.close()
        return Reply(status, _json(received.getvalue()))


def _quoted(name: str) -> str:
    return quote(name, safe="")


def _json(data: bytes) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _message(reply: Reply) -> str:
    words = reply.body.get("message") if isinstance(reply.body, Mapping) else None
    return words if isinstance(words, str) else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Where to look for a core: what the user named, and behind which sockets nobody else stands."""

    named: str = ""
    config: Path | None = None
    variables: Mapping[str, str] = field(repr=False)
    home: Path
    trusts_port: Callable[[Controller], bool] = lambda _controller: True
    trusts_uid: Callable[[int], bool] = lambda _uid: True


def find_core(search: Search, options: HttpOptions) -> Core | None:
    """The core that was named, or the first one that answers on loopback or a usual unix socket.

    A named one must answer; Refused if its secret is not known. What another person of this machine listens
    with is not asked unless it is named, and the secret of the usual configs is not shown to it even then.
    """
    named = search.named or search.variables.get(CONTROLLER_VARIABLE, "")
    if named:
        return _unlocked(controller_at(named), search, options)
    for controller in _usual(search):
        if Core(controller, None, options).greets():
            return _unlocked(controller, search, options)
    return None


def _unlocked(controller: Controller, search: Search, options: HttpOptions) -> Core:
    """The core with its secret, which is sent only where it is asked for."""
    core = Core(controller, None, options)
    if core.greets() != "open":
        secret = _said_secret(search)
        if secret is None and (controller.path or search.trusts_port(controller)):
            secret = _usual_secret(search.home)
        core = Core(controller, secret, options)
        core.version()
    return core


def _usual(search: Search) -> Iterator[Controller]:
    yield from filter(search.trusts_port, (Controller(port=port) for port in CONTROLLER_PORTS))
    paths = [search.home / Path(name).with_name("mihomo.sock") for name in _CONFIGS]
    for path in [*paths, *(_SOCKETS_FOLDER / name for name in _SOCKETS)]:
        with suppress(OSError):
            if path.is_socket() and search.trusts_uid(path.stat().st_uid):
                yield Controller(path=str(path))


def _said_secret(search: Search) -> Secret | None:
    """The secret of a variable or of the config that was named."""
    for name in SECRET_VARIABLES:
        if search.variables.get(name):
            return _usable(search.variables[name], name)
    if search.config is None:
        return None
    text = _config(search.config)
    if text is None:
        raise SettingsError(f"{search.config}: cannot be read as a core's config")
    return _usable(secret_line(text), str(search.config))


def _usual_secret(home: Path) -> Secret | None:
    """The secret of the first usual config that has one."""
    for path in (home / name for name in _CONFIGS):
        secret = _usable(secret_line(_config(path) or ""), str(path))
        if secret is not None:
            return secret
    return None


def _config(path: Path) -> str | None:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read(CONFIG_LIMIT_BYTES)
    except (OSError, UnicodeDecodeError):
        return None


def _usable(value: str, origin: str) -> Secret | None:
    """The value as a header can carry it; SettingsError for line ends and the like."""
    if not value:
        return None
    if not value.isprintable() or not value.isascii():
        raise SettingsError(f"{origin}: the secret holds a character that cannot be sent")
    return Secret(value)
