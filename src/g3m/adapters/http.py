"""HTTP(S) over libcurl: one request at a time, read as an ordinary iterator of bytes.

What this module guarantees, whatever the library's defaults are: redirects are followed by hand (five
at most, never from https to http), the proxy is chosen anew for every hop and never silently left out,
a credential is sent to its own host only, TLS is verified, nothing is decompressed, a connection
without a byte for `stall_timeout_s` is closed. It retries nothing: steps/fetch.py does.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import quote, urljoin, urlsplit

import certifi
import pycurl

from g3m.core.errors import Changed, Interrupted, SourceError, Truncated, Unreachable
from g3m.core.resume import Answer
from g3m.core.routes import proxy_for
from g3m.core.secrets import Token, host_of, mask

REDIRECT_LIMIT = 5
CONNECT_TIMEOUT_S = 20
DOCUMENT_LIMIT_BYTES = 64 * 2**20
_ADDRESS = "%/:=&?~#+!$,;'@()*[]"
"""What stays as it is in an address that a server names; anything else is percent-encoded."""

_REDIRECTS = (301, 302, 303, 307, 308)
_TLS_CODES = (pycurl.E_PEER_FAILED_VERIFICATION, pycurl.E_SSL_CACERT_BADFILE, pycurl.E_SSL_CONNECT_ERROR)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    """How requests are made; `variables` are the environment's, for proxies and certificates."""

    user_agent: str
    stall_timeout_s: float = 30.0
    tokens: Sequence[Token] = ()
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    stopping: Callable[[], bool] = lambda: False


class Response:
    """An answer whose body is still to come."""

    def __init__(self, url: str, answer: Answer, transfer: _Transfer) -> None:
        self.url = url
        self.answer = answer
        self._transfer = transfer

    def chunks(self) -> Iterator[bytes]:
        """The body as it comes; raises SourceError if it breaks."""
        yield from self._transfer.chunks()

    def read(self, limit_bytes: int = DOCUMENT_LIMIT_BYTES) -> bytes:
        """A small body whole; Changed if it is larger than the limit."""
        parts, size = [], 0
        for chunk in self.chunks():
            parts.append(chunk)
            size += len(chunk)
            if size > limit_bytes:
                raise Changed(f"{mask(self.url)}: the answer has more than {limit_bytes} bytes")
        return b"".join(parts)


class Http:
    """Makes requests; one at a time for each caller, safe to use from several threads."""

    def __init__(self, options: HttpOptions) -> None:
        self._options = options

    @contextmanager
    def open(self, url: str, *, offset_bytes: int = 0, etag: str = "") -> Iterator[Response]:
        """Send a GET from a byte on (with If-Range if a validator is known) and follow redirects."""
        headers = ["Accept-Encoding: identity", "Accept: */*"]
        if offset_bytes:
            headers.append(f"Range: bytes={offset_bytes}-")
            if etag:
                headers.append(f"If-Range: {etag}")
        for _ in range(REDIRECT_LIMIT + 1):
            transfer = _Transfer(url, headers, self._options)
            try:
                answer = transfer.head()
                if answer.status not in _REDIRECTS:
                    yield Response(url, answer, transfer)
                    return
                url = _next_hop(url, answer)
            finally:
                transfer.close()
        raise Changed(f"{mask(url)}: more than {REDIRECT_LIMIT} redirects")


def _next_hop(url: str, answer: Answer) -> str:
    location = answer.headers.get("location", "")
    try:
        target = quote(urljoin(url, location), safe=_ADDRESS)
        scheme, host = urlsplit(target).scheme, urlsplit(target).hostname or ""
    except ValueError:
        target = scheme = host = ""
    if not location or scheme not in ("http", "https") or not host or "%" in host:
        raise Changed(f"{mask(url)}: redirected to {mask(target)!r}, which is no web address")
    if urlsplit(url).scheme == "https" and scheme == "http":
        raise Changed(f"{mask(url)}: redirected from https to http ({host_of(target)})")
    return target


class _Transfer:
    """One libcurl handle, driven by whoever reads from it."""

    def __init__(self, url: str, headers: Sequence[str], options: HttpOptions) -> None:
        self._url = url
        self._options = options
        self._status = 0
        self._headers: dict[str, str] = {}
        self._head_done = False
        self._buffer: deque[bytes] = deque()
        self._finished = False
        self._failure: SourceError | None = None
        self._tunnel = False
        self._active_s = time.monotonic()
        self._multi = pycurl.CurlMulti()
        self._easy = self._configure(list(headers))
        self._multi.add_handle(self._easy)

    def _configure(self, headers: list[str]) -> pycurl.Curl:
        options, url = self._options, self._url
        for token in options.tokens:
            secret = token.header_for(url)
            if secret is not None:
                headers = [*headers, f"Authorization: {secret.reveal()}"]
        easy = pycurl.Curl()
        easy.setopt(pycurl.URL, url)
        easy.setopt(pycurl.HTTPHEADER, headers)
        easy.setopt(pycurl.USERAGENT, options.user_agent)
        easy.setopt(pycurl.FOLLOWLOCATION, 0)
        easy.setopt(pycurl.NOSIGNAL, 1)
        easy.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        easy.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        easy.setopt(pycurl.CONNECTTIMEOUT, CONNECT_TIMEOUT_S)
        easy.setopt(pycurl.BUFFERSIZE, 512 * 1024)
        easy.setopt(pycurl.NETRC, pycurl.NETRC_IGNORED)
        # The wheel has another system's certificate path compiled in: always say which file.
        variables = options.variables
        bundle = variables.get("SSL_CERT_FILE") or variables.get("CURL_CA_BUNDLE") or certifi.where()
        easy.setopt(pycurl.CAINFO, bundle)
        # Set even when empty: libcurl would read the environment otherwise.
        proxy = proxy_for(url, variables)
        self._tunnel = url.lower().startswith("https:") and proxy.startswith("http")
        easy.setopt(pycurl.PROXY, proxy)
        easy.setopt(pycurl.NOPROXY, "")
        easy.setopt(pycurl.HEADERFUNCTION, self._take_header)
        easy.setopt(pycurl.WRITEFUNCTION, self._take_body)
        return easy

    def _take_header(self, line: bytes) -> None:
        self._active_s = time.monotonic()
        text = line.decode("latin-1").strip()
        if text.startswith("HTTP/"):
            # A 100 may come before the real head: begin anew.
            self._headers = {}
            parts = text.split(None, 2)
            self._status = int(parts[1]) if len(parts) > 1 and parts[1].isdecimal() else 0
        elif not text and self._tunnel and 200 <= self._status < 300:
            self._tunnel, self._headers = False, {}  # the proxy's answer to CONNECT; the real head follows
        elif not text:
            self._head_done = self._status >= 200
        else:
            name, _, value = text.partition(":")
            known = self._headers.get(name.strip().lower())
            value = value.strip() if known is None else f"{known}, {value.strip()}"
            self._headers[name.strip().lower()] = value

    def _take_body(self, data: bytes) -> int:
        self._active_s = time.monotonic()
        self._head_done = True
        self._buffer.append(data)
        return len(data)

    def head(self) -> Answer:
        """Wait for the whole head."""
        while not self._head_done and not self._finished:
            self._drive()
        if self._failure is not None and not self._buffer:
            raise self._failure
        return Answer(status=self._status, headers=dict(self._headers))

    def chunks(self) -> Iterator[bytes]:
        while True:
            while self._buffer:
                data = self._buffer.popleft()
                yield data
            if self._failure is not None:
                raise self._failure  # only now: what had arrived before the break is good
            if self._finished:
                return
            self._drive()

    def _drive(self) -> None:
        """Let libcurl work until there is something to read, or wait half a second at most."""
        while not self._finished:
            result, _ = self._multi.perform()
            self._collect()
            if result != pycurl.E_CALL_MULTI_PERFORM:
                break
        if self._buffer or self._finished:
            return
        if self._options.stopping():
            raise Interrupted("stopped during a download")
        self._multi.select(0.2)
        if time.monotonic() - self._active_s > self._options.stall_timeout_s + (
            0 if self._head_done else CONNECT_TIMEOUT_S
        ):
            raise Unreachable(
                f"{mask(self._url)}: no byte for {self._options.stall_timeout_s:g} s, connection closed"
            )

    def _collect(self) -> None:
        _, good, bad = self._multi.info_read()
        if good:
            self._finished = True
        for _, code, words in bad:
            self._finished = True
            self._failure = _curl_error(self._url, code, words)

    def close(self) -> None:
        self._multi.remove_handle(self._easy)
        self._easy.close()
        self._multi.close()


def _curl_error(url: str, code: int, words: str) -> SourceError:
    """The error of our tree for one of libcurl's; `words` may hold an address, so it is not used whole."""
    host = host_of(url)
    if code == pycurl.E_PARTIAL_FILE:
        return Truncated(f"{mask(url)}: the connection ended before the file did")
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
