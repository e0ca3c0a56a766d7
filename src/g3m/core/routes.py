"""Which routes lead to an asset: places turned into URLs, mirrors applied, each over every way.

A route is a place (origin or mirror) reached through a way (direct or a proxy). This module only
rewrites and orders; whether a route works is found out by steps/fetch.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from g3m.core.proxies import Ways, label
from g3m.core.secrets import LOOPBACK, host_of, mask

HUB_ENDPOINT = "https://huggingface.co"
KAGGLE_ENDPOINT = "https://www.kaggle.com"


@dataclass(frozen=True, slots=True)
class Mirror:
    """A rewrite rule of the user's: URLs that begin with `prefix` go to `places` instead, in order.

    Put the prefix itself among the places to keep the origin as well.
    """

    prefix: str
    places: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Mirror({mask(self.prefix)!r}, {tuple(map(mask, self.places))!r})"


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the APIs are: HF_ENDPOINT and Kaggle's."""

    hub: str = HUB_ENDPOINT
    kaggle: str = KAGGLE_ENDPOINT


@dataclass(frozen=True, slots=True)
class Route:
    """One way to reach an asset: a URL, and the proxy that carries it (empty: direct)."""

    url: str
    proxy: str = field(default="", repr=False)
    peer: bool = False
    """Whether it is somebody's `g3m share`: its address holds a token, and its word proves nothing."""

    def __repr__(self) -> str:
        return f"Route({self.name!r}, {self.way!r})"

    @property
    def name(self) -> str:
        """The address without secrets, for journals and messages."""
        return f"{urlsplit(self.url).scheme}://{self.place}/" if self.peer else mask(self.url)

    @property
    def place(self) -> str:
        """The host, for people."""
        return host_of(self.url)

    @property
    def way(self) -> str:
        return label(self.proxy)


def address(place: str, endpoints: Endpoints) -> str:
    """The URL of a recipe's place.

    >>> address("hub://o/n@abc/dir/a 1.tar", Endpoints())
    'https://huggingface.co/datasets/o/n/resolve/abc/dir/a%201.tar'
    >>> address("kaggle://owner/slug", Endpoints())
    'https://www.kaggle.com/api/v1/datasets/download/owner/slug'
    """
    scheme, _, rest = place.partition("://")
    if scheme == "hub":
        repository, _, tail = rest.partition("@")
        revision, _, path = tail.partition("/")
        return f"{endpoints.hub.rstrip('/')}/datasets/{repository}/resolve/{revision}/{quote(path)}"
    if scheme == "kaggle":
        return f"{endpoints.kaggle.rstrip('/')}/api/v1/datasets/download/{rest}"
    return place


def rewrite(url: str, mirrors: Iterable[Mirror]) -> tuple[str, ...]:
    """The URLs to try for one URL: the longest prefix that fits decides.

    >>> rewrite("http://a/x/1.zip", [Mirror("http://a/", ("http://m/", "http://a/"))])
    ('http://m/x/1.zip', 'http://a/x/1.zip')
    """
    fitting = [mirror for mirror in mirrors if url.startswith(mirror.prefix)]
    if not fitting:
        return (url,)
    best = max(fitting, key=lambda mirror: len(mirror.prefix))
    rest = url[len(best.prefix) :]
    return tuple(dict.fromkeys(place + rest for place in best.places))


def in_the_clear(urls: Iterable[str]) -> tuple[str, ...]:
    """The hosts, each once, whose answers anybody on the way can alter: plain http, and not this machine.

    >>> in_the_clear(["http://lan.example/a", "https://far.example/b", "http://127.0.0.1:80/c"])
    ('lan.example',)
    """
    plain = (url for url in urls if url.startswith("http://"))
    far = (url for url in plain if (urlsplit(url).hostname or "") not in LOOPBACK)
    return tuple(dict.fromkeys(map(host_of, far)))


def candidates(
    places: Sequence[str],
    endpoints: Endpoints,
    mirrors: Sequence[Mirror],
    ways: Ways,
    patterns: Sequence[str] = (),
) -> tuple[Route, ...]:
    """Every route to an asset, the preferred first, each once; `patterns` are those of --route."""
    urls = dict.fromkeys(url for place in places for url in rewrite(address(place, endpoints), mirrors))
    return chosen([Route(url, way) for url in urls for way in ways.of(url)], patterns)


def chosen(routes: Iterable[Route], patterns: Sequence[str]) -> tuple[Route, ...]:
    """The routes that fit --route: `direct`, `proxy`, or the host of a place or of a proxy.

    Among patterns for the way one must fit, and among those for the place as well.

    >>> both = [Route("https://a/f"), Route("https://a/f", "http://p:1"), Route("https://b/f")]
    >>> [route.way for route in chosen(both, ["direct", "a"])]
    ['direct']
    """
    routes = tuple(routes)
    proxies = {name for route in routes if route.proxy for name in _names(route.proxy)}
    of_ways = [pattern for pattern in patterns if pattern in ("direct", "proxy") or pattern in proxies]
    of_places = [pattern for pattern in patterns if pattern not in of_ways]
    return tuple(
        route
        for route in routes
        if (not of_places or any(pattern in _names(route.url) for pattern in of_places))
        and (not of_ways or any(pattern in _way_names(route) for pattern in of_ways))
    )


def _way_names(route: Route) -> tuple[str, ...]:
    return ("proxy", *_names(route.proxy)) if route.proxy else ("direct",)


def _names(url: str) -> tuple[str, str]:
    """The host with and without its port."""
    return host_of(url), urlsplit(url).hostname or ""
