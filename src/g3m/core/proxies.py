"""Which proxies may carry an address: what the user said, repaired where it is plain, else refused.

Reading the environment, connecting and choosing among the ways are the caller's work. A *way* is a
proxy's URL, or an empty text for the direct way. A proxy's URL may hold a login: it is for libcurl
alone, people are shown `label(way)`. What cannot be used is an error and never the direct way in silence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import quote, unquote, unquote_to_bytes, urlsplit

from g3m.core.errors import Bilingual, SettingsError

OPTION = "--proxy"
PORTS = {"http": 80, "https": 443}
"""The schemes of addresses that can be fetched, and where their servers listen."""

_SCHEMES = {
    "http": "http",
    "https": "https",
    # A blocked network often answers names wrongly, so the proxy resolves them, whatever was written.
    "socks": "socks5h",
    "socks5": "socks5h",
    "socks5h": "socks5h",
    "socks4": "socks4a",
    "socks4a": "socks4a",
}
_NODES = ("ss", "ssr", "vmess", "vless", "trojan", "hysteria", "hysteria2", "hy2", "tuic", "anytls", "snell")
_PRIVATE = tuple(map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")))
_NAME = re.compile(r"[a-z0-9_](?:\.?[a-z0-9_-])*\.?")
_SIX = re.compile(r"[0-9A-Fa-f:.]+(?:%25[A-Za-z0-9_.-]+)?")
_NUMBER = re.compile(r"0x[0-9a-f]{1,64}|[0-9]{1,64}")

_SHAPE: Bilingual = (
    "write it as SCHEME://HOST:PORT, for example http://127.0.0.1:7890 or socks5h://127.0.0.1:7891",
    "请写成 协议://主机:端口，例如 http://127.0.0.1:7890 或 socks5h://127.0.0.1:7891（使用半角字符）",
)
_NODE: Bilingual = (
    "that is a node, not a proxy: name the port of your proxy program, such as http://127.0.0.1:7890",
    "这是节点链接而不是代理：请填写代理软件的本地端口，例如 http://127.0.0.1:7890",
)
_LOGIN: Bilingual = (
    "percent-encode the login: %2F for /, %3F for ?, %23 for #, %40 for @, %20 for a blank",
    "请对用户名和密码做百分号编码：/ 写作 %2F，? 写作 %3F，# 写作 %23，@ 写作 %40，空格写作 %20",
)
_EMPTY: Bilingual = ("leave --proxy out, or use --no-proxy", "请去掉 --proxy，或使用 --no-proxy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """One proxy: its URL (with login: for libcurl alone), where it was said, and what it may carry."""

    url: str
    origin: str
    schemes: frozenset[str]
    note: Bilingual | None = None

    @property
    def host(self) -> str:
        """Host and port, for people: no login."""
        return _without_login(self.url)

    def __repr__(self) -> str:
        scheme = self.url.partition("://")[0]
        return f"Proxy({scheme}://{self.host} from {self.origin} for {'+'.join(sorted(self.schemes))})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """Every proxy that the user named, best first, and the hosts that are excepted from all of them."""

    proxies: tuple[Proxy, ...] = ()
    exceptions: tuple[str, ...] = ()

    def of(self, url: str) -> tuple[str, ...]:
        """The ways that may carry a URL: proxies, best first, each once, and last the direct way."""
        scheme, host, port = _target(url)
        if self._excepts(host, port):
            return ("",)
        fitting = (proxy.url for proxy in self.proxies if scheme in proxy.schemes)
        return (*dict.fromkeys(fitting), "")

    def through(self, way: str, url: str) -> str:
        """The proxy for one hop of a redirect on a route of this way: the way's, or none if excepted."""
        _, host, port = _target(url)
        return "" if self._excepts(host, port) else way

    @property
    def notes(self) -> tuple[Bilingual, ...]:
        """What was repaired, each once, for people."""
        return tuple(dict.fromkeys(proxy.note for proxy in self.proxies if proxy.note))

    def _excepts(self, host: str, port: int) -> bool:
        return _is_loopback(host) or any(_covers(entry, host, port) for entry in self.exceptions)


def find_ways(proxies: Sequence[str], *, no_proxy: bool, variables: Mapping[str, str]) -> Ways:
    """All ways: first the proxies of the options, then those of the variables.

    `no_proxy` stands for the option of that name: nothing is read then. SettingsError names the option
    or variable that cannot be used, and never shows a login.

    >>> ways = find_ways([], no_proxy=False, variables={"https_proxy": "socks5://127.0.0.1:7891"})
    >>> ways.of("https://example.org/a.tar"), ways.of("http://localhost/")
    (('socks5h://127.0.0.1:7891', ''), ('',))
    """
    if no_proxy:
        return Ways()
    named = [_read(value, OPTION, frozenset(PORTS)) for value in proxies]
    named += [_read(value, name, schemes) for name, value, schemes in _said(variables)]
    _, exceptions = _variable(variables, "no_proxy")
    return Ways(proxies=tuple(named), exceptions=tuple(exceptions.replace(",", " ").split()))


def label(way: str) -> str:
    """A way for people: `direct`, or `proxy HOST:PORT` without a login."""
    return f"proxy {_without_login(way)}" if way else "direct"


def _without_login(url: str) -> str:
    return url.rpartition("@")[2].rpartition("//")[2]


def _said(variables: Mapping[str, str]) -> Iterator[tuple[str, str, frozenset[str]]]:
    """Name, value and schemes of the variables that name a proxy."""
    left = set(PORTS)
    for scheme in PORTS:
        name, value = _variable(variables, f"{scheme}_proxy")
        if name == "HTTP_PROXY" and "REQUEST_METHOD" in variables:
            continue  # below a web server this is the `Proxy:` header of whoever sent the request
        if value:
            left.remove(scheme)
            yield name, value, frozenset({scheme})
    name, value = _variable(variables, "all_proxy")
    if value and left:
        yield name, value, frozenset(left)


def _variable(variables: Mapping[str, str], name: str) -> tuple[str, str]:
    """The spelling that counts and its value: the lower case hides the upper, even if it is empty."""
    spelling = name if name in variables else name.upper()
    return spelling, variables.get(spelling, "")


def _read(value: str, origin: str, schemes: frozenset[str]) -> Proxy:
    """One proxy from what the user wrote; SettingsError if it cannot be used."""
    if not value:
        raise SettingsError(f"{origin}: empty", hint=_EMPTY)
    if " " in value or not value.isprintable():
        raise SettingsError(f"{origin}: a blank or a character that cannot be shown", hint=_SHAPE)
    written, separator, rest = value.partition("://")
    written, rest = (written.lower(), rest) if separator else ("http", value)
    if written not in _SCHEMES:
        # The unknown scheme is not shown: what stands there may be part of a login or of a node's link.
        node = written in _NODES
        raise SettingsError(
            f"{origin}: its scheme is none of http, https, socks5h, socks4a", hint=_NODE if node else _SHAPE
        )
    login, _, place = rest.rpartition("@")
    login = _login(login, origin)
    host, port = _host_and_port(re.split(r"[/?#]", place, maxsplit=1)[0], origin)
    scheme = _SCHEMES[written]
    repairs: list[Bilingual] = []
    if written == "socks":
        repairs.append(("socks:// is read as socks5h://", "socks:// 按 socks5h:// 处理"))
    # A login that leaves this machine is not taken out of the TLS that the user asked for.
    if scheme == "https" and (_is_loopback(host) or (_is_private(host) and not login)):
        scheme = "http"
        repairs.append((f"https://{host} is read as http://{host}", f"https://{host} 按 http://{host} 处理"))
    if not port:
        port = 443 if scheme == "https" else 1080
        repairs.append((f"no port, {port} is meant", f"未写端口，按 {port} 处理"))
    return Proxy(
        url=f"{scheme}://{login}{host}:{port}", origin=origin, schemes=schemes, note=_note(origin, repairs)
    )


def _note(origin: str, repairs: Sequence[Bilingual]) -> Bilingual | None:
    if not repairs:
        return None
    english, chinese = zip(*repairs, strict=True)
    return f"{origin}: {'; '.join(english)}", f"{origin}：{'；'.join(chinese)}"


def _login(login: str, origin: str) -> str:
    """The login as libcurl needs it, with its `@`: escapes are kept, what is not one is encoded."""
    if not login:
        return ""
    if re.search(r"[/?#]", login):
        # Either the login holds it raw or a path holds an @: two readers would see two hosts.
        raise SettingsError(f"{origin}: one of / ? # stands before the last @", hint=_LOGIN)
    if any(byte < 32 or byte == 127 for byte in unquote_to_bytes(login)):
        raise SettingsError(f"{origin}: its login holds a control character", hint=_LOGIN)
    user, colon, password = login.partition(":")
    return f"{_encode(user)}{colon}{_encode(password)}@"


def _encode(text: str) -> str:
    return quote(re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", text), safe="%!$&'()*+,;=")


def _host_and_port(place: str, origin: str) -> tuple[str, int]:
    """Host in lower case (IPv6 in brackets) and port, 0 if none is said."""
    if place.startswith("["):
        inner, bracket, tail = place[1:].partition("]")
        host = _version_six(inner) if bracket and (not tail or tail.startswith(":")) else ""
        colon, digits = tail[:1], tail[1:]
    else:
        host, colon, digits = place.partition(":")
        host = host.lower()
        numeric = host.rstrip(".").rpartition(".")[2].isdigit()
        if not _NAME.fullmatch(host) or host.isdigit() or (numeric and _address(host) is None):
            host = ""
    if not host:
        raise SettingsError(f"{origin}: no host, or one that no host can be called", hint=_SHAPE)
    if not colon:
        return host, 0
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 5 and 0 < int(digits) < 65536):
        raise SettingsError(f"{origin}: its port is no number from 1 to 65535", hint=_SHAPE)
    return host, int(digits)


def _version_six(text: str) -> str:
    try:
        return f"[{IPv6Address(text)}]" if _SIX.fullmatch(text) else ""
    except ValueError:
        return ""


def _target(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of an address; empty if it cannot be read: no proxy and no exception fits."""
    try:
        parts = urlsplit(url)
        host, port = unquote(parts.hostname or ""), parts.port
    except ValueError:
        return "", "", 0
    return parts.scheme, host.lower().rstrip("."), port or PORTS.get(parts.scheme, 0)


def _covers(entry: str, host: str, port: int) -> bool:
    """Whether one exception means this host: a domain, `*`, an address or a range, with a port or without."""
    pattern = entry.lower()
    bracketed = re.fullmatch(r"\[(.*)\](/[0-9]+)?(:[0-9]+)?", pattern)
    if bracketed:
        pattern, wanted = bracketed[1] + (bracketed[2] or ""), (bracketed[3] or "")[1:]
    elif pattern.count(":") == 1:
        pattern, _, wanted = pattern.partition(":")
    else:
        wanted = ""
    if wanted and wanted != str(port):
        return False
    if pattern == "*":
        return True
    address = _address(host)
    if address is not None:
        return _holds(pattern, address)
    domain = pattern.removeprefix("*").lstrip(".").rstrip(".")
    return bool(domain) and (host == domain or host.endswith("." + domain))


def _holds(pattern: str, address: IPv4Address | IPv6Address) -> bool:
    starred = re.fullmatch(r"([0-9.]+?)(\.\*)+", pattern)
    if starred:
        return str(address).startswith(starred[1] + ".")
    try:
        return _address(pattern) == address or address in ip_network(pattern, strict=False)
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    address = _address(host.strip("[]"))
    if address is None:
        host = host.rstrip(".")
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def _is_private(host: str) -> bool:
    address = _address(host.strip("[]"))
    return address is not None and any(address in network for network in _PRIVATE)


def _address(host: str) -> IPv4Address | IPv6Address | None:
    """The address that a host is, or None for a name; `127.1` and `0x7f000001` count, as for libcurl."""
    host = host.rstrip(".")
    try:
        found = ip_address(host)
    except ValueError:
        return _short_address(host)
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found


def _short_address(host: str) -> IPv4Address | None:
    parts = host.split(".")
    if len(parts) > 4 or not all(_NUMBER.fullmatch(part) for part in parts):
        return None
    try:
        *front, last = (int(part, 0 if part[0] != "0" or "x" in part else 8) for part in parts)
    except ValueError:
        return None  # 089 is no octal number
    if any(number > 255 for number in front) or last >= 256 ** (4 - len(front)):
        return None
    return IPv4Address(sum(number << (24 - 8 * at) for at, number in enumerate(front)) + last)
