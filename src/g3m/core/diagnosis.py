"""What a probe of one host over one way means, in words: a pure reading of facts that were measured.

A `Probe` is a chain of hops (a redirect is a new hop) with how far each came and what ended it; `diagnose`
names the cause. Nothing here connects, and no fact holds a secret: hosts have no logins, addresses of
redirects are hosts only. Measuring is adapters/probe.py; what follows for datasets is core/verdicts.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address

from g3m.core.addresses import is_stand_in
from g3m.core.errors import Bilingual

STAGES = ("dns", "tcp", "proxy", "tls", "answer", "body", "done")
"""Where a hop ended; each but the last is a place where it can fail."""

SLOW_BYTES_PER_S = 100_000
THROTTLED_RATIO = 2.0
"""Four connections that bring more than so many times what one brings: each is limited by itself."""

_LOCAL_ENDINGS = (".local", ".lan", ".internal", ".intranet", ".home.arpa", ".localhost", ".test", ".invalid")

CAUSES: Mapping[str, Bilingual] = {
    "dns-unknown": ("DNS says that there is no such name", "DNS 称该域名不存在"),
    "dns-silent": ("the DNS resolver does not answer", "DNS 服务器无响应"),
    "dns-failed": ("DNS cannot resolve the name at present", "DNS 暂时无法解析该域名"),
    "dns-wrong": ("DNS gives a false address ({address})", "DNS 被污染（返回 {address}）"),
    "silent": ("no answer: packets are dropped on the way", "连接无响应：数据包在途中被丢弃"),
    "refused": ("refused or reset at once", "连接立即被拒绝或重置"),
    "no-route": ("no route to its address", "没有到该地址的路由"),
    "tls-reset": ("reset once its name is said (TLS): blocked by name", "TLS 握手时被重置：按域名封锁"),
    "tls-silent": ("silence once its name is said (TLS): blocked by name", "TLS 握手无响应：按域名封锁"),
    "tls-name": (
        "a certificate of another host: false DNS or a false host",
        "证书属于其他主机：DNS 或主机被冒充",
    ),
    "tls-untrusted": (
        "a certificate of an unknown authority: TLS is opened",
        "证书颁发者未知：TLS 被拆解",
    ),
    "tls-dated": ("its certificate is out of date; is this clock right?", "证书不在有效期内；请检查本机时钟"),
    "tls-file": ("the file of SSL_CERT_FILE cannot be used", "SSL_CERT_FILE 指定的文件无法使用"),
    "tls-broken": ("something answers that speaks no proper TLS", "对方返回的不是正常的 TLS"),
    "mute": ("takes the request and never answers", "接受请求后一直没有应答"),
    "reset-request": ("reset once the file is asked for", "发出请求后连接被重置"),
    "hung-up": ("hangs up without an answer", "未应答即断开"),
    "page": ("a web page instead of the file: login or block page", "返回网页而不是文件：登录页或拦截页"),
    "foreign": (
        "another file: {seen} bytes, {wanted} are expected",
        "返回另一个文件：{seen} 字节，应为 {wanted}",
    ),
    "part": ("a part that does not say of what", "返回的分段没有说明范围"),
    "no-listing": ("an answer that is no listing of files", "返回的不是文件列表"),
    "encoded": ("the file comes re-encoded", "文件在途中被重新编码"),
    "sign-in": ("asks for a sign-in (HTTP {status})", "要求登录（HTTP {status}）"),
    "forbidden": (
        "forbids it: sign-in, terms or a block (HTTP {status})",
        "拒绝访问：需登录、同意条款或被拦截（HTTP {status}）",
    ),
    "missing": ("has no such file (HTTP {status})", "没有此文件（HTTP {status}）"),
    "busy": ("asks to wait (HTTP {status})", "要求稍后再试（HTTP {status}）"),
    "failing": ("fails (HTTP {status})", "服务器出错（HTTP {status}）"),
    "odd-status": ("an odd answer (HTTP {status})", "应答异常（HTTP {status}）"),
    "redirect-odd": ("redirects to what is no web address", "重定向到无效地址"),
    "redirect-down": ("redirects from https to http", "从 https 重定向到 http"),
    "redirect-inside": (
        "lies inside this network: not followed, a login page perhaps",
        "位于本机或内网：未跟随，可能是登录页",
    ),
    "redirect-loop": ("redirects without end", "循环重定向"),
    "cut-reset": ("reset in the middle of the file", "传输中途被重置"),
    "cut-silent": ("falls silent in the middle of the file", "传输中途停滞"),
    "cut-short": ("ends in the middle of the file", "传输中途结束"),
    "proxy-name": ("the proxy's name cannot be resolved", "无法解析代理的主机名"),
    "proxy-dead": ("nothing listens at the proxy's port", "代理端口无人监听"),
    "proxy-silent": ("the proxy's host does not answer", "代理主机无响应"),
    "proxy-scheme": ("wrong scheme, the proxy is {repair}", "协议写错，代理应写作 {repair}"),
    "proxy-login": ("the proxy wants a login, or another one", "代理需要登录，或登录信息有误"),
    "proxy-tls": ("no trusted TLS connection to the proxy", "无法与代理建立可信的 TLS 连接"),
    "proxy-refuses": ("the proxy does not allow it", "代理不允许访问"),
    "proxy-cannot": ("the proxy does not reach the host", "代理无法连通该主机"),
    "proxy-mute": ("the proxy takes the connection and says nothing", "代理接受连接后没有应答"),
    "proxy-hung-up": ("the proxy hangs up", "代理断开连接"),
    "node": ("the proxy accepts, but its node or rule gets nowhere", "代理已接受，但其节点或规则无法连通"),
    "works": ("works", "可用"),
    "slow": ("works, slowly", "可用，但很慢"),
    "throttled": ("each connection is throttled, together they are faster", "单连接被限速，多连接更快"),
    "breaks": ("breaks off again and again; g3m continues it", "反复中断，g3m 可断点续传"),
    "whole-only": (
        "works without ranges: one connection, no resume",
        "可用，不支持分段：单连接、无法续传",
    ),
}
WORKING = frozenset({"works", "slow", "throttled", "breaks", "whole-only"})
PROXY_WIDE = frozenset(
    {"proxy-name", "proxy-dead", "proxy-silent", "proxy-scheme", "proxy-login", "proxy-tls", "proxy-mute"}
)
"""What is wrong with the proxy itself, whatever host is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One request: how far it came (`stage`), what ended it (`flags`, `code` is libcurl's), what it saw.

    `proxy` is the proxy without login, empty for the direct way. `addresses` are the system resolver's.
    A time is in seconds since the hop began, None where it did not come so far.
    """

    host: str
    scheme: str = "https"
    proxy: str = ""
    stage: str = "done"
    flags: frozenset[str] = frozenset()
    code: int = 0
    addresses: tuple[str, ...] = ()
    dns_s: float | None = None
    tcp_s: float | None = None
    tls_s: float | None = None
    answer_s: float | None = None
    status: int = 0
    proxy_status: int = 0
    size_bytes: int | None = None
    body_bytes: int = 0
    leads_to: str = ""
    repair: str = ""
    signed_in: bool = False
    """Whether a token of the user's was sent to this host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """A short sample: so many connections at once brought so many bytes."""

    connections: int
    body_bytes: int
    seconds: float
    rate_bytes_per_s: float | None
    """None if the sample was too small to say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One host over one way: the hops, then the speeds if it works. `wanted_bytes` is the pinned size."""

    hops: tuple[Hop, ...]
    wanted_bytes: int | None = None
    speeds: tuple[Speed, ...] = ()

    @property
    def rate_bytes_per_s(self) -> float | None:
        """The best that was measured."""
        return max((s.rate_bytes_per_s for s in self.speeds if s.rate_bytes_per_s is not None), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """What a probe means; `host` is where it happened: the one that was asked, or one it redirects to."""

    key: str
    host: str
    values: Mapping[str, object] = field(default_factory=dict)

    @property
    def works(self) -> bool:
        return self.key in WORKING

    @property
    def words(self) -> Bilingual:
        english, chinese = CAUSES[self.key]
        return english.format(**self.values), chinese.format(**self.values)


def diagnose(probe: Probe) -> Cause:
    """The cause behind a probe, read from its last hop.

    >>> hop = Hop(host="example.org", stage="tls", flags=frozenset({"reset"}), code=35)
    >>> diagnose(Probe(hops=(hop,))).words[0]
    'reset once its name is said (TLS): blocked by name'
    """
    hop = probe.hops[-1]
    key = _failure(hop) if hop.stage in ("dns", "tcp", "proxy", "tls") else _answered(hop, probe.wanted_bytes)
    if key not in WORKING and not hop.proxy and false_addresses(hop):
        key = "dns-wrong"
    values = {
        "address": ", ".join(hop.addresses[:2]),
        "status": hop.status,
        "repair": hop.repair,
        "seen": hop.size_bytes,
        "wanted": probe.wanted_bytes,
    }
    return Cause(key=_speed(probe.speeds) if key == "works" else key, host=hop.host, values=values)


def false_addresses(hop: Hop) -> bool:
    """Whether a public name was answered with addresses that no public host has."""
    name = hop.host.rpartition(":")[0] or hop.host
    if "." not in name or name.endswith(_LOCAL_ENDINGS) or _is_address(name.strip("[]")):
        return False
    usual = [address for address in hop.addresses if ip_address(address).is_global]
    return bool(hop.addresses) and not usual and not fake_addresses(hop)


def fake_addresses(hop: Hop) -> bool:
    """Whether a name was answered by a proxy program on the way (fake-ip): then it carries what is direct."""
    return any(map(is_stand_in, hop.addresses))


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _failure(hop: Hop) -> str:
    """The cause of a hop that ended before a request was sent."""
    if hop.stage == "dns":
        return {"unknown": "dns-unknown", "timeout": "dns-silent"}.get(_first(hop), "dns-failed")
    if hop.stage == "tcp":
        reasons = {"name": "proxy-name", "refused": "proxy-dead", "reset": "proxy-dead"}
        if hop.proxy:
            return reasons.get(_first(hop), "proxy-silent")
        return {"refused": "refused", "reset": "refused", "unreachable": "no-route"}.get(
            _first(hop), "silent"
        )
    if hop.stage == "proxy":
        return _proxy(hop)
    known = {"name": "tls-name", "untrusted": "tls-untrusted", "dated": "tls-dated", "file": "tls-file"}
    if _first(hop) in known:
        return known[_first(hop)]
    broken = {"reset": "tls-reset", "closed": "tls-reset", "timeout": "tls-silent"}.get(
        _first(hop), "tls-broken"
    )
    return "node" if hop.proxy and broken != "tls-broken" else broken


def _proxy(hop: Hop) -> str:
    if hop.repair:
        return "proxy-scheme"
    if hop.proxy_status in (401, 407) or "login" in hop.flags:
        return "proxy-login"
    if hop.flags & {"name", "untrusted", "dated", "file", "no-tls"}:
        return "proxy-tls"
    if 500 <= hop.proxy_status <= 599 or "cannot" in hop.flags:
        return "proxy-cannot"
    if hop.proxy_status or "forbidden" in hop.flags:
        return "proxy-refuses"
    return "proxy-mute" if "timeout" in hop.flags else "proxy-hung-up"


def _answered(hop: Hop, wanted_bytes: int | None) -> str:
    """The cause of a hop that sent its request."""
    if hop.repair:
        return "proxy-scheme"
    if hop.stage == "answer":
        silence = {"timeout": "mute", "reset": "reset-request"}.get(_first(hop), "hung-up")
        return "node" if hop.proxy else silence
    for flag in ("redirect-odd", "redirect-down", "redirect-inside", "redirect-loop"):
        if flag in hop.flags:
            return flag
    if hop.status not in (200, 206):
        return _status(hop)
    for flag in ("page", "encoded", "part", "no-listing"):
        if flag in hop.flags:
            return flag
    if wanted_bytes is not None and hop.size_bytes not in (None, wanted_bytes):
        return "foreign"
    if "resumes" in hop.flags:
        return "breaks"
    if hop.stage == "body":
        return {"reset": "cut-reset", "timeout": "cut-silent"}.get(_first(hop), "cut-short")
    return "whole-only" if "whole" in hop.flags else "works"


def _status(hop: Hop) -> str:
    status = hop.status
    if hop.proxy and status == 407:
        return "proxy-login"
    # Over plain http a proxy answers in the host's place when it cannot reach it.
    if hop.proxy and hop.scheme == "http" and status in (502, 503, 504):
        return "proxy-cannot"
    known = {401: "sign-in", 403: "forbidden", 451: "forbidden", 404: "missing", 410: "missing"}
    known |= {429: "busy", 503: "busy"}
    return known.get(status) or ("failing" if 500 <= status <= 599 else "odd-status")


def _speed(speeds: Sequence[Speed]) -> str:
    rates = {speed.connections: speed.rate_bytes_per_s for speed in speeds if speed.rate_bytes_per_s}
    one, several = rates.get(1), max(rates.values(), default=0.0)
    if one and several > THROTTLED_RATIO * one:
        return "throttled"
    return "slow" if rates and several < SLOW_BYTES_PER_S else "works"


def _first(hop: Hop) -> str:
    """The flag that says most about how a connection ended."""
    order = ("unknown", "name", "untrusted", "dated", "file", "no-tls", "refused", "reset", "unreachable")
    return next((flag for flag in (*order, "closed", "timeout") if flag in hop.flags), "")
