"""Which core and proxy this machine has, which node carries a host, and how fast the others would be.

`look_around` only reads. `measure_each` chooses one node after the other, which all programs that use the
group feel, and puts the former choice back whatever happens; it is called with consent only. What a node is
worth is measured by our own fetch of the dataset's own file: a core's test of the delay cannot tell a block
page from a file, and says nothing about speed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from g3m.adapters.cores import CONTROLLER_VARIABLE, Core, Search, find_core
from g3m.adapters.curl import HttpOptions
from g3m.adapters.listeners import (
    PROXY_PORTS,
    Listener,
    Socket,
    find_listeners,
    listening,
    look_at,
    owner_of,
    ports_beside,
    sockets_at,
)
from g3m.adapters.sampling import Limits, Sample, Target, take_sample
from g3m.adapters.session import USER_AGENT, Session
from g3m.core.cores import Controller, CoreState, Exposure, Link, Node, Version, risks
from g3m.core.errors import G3MError, Refused, SourceError, Unreachable, UsageError
from g3m.core.proxies import find_ways
from g3m.core.routes import address, rewrite
from g3m.steps.choices import Choices

PUT_BACK_ATTEMPTS = 3
PORTS_TRIED = 8
_NAMED_HOSTS = ("127.0.0.1", "localhost", "[::1]")


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user named: a controller, and a config whose secret may be read."""

    controller: str = ""
    config: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What is there: a core (or why it does not let us in), the proxy to use, and all that listen."""

    core: Core | None = None
    version: Version | None = None
    state: CoreState = field(default_factory=CoreState)
    locked: Refused | None = None
    owner: str = ""
    proxy: str = field(default="", repr=False)
    """The URL of the proxy; it may hold a login, which is for libcurl alone."""

    listeners: tuple[Listener, ...] = ()
    risks: tuple[str, ...] = ()

    def need_core(self) -> Core:
        """The core; an error that says why there is none."""
        if self.core is None:
            raise self.locked or Unreachable("no core with a controller was found", hint=_NO_CORE)
        return self.core

    def need_proxy(self) -> str:
        """The proxy's URL; an error if there is none."""
        if not self.proxy:
            raise Unreachable("no proxy of yours was found on this machine", hint=_NO_PROXY)
        return self.proxy


_NO_CORE = (
    "start it, or name its controller with --controller (external-controller in its config)",
    "请启动内核，或用 --controller 指定控制器地址（配置中的 external-controller）",
)


_NO_PROXY = (
    "start your proxy program, or name its port with --proxy http://127.0.0.1:PORT",
    "请启动代理程序，或用 --proxy http://127.0.0.1:端口 指定",
)


@dataclass(frozen=True, slots=True)
class Traced:
    """A sample, and the way that the core gave to it."""

    sample: Sample
    link: Link | None = None


def look_around(session: Session, wish: Wish) -> Found:
    """Find the core and the proxies of this machine; nothing is changed and nothing leaves loopback."""
    sockets = listening()
    search = Search(
        named=wish.controller,
        config=wish.config,
        variables=session.variables,
        home=session.home,
        trusts_port=lambda at: all(
            owner_of(item.uid) != "other" for item in sockets_at(at.port, sockets, at.host)
        ),
        trusts_uid=lambda uid: owner_of(uid) != "other",
    )
    try:
        core = find_core(search, options_of(session))
    except Refused as error:
        if wish.controller or session.variables.get(CONTROLLER_VARIABLE):
            raise
        proxies = find_listeners(PROXY_PORTS)
        return Found(locked=error, listeners=proxies, proxy=_named_proxy(session) or _first(proxies))
    if core is None:
        proxies = find_listeners(PROXY_PORTS)
        return Found(listeners=proxies, proxy=_named_proxy(session) or _first(proxies))
    return _about(core, session, sockets)


def _about(core: Core, session: Session, sockets: tuple[Socket, ...]) -> Found:
    state, controller = core.state(), core.controller
    own_ports = tuple(state.ports.values())
    if not own_ports and controller.port:
        # sing-box does not say its ports; a few are enough, for each silent one costs time.
        own_ports = ports_beside(controller.port, sockets)[:PORTS_TRIED]
    own = [item for item in (look_at(port, sockets) for port in own_ports) if item is not None]
    others = find_listeners(port for port in PROXY_PORTS if port not in own_ports)
    listeners = (*own, *others)
    guess = own[0].url if own else "" if own_ports else _first(others)
    here = sockets_at(controller.port, sockets, controller.host) if controller.port else ()
    exposure = Exposure(
        controller_addresses=tuple(item.address for item in here),
        proxy_addresses=tuple(at.address for item in own for at in sockets_at(item.port, sockets)),
        has_secret=bool(controller.path) or core.greets() != "open",
        asks_login=state.asks_login or any(item.wants_login for item in own),
        allow_lan=state.allow_lan,
    )
    return Found(
        core=core,
        version=core.version(),
        state=state,
        owner=_owner(controller, here),
        proxy=_named_proxy(session) or _with_login(guess, session),
        listeners=listeners,
        risks=tuple(risks(exposure)),
    )


def _owner(controller: Controller, sockets: Sequence[Socket]) -> str:
    if controller.path:
        with suppress(OSError):
            return owner_of(Path(controller.path).stat().st_uid)
    return owner_of(sockets[0].uid) if sockets else ""


def _first(listeners: Sequence[Listener]) -> str:
    return next((item.url for item in listeners if item.is_trusted), "")


def _named_proxy(session: Session) -> str:
    """The proxy of --proxy or the config file, which wins over what is found; SettingsError if it is none."""
    named = find_ways(session.settings.proxy, no_proxy=False, variables={}).proxies
    return named[0].url if named else ""


def _with_login(proxy: str, session: Session) -> str:
    """The same proxy as a variable names it, if one does: the login for it stands there."""
    places = {f"{host}:{proxy.rpartition(':')[2]}" for host in _NAMED_HOSTS} if proxy else set()
    return next((item.url for item in session.ways.proxies if item.host in places), proxy)


def options_of(session: Session) -> HttpOptions:
    """How samples and questions are sent: with nobody's token."""
    return HttpOptions(user_agent=USER_AGENT, variables=session.variables, stopping=session.stop.is_set)


def target_of(session: Session, dataset: str, url: str = "") -> Target:
    """The file to measure with: the one that was named, or the first of a dataset's that has an address."""
    if url:
        if not url.startswith(("http://", "https://")):
            raise UsageError("--url: no web address", hint=("begin with https://", "请以 https:// 开头"))
        return Target(url)
    for recipe in session.recipes.expand((dataset,)):
        for asset in recipe.assets:
            place = address(asset.places[0], session.settings.endpoints)
            return Target(rewrite(place, session.settings.mirrors)[0], asset.size_bytes)
    raise UsageError(
        f"{dataset}: its recipe names no single file", hint=("name one with --url", "请用 --url 指定一个文件")
    )


def trace(found: Found, target: Target, limits: Limits, session: Session) -> Traced:
    """Fetch a little of the file through the proxy, and find our connection in the core's list."""
    proxy = found.need_proxy()
    links: list[Link] = []

    def watch(port: int) -> bool:
        with suppress(SourceError):
            link = found.core.link(port) if found.core is not None else None
            links.extend([link] if link is not None else [])
            return link is not None or found.core is None
        return True  # a controller that fails now is not asked again and again

    sample = take_sample(target, proxy, limits, options_of(session), watch)
    return Traced(sample, links[-1] if links else None)


def delay_url(version: Version | None, target: Target) -> str:
    """The address for a core's test of the delay, or empty: sing-box puts its own in place of http://."""
    if version is not None and version.kind == "sing-box" and not target.url.startswith("https://"):
        return ""
    return target.url


def best(names: Sequence[str], delays_ms: Mapping[str, int], count: int) -> tuple[str, ...]:
    """The few that are worth a measurement: those that answered, the fastest answer first.

    >>> best(["a", "b", "c"], {"a": 90, "b": 0, "c": 30}, 2), best(["a", "b"], {}, 1)
    (('c', 'a'), ('a',))
    """
    answered = [name for name in names if delays_ms.get(name) != 0]
    return tuple(sorted(answered, key=lambda name: delays_ms.get(name, 0))[:count])


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Nodes to try in a group, one after the other."""

    core: Core
    group: str
    names: tuple[str, ...]
    choices: Choices


def measure_each(
    trial: Trial, measure: Callable[[], Traced], tell: Callable[[str, Traced], None], session: Session
) -> bool:
    """Choose each node in turn and measure; false if somebody else chose meanwhile, whose choice stays.

    Before the first choice the former one is written down, so that `g3m proxy restore` can put it back even
    if this process is killed.
    """
    core, group, controller = trial.core, trial.group, str(trial.core.controller)
    former, kept = core.nodes()[group].now, trial.choices.of(controller)
    last = former
    try:
        for name in trial.names:
            session.check_stop()
            trial.choices.note(controller, group, now=last, chosen=name)
            last = name
            try:
                core.choose(group, name)
                traced = measure()
            except Unreachable as error:
                traced = Traced(Sample(host="", problem=error.message))
            tell(name, traced)
    finally:
        mine = put_back(core, group, former, last)
        trial.choices.keep(controller, kept)
    return mine


def put_back(core: Core, group: str, former: str, last: str) -> bool:
    """Let the group use `former` again, unless it does not use `last` any more: somebody else chose."""
    for left in reversed(range(PUT_BACK_ATTEMPTS)):
        try:
            now = _now(core.nodes(), group)
            if now not in (former, last):
                return False
            if now != former:
                core.choose(group, former)
        except G3MError as error:
            if not left:
                raise Unreachable(
                    f"{group!r} may still use {last!r} and not {former!r}: {error.message}", hint=_RESTORE
                ) from error
        else:
            break
    return True


def _now(nodes: Mapping[str, Node], group: str) -> str:
    return nodes[group].now if group in nodes else ""


_RESTORE = ("run `g3m proxy restore`", "请运行 `g3m proxy restore`")
