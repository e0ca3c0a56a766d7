"""The gate: who gets in, who does not, and what every answer tells the browser."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, MutableMapping
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from g3m.core.secrets import Secret
from g3m.ui.web.gate import Gate

TOKEN = "k" * 32
EVERY = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


def _inside(request: Request) -> PlainTextResponse:
    return PlainTextResponse("inside")


def _client(token: str | None = TOKEN, headers: Mapping[str, str] | None = None) -> TestClient:
    app: Any = Gate(Starlette(routes=[Route("/{rest:path}", _inside)]), Secret(token) if token else None)  # type: ignore[arg-type]
    return TestClient(
        app, base_url="http://127.0.0.1:8317", follow_redirects=False, headers=dict(headers or {})
    )


PLAIN: dict[str, Any] = {
    "type": "http",
    "method": "GET",
    "path": "/",
    "query_string": f"t={TOKEN}".encode(),
    "headers": [(b"host", b"127.0.0.1:1")],
}
"""What no client of these tests would send, as the server hands it to the gate."""


def _asked(scope: dict[str, Any], told: list[MutableMapping[str, Any]]) -> None:
    async def send(message: MutableMapping[str, Any]) -> None:
        told.append(message)

    asyncio.run(Gate(_nobody, Secret(TOKEN))(scope, None, send))


async def _nobody(scope: Any, receive: Any, send: Any) -> None:
    """An app that is never asked."""
    raise AssertionError(scope)


def _known() -> TestClient:
    client = _client()
    assert client.get(f"/?t={TOKEN}").status_code == 303
    return client


def test_the_token_becomes_a_cookie_and_leaves_the_address() -> None:
    """The address that was printed is answered by the same one without its token; scripts cannot read the cookie."""
    client = _client()
    answer = client.get(f"/browse?q=a+b&t={TOKEN}&words=5-")
    assert (answer.status_code, answer.headers["location"]) == (303, "/browse?q=a+b&words=5-")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    assert client.get("/browse").text == "inside"


@pytest.mark.parametrize("address", ["/", "/?t=", "/?t=wrong", "/?t=%C3%A9", "/picture/a/1", f"/?T={TOKEN}"])
def test_without_the_token_nothing_is_seen(address: str) -> None:
    """No token, a wrong one and one that is no text are the same."""
    answer = _client().get(address)
    assert answer.status_code == 401 and "inside" not in answer.text and "set-cookie" not in answer.headers


def test_a_wrong_token_is_refused_to_whoever_was_in_before() -> None:
    """A cookie does not make a wrong address right."""
    assert _known().get("/?t=wrong").status_code == 401


def test_a_wrong_cookie_opens_nothing() -> None:
    """Neither does a cookie of another page of g3m."""
    client = _known()
    (name,) = client.cookies
    for value in ("wrong", "", "\x7f"):
        assert _client(headers={"cookie": f"{name}={value}"}).get("/").status_code == 401
    assert _client(headers={"cookie": f"g3m_other={TOKEN}"}).get("/").status_code == 401


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "",
        "localhost.evil",
        "localhost.",
        "127.0.0.1.",
        "10.0.0.1",
        "0.0.0.0",
        "0x7f000001",
        "2130706433",
        "127.0.0.1:x",
        "127.0.0.1:",
        "127.0.0.1:8317:1",
        "user@127.0.0.1",
        "127.0.0.1, evil.example",
        "[::2]",
        "[::ffff:127.0.0.1]",
        "[::1",
        "::1",
        "localhost\t",
    ],
)
def test_only_names_of_this_machine_are_answered(host: str) -> None:
    """A name of somebody else's that leads here (DNS rebinding) is refused, with the right cookie too."""
    assert _known().get("/", headers={"host": host}).status_code == 421


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9000", "127.0.0.1:1", "127.1.2.3", "[::1]:8317"])
def test_tunnels_may_use_any_port(host: str) -> None:
    """The port at the other end of a tunnel is the reader's own choice."""
    assert _known().get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_pages_in_the_browser_get_nothing(site: str) -> None:
    """Whatever another site, or another server on this machine, makes the browser ask is refused."""
    answer = _known().get("/", headers={"sec-fetch-site": site})
    assert answer.status_code == 403 and answer.text != "inside"
    assert _client(None).get("/", headers={"sec-fetch-site": site}).status_code == 403


def test_who_follows_a_link_to_a_page_can_go_on() -> None:
    """With one click on a page of ours, which brings the cookie; pictures, frames and scripts get no such page."""
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    for client in (_known(), _client()):
        answer = client.get("/browse?q=a", headers=link)
        assert answer.status_code == 403 and '<a href="">' in answer.text and "inside" not in answer.text
    for other in ({"sec-fetch-dest": "iframe"}, {"sec-fetch-mode": "no-cors"}):
        assert "<a" not in _known().get("/browse?q=a", headers={**link, **other}).text


@pytest.mark.parametrize(
    "other",
    ['theme={"a":"b"}', "flag", "=x", "a[b]=1", 'a="q', "path=/", "a=\xe9", "é", "a=b; Path=/; a"],
)
def test_cookies_of_other_pages_do_not_matter(other: str) -> None:
    """All pages on this machine share them, whatever their port; a browser sends what it was given."""
    ((name, value),) = _known().cookies.items()
    for cookie in (f"{other}; {name}={value}", f"{name}={value}; {other}"):
        assert _client().get("/", headers={"cookie": cookie.encode("latin-1")}).status_code == 200


def test_a_foreign_origin_is_refused() -> None:
    """Origin must be this very host."""
    client = _known()
    assert client.get("/", headers={"origin": "http://evil.example"}).status_code == 403
    assert client.get("/", headers={"origin": "null"}).status_code == 403
    assert client.get("/", headers={"origin": "http://127.0.0.1:8317"}).status_code == 200


@pytest.mark.parametrize(
    "origin",
    [
        "http://127.0.0.1:8318",
        "http://127.0.0.1",
        "http://localhost:8317",
        "evil://127.0.0.1:8317",
        "chrome-extension://127.0.0.1:8317",
        "127.0.0.1:8317",
        "http://127.0.0.1:8317.evil.example",
        "http://evil@127.0.0.1:8317",
        "http://127.0.0.1:8317/",
        "",
    ],
)
def test_only_this_very_origin_is_our_own(origin: str) -> None:
    """Neither another port, nor another scheme, nor what only looks like it."""
    assert _known().get("/", headers={"origin": origin}).status_code == 403


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("origin", ("http://evil.example", "http://127.0.0.1:8317")),
        ("origin", ("http://127.0.0.1:8317", "http://evil.example")),
        ("sec-fetch-site", ("cross-site", "same-origin")),
        ("sec-fetch-site", ("same-origin", "cross-site")),
    ],
)
def test_what_comes_twice_passes_for_neither(name: str, values: tuple[str, str]) -> None:
    """The right one does not hide the wrong one, in either order."""
    client = _known()
    headers = [(name, value) for value in values]
    assert client.get("/", headers=headers).status_code == 403


def test_cookies_may_come_in_several_lines() -> None:
    """As some proxies send them."""
    ((name, value),) = _known().cookies.items()
    headers = [("cookie", "a=b"), ("cookie", f"{name}={value}")]
    assert _client().get("/", headers=headers).status_code == 200


def test_a_link_with_the_token_may_come_from_elsewhere() -> None:
    """From an editor's terminal, say: the page that goes on by itself takes the cookie along."""
    client = _client()
    answer = client.get(f"/browse?q=%22%3E&t={TOKEN}", headers={"sec-fetch-site": "cross-site"})
    assert answer.status_code == 200 and 'content="0;url=/browse?q=%22%3E"' in answer.text
    assert client.get("/").status_code == 200


def test_an_address_cannot_leave_the_page_that_goes_on() -> None:
    """What stands in the path is text there, too."""
    told: list[MutableMapping[str, Any]] = []
    scope = {
        **PLAIN,
        "raw_path": b'/"><b>x',
        "headers": [*PLAIN["headers"], (b"sec-fetch-site", b"same-site")],
    }
    _asked(scope, told)
    assert b"<b>" not in told[1]["body"] and b"&lt;b&gt;x" in told[1]["body"]


@pytest.mark.parametrize("begin", ["//", "///", "/\\", "\\\\", "/\\/", "http://"])
@pytest.mark.parametrize("site", ["none", "cross-site"])
def test_the_way_on_stays_on_this_machine(begin: str, site: str) -> None:
    """Two slashes at the beginning would be another host, and browsers take a backslash for one."""
    told: list[MutableMapping[str, Any]] = []
    headers = [*PLAIN["headers"], (b"sec-fetch-site", site.encode())]
    _asked({**PLAIN, "raw_path": f"{begin}evil.example/".encode(), "headers": headers}, told)
    head = dict(told[0]["headers"])
    found = re.search(rb"url=([^\"]*)", told[1]["body"])
    address = head.get(b"location") or (found[1] if found else b"")
    assert re.match(rb"/[^/\\]", address)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_only_looking_is_allowed(method: str) -> None:
    """Whatever would change something is refused before anything else is looked at."""
    answer = _known().request(method, "/")
    assert answer.status_code == 405 and answer.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    ("address", "headers"), [("/", {}), ("/?t=wrong", {}), ("/", {"host": "evil"}), (f"/?t={TOKEN}", {})]
)
def test_every_answer_carries_the_policy(address: str, headers: dict[str, str]) -> None:
    """Also refusals: nothing may be framed, sniffed, referred or loaded from elsewhere."""
    answer = _known().get(address, headers=headers)
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy and "base-uri 'none'" in policy
    told = {name: answer.headers[name] for name in EVERY}
    assert told == EVERY


def test_a_socket_needs_no_token() -> None:
    """Its file mode is the lock."""
    assert _client(None).get("/").text == "inside"
    assert _client(None).get("/", headers={"host": "evil"}).status_code == 421
