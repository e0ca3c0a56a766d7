"""The gate before the pages: who may look, from where, and what a browser is told to refuse.

The loopback address is open to every user of the machine and to every page in the reader's browser. A token
keeps the first out, the checks of Host, Origin and Sec-Fetch-Site the second.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Awaitable, Callable, MutableMapping
from html import escape
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.requests import cookie_parser

from g3m.core.secrets import Secret

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Any, Send], Awaitable[None]]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
TOKEN = "t"  # noqa: S105  # the name of the parameter
_HOST = re.compile(r"(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d{1,5})?", re.IGNORECASE)
_REASONS = {
    401: (
        "Open the address that g3m view printed, with its token.",
        "请打开 g3m view 打印的、带令牌的地址。",
    ),
    403: ("This was asked by another site.", "该请求来自其他网站。"),
    405: ("The pages answer GET and HEAD, and change nothing.", "页面只响应 GET 和 HEAD，不做任何更改。"),
    421: ("This is only for the names of this machine.", "仅接受本机名称。"),
}


class Gate:
    """Lets through what a reader at this machine, or behind a tunnel, asks; without a token, any of them."""

    def __init__(self, app: App, token: Secret | None) -> None:
        self._app = app
        self._token = token
        digest = hashlib.sha256(token.reveal().encode()).hexdigest() if token else ""
        # Cookies do not know ports: two pages on one machine must not overwrite one another's.
        self._cookie = f"g3m_{digest[:12]}"

    async def __call__(self, scope: Scope, receive: Any, send: Send) -> None:
        if scope["type"] != "http":
            return
        guarded = _with_headers(send)
        head = _head(scope)
        status = _refused(scope, head)
        if status:
            await _answer(guarded, status)
            return
        given = self._given(scope)
        if given is None and not self._knows(head):
            await _answer(guarded, 403 if _is_from_elsewhere(head) else 401, _way_on(head))
        elif given is not None and not self._is_token(given):
            await _answer(guarded, 401)
        elif given is not None:
            await self._welcome(scope, head, guarded)
        elif _is_from_elsewhere(head):
            await _answer(guarded, 403, _way_on(head))
        else:
            await self._app(scope, receive, guarded)

    def _given(self, scope: Scope) -> str | None:
        """The token in the address, if one is asked for."""
        if self._token is None:
            return None
        pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        return next((value for name, value in pairs if name == TOKEN), None)

    def _is_token(self, text: str) -> bool:
        return self._token is not None and hmac.compare_digest(text.encode(), self._token.reveal().encode())

    def _knows(self, head: dict[str, str]) -> bool:
        if self._token is None:
            return True
        # As browsers do: cookies of other pages on this machine come, too, and need not be well-formed.
        return self._is_token(cookie_parser(head.get("cookie", "")).get(self._cookie, ""))

    async def _welcome(self, scope: Scope, head: dict[str, str], send: Send) -> None:
        """Keep the token in a cookie, and go to the same address without it."""
        pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        rest = urlencode([pair for pair in pairs if pair[0] != TOKEN])
        path = scope.get("raw_path", b"/").decode("latin-1").partition("?")[0]
        # "//host" would be another machine, and to a browser a backslash is a slash.
        address = "/" + path.lstrip("/\\") + (f"?{rest}" if rest else "")
        value = self._token.reveal() if self._token else ""
        cookie = f"{self._cookie}={value}; HttpOnly; SameSite=Strict; Path=/"
        headers = [(b"set-cookie", cookie.encode()), (b"cache-control", b"no-store")]
        if head.get("sec-fetch-site", "none") in ("none", "same-origin"):
            await _write(send, 303, b"", [*headers, (b"location", address.encode("latin-1"))])
            return
        # After a link on another page a strict cookie is not sent along a redirect; a page of ours may go on.
        body = f'<!doctype html><meta http-equiv="refresh" content="0;url={escape(address)}">'
        await _write(send, 200, body.encode(), headers)


def _head(scope: Scope) -> dict[str, str]:
    """The headers; of one that comes twice both, so that neither passes for the other."""
    head: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        mark = "; " if name == "cookie" else ", "
        head[name] = f"{head[name]}{mark}{value}" if name in head else value
    return head


def _refused(scope: Scope, head: dict[str, str]) -> int:
    """The status with which a request is refused whoever sends it, or 0."""
    if scope["method"] not in ("GET", "HEAD"):
        return 405
    if not _HOST.fullmatch(head.get("host", "")):
        return 421
    origin = head.get("origin", f"http://{head['host']}")
    # A tunnel may speak TLS at the reader's side.
    is_own = origin.lower() in (f"{scheme}://{head['host'].lower()}" for scheme in ("http", "https"))
    return 0 if is_own else 403


def _is_from_elsewhere(head: dict[str, str]) -> bool:
    return head.get("sec-fetch-site", "none") not in ("none", "same-origin")


def _with_headers(send: Send) -> Send:
    async def guarded(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *HEADERS]}
        await send(message)

    return guarded


def _way_on(head: dict[str, str]) -> str:
    """For a reader who followed a link on another page: one of ours, which brings his cookie along."""
    is_page = (head.get("sec-fetch-mode"), head.get("sec-fetch-dest")) == ("navigate", "document")
    return '<p><a href="">g3m view →</a></p>' if is_page and _is_from_elsewhere(head) else ""


async def _answer(send: Send, status: int, more: str = "") -> None:
    english, chinese = _REASONS[status]
    words = f'<p>{english}</p><p lang="zh-Hans">{chinese}</p>{more}'
    body = f'<!doctype html><meta charset="utf-8"><title>g3m</title>{words}'
    headers = [(b"cache-control", b"no-store")]
    await _write(
        send, status, body.encode(), [*headers, (b"allow", b"GET, HEAD")] if status == 405 else headers
    )


async def _write(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    own = [(b"content-type", b"text/html; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*own, *headers]})
    await send({"type": "http.response.body", "body": body})
