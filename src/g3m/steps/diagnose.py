"""diagnose: which places the named datasets need, which ways lead there, and what each of them does today.

One real file is asked for at every host, over the direct way, every proxy that is named, and every proxy of
the user's own that was found running. Probing is adapters/probe.py, reading it core/diagnosis.py; nothing is
written, and a host that fails is a finding and no error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from ipaddress import ip_address
from urllib.parse import urlsplit

from g3m.adapters.credentials import hub_token, kaggle_token
from g3m.adapters.curl import HttpOptions
from g3m.adapters.listeners import Listener
from g3m.adapters.parallel import each
from g3m.adapters.probe import CONNECTIONS, FAST_BYTES_PER_S, LIMITS, Aim, Limits, Reached, reach, sample
from g3m.adapters.session import USER_AGENT, Session
from g3m.core.diagnosis import PROXY_WIDE, Cause, Probe, diagnose
from g3m.core.errors import SettingsError
from g3m.core.plan import DatasetPlan
from g3m.core.proxies import OPTION, find_ways
from g3m.core.recipe import Listing
from g3m.core.routes import HUB_ENDPOINT, Endpoints, address, rewrite
from g3m.core.secrets import LOOPBACK, host_of, mask
from g3m.core.verdicts import Need, Outcome, Way
from g3m.steps.resolve import resolve

DEFAULT_NAMES = ("g3m", "eval")
LISTENERS = 2
"""So many proxies that nothing names are tried; one program often listens at several ports."""

_VARIABLES = ("http_proxy", "https_proxy", "all_proxy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One host with a file that is needed from it; with `listing` the file's name is not known yet.

    `endpoint` is the hub that HF_ENDPOINT would have to name; empty if the place is in use.
    """

    url: str = field(repr=False)
    file: str
    wanted_bytes: int | None = None
    listing: Listing | None = None
    endpoint: str = ""

    @property
    def name(self) -> str:
        """The host, for people; `http://` before it where nothing protects what comes."""
        return _name(self.url)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One place over one way; `proxy` is for libcurl and may hold a login."""

    place: Place
    way: Way
    proxy: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What is to be found out: lines to probe, and what the datasets need."""

    lines: tuple[Line, ...]
    needs: tuple[Need, ...]

    @property
    def places(self) -> tuple[Place, ...]:
        return tuple(dict.fromkeys(line.place for line in self.lines))

    @property
    def ways(self) -> tuple[Way, ...]:
        return tuple(dict.fromkeys(line.way for line in self.lines))


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What came of one line."""

    line: Line
    file: str
    probe: Probe
    cause: Cause

    @property
    def outcome(self) -> Outcome:
        return Outcome(
            place=self.line.place.name,
            way=self.line.way,
            works=self.cause.works,
            rate_bytes_per_s=self.probe.rate_bytes_per_s,
            endpoint=self.line.place.endpoint,
            proxy_broken=self.cause.key in PROXY_WIDE,
        )


def usable_variables(variables: Mapping[str, str]) -> tuple[dict[str, str], tuple[SettingsError, ...]]:
    """The variables without proxies that cannot be used, and what is wrong with those.

    An empty one stays in the place of each, so that it still hides its other spelling.
    """
    usable, problems = dict(variables), []
    for name in (spelling for base in _VARIABLES for spelling in (base, base.upper())):
        try:
            find_ways([], no_proxy=False, variables={name: variables.get(name, "")})
        except SettingsError as error:
            usable[name] = ""
            problems.append(error)
    return usable, tuple(problems)


def survey(names: Sequence[str], session: Session, listeners: Sequence[Listener] = ()) -> Survey:
    """The lines for datasets and groups; nothing is asked of the network yet."""
    quiet = replace(session, settings=replace(session.settings, offline=True))
    datasets = resolve(names or DEFAULT_NAMES, quiet, estimate=True).datasets
    places: dict[str, Place] = {}
    needs: list[Need] = []
    for dataset in datasets:
        parts: dict[tuple[str, ...], int | None] = {}
        for found, size in _parts(dataset, session):
            key = tuple(dict.fromkeys(place.name for place in found))
            known = parts.get(key, 0)
            parts[key] = None if known is None or size is None else known + size
            for place in found:
                # The largest file of a host says most about speed.
                best = max(places.get(place.name, place), place, key=lambda item: item.wanted_bytes or 0)
                places[place.name] = best
        whole = dataset.recipe.expect.download_bytes if len(parts) == 1 else None
        needs += [
            Need(dataset=dataset.name, places=key, size_bytes=size or whole) for key, size in parts.items()
        ]
    lines = [line for place in places.values() for line in _lines(place, session, _own(listeners, session))]
    return Survey(lines=tuple(lines), needs=tuple(needs))


def _parts(dataset: DatasetPlan, session: Session) -> Iterator[tuple[list[Place], int | None]]:
    """For each file of a dataset its places; for a listing that is not here, those of the listing."""
    settings, listing = session.settings, dataset.recipe.listing
    hubs = [settings.hub_endpoint]
    if not _is_loopback(settings.hub_endpoint) and _name(settings.hub_endpoint) != _name(HUB_ENDPOINT):
        hubs.append(HUB_ENDPOINT)
    for asset in dataset.assets:
        found = []
        for where in asset.places:
            for hub in hubs if where.startswith("hub://") else hubs[:1]:
                urls = rewrite(address(where, Endpoints(hub, settings.kaggle_endpoint)), settings.mirrors)
                endpoint = "" if hub == hubs[0] else hub
                place = Place(url="", file=asset.name, wanted_bytes=asset.size_bytes, endpoint=endpoint)
                found += [replace(place, url=url) for url in urls]
        yield found, asset.size_bytes
    if listing is not None and not dataset.assets:
        found = []
        for hub in hubs:
            tree = f"/api/datasets/{listing.repository}/tree/{listing.revision}?recursive=true"
            urls = rewrite(hub.rstrip("/") + tree, settings.mirrors)
            endpoint = "" if hub == hubs[0] else hub
            place = Place(url="", file=listing.include, listing=listing, endpoint=endpoint)
            found += [replace(place, url=url) for url in urls]
        yield found, None


def _own(listeners: Iterable[Listener], session: Session) -> list[Listener]:
    """The user's own proxies that nothing names yet; never another user's, and none with --no-proxy."""
    if session.settings.no_proxy:
        return []
    named = {urlsplit(proxy.url).port for proxy in session.ways.proxies if _is_loopback(proxy.url)}
    own = [item for item in listeners if item.owner == "yours" and not item.wants_login]
    return [item for item in own if item.port not in named][:LISTENERS]


def _lines(place: Place, session: Session, own: Iterable[Listener]) -> Iterator[Line]:
    origins = {proxy.url: proxy.origin for proxy in session.ways.proxies}
    from_file = session.settings.origins.get("proxy") not in (None, "command line", "argument")
    for proxy in session.ways.of(place.url):
        origin = origins.get(proxy, "")
        origin = session.settings.origins["proxy"] if origin == OPTION and from_file else origin
        yield Line(place=place, way=Way(proxy=shown(proxy), origin=origin), proxy=proxy)
    for listener in own:
        if session.ways.through(listener.url, place.url):
            yield Line(place=place, way=Way(proxy=listener.url, origin="listener"), proxy=listener.url)


def shown(proxy: str) -> str:
    """A proxy's address with `***` in the place of a login; empty for the direct way."""
    if not proxy:
        return ""
    scheme, _, host = mask(proxy).partition("://")
    return f"{scheme}://***@{host}" if "@" in proxy else f"{scheme}://{host}"


def examine(lines: Sequence[Line], session: Session, limits: Limits = LIMITS) -> Iterator[Finding]:
    """Probe every line at once, then measure speeds; findings come as they are known."""
    options = _options(session)
    working: list[tuple[Finding, Reached]] = []
    for finding, reached in each([[partial(_probe, line, session, options, limits)] for line in lines]):
        if finding.cause.works:
            working.append((finding, reached))
        else:
            yield finding
    # Over one way hosts are sampled in turn: together they would share what the way can carry.
    calls: dict[Way, list[Callable[[], Finding]]] = {}
    for finding, reached in working:
        call = partial(_measure, finding, reached, options, limits)
        calls.setdefault(finding.line.way, []).append(call)
    yield from each(list(calls.values()))


def _options(session: Session) -> HttpOptions:
    """How a download would ask, with the user's tokens for their own hosts."""
    settings, variables, home = session.settings, session.variables, session.home
    hub = hub_token(variables, home, settings.hub_token_hosts)
    kaggle = kaggle_token(variables, home, settings.kaggle_token_hosts)
    return HttpOptions(
        user_agent=USER_AGENT,
        tokens=[token for token in (hub, kaggle) if token is not None],
        variables=variables,
        stopping=session.stop.is_set,
        allow_private=settings.allow_private,
    )


def _probe(line: Line, session: Session, options: HttpOptions, limits: Limits) -> tuple[Finding, Reached]:
    """Probe the file of a line; where its name is to be learned first, the listing."""
    place = line.place
    aim = Aim(
        url=place.url,
        way=line.proxy,
        wanted_bytes=place.wanted_bytes,
        document=place.listing is not None,
        through=session.ways.through,
    )
    reached = reach(aim, options, limits)
    probe, file = reached.probe, place.file
    if place.listing is not None and diagnose(probe).works:
        found = _first_file(reached.document, place.listing)
        if found is None:
            last = replace(probe.hops[-1], flags=probe.hops[-1].flags | {"no-listing"})
            probe = replace(probe, hops=(*probe.hops[:-1], last))
        else:
            file, size_bytes = found
            url = _beside(place.url, place.listing, file)
            reached = reach(replace(aim, url=url, wanted_bytes=size_bytes, document=False), options, limits)
            probe = reached.probe
    return Finding(line=line, file=file, probe=probe, cause=diagnose(probe)), reached


def _first_file(document: bytes, listing: Listing) -> tuple[str, int] | None:
    """The first file that a hub's listing has for the dataset, and its size; None if that is no listing."""
    try:
        rows = [(row["path"], row["size"]) for row in json.loads(document) if row["type"] == "file"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    fitting = [(path, size) for path, size in rows if isinstance(path, str) and isinstance(size, int)]
    return min((item for item in fitting if listing.takes(item[0])), default=None)


def _beside(url: str, listing: Listing, file: str) -> str:
    hub = url.partition("/api/datasets/")[0]
    return address(f"hub://{listing.repository}@{listing.revision}/{file}", Endpoints(hub=hub))


def _measure(finding: Finding, reached: Reached, options: HttpOptions, limits: Limits) -> Finding:
    """The finding with the speed of one connection and, if that is not fast, of several."""
    one, broken = sample(reached, 1, options, limits)
    probe = replace(finding.probe, speeds=(one,))
    if broken:
        # A wall that cuts each connection leaves the next one alone; one that has seen enough does not.
        resumes = sample(reached, 1, options, limits)[0].body_bytes > 0
        flags = frozenset({broken, "resumes"} if resumes else {broken})
        last = replace(probe.hops[-1], stage="body", flags=flags, body_bytes=one.body_bytes)
        probe = replace(probe, hops=(*probe.hops[:-1], last))
    elif one.rate_bytes_per_s is not None and one.rate_bytes_per_s < FAST_BYTES_PER_S:
        several, _ = sample(reached, CONNECTIONS, options, limits)
        probe = replace(probe, speeds=(one, several))
    return replace(finding, probe=probe, cause=diagnose(probe))


def _name(url: str) -> str:
    return f"http://{host_of(url)}" if url.startswith("http://") else host_of(url)


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host in LOOPBACK
