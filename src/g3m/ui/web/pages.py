"""The pages: which template shows what, for each address. GET and HEAD; the collection says what is shown.

The functions are called in threads and hold no state of their own. What a text looks like is the templates'
business, what is true the collection's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

import g3m
from g3m.core.browse import BadView, parse_view
from g3m.core.catalog import FLAGS, NUMBERS
from g3m.core.listed import listed
from g3m.core.query import parse
from g3m.ui.web import problems
from g3m.ui.web.drawing import alike_chart, chart, environment, left_out_chart, python_lines
from g3m.ui.web.facts import Live
from g3m.ui.web.links import PATHS, Links, ServerLinks
from g3m.ui.web.words import LANGUAGES, Voice

if TYPE_CHECKING:
    from g3m.ui.web.collection import Collection

COOKIE = "g3m_lang"
COOKIE_AGE_S = 365 * 86400
GRID = 60
SHARDS_SHOWN = 500


class Pages:
    """Everything that is answered with HTML or with a list of keys."""

    def __init__(
        self,
        collection: Collection,
        live: Live | None = None,
        links_of: Callable[[Request], Links] | None = None,
        lang: str = "",
    ) -> None:
        self._collection = collection
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
        return problems.handlers(self._problem)

    # Pages

    def home(self, request: Request) -> Response:
        """A card for each dataset."""
        return self._page(request, "home", cards=self._collection.cards(), at_work=self._holder())

    def browse(self, request: Request) -> Response:
        """A grid of pictures with their captions."""
        return self._grid(request, "browse")

    def search(self, request: Request) -> Response:
        """The same grid, of what the captions say."""
        if not replace(parse_view(request.query_params), dataset="").is_filtered:
            dataset = _asked(request, "dataset")
            return self._page(request, "search", dataset=dataset)
        return self._grid(request, "search")

    def sample(self, request: Request) -> Response:
        """One sample, whole."""
        dataset, number = request.path_params["dataset"], request.path_params["number"]
        detail = self._collection.sample(dataset, number)
        if not self._links_of(request).answers:
            # A copy is handed on: it does not tell where things lie on this machine.
            detail = replace(detail, folder=dataset)
        return self._page(request, "sample", detail=detail, name=dataset, python=python_lines(detail))

    def stats(self, request: Request) -> Response:
        """Charts of one dataset or of all."""
        dataset, is_log = _asked(request, "dataset"), request.query_params.get("scale") == "log"
        found = self._collection.stats(dataset)
        links = self._links_of(request)
        drawn = {
            name: chart(name, bins, dataset, links, is_log=is_log) for name, bins in found.items() if bins
        }
        if drawn:
            drawn["alike"] = alike_chart(self._collection.alike_counts(dataset), dataset, links)
            drawn["left-out"] = left_out_chart(self._collection.cards(), dataset, links)
        samples = sum(count for _, count in found.get("format", ()))
        return self._page(request, "stats", dataset=dataset, charts=drawn, is_log=is_log, samples=samples)

    def alike(self, request: Request) -> Response:
        """Pairs of samples with the same picture, or nearly the same."""
        dataset, after = _asked(request, "dataset"), _number(request, "after")
        found = self._collection.pairs(dataset, after)
        return self._page(
            request,
            "alike",
            dataset=dataset,
            pairs=found.pairs,
            after=found.after,
            looked=found.is_whole,
        )

    def leaks(self, request: Request) -> Response:
        """Which samples of the other datasets are also in one that is evaluated on."""
        of = _asked(request, "of")
        found = self._collection.leaks(of) if of else None
        cards = self._collection.cards()
        return self._page(request, "leaks", of=of, leaks=found, cards=cards)

    def leaked(self, request: Request) -> Response:
        """The same as a list that the loader and `g3m drop` read."""
        of = _asked(request, "of")
        if not of:
            raise BadView("of: the name of a dataset", "of：一个数据集的名称")
        lines = self._collection.leaks(of).exclusion()
        return _lines(lines, f"leaks-{of}.jsonl")

    def shards(self, request: Request) -> Response:
        """The shards of a dataset."""
        dataset, after = _asked(request, "dataset"), _number(request, "after")
        found = self._collection.shards(dataset)
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
            step=SHARDS_SHOWN,
        )

    def left_out(self, request: Request) -> Response:
        """What is not here, or here with a finding, and why."""
        dataset = _asked(request, "dataset")
        after = _asked(request, "after")
        found = self._collection.left_out(dataset, after)
        card = next((card for card in self._collection.cards() if card.name == dataset), None)
        hint = self._voice(request).pick(found.problem.hint) if found.problem else ""
        return self._page(
            request, "left-out", dataset=dataset, found=found, card=card, hint=hint, after=after
        )

    def downloads(self, request: Request) -> Response:
        """The run at work."""
        part = Markup(self.live_part(self._voice(request).lang))  # noqa: S704  # a template made it
        return self._page(request, "downloads", part=part, at_work=self._holder())

    def help(self, request: Request) -> Response:
        """What can be typed and pressed."""
        return self._page(request, "help")

    def keys(self, request: Request) -> Response:
        """The keys of a view, one a line, as g3m.dataset(exclude=) and `g3m drop --keys` read them."""
        view = parse_view(request.query_params)
        found = self._collection.keys(replace(view, after=0, before=0))
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

    # What all pages share

    def _problem(self, request: Request, found: problems.Problem) -> Response:
        voice = self._voice(request)
        answer = self._page(
            request,
            "problem",
            status=found.status,
            problem=found.name,
            detail=found.detail if isinstance(found.detail, str) else voice.pick(found.detail),
            hint=voice.pick(found.hint) if found.hint else "",
            again_s=found.again_s,
        )
        if found.again_s:
            answer.headers["Retry-After"] = str(found.again_s)
            answer.headers["Cache-Control"] = "no-store"
        return answer

    def _grid(self, request: Request, name: str) -> Response:
        view = parse_view(request.query_params)
        if view.shard and request.query_params.get("shard_of", view.dataset) != view.dataset:
            view = replace(view, shard="")  # the form has another dataset now
        # The address bar holds the state the shortest way, also where a form sent fields without a value.
        address = self._links_of(request).page("search" if view.query else "browse", **view.parameters())
        is_part = "HX-Request" in request.headers
        is_long = "" in request.query_params.values() or "shard_of" in request.query_params
        if address and not is_part and is_long:
            return RedirectResponse(address, 303)
        query = parse(view.query) if view.query else None
        grid = self._collection.browse(view, GRID)
        answer = self._page(request, name, grid=grid, view=view, query=query)
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
            has_catalog=self._collection.has_catalog(),
            datasets=self._collection.datasets(),
            version=g3m.__version__,
            flags=FLAGS,
            numbers=NUMBERS,
            **{"query": None, **values},
        )
        response = HTMLResponse(body.encode("utf-8", "replace"), status)
        asked = request.query_params.get("lang")
        if asked in LANGUAGES and links.answers:
            response.set_cookie(COOKIE, asked, COOKIE_AGE_S, httponly=True, samesite="strict")
        response.headers["Cache-Control"] = "private, no-cache"
        return response

    def _voice(self, request: Request) -> Voice:
        asked = (request.query_params.get("lang"), request.cookies.get(COOKIE), self._lang)
        spoken = next((lang for lang in asked if lang in LANGUAGES), None)
        accepted = request.headers.get("accept-language", "").lower()
        return Voice(spoken or ("zh" if accepted.startswith("zh") else "en"))

    def _own_links(self, request: Request) -> Links:
        return ServerLinks(request.scope.get("root_path", ""), self._collection.version)

    def _holder(self) -> str:
        return self._live.holder() if self._live else ""


def _other_language(request: Request, lang: str) -> str:
    """The address of this page in the other language."""
    other = next(one for one in LANGUAGES if one != lang)
    return str(request.url.remove_query_params("t").include_query_params(lang=other).query)


def _asked(request: Request, name: str) -> str:
    return request.query_params.get(name, "").strip()


def _number(request: Request, name: str) -> int:
    text = _asked(request, name) or "0"
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise BadView(f"{name}: a whole number", f"{name}：一个整数")
    return int(text)


def _lines(lines: Iterator[str], name: str) -> Response:
    plain = "".join(
        letter if letter.isalnum() or letter in "-_." else "_" for letter in name if letter.isascii()
    )
    head = {"Content-Disposition": f'attachment; filename="{plain}"', "Cache-Control": "no-store"}
    # What cannot be asked for is said before the first line, and not in the middle of a file.
    first = list(islice(lines, 1))
    return StreamingResponse(chain(first, lines), media_type="text/plain; charset=utf-8", headers=head)
