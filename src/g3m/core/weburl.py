"""What a web address of a stranger's list is: http or https, one host, one port, one spelling.

Two programs that read an address differently are a hole: one checks it, the other connects. So what is
ambiguous is refused, and the rest is written anew in one form that every program reads alike. Whether a
host is public is for core/addresses.py.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from unicodedata import category, normalize
from urllib.parse import quote, urljoin, urlsplit

from g3m.core.addresses import is_numeric, literal

MOST_CHARACTERS = 8192
_PORTS = {"http": 80, "https": 443}
_FIRST_FREE_PORT = 1024
_OTHER_SERVICES = frozenset({1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6379, 6566,
    6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080, 11211})  # fmt: skip
"""Ports from 1024 on where no web server listens: what browsers refuse, and two stores that obey any line."""

_PATH = "%/:=&~+!$,;'@()*[]|^\\"
_QUERY = "%/:=&~+!$,;@()*[]|^?`{}"
"""What browsers leave as it is; the rest is percent-encoded. `%` stays, even where it says nothing."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_HOST = re.compile(r"(?!.{254})[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
_BRACKETS = re.compile(r"(?:\[[^\[\]]*\](?::[0-9]*)?|[^\[\]]*)")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)


class BadUrl(ValueError):
    """An address that nothing is fetched from; the words say why and never hold the address itself."""


@dataclass(frozen=True, slots=True)
class WebAddress:
    """A web address in its one form. `host` is in ASCII, an IPv6 address without its brackets."""

    url: str
    scheme: str
    host: str
    port: int


def web_address(text: str) -> WebAddress:
    """The address that a text means, as browsers read it; BadUrl if it is none that may be fetched.

    >>> web_address("HTTP://Bücher.example:80/a b.jpg?q=ü#top").url
    'http://xn--bcher-kva.example/a%20b.jpg?q=%C3%BC'
    """
    text = text.strip(" \t\r\n")
    if len(text) > MOST_CHARACTERS:
        raise BadUrl(f"longer than {MOST_CHARACTERS} characters")
    if _CONTROL.search(text):
        raise BadUrl("it holds control characters")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise BadUrl("it cannot be read as an address") from None
    if parts.scheme not in _PORTS:
        raise BadUrl("neither http nor https")
    if "@" in parts.netloc:
        raise BadUrl("it holds a login")
    if not _BRACKETS.fullmatch(parts.netloc):
        raise BadUrl("it names no host")
    host = _one_host(parts.netloc)
    port = _one_port(parts.scheme, port)
    place = f"[{host}]" if ":" in host else host
    if port != _PORTS[parts.scheme]:
        place += f":{port}"
    try:
        path = _without_dots(quote(parts.path, safe=_PATH).replace("\\", "/"))
        query = f"?{quote(parts.query, safe=_QUERY)}" if parts.query else ""
    except UnicodeEncodeError:
        raise BadUrl("it holds halves of characters") from None
    url = f"{parts.scheme}://{place}{path}{query}"
    if len(url) > MOST_CHARACTERS:
        raise BadUrl(f"longer than {MOST_CHARACTERS} characters")
    return WebAddress(url, parts.scheme, host, port)


def next_address(here: WebAddress, location: str) -> WebAddress:
    """Where a redirect leads; BadUrl if that may not be fetched, or is a step from https to http.

    `location` is the header as HTTP brings it, one character a byte.
    """
    with suppress(UnicodeError):  # where it is no UTF-8 it is taken as it stands
        location = location.encode("latin-1").decode("utf-8")
    location = location.strip(" \t\r\n")
    if not location:
        raise BadUrl("a redirect to nowhere")
    if _CONTROL.search(location):
        raise BadUrl("a redirect with control characters")
    try:
        joined = location if _SCHEME.match(location) else urljoin(here.url, location)
    except ValueError:
        raise BadUrl("a redirect that cannot be read as an address") from None
    found = web_address(joined)
    if here.scheme == "https" and found.scheme == "http":
        raise BadUrl("a redirect from https to http")
    return found


def _without_dots(path: str) -> str:
    """The path without `.` and `..`, which libcurl would take out, too: what is checked is what is asked for.

    >>> _without_dots("/open/%2e%2E/closed/./a.jpg"), _without_dots("/a/.."), _without_dots("")
    ('/closed/a.jpg', '/', '/')
    """
    kept: list[str] = []
    plain = ""
    for segment in path.split("/")[1:]:
        plain = segment.lower().replace("%2e", ".")
        if plain == "..":
            kept[-1:] = []
        elif plain != ".":
            kept.append(segment)
    if plain in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)


def _one_host(place: str) -> str:
    """The one spelling of the host in `host:port`: a plain address, or a name in ASCII, no dot at its end."""
    if place.startswith("["):
        found = literal(place[1:].partition("]")[0])
        if ":" not in found:
            raise BadUrl("no address stands in its brackets")
        return found
    # Not `hostname` of urllib, which makes small letters of a whole word: see _to_ascii.
    host = place.partition(":")[0]
    if not host:
        raise BadUrl("it names no host")
    name = host if host.isascii() else _to_ascii(host)
    name = name.lower().removesuffix(".")
    if is_numeric(name):
        if not literal(name):
            raise BadUrl("its host is a number in an unusual spelling")
    elif not _HOST.fullmatch(name):
        raise BadUrl("its host is no name")
    return name


def _to_ascii(host: str) -> str:
    """A name with letters of any script as it stands in DNS; what cannot be seen in it is refused."""
    # One letter at a time: a whole word's capital sigma at its end would become another letter.
    folded = normalize("NFKC", "".join(letter.lower() for letter in normalize("NFKC", host)))
    # The full stops of other widths are this one or `.` by now.
    folded = folded.replace("\u3002", ".")
    if any(category(letter)[0] in "CZ" for letter in folded):
        raise BadUrl("its host holds characters that cannot be seen")
    labels = folded.split(".")
    return ".".join(
        label if label.isascii() else "xn--" + label.encode("punycode").decode("ascii") for label in labels
    )


def _one_port(scheme: str, port: int | None) -> int:
    if port is None or port in _PORTS.values():
        return _PORTS[scheme] if port is None else port
    if port < _FIRST_FREE_PORT or port in _OTHER_SERVICES:
        raise BadUrl(f"port {port} is not one of web servers")
    return port
