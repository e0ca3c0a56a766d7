"""The pages: which template shows what, for each address. GET and HEAD; what is shown comes from the library.

The functions are called in threads and hold no state of their own. What a text looks like is the templates'
business, what is true the library's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

import g3m
from g3m.core.alike import BOTH_LIMIT, CORRELATION
from g3m.core.browse import BadView, View, parse_view
from g3m.core.catalog import FLAGS, NUMBERS
from g3m.core.errors import G3MError
from g3m.core.listed import listed
from g3m.core.query import BadQuery, parse
from g3m.core.tally import Snapshot
from g3m.ui.figures import count_text, duration_text, size_text
from g3m.ui.web import charts, texts
from g3m.ui.web.facts import Detail, Gone, NeedsCatalog, NotHere
from g3m.ui.web.links import PATHS, Links, ServerLinks
from g3m.ui.web.words import LANGUAGES, Voice

if TYPE_CHECKING:
    from g3m.ui.web.library import Library

TEMPLATES = Path(__file__).parent / "templates"
COOKIE = "g3m_lang"
COOKIE_AGE_S = 365 * 86400
GRID = 60
SHARDS_SHOWN = 500
PAIRS_SHOWN = 60
BINS_SHOWN = {"word": 24, "host": 20, "format": 12, "flag": 20}
"""Of the charts whose bins are names, so many are drawn; the others have few."""


class Live(Protocol):
    """What is known of the run at work."""

    def state(self) -> Snapshot | None:
        """Its state; None if there never was one."""

    def holder(self) -> str:
        """Who runs it, as `host:process`; empty if nobody does."""

    def recent(self) -> list[str]:
        """What went wrong or was noted of late, the newest first."""


class Pages:
    """Everything that is answered with HTML or with a list of keys."""

    def __init__(
        self,
        library: Library,
        live: Live | None = None,
        links_of: Callable[[Request], Links] | None = None,
        lang: str = "",
    ) -> None:
        self._library = library
        self._live = live
        self._links_of = links_of or self._own_links
        self._lang = lang
        self._templates = environment()

    def routes(self) -> list[Route]:
        """The routes of all pages, to be mounted beside those of pictures and of what is live."""
        made = {
            "home": self.home,
            "browse": self.browse,
            "search": self.search,
            "stats": self.stats,
            "alike": self.alike,
            "leaks": self.leaks,
            "leaked": self.leaked,
            "shards": self.shards,
            "left-out": self.left_out,
            "downloads": self.downloads,
            "live-part": self.live_now,
            "help": self.help,
            "keys": self.keys,
        }
        sample = Route("/sample/{dataset:path}/{number:int}", self.sample, methods=["GET"], name="sample")
        return [
            *(Route(PATHS[name], page, methods=["GET"], name=name) for name, page in made.items()),
            sample,
        ]

    def exception_handlers(self) -> dict[Any, Callable[[Request, Any], Response]]:
        """What is said when something is not there, cannot be answered or went wrong."""
        return {
            NotHere: self._not_here,
            Gone: self._gone,
            NeedsCatalog: self._needs_catalog,
            BadView: self._bad_view,
            BadQuery: self._bad_view,
            G3MError: self._failed,
            HTTPException: self._http,
            Exception: self._broken,
        }

    # Pages

    def home(self, request: Request) -> Response:
        """A card for each dataset."""
        return self._page(request, "home", cards=self._library.cards(), at_work=self._holder())

    def browse(self, request: Request) -> Response:
        """A grid of pictures with their captions."""
        return self._grid(request, "browse")

    def search(self, request: Request) -> Response:
        """The same grid, of what the captions say."""
        if not replace(parse_view(request.query_params), dataset="").is_filtered:
            dataset = _asked(request, "dataset")
            return self._page(request, "search", datasets=self._datasets(), dataset=dataset)
        return self._grid(request, "search")

    def sample(self, request: Request) -> Response:
        """One sample, whole."""
        dataset, number = request.path_params["dataset"], request.path_params["number"]
        detail = self._library.sample(dataset, number)
        if detail.dropped is not None:
            raise Gone(detail.dropped)
        title = f"{dataset} {number}"
        if not self._links_of(request).answers:
            # A copy is handed on: it does not tell where things lie on this machine.
            detail = replace(detail, folder=dataset)
        lines = python_lines(detail)
        return self._page(request, "sample", detail=detail, name=dataset, title=title, python=lines)

    def stats(self, request: Request) -> Response:
        """Charts of one dataset or of all."""
        dataset, is_log = _asked(request, "dataset"), request.query_params.get("scale") == "log"
        found = self._library.stats(dataset)
        links = self._links_of(request)
        drawn = {
            chart: _chart(chart, found[chart], dataset, links, is_log=is_log)
            for chart in found
            if found[chart]
        }
        samples = sum(count for _, count in found.get("format", ()))
        return self._page(
            request,
            "stats",
            dataset=dataset,
            datasets=self._datasets(),
            charts=drawn,
            is_log=is_log,
            samples=samples,
        )

    def alike(self, request: Request) -> Response:
        """Pairs of samples with the same picture, or nearly the same."""
        dataset, after = _asked(request, "dataset"), _number(request, "after")
        found = self._library.pairs(dataset, after)
        looked = any(card.looked for card in self._library.cards())
        return self._page(
            request,
            "alike",
            dataset=dataset,
            datasets=self._datasets(),
            pairs=found.pairs,
            after=found.after,
            looked=looked,
        )

    def leaks(self, request: Request) -> Response:
        """Which samples of the other datasets are also in one that is evaluated on."""
        of = _asked(request, "of")
        found = self._library.leaks(of) if of else None
        cards = self._library.cards()
        return self._page(request, "leaks", of=of, datasets=self._datasets(), leaks=found, cards=cards)

    def leaked(self, request: Request) -> Response:
        """The same as a list that the loader and `g3m drop` read."""
        of = _asked(request, "of")
        if not of:
            raise BadView("of: the name of a dataset")
        lines = self._library.leaks(of).exclusion()
        return _lines(lines, f"leaks-{of}.jsonl")

    def shards(self, request: Request) -> Response:
        """The shards of a dataset."""
        dataset, after = _asked(request, "dataset"), _number(request, "after")
        found = self._library.shards(dataset)
        shown = found[after : after + SHARDS_SHOWN]
        more = after + SHARDS_SHOWN if len(found) > after + SHARDS_SHOWN else 0
        return self._page(
            request,
            "shards",
            dataset=dataset,
            shards=shown,
            count=len(found),
            after=more,
            start=after,
        )

    def left_out(self, request: Request) -> Response:
        """What is not here, or here with a finding, and why."""
        dataset = _asked(request, "dataset")
        found = self._library.left_out(dataset, _asked(request, "after"))
        card = next((card for card in self._library.cards() if card.name == dataset), None)
        return self._page(request, "left-out", dataset=dataset, found=found, card=card)

    def downloads(self, request: Request) -> Response:
        """The run at work."""
        part = Markup(self.live_part(self._voice(request).lang))  # noqa: S704  # a template made it
        return self._page(request, "downloads", part=part, at_work=self._holder())

    def live_now(self, request: Request) -> Response:
        """The part of it that changes."""
        return HTMLResponse(str(self.live_part(self._voice(request).lang)))

    def help(self, request: Request) -> Response:
        """What can be typed and pressed."""
        return self._page(request, "help")

    def keys(self, request: Request) -> Response:
        """The keys of a view, one a line, as g3m.dataset(exclude=) and `g3m drop --keys` read them."""
        view = parse_view(request.query_params)
        found = self._library.keys(replace(view, after=0, before=0))
        lines = (listed(dataset, key) + "\n" for dataset, key in found)
        return _lines(lines, "keys.txt")

    def live_part(self, lang: str) -> str:
        """The part of the downloads page that changes, as HTML that is safe to be put in."""
        state = self._live.state() if self._live else None
        recent = self._live.recent() if self._live else []
        voice = Voice(lang)
        template = self._templates.get_template("live.html")
        return template.render(
            say=voice.say, meaning=voice.meaning, state=state, recent=recent, holder=self._holder()
        )

    # What goes wrong

    def _not_here(self, request: Request, error: NotHere) -> Response:
        return self._problem(request, 404, "not-here", str(error))

    def _gone(self, request: Request, error: Gone) -> Response:
        return self._problem(request, 410, "gone", str(error))

    def _needs_catalog(self, request: Request, _error: NeedsCatalog) -> Response:
        return self._problem(request, 200, "needs-catalog")

    def _bad_view(self, request: Request, error: ValueError) -> Response:
        both = getattr(error, "both", None)
        return self._problem(
            request, 400, "bad-view", self._voice(request).pick(both) if both else str(error)
        )

    def _failed(self, request: Request, error: G3MError) -> Response:
        voice = self._voice(request)
        detail = f"{error.code}: {voice.pick(error.title)}. {error.message}"
        return self._problem(request, 500, "failed", detail, hint=voice.pick(error.hint))

    def _http(self, request: Request, error: HTTPException) -> Response:
        name = {404: "no-page", 405: "no-method"}.get(error.status_code, "broken")
        return self._problem(request, error.status_code, name)

    def _broken(self, request: Request, error: Exception) -> Response:
        return self._problem(request, 500, "broken", type(error).__name__)

    def _problem(
        self, request: Request, status: int, problem: str, detail: str = "", hint: str = ""
    ) -> Response:
        return self._page(request, "problem", status=status, problem=problem, detail=detail, hint=hint)

    # What all pages share

    def _grid(self, request: Request, name: str) -> Response:
        view = parse_view(request.query_params)
        # The address bar holds the state the shortest way, also where a form sent fields without a value.
        address = self._links_of(request).page("search" if view.query else "browse", **view.parameters())
        is_part = "HX-Request" in request.headers
        if address and not is_part and "" in request.query_params.values():
            return RedirectResponse(address, 303)
        query = parse(view.query) if view.query else None
        grid = self._library.browse(view, GRID)
        answer = self._page(request, name, grid=grid, view=view, query=query, datasets=self._datasets())
        if address and is_part:
            answer.headers["HX-Push-Url"] = address
        return answer

    def _page(self, request: Request, page: str, /, *, status: int = 200, **values: Any) -> Response:
        voice, links = self._voice(request), self._links_of(request)
        template = "grid.html" if "grid" in values else f"{page.replace('-', '_')}.html"
        words = {"say": voice.say, "meaning": voice.meaning, "spell": voice.spell, "lang": voice.lang}
        body = self._templates.get_template(template).render(
            **words,
            links=links,
            here=page,
            other=_other_language(request, voice.lang) if links.answers else None,
            has_catalog=self._library.has_catalog(),
            version=g3m.__version__,
            flags=FLAGS,
            numbers=NUMBERS,
            **{"query": None, **values},
        )
        response = HTMLResponse(body.encode("utf-8", "replace"), status)
        asked = request.query_params.get("lang")
        if asked in LANGUAGES and links.answers:
            response.set_cookie(COOKIE, asked, COOKIE_AGE_S, httponly=True, samesite="strict")
        response.headers["Cache-Control"] = "no-cache"
        return response

    def _voice(self, request: Request) -> Voice:
        asked = (request.query_params.get("lang"), request.cookies.get(COOKIE), self._lang)
        spoken = next((lang for lang in asked if lang in LANGUAGES), None)
        accepted = request.headers.get("accept-language", "").lower()
        return Voice(spoken or ("zh" if accepted.startswith("zh") else "en"))

    def _own_links(self, request: Request) -> Links:
        return ServerLinks(request.scope.get("root_path", ""), self._library.version)

    def _datasets(self) -> Sequence[str]:
        return self._library.datasets()

    def _holder(self) -> str:
        return self._live.holder() if self._live else ""


def environment() -> Environment:
    """The templates: what is not their own is escaped, and what nobody can see is named."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_seen,
    )
    made.filters |= {
        "count": count_text,
        "size": size_text,
        "duration": duration_text,
        "pieces": texts.pieces,
        "told": texts.told,
        "share": _share_text,
        "web": _web_address,
        "brief": brief,
        "low": _low,
    }
    made.globals |= {
        "replaced": replace,
        "spark": charts.spark,
        "WHOLE": texts.WHOLE,
        "PAIRS_SHOWN": PAIRS_SHOWN,
        "BOTH_LIMIT": BOTH_LIMIT,
        "CORRELATION": CORRELATION,
        "thumb": thumb,
        "chips": chips,
        "speeds": speeds,
        "View": View,
    }
    return made


def _seen(value: object) -> object:
    """Whatever a template writes: texts without characters that cannot be seen; its own markup as it is."""
    return texts.plain(value) if type(value) is str else value


def thumb(width: int, height: int, side: int) -> tuple[int, int]:
    """The size of a picture that is drawn within a square of `side` and never enlarged; unknown is square.

    >>> thumb(640, 480, 256), thumb(100, 50, 256), thumb(0, 0, 256)
    ((256, 192), (100, 50), (256, 256))
    """
    if width <= 0 or height <= 0:
        return side, side
    scale = min(1.0, side / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def chips(view: View) -> list[tuple[str, str, View]]:
    """What a view is filtered by: the name, its value, and the view without it."""
    empty, found = View(), []
    for name in ("query", "dataset", "shard", *NUMBERS, "format", "host", "flag", "seed"):
        value = getattr(view, name)
        if value != getattr(empty, name):
            less = replace(view, **{name: getattr(empty, name)}, after=0, before=0)
            found.append((name, str(value), less))
    return found


def speeds(state: Snapshot) -> list[float]:
    """Bytes a second between the marks of a run, the oldest first."""
    marks = (*state.marks, (state.now_s, state.arrived_bytes))
    return [
        max(0.0, (later[1] - early[1]) / (later[0] - early[0]))
        for early, later in pairwise(marks)
        if later[0] > early[0]
    ]


def python_lines(detail: Detail) -> str:
    """Lines that load this sample, true as they stand: by its number, and straight out of the tar."""
    picture = next((member for member in detail.members if member.extension not in ("txt", "json")), None)
    lines = [
        "import g3m",
        "",
        f"data = g3m.dataset({detail.folder!r})",
        f"sample = data[{detail.shown.number if detail.loads_as is None else detail.loads_as}]",
        "sample.key, sample.text, sample.open().size",
    ]
    if picture is not None:
        shard = f"{detail.folder}/{detail.shard}"
        lines += [
            "",
            "# or without g3m, straight out of the tar:",
            f"with open({shard!r}, 'rb') as file:",
            f"    file.seek({picture.offset})",
            f"    image = file.read({picture.size_bytes})",
        ]
    return "\n".join(lines)


def _chart(
    chart: str, found: Sequence[tuple[str, int]], dataset: str, links: Links, *, is_log: bool
) -> charts.Columns | tuple[charts.Row, ...]:
    """A chart with a link from each bar to the samples it stands for."""
    page = "search" if chart == "word" else "browse"
    parameter = "q" if chart == "word" else chart
    bars = [
        charts.Bar(name, count, links.page(page, dataset=dataset, **{parameter: name}) if name else None)
        for name, count in found[: BINS_SHOWN.get(chart, len(found))]
    ]
    return charts.columns(bars, is_log=is_log) if chart in NUMBERS else charts.rows(bars, is_log=is_log)


def _other_language(request: Request, lang: str) -> str:
    """The address of this page in the other language."""
    other = next(one for one in LANGUAGES if one != lang)
    return str(request.url.remove_query_params("t").include_query_params(lang=other).query)


def _asked(request: Request, name: str) -> str:
    return request.query_params.get(name, "").strip()


def _number(request: Request, name: str) -> int:
    text = _asked(request, name) or "0"
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise BadView(f"{name}: a whole number")
    return int(text)


def _lines(lines: Iterator[str], name: str) -> Response:
    plain = "".join(
        letter if letter.isalnum() or letter in "-_." else "_" for letter in name if letter.isascii()
    )
    head = {"Content-Disposition": f'attachment; filename="{plain}"', "Cache-Control": "no-store"}
    # What cannot be asked for is said before the first line, and not in the middle of a file.
    first = list(islice(lines, 1))
    return StreamingResponse(chain(first, lines), media_type="text/plain; charset=utf-8", headers=head)


def _share_text(part: float, whole: float | None) -> str:
    """A share in percent; never 100 % for what is not whole, nor 0 for what is something."""
    if not whole:
        return "?"
    percent = 100 * part / whole
    if part and percent < 0.1:
        return "< 0.1 %"
    if part < whole and percent > 99.9:
        return "> 99.9 %"
    return f"{percent:.1f} %"


def brief(count: int) -> str:
    """A count for a scale.

    >>> brief(950), brief(1500), brief(2_000_000)
    ('950', '1.5 k', '2 M')
    """
    for unit, name in ((10**9, " G"), (10**6, " M"), (10**3, " k")):
        if count >= unit:
            return f"{count / unit:.1f}".removesuffix(".0") + name
    return str(count)


def _low(name: str) -> str:
    """Where a bin of numbers begins, short."""
    start = name.partition("-")[0]
    return brief(int(start)) if start.isdecimal() and len(start) > 4 else start


def _web_address(text: str) -> str:
    """The text if it is a web address that may be a link, else nothing."""
    return text if text.startswith(("https://", "http://")) else ""
