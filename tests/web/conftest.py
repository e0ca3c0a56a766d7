"""A drawn root, a running `g3m view` beside it, and a real Chromium that looks at it and reaches nothing else."""

from __future__ import annotations

import io
import json
import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image, ImageEnhance
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    Response,
    sync_playwright,
)
from tests.running import running
from tests.web.hostile import Bad, write_hostile

from g3m.lab.world import World
from g3m.runners.run import get_in, make_session

SAMPLES = 70
"""More than a page of the grid shows, in most datasets."""

ALL = ("all", "laion115m")
LOOKALIKES = "lookalikes"
LIMIT_S = 60
CHROMIUM = "/usr/bin/chromium"
HOSTILE = "bad <b>name<b> & 'quotes' \"50%\" #1?"
"""The hostile dataset's folder: also its name is text from a stranger."""

ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+/\S*")
ARGUMENTS = (
    "--no-sandbox",  # the tests may run as root in a container
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    "--disable-lcd-text",
    "--force-color-profile=srgb",
)
# Nothing that playwright would hand to eval: the page's policy forbids it.
ALL_PICTURES = """async () => { await Promise.all(Array.from(document.images, one => { one.loading = 'eager';
    return one.complete || new Promise(done => ['load', 'error'].forEach(end => one.addEventListener(end, done))); })); }"""
ON_EVERY_PAGE = """
window.g3mSeen = {violations: [], shift: 0};
document.addEventListener('securitypolicyviolation', e =>
    window.g3mSeen.violations.push(e.violatedDirective + ' ' + e.blockedURI));
new PerformanceObserver(list => {
    for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.g3mSeen.shift += entry.value;
}).observe({type: 'layout-shift', buffered: true});
"""


@dataclass(frozen=True)
class Root:
    """A root with drawn datasets and its catalog, and how g3m is run on it."""

    path: Path
    variables: dict[str, str]

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-W", "error", "-m", "g3m", *arguments, "--root", str(self.path)]

    @contextmanager
    def start(self, *arguments: str, **more: str) -> Iterator[subprocess.Popen[str]]:
        """Run g3m beside the test; `more` are variables."""
        with running(self.command(*arguments), {**self.variables, **more}, self.path.parent) as process:
            yield process

    def run(self, *arguments: str, code: int = 0, **more: str) -> str:
        """Run g3m to its end; returns its stdout."""
        done = subprocess.run(
            self.command(*arguments),
            env={**self.variables, **more},
            cwd=self.path.parent,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            encoding="utf-8",
            timeout=LIMIT_S * 3,
            check=False,
        )
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        return done.stdout


@dataclass(frozen=True)
class View:
    """A running `g3m view`: the address that it printed, with the token."""

    address: str
    process: subprocess.Popen[str]
    root: Root

    @property
    def origin(self) -> str:
        parts = urlsplit(self.address)
        return f"{parts.scheme}://{parts.netloc}"


def plain_variables(home: Path) -> dict[str, str]:
    """The environment of a user who sits at this machine and has nothing set that matters."""
    home.mkdir(parents=True, exist_ok=True)
    passed = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    return {**passed, "HOME": str(home), "LANG": "C.UTF-8", "TZ": "UTC"}


def draw_root(folder: Path, samples: int = SAMPLES) -> Root:
    """Seven datasets of the lab, a list with reasons among them, and no catalog yet."""
    with World(folder / "world", samples=samples) as world:
        # Only a lab's own addresses are private.
        options = {"root": str(folder / "data"), "allow_private": True, **world.options}
        get_in(ALL, make_session(options, world.variables), [])
        config = world.config()
    (folder / "g3m.toml").write_text(config, encoding="utf-8")
    return Root(folder / "data", plain_variables(folder / "home"))


def add_lookalikes(root: Path) -> None:
    """A training set of somebody's own that holds pictures of coco_valid: some as they are, some drawn anew."""
    import g3m

    folder = root / LOOKALIKES
    folder.mkdir()
    with g3m.dataset("coco_valid", root=root) as valid, tarfile.open(folder / "own-0.tar", "w") as archive:
        for number in range(20):
            sample = valid[number]
            picture = sample.image if number < 10 else redrawn(sample.image)
            files = (
                ("jpg", picture),
                ("json", b'{"source": "mine"}'),
                ("txt", f"my own caption {number}".encode()),
            )
            for extension, data in files:
                member = tarfile.TarInfo(f"own{number:03d}.{extension}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    g3m.index(folder)


def redrawn(data: bytes) -> bytes:
    """The picture a little smaller and brighter, in other bytes."""
    with Image.open(io.BytesIO(data)) as source:
        small = source.convert("RGB").resize((source.width * 4 // 5, source.height * 4 // 5))
    file = io.BytesIO()
    ImageEnhance.Brightness(small).enhance(1.05).save(file, "JPEG", quality=70)
    return file.getvalue()


@pytest.fixture(scope="session")
def bare_root(tmp_path_factory: pytest.TempPathFactory) -> Root:
    """The drawn datasets without a catalog; only to be read or copied."""
    return draw_root(tmp_path_factory.mktemp("bare"))


@pytest.fixture(scope="session")
def drawn_root(bare_root: Root, tmp_path_factory: pytest.TempPathFactory) -> Root:
    """The same with lookalikes and a catalog that has looked at the pictures; only to be read."""
    folder = tmp_path_factory.mktemp("drawn")
    root = copied(bare_root, folder)
    add_lookalikes(root.path)
    root.run("index", "--pictures")
    return root


def copied(root: Root, folder: Path) -> Root:
    """A root of one's own, to be changed."""
    shutil.copytree(root.path, folder / "data")
    shutil.copy(root.path.parent / "g3m.toml", folder / "g3m.toml")
    return Root(folder / "data", plain_variables(folder / "home"))


@pytest.fixture(scope="session")
def hostile_root(tmp_path_factory: pytest.TempPathFactory) -> tuple[Root, list[Bad]]:
    """A root with the hostile dataset alone, and its catalog."""
    folder = tmp_path_factory.mktemp("hostile")
    root = Root(folder / "data", plain_variables(folder / "home"))
    bad = write_hostile(root.path / HOSTILE)
    root.run("index", str(root.path / HOSTILE))
    root.run("index", "--pictures")
    return root, bad


@contextmanager
def viewing(root: Root, *arguments: str, **more: str) -> Iterator[View]:
    """`g3m view` at a free port, from its first line on; it must end without a word about what broke."""
    with root.start("view", "--port", "0", *arguments, **more) as process:
        try:
            yield View(_first_address(process), process, root)
        finally:
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=LIMIT_S)
    assert "Traceback" not in err, err
    assert "Warning" not in err, err


def _first_address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    with selectors.DefaultSelector() as ready:
        ready.register(process.stdout, selectors.EVENT_READ)
        assert ready.select(LIMIT_S), "g3m view said nothing"
    line = process.stdout.readline().strip()
    if not ADDRESS.fullmatch(line):
        process.kill()
        _, err = process.communicate(timeout=LIMIT_S)
        raise AssertionError(f"no address: {line!r}\n{err}")
    return line


@pytest.fixture(scope="session")
def view(drawn_root: Root) -> Iterator[View]:
    """The page over the drawn root; shared, because nobody can change anything through it."""
    with viewing(drawn_root) as running:
        yield running


@pytest.fixture(scope="session")
def hostile_view(hostile_root: tuple[Root, list[Bad]]) -> Iterator[View]:
    """The page over the hostile dataset."""
    with viewing(hostile_root[0]) as running:
        yield running


@contextmanager
def chromium(*arguments: str) -> Iterator[Browser]:
    """A headless Chromium; where it is missing, the test fails."""
    with sync_playwright() as player:
        browser = player.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS, *arguments])
        try:
            yield browser
        finally:
            browser.close()


# One for each module: as long as playwright runs, nothing on this thread can run an asyncio loop of its own.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The browser of a module's tests; each test opens contexts of its own in it."""
    with chromium() as running:
        yield running


@dataclass
class Visitor:
    """One person with a browser: a page, and everything that a good page does not do."""

    page: Page
    origin: str
    requests: list[str] = field(default_factory=list)
    answers: list[tuple[int, str]] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    javascript: bool = True

    def go(self, address: str, status: int = 200) -> Page:
        """Open a path of the page, or a whole address; the answer must have the status."""
        answer = self.page.goto(self.origin + address if address.startswith("/") else address)
        if address.startswith("file:"):
            return self.page
        assert answer is not None
        assert answer.status == status, f"{address}: {answer.status}"
        if status != 200:
            # Chromium itself notes each such answer on the console.
            self.complaints = [one for one in self.complaints if f"status of {status}" not in one]
        return self.page

    def settle(self) -> None:
        """Wait until every picture that the page has begun to load is there or failed, and two frames are drawn."""
        self.page.wait_for_load_state("load")
        if self.javascript:
            self.page.evaluate(
                "async () => { await document.fonts.ready; for (let i = 0; i < 2; i++)"
                " await new Promise(r => requestAnimationFrame(r)); }"
            )

    def everything(self) -> None:
        """Scroll to the end, so that lazy pictures come, and wait for all of them."""
        self.page.evaluate(ALL_PICTURES)

    def shift(self) -> float:
        """How much of the page has moved by itself since it was opened."""
        return float(self.page.evaluate("window.g3mSeen.shift"))

    def violations(self) -> list[str]:
        """What the content security policy stopped on this page."""
        return list(self.page.evaluate("window.g3mSeen.violations"))

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text} {message.location.get('url', '')}")

    def _on_request(self, request: Request) -> None:
        self.requests.append(request.url)
        if not request.url.startswith((self.origin + "/", "data:", "file:")):
            self.complaints.append(f"asks {request.url}")

    def _on_response(self, response: Response) -> None:
        self.answers.append((response.status, response.url))
        if response.status >= 500:
            self.complaints.append(f"{response.status} {response.url}")

    def watch(self) -> None:
        """Record from now on."""
        page = self.page
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.complaints.append(f"script: {error}"))
        page.on("request", self._on_request)
        page.on("response", self._on_response)
        page.on(
            "dialog", lambda dialog: self.complaints.append(f"dialog: {dialog.message}") or dialog.dismiss()
        )


Visit = Callable[..., Visitor]


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """Lets somebody come to a view; in the end, nobody may have had anything to complain of."""
    visitors: list[Visitor] = []
    contexts: list[BrowserContext] = []

    def come(
        view: View | None,
        *,
        javascript: bool = True,
        dark: bool = False,
        width: int = 1280,
        height: int = 800,
        language: str = "en-GB",
    ) -> Visitor:
        context = browser.new_context(
            java_script_enabled=javascript,
            color_scheme="dark" if dark else "light",
            viewport={"width": width, "height": height},
            locale=language,
            timezone_id="UTC",
            service_workers="block",
        )
        contexts.append(context)
        context.set_default_timeout(LIMIT_S * 1000 / 2)
        context.add_init_script(ON_EVERY_PAGE)
        visitor = Visitor(context.new_page(), view.origin if view else "file:", javascript=javascript)
        visitor.watch()
        visitors.append(visitor)
        if view:
            visitor.go(view.address)
        return visitor

    yield come
    for context in contexts:
        context.close()
    complaints = [one for visitor in visitors for one in visitor.complaints]
    assert not complaints, "\n".join(complaints)


@pytest.fixture(scope="session")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots go; G3M_SCREENSHOTS names a folder to keep them in."""
    kept = os.environ.get("G3M_SCREENSHOTS")
    folder = Path(kept) if kept else tmp_path_factory.mktemp("shots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def wait_for(found: Callable[[], object], what: str) -> None:
    """Until something is true; asked for every few milliseconds."""
    end_s = time.monotonic() + LIMIT_S
    while not found():
        assert time.monotonic() < end_s, f"waited in vain for {what}"
        time.sleep(0.02)


def documents(text: str) -> list[dict[str, object]]:
    """Every line as JSON."""
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="session")
def exported(drawn_root: Root, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the page over the drawn root, 12 samples of each dataset; only to be read."""
    folder = tmp_path_factory.mktemp("exported") / "my copy #1"
    drawn_root.run("view", "--export", str(folder), "--samples", "12")
    return folder


MILLION = 1_000_000
_SHARD = 20_000
_PARTS = (("ka", "lo", "mi", "ru"), ("te", "so", "na", "vi"), ("pe", "du", "ga", "fo"))


@pytest.fixture(scope="session")
def million_root(bare_root: Root, tmp_path_factory: pytest.TempPathFactory) -> Root:
    """The drawn root with a catalog of a million rows; `needle` is in fifty of them, `red` in all."""
    from g3m.adapters.catalog import FILE, ShardFacts, open_catalog
    from g3m.core.catalog import Entry

    root = copied(bare_root, tmp_path_factory.mktemp("million"))
    words = [first + middle + last for first in _PARTS[0] for middle in _PARTS[1] for last in _PARTS[2]]
    with open_catalog(root.path / ".g3m" / FILE, writing=True) as catalog:
        for shard in range(MILLION // _SHARD):
            first = shard * _SHARD
            rows = [
                Entry(
                    key=f"key{first + place:07d}",
                    caption=f"red {words[place % 64]} {words[(place * 7 + shard) % 64]}{' needle' * (place == 777)}",
                    width=640 if place % 5 else 480,
                    height=480,
                    size_bytes=20_000 + place,
                    words=3 + (place == 777),
                    host="",
                    format="jpeg",
                )
                for place in range(_SHARD)
            ]
            name = f"{shard:05d}.tar"
            facts = ShardFacts(
                dataset="million", folder="million", name=name, number=shard, first=first, stamp=name
            )
            catalog.put(facts, rows)
    return root
