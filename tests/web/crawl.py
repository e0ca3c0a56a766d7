"""What a page is made of, read with a plain parser, and a walk along all links of a server or of files."""

from __future__ import annotations

import http.client
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urldefrag, urljoin, urlsplit

LINKS = {"href", "src", "action", "poster", "data", "formaction", "hx-get", "hx-sse", "sse-connect", "cite"}
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


class Parsed(HTMLParser):
    """One page: its links, its elements, and what should not be there."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.links: list[str] = []
        self.elements: list[str] = []
        self.identities: set[str] = set()
        self.texts: list[str] = []
        self.wrong: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        self.wrong += [f"<{name}> is not closed" for name in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        if tag not in VOID:
            self._open.append(tag)
        for name, value in attrs:
            if name in LINKS and value is not None:
                self.links.append(value)
            if name == "srcset" and value:
                self.links += [part.split()[0] for part in value.split(",")]
            if name.startswith("on") or name == "style" or name == "srcdoc":
                self.wrong.append(f"<{tag} {name}={value!r}>")
            if name == "id" and value:
                if value in self.identities:
                    self.wrong.append(f"id {value!r} twice")
                self.identities.add(value)
        if tag == "script" and not dict(attrs).get("src"):
            self.wrong.append("a script in the page")
        if tag in ("iframe", "object", "embed", "base", "style"):
            self.wrong.append(f"<{tag}>")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        # HTML lets these be closed by what follows.
        while self._open and self._open[-1] != tag and self._open[-1] in ("p", "li", "dt", "dd", "option"):
            self._open.pop()
        if not self._open or self._open[-1] != tag:
            self.wrong.append(f"</{tag}> closes {self._open[-1:]}")
        else:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).split())


@dataclass
class Answer:
    """What the server said."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def is_page(self) -> bool:
        return self.headers.get("content-type", "").startswith("text/html")


@dataclass
class Client:
    """A reader without a browser, who came by the printed address and keeps the cookies."""

    address: str
    cookies: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        parts = urlsplit(self.address)
        self.host = parts.netloc
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        answer = self.get(path or "/")
        while answer.status in (302, 303, 307):
            answer = self.get(answer.headers["location"])
        assert answer.status == 200, answer.status

    def get(self, path: str, **headers: str) -> Answer:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection(self.host, timeout=60)
        try:
            cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request("GET", path, headers={**({"Cookie": cookie} if cookie else {}), **given})
            answer = connection.getresponse()
            body = answer.read()
            for line in answer.headers.get_all("set-cookie") or []:
                name, _, value = line.partition(";")[0].partition("=")
                self.cookies[name] = value
            return Answer(answer.status, {k.lower(): v for k, v in answer.headers.items()}, body)
        finally:
            connection.close()


def inside(page: str, link: str) -> str | None:
    """The path that a link on a page leads to; None if it stays on the page or leads to the web."""
    whole = urldefrag(urljoin(f"http://here{page}", link)).url
    if not whole.startswith("http://here/"):
        return None
    return whole.removeprefix("http://here")


def walk(ask: Callable[[str], Answer], start: str = "/", most: int = 400) -> Iterator[tuple[str, Answer]]:
    """Every address that can be reached from `start`, the nearest first; pages of each kind in turn.

    At most `most` of them: of each kind (path up to the second slash, names of parameters) the first come first.
    """
    seen, waiting = {start}, deque([start])
    kinds: dict[str, int] = {}
    asked = 0
    while waiting and asked < most:
        path = waiting.popleft()
        kind = _kind(path)
        kinds[kind] = kinds.get(kind, 0) + 1
        if kinds[kind] > max(8, most // 12):
            continue
        answer = ask(path)
        asked += 1
        yield path, answer
        if answer.is_page:
            for link in Parsed(answer.body.decode("utf-8")).links:
                target = inside(path, link)
                # Another language is another page, and a cookie that all later ones would be answered in.
                if target is not None and target not in seen and "lang=" not in target:
                    seen.add(target)
                    waiting.append(target)


def _kind(path: str) -> str:
    parts = urlsplit(path)
    names = sorted(pair.partition("=")[0] for pair in parts.query.split("&"))
    return "/".join(parts.path.split("/")[:2]) + "?" + "&".join(names)
