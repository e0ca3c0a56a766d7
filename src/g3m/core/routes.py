"""Which ways lead to an asset: places turned into URLs, mirrors applied, the way out chosen.

A route is a place (origin or mirror) reached through a way (direct or a proxy). This module only
rewrites and orders; whether a route works is found out by steps/fetch.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import quote, urlsplit

from g3m.core.errors import SettingsError
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
    proxy: str = ""

    @property
    def place(self) -> str:
        """The host, for people."""
        return host_of(self.url)

    @property
    def way(self) -> str:
        return f"proxy {host_of(self.proxy)}" if self.proxy else "direct"


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


def candidates(
    places: Sequence[str],
    endpoints: Endpoints,
    mirrors: Sequence[Mirror],
    proxies: Mapping[str, str],
) -> tuple[Route, ...]:
    """Every route to an asset, the preferred first, each once."""
    urls = dict.fromkeys(url for place in places for url in rewrite(address(place, endpoints), mirrors))
    return tuple(Route(url, proxy_for(url, proxies)) for url in urls)


def proxy_for(url: str, variables: Mapping[str, str]) -> str:
    """The proxy that the user's variables name for a URL, or an empty string for a direct way.

    Knows `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy` in lower and upper case, lower first.
    Loopback never goes through a proxy. `socks5://` becomes `socks5h://`: names are resolved by the
    proxy, because a blocked network often answers wrongly. SettingsError if the proxy is not usable:
    going direct in silence would be worse.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if _is_loopback(host) or _excluded(host, _variable(variables, "no_proxy")):
        return ""
    proxy = _variable(variables, f"{parts.scheme}_proxy") or _variable(variables, "all_proxy")
    if not proxy:
        return ""
    scheme, separator, rest = proxy.partition("://")
    if not separator:
        return f"http://{proxy}"
    known = {"http": "http", "https": "https", "socks5": "socks5h", "socks5h": "socks5h", "socks": "socks5h"}
    known |= {"socks4": "socks4a", "socks4a": "socks4a"}
    if scheme.lower() not in known:
        raise SettingsError(
            f"the proxy for {host} has the scheme {scheme!r}, which cannot be used",
            hint=("use http://, https:// or socks5h://", "请使用 http://、https:// 或 socks5h://"),
        )
    return f"{known[scheme.lower()]}://{rest}"


def _is_loopback(host: str) -> bool:
    try:
        return host in LOOPBACK or ip_address(host).is_loopback
    except ValueError:
        return False  # a name, and be it 127.example.org


def _variable(variables: Mapping[str, str], name: str) -> str:
    return variables.get(name) or variables.get(name.upper()) or ""


def _excluded(host: str, no_proxy: str) -> bool:
    for entry in no_proxy.replace(",", " ").split():
        pattern = entry.lower().lstrip("*").lstrip(".")
        if entry == "*" or host == pattern or (pattern and host.endswith("." + pattern)):
            return True
    return False
