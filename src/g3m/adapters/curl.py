"""How a libcurl handle is made here, and what its errors are called.

What holds for every request, whatever the library's defaults are: the proxy is said (an empty text is
the direct way, so that no variable can surprise), redirects are not followed by libcurl, a credential
is sent to its own host only, TLS is verified, nothing is decompressed, `.netrc` is not read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import quote, urljoin, urlsplit

import certifi
import pycurl

from g3m.core.errors import Changed, SourceError, Truncated, Unreachable
from g3m.core.resume import Answer
from g3m.core.secrets import Token, host_of, mask

CONNECT_TIMEOUT_S = 10
_ADDRESS = "%/:=&?~#+!$,;'@()*[]"
"""What stays as it is in an address that a server names; anything else is percent-encoded."""

_STATUS = re.compile(r"[0-9]{3}")
_TLS_CODES = (pycurl.E_PEER_FAILED_VERIFICATION, pycurl.E_SSL_CACERT_BADFILE, pycurl.E_SSL_CONNECT_ERROR)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    """How requests are made; `variables` are the environment's, for certificates."""

    user_agent: str
    stall_timeout_s: float = 30.0
    buffer_bytes: int = 128 * 1024
    """What one connection hands over at once, times ten: little where the rate is limited."""
    tokens: Sequence[Token] = ()
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    stopping: Callable[[], bool] = lambda: False
    allow_private: bool = False
    """Whether a public host may redirect into private networks."""


def make_handle(url: str, proxy: str, headers: Sequence[str], options: HttpOptions) -> pycurl.Curl:
    """A GET of `url` over `proxy` (empty: direct) with these headers; the caller adds its callbacks."""
    headers = ["Accept-Encoding: identity", "Accept: */*", *headers]
    for token in options.tokens:
        secret = token.header_for(url)
        if secret is not None:
            headers.append(f"Authorization: {secret.reveal()}")
    easy = pycurl.Curl()
    easy.setopt(pycurl.URL, url)
    easy.setopt(pycurl.HTTPHEADER, headers)
    easy.setopt(pycurl.USERAGENT, options.user_agent)
    easy.setopt(pycurl.FOLLOWLOCATION, 0)
    easy.setopt(pycurl.NOSIGNAL, 1)
    easy.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
    # With HTTP/2 all ranges would share one TCP connection, and a limit on each connection would bind them.
    easy.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
    easy.setopt(pycurl.CONNECTTIMEOUT, CONNECT_TIMEOUT_S)
    easy.setopt(pycurl.BUFFERSIZE, options.buffer_bytes)
    easy.setopt(pycurl.NETRC, pycurl.NETRC_IGNORED)
    # The wheel has another system's certificate path compiled in: always say which file.
    bundle = certificates(options.variables)
    easy.setopt(pycurl.CAINFO, bundle)
    easy.setopt(pycurl.PROXY_CAINFO, bundle)
    easy.setopt(pycurl.PROXY, proxy)
    easy.setopt(pycurl.NOPROXY, "")
    return easy


def certificates(variables: Mapping[str, str]) -> str:
    """The file of trusted certificates: the user's, or certifi's."""
    return variables.get("SSL_CERT_FILE") or variables.get("CURL_CA_BUNDLE") or certifi.where()


class Head:
    """Reads the lines of an answer's head as libcurl hands them over."""

    def __init__(self, *, tunnel: bool) -> None:
        """`tunnel`: the first head is a proxy's answer to CONNECT, if it is a good one."""
        self.done = False
        self._tunnel = tunnel
        self._status = 0
        self._headers: dict[str, str] = {}

    def take(self, line: bytes) -> None:
        """One line; an empty one ends the head."""
        text = line.decode("latin-1").strip()
        if text.startswith("HTTP/"):
            # A 100 may come before the real head: begin anew.
            self._headers = {}
            status = text.split(None, 2)[1:2]
            self._status = int(status[0]) if status and _STATUS.fullmatch(status[0]) else 0
        elif not text and self._tunnel and 200 <= self._status < 300:
            self._tunnel, self._headers = False, {}  # the proxy's answer to CONNECT; the real head follows
        elif not text:
            self.done = self._status >= 200
        else:
            name, _, value = text.partition(":")
            known = self._headers.get(name.strip().lower())
            value = value.strip() if known is None else f"{known}, {value.strip()}"
            self._headers[name.strip().lower()] = value

    @property
    def answer(self) -> Answer:
        return Answer(status=self._status, headers=dict(self._headers))


def next_hop(url: str, answer: Answer) -> str:
    """Where a redirect leads; Changed if that is no web address, or a step from https to http."""
    location = answer.headers.get("location", "")
    with suppress(UnicodeError):  # heads are read as latin-1; some servers send an address in UTF-8
        location = location.encode("latin-1").decode("utf-8")
    try:
        target = quote(urljoin(url, location), safe=_ADDRESS)
        parts = urlsplit(target)
        scheme, host = parts.scheme, "" if parts.port == 0 else parts.hostname or ""
    except ValueError:
        target = scheme = host = ""
    if not location or scheme not in ("http", "https") or not host or "%" in host:
        raise Changed(f"{host_of(url)}: redirected to {mask(target)!r}, which is no web address")
    if urlsplit(url).scheme == "https" and scheme == "http":
        raise Changed(f"{host_of(url)}: redirected from https to http ({host_of(target)})")
    return target


def source_error(url: str, code: int, words: str) -> SourceError:
    """The error of our tree for one of libcurl's; `words` may hold an address, so it is not used whole."""
    host = host_of(url)
    if code == pycurl.E_PARTIAL_FILE:
        return Truncated(f"{host}: the connection ended before the file did")
    if code in (pycurl.E_COULDNT_RESOLVE_HOST, pycurl.E_COULDNT_RESOLVE_PROXY):
        which = "the proxy's name" if code == pycurl.E_COULDNT_RESOLVE_PROXY else f"the name {host}"
        return Unreachable(f"{which} cannot be resolved")
    if code in _TLS_CODES:
        return Unreachable(f"{host}: no trusted TLS connection ({_reason(words)})")
    if code == pycurl.E_OPERATION_TIMEDOUT:
        return Unreachable(f"{host}: no connection within {CONNECT_TIMEOUT_S} s")
    return Unreachable(f"{host}: {_reason(words)}")


def _reason(words: str) -> str:
    return words.strip().rstrip(".")[:160] or "the connection failed"
