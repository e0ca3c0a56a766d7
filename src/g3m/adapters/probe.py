"""Measures one address over one way: name, connection, TLS, answer, some bytes, then a short speed sample.

Asked is the real file, by a ranged GET as a download would send it; redirects are followed by hand, hop by
hop, and no farther than a download may go. Every probe is bounded in time and bytes, and a failure is a
result: nothing here raises for a network.
What a result means is core/diagnosis.py.
"""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from urllib.parse import urlsplit

import pycurl

from g3m.adapters.curl import Head, HttpOptions, make_handle, next_hop
from g3m.adapters.fence import Fence, is_inside
from g3m.core.diagnosis import Hop, Probe, Speed
from g3m.core.endings import PROXY_FAILED, Ending, ending_flags, rate_of, with_answer
from g3m.core.errors import Changed
from g3m.core.resume import Answer
from g3m.core.secrets import host_of, mask

REDIRECT_LIMIT = 5
CONNECTIONS = 4
"""So many at once show whether each is limited by itself."""

FAST_BYTES_PER_S = 4_000_000
"""One connection that brings so much needs no second sample."""

_REDIRECTS = (301, 302, 303, 307, 308)
_TICK_S = 0.05
_GREETING = b"\x05\x01\x00"
_CONNECT = b"CONNECT 127.0.0.1:443 HTTP/1.1\r\nHost: 127.0.0.1:443\r\n\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long and how much; a probe never takes more than `total_s` or `sample_bytes`."""

    dns_s: float = 3.0
    connect_s: float = 4.0
    total_s: float = 8.0
    stall_s: float = 2.5
    speak_s: float = 1.5
    first_s: float = 1.0
    first_bytes: int = 64 * 1024
    sample_s: float = 1.2
    sample_bytes: int = 8 * 2**20
    document_bytes: int = 4 * 2**20


LIMITS = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """What to probe: an address over a way (empty: direct), and how large the file is if that is pinned.

    `through` says for each hop of a redirect which proxy carries it. A `document` is read whole.
    """

    url: str = field(repr=False)
    way: str = field(default="", repr=False)
    wanted_bytes: int | None = None
    document: bool = False
    through: Callable[[str, str], str] = field(default=lambda way, _url: way, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """How a probe went; its last address may be signed, and is for another request only."""

    aim: Aim
    probe: Probe
    url: str = field(repr=False)
    proxy: str = field(repr=False)
    document: bytes = field(default=b"", repr=False)


def reach(aim: Aim, options: HttpOptions, limits: Limits = LIMITS) -> Reached:
    """Ask for the first bytes of a file, follow redirects, and say how far it came."""
    end_s = time.monotonic() + limits.total_s
    hops: list[Hop] = []
    url, fence = aim.url, None
    while True:
        proxy = aim.through(aim.way, url)
        left = replace(limits, total_s=max(0.1, end_s - time.monotonic()))
        hop, answer, document = _ask(url, proxy, aim, options, left, fence)
        if not hops and not is_inside(url, next(iter(hop.addresses), "")):
            fence = Fence(options.allow_private)
        target = ""
        if answer is not None and answer.status in _REDIRECTS:
            target, hop = _redirected(url, answer, hop, last=len(hops) >= REDIRECT_LIMIT)
        hops.append(hop)
        if not target:
            break
        url = target
    probe = Probe(hops=tuple(hops), wanted_bytes=aim.wanted_bytes)
    return Reached(aim=aim, probe=probe, url=url, proxy=proxy, document=document)


def _redirected(url: str, answer: Answer, hop: Hop, *, last: bool) -> tuple[str, Hop]:
    """Where a redirect leads (empty: nowhere that may be followed), and the hop with that said."""
    try:
        target = next_hop(url, answer)
    except Changed as error:
        down = "from https to http" in error.message
        return "", replace(hop, flags=hop.flags | {"redirect-down" if down else "redirect-odd"})
    if last:
        return "", replace(hop, flags=hop.flags | {"redirect-loop"}, leads_to=host_of(target))
    return target, replace(hop, leads_to=host_of(target), flags=frozenset(), stage="done")


def _ask(
    url: str, proxy: str, aim: Aim, options: HttpOptions, limits: Limits, fence: Fence | None
) -> tuple[Hop, Answer | None, bytes]:
    """One request to its end: the hop, the answer if there was one, and a document's bytes.

    None is sent to where `fence` refuses to be led.
    """
    signed_in = any(token.header_for(url) is not None for token in options.tokens)
    shown = mask(proxy) if proxy else ""
    hop = Hop(host=host_of(url), scheme=urlsplit(url).scheme, proxy=shown, signed_in=signed_in)
    barred = fence is not None and bool(fence.bars_number(url))
    if not proxy and not barred:
        hop = _resolved(hop, url, limits)
        if hop.stage == "dns":
            return hop, None, b""
        barred = fence is not None and any(map(fence.bars, hop.addresses))
    if barred:
        return replace(hop, flags=frozenset({"redirect-inside"})), None, b""
    bound = limits.document_bytes if aim.document else limits.first_bytes
    span = None if aim.document else (0, bound - 1)
    request = _Request(url=url, proxy=proxy, span=span, addresses=hop.addresses)
    transfer = _Transfer(request, options, limits)
    try:
        patience_s = limits.total_s if aim.document else limits.first_s
        ending = _drive([transfer], lambda: transfer.is_over(bound, patience_s, limits.stall_s), options)[0]
        hop = transfer.read(hop, ending)
    finally:
        transfer.easy.close()
    if proxy and hop.stage in ("proxy", "tls", "answer") and (repair := _repair(proxy, hop, limits)):
        hop = replace(hop, repair=mask(repair), stage="proxy")
    answer = transfer.head.answer if hop.stage in ("body", "done") else None
    return hop, answer, b"".join(transfer.kept)


def _resolved(hop: Hop, url: str, limits: Limits) -> Hop:
    """The hop with what the system's resolver says about its host."""
    host = urlsplit(url).hostname or ""
    with suppress(ValueError):
        ip_address(host)
        return hop
    began_s = time.monotonic()
    addresses, flag = resolve_name(host, min(limits.dns_s, limits.total_s))
    hop = replace(hop, addresses=addresses, dns_s=round(time.monotonic() - began_s, 4))
    return hop if addresses else replace(hop, stage="dns", flags=frozenset({flag}))


def resolve_name(host: str, timeout_s: float) -> tuple[tuple[str, ...], str]:
    """The addresses of a name by the system's resolver; for none, `unknown`, `failed` or `timeout`."""
    answers: queue.SimpleQueue[tuple[tuple[str, ...], str]] = queue.SimpleQueue()
    unknown = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            answers.put((tuple(dict.fromkeys(str(item[4][0]).partition("%")[0] for item in found)), ""))
        except (OSError, UnicodeError) as error:
            answers.put(((), "unknown" if getattr(error, "errno", None) in unknown else "failed"))

    # The system's call cannot be ended: a thread that waits for it is left behind.
    threading.Thread(target=ask, name="g3m-resolve", daemon=True).start()
    try:
        return answers.get(timeout=timeout_s)
    except queue.Empty:
        return (), "timeout"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """One GET: bytes `span` (both ends included) of an address, over a proxy or at known addresses."""

    url: str
    proxy: str
    span: tuple[int, int] | None
    addresses: Sequence[str] = ()


class _Transfer:
    """A request under way: its handle, its head, how much came and when."""

    def __init__(self, request: _Request, options: HttpOptions, limits: Limits) -> None:
        parts = urlsplit(request.url)
        self._secure, self._proxy = parts.scheme == "https", request.proxy
        self._ranged, self._stalled = request.span is not None, False
        self.ended = False
        self.head = Head(tunnel=self._secure and request.proxy.startswith("http"))
        self.marks: list[tuple[float, int]] = []
        """When so many bytes had come: the head first, then every piece."""

        self.kept: list[bytes] = []
        ranges = [] if request.span is None else ["Range: bytes={}-{}".format(*request.span)]
        self.easy = easy = make_handle(request.url, request.proxy, ranges, options)
        easy.setopt(pycurl.CONNECTTIMEOUT_MS, max(1, int(min(limits.connect_s, limits.total_s) * 1000)))
        easy.setopt(pycurl.TIMEOUT_MS, max(1, int(limits.total_s * 1000)))
        easy.setopt(pycurl.HEADERFUNCTION, self._take)
        easy.setopt(pycurl.WRITEFUNCTION, self._write)
        if request.addresses:
            port = parts.port or (443 if self._secure else 80)
            known = ",".join(f"[{address}]" if ":" in address else address for address in request.addresses)
            easy.setopt(pycurl.RESOLVE, [f"{parts.hostname}:{port}:{known}"])

    def _take(self, line: bytes) -> None:
        self.head.take(line)
        if self.head.done and not self.marks:
            self.marks.append((time.monotonic(), 0))

    def _write(self, data: bytes) -> None:
        self.marks.append((time.monotonic(), self.size_bytes + len(data)))
        if not self._ranged:
            self.kept.append(data)

    @property
    def size_bytes(self) -> int:
        return self.marks[-1][1] if self.marks else 0

    def is_over(self, bound_bytes: int, patience_s: float, stall_s: float) -> bool:
        """Whether enough came, or flowed for long enough, or nothing more comes."""
        if self.ended or not self.marks:
            return self.ended
        now_s, last_s = time.monotonic(), self.marks[-1][0]
        if self.head.answer.status not in (200, 206) or self.size_bytes >= bound_bytes:
            return True
        self._stalled = now_s - last_s > stall_s
        return self._stalled or (now_s - self.marks[0][0] > patience_s and now_s - last_s < patience_s / 2)

    def read(self, hop: Hop, ending: Ending) -> Hop:
        """The hop with all that is known at the end."""
        tunnel = int(self.easy.getinfo(pycurl.HTTP_CONNECTCODE))
        stage = self._stage(ending.code, tunnel)
        hop = replace(
            hop,
            stage=stage,
            code=ending.code,
            flags=frozenset({"timeout"}) if self._stalled else ending_flags(ending),
            tcp_s=_seconds(self.easy, pycurl.CONNECT_TIME_T),
            tls_s=_seconds(self.easy, pycurl.APPCONNECT_TIME_T) if self._secure else None,
            answer_s=_seconds(self.easy, pycurl.STARTTRANSFER_TIME_T) if stage in ("body", "done") else None,
            proxy_status=0 if 200 <= tunnel < 300 else tunnel,
            body_bytes=self.size_bytes,
        )
        return with_answer(hop, self.head.answer, ranged=self._ranged) if stage in ("body", "done") else hop

    def _stage(self, code: int, tunnel: int) -> str:
        if not self.easy.getinfo(pycurl.CONNECT_TIME_T):
            return "tcp"
        if code == PROXY_FAILED:
            return "proxy"
        if self._secure and self._proxy.startswith("http") and not 200 <= tunnel < 300:
            return "proxy"
        if self.head.done:
            return "body" if code or self._stalled else "done"
        return "tls" if self._secure and not self.easy.getinfo(pycurl.APPCONNECT_TIME_T) else "answer"

    @property
    def seconds(self) -> float:
        """From the head to the last piece."""
        return self.marks[-1][0] - self.marks[0][0] if self.marks else 0.0


def _seconds(easy: pycurl.Curl, what: int) -> float | None:
    microseconds = int(easy.getinfo(what))
    return round(microseconds / 1e6, 4) if microseconds > 0 else None


def _drive(transfers: Sequence[_Transfer], is_over: Callable[[], bool], options: HttpOptions) -> list[Ending]:
    """Run requests side by side until all have ended, `is_over` says so, or the run is to stop."""
    multi = pycurl.CurlMulti()
    ended: dict[int, tuple[int, str]] = {}
    for transfer in transfers:
        multi.add_handle(transfer.easy)
    try:
        active = len(transfers)
        while active:
            _, active = multi.perform()
            _, good, bad = multi.info_read()
            ended |= {id(easy): (0, "") for easy in good}
            ended |= {id(easy): (code, words) for easy, code, words in bad}
            for transfer in transfers:
                transfer.ended = id(transfer.easy) in ended
            if is_over() or options.stopping():
                break
            if active and multi.select(_TICK_S) == -1:
                time.sleep(_TICK_S)
    finally:
        for transfer in transfers:
            multi.remove_handle(transfer.easy)
        multi.close()
    return [_ending(transfer.easy, *ended.get(id(transfer.easy), (0, ""))) for transfer in transfers]


def _ending(easy: pycurl.Curl, code: int, words: str) -> Ending:
    system, socks = int(easy.getinfo(pycurl.OS_ERRNO)), int(easy.getinfo(pycurl.PROXY_ERROR))
    return Ending(code, words, system, socks)


def _repair(proxy: str, hop: Hop, limits: Limits) -> str:
    """The same proxy with the scheme that it speaks, if the one that was named is wrong; else empty."""
    scheme, _, rest = proxy.partition("://")
    if hop.proxy_status or (scheme == "http" and hop.stage == "tls") or "login" in hop.flags:
        return ""
    if _speaks(proxy, _GREETING, b"\x05", limits):
        return "" if scheme.startswith("socks") else f"socks5h://{rest}"
    speaks_http = scheme != "http" and _speaks(proxy, _CONNECT, b"HTTP/1.", limits)
    return f"http://{rest}" if speaks_http else ""


def _speaks(proxy: str, words: bytes, answer: bytes, limits: Limits) -> bool:
    """Whether a proxy's answer to these bytes begins so."""
    parts = urlsplit(proxy)
    place = (parts.hostname or "", parts.port or 1080)
    with suppress(OSError, ValueError), socket.create_connection(place, limits.speak_s) as connection:
        connection.sendall(words)
        return connection.recv(16).startswith(answer)
    return False


def sample(
    reached: Reached, connections: int, options: HttpOptions, limits: Limits = LIMITS
) -> tuple[Speed, str]:
    """Read for about a second over so many connections: the speed, and the flag of a break (empty: none)."""
    each_bytes = limits.sample_bytes // connections
    size_bytes = reached.probe.hops[-1].size_bytes or 0
    step = max(0, min(each_bytes, (size_bytes - each_bytes) // connections))
    addresses = reached.probe.hops[-1].addresses
    transfers = [
        _Transfer(
            _Request(
                url=reached.url,
                proxy=reached.proxy,
                span=(number * step, number * step + each_bytes - 1),
                addresses=addresses,
            ),
            options,
            limits,
        )
        for number in range(connections)
    ]

    def is_over() -> bool:
        # Every one is asked, because each notes whether it stalls.
        over = [t.is_over(each_bytes, limits.sample_s, limits.stall_s) for t in transfers]
        return all(over)

    try:
        endings = _drive(transfers, is_over, options)
        hops = [t.read(reached.probe.hops[-1], ending) for t, ending in zip(transfers, endings, strict=True)]
    finally:
        for transfer in transfers:
            transfer.easy.close()
    rates = [rate_of(t.marks, whole=t.ended or t.size_bytes >= each_bytes) for t in transfers]
    known = [rate for rate in rates if rate is not None]
    speed = Speed(
        connections=connections,
        body_bytes=sum(transfer.size_bytes for transfer in transfers),
        seconds=round(max(transfer.seconds for transfer in transfers), 3),
        rate_bytes_per_s=round(sum(known)) if known else None,
    )
    broken = [hop for hop in hops if hop.stage != "done"]
    flag = next(iter(sorted(broken[0].flags & {"reset", "timeout", "closed"})), "closed") if broken else ""
    return speed, flag
