"""The links of an exported copy: which pages become files, and what they are called.

A page is asked for by its name and parameters while another one is drawn. If it belongs to the copy, it gets
an address and is written, too; else it has none, and its text stands there alone. No link leads nowhere.
"""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote

GRID = 60
"""Samples on a page of the grid."""

SIDE = 768
"""No picture of a copy is larger; it is made to be handed on."""

START = "index.html"
POLICY = (
    "default-src 'none'; script-src 'self' file:; style-src 'self' file:; img-src 'self' file:; "
    "form-action 'none'; base-uri 'none'"
)
"""What a page of the copy may do; `file:` because for a page on the disk nothing is 'self'."""

WHOLE = ("home", "browse", "stats", "alike", "leaks", "shards", "left-out", "help")
PARAMETERS = ("dataset", "of", "after", "before")
_NOTE = (
    "A copy without a server: the first {samples} samples of each dataset. Search and filters need g3m view.",
    "静态副本：每个数据集只含前 {samples} 个样本。搜索与筛选需要 g3m view。",
)
_SLUG_LIMIT = 60
_OTHER = re.compile(r"[^a-z0-9_]+")


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the copy: its name and its parameters, of which empty ones count nothing."""

    name: str
    parameters: tuple[tuple[str, str], ...] = ()

    def without(self, *names: str) -> Page:
        """The same page without some of its parameters."""
        return Page(self.name, tuple(pair for pair in self.parameters if pair[0] not in names))


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of the copy."""

    dataset: str
    number: int
    side: int


class CopyLinks:
    """Links between the files of a copy, relative, so that it can be moved. `held`: samples by dataset.

    Every page that it gives an address to is handed out by `to_write`, and every picture by `take_pictures`.
    """

    def __init__(self, held: Mapping[str, int], samples: int, language: str = "en") -> None:
        self.note = _NOTE[language == "zh"].format(samples=samples)
        self.policy = POLICY
        self.files: set[str] = set()
        self._samples, self._pages = samples, max(1, -(-samples // GRID))
        self._held = held
        self._others = samples
        self._files: dict[Page, str] = {}
        self._names: set[str] = set()
        self._place: dict[Page, int] = {}
        self._previous: dict[Page, Page] = {}
        self._waiting: deque[Page] = deque()
        self._pictures: dict[Picture, str] = {}
        self._new_pictures: list[Picture] = []
        self._current = Page("home")
        self._add(self._current)

    @property
    def answers(self) -> bool:
        """Never: nobody is there."""
        return False

    @property
    def waiting(self) -> int:
        """How many pages have an address and are not written yet."""
        return len(self._waiting)

    def to_write(self) -> Iterator[tuple[Page, str]]:
        """Each page that has an address, and its file; while one is out, links are given for that one."""
        while self._waiting:
            self._current = self._waiting.popleft()
            yield self._current, self._files[self._current]

    def take_pictures(self) -> list[tuple[Picture, str]]:
        """The pictures that got an address since this was last asked, and their files."""
        taken, self._new_pictures = self._new_pictures, []
        return [(one, self._pictures[one]) for one in taken]

    def renamed(self, picture: Picture, file: str) -> None:
        """From now on, the picture is shown from another file."""
        self._pictures[picture] = file

    def samples_of(self, dataset: str) -> int:
        """How many samples of a dataset have a page."""
        return sum(page.name == "sample" and ("dataset", dataset) in page.parameters for page in self._files)

    def page(self, name: str, /, **parameters: object) -> str | None:
        """The address of a page from the one that is being written; None if it is not part of the copy."""
        given = {key: str(value) for key, value in parameters.items() if value is not None}
        if name == "sample":
            given = {key: given[key] for key in ("dataset", "number")}
        else:
            given = {key: value for key, value in given.items() if value and (key, value) != ("after", "0")}
        page = Page(name, tuple(sorted(given.items())))
        found = self._found(page, given)
        return None if found is None else self._address(self._files[found])

    def picture(self, dataset: str, number: int, side: int, /) -> str | None:
        """A picture drawn anew. All are named .jpg here; whoever draws one as SVG says so to `renamed`."""
        picture = Picture(dataset, number, min(side, SIDE))
        if picture not in self._pictures:
            self._pictures[picture] = self._file(
                "pictures", f"{slug(dataset)}-{number}-{picture.side}", ".jpg"
            )
            self._new_pictures.append(picture)
        return self._address(self._pictures[picture])

    def original(self, dataset: str, number: int, /) -> str | None:  # noqa: ARG002  # of the protocol
        """None: a copy has no bytes that were not decoded."""
        return None

    def static(self, name: str, /) -> str:
        """A file of `static/`; those that were asked for stand in `files`."""
        self.files.add(name)
        return self._address(f"static/{name}")

    def _found(self, page: Page, given: Mapping[str, str]) -> Page | None:
        if page in self._files:
            return page
        if "before" in given:
            # Backwards there is one way, and it has a file: where the reader came from.
            back = self._previous.get(self._current)
            return back if back is not None and _list(back) == _list(page) else None
        if not self._belongs(page, given):
            return None
        if "after" in given:
            self._place[page] = self._place.get(self._current, 1) + 1
            self._previous[page] = self._current
        self._add(page)
        return page

    def _belongs(self, page: Page, given: Mapping[str, str]) -> bool:
        if page.name == "sample":
            return self._has_sample(given["dataset"], int(given["number"]))
        if page.name not in WHOLE or not set(given) <= set(PARAMETERS):
            return False
        if "after" in given:
            is_next = _list(page) == _list(self._current)
            return is_next and self._place.get(self._current, 1) < self._pages
        return given.get("dataset", given.get("of", "")) in {"", *self._held}

    def _has_sample(self, dataset: str, number: int) -> bool:
        if dataset not in self._held:
            return False
        if number < self._samples:
            return True
        # Of pairs, both are worth a page; neighbours would lead on for ever.
        if self._current.name in ("alike", "leaks") and self._others:
            self._others -= 1
            return True
        return False

    def _add(self, page: Page) -> None:
        if page.name == "home":
            self._files[page] = START
        else:
            values = [value for name, value in page.parameters if name not in ("after", "before")]
            number = self._place.get(page)
            words = [slug(value) for value in values] + ([str(number)] if number else [])
            self._files[page] = self._file("pages", "-".join([page.name, *words]), ".html")
        self._waiting.append(page)

    def _file(self, folder: str, stem: str, ending: str) -> str:
        name, more = f"{folder}/{stem}{ending}", 1
        while name in self._names:
            more += 1
            name = f"{folder}/{stem}.{more}{ending}"
        self._names.add(name)
        return name

    def _address(self, file: str) -> str:
        here = self._files[self._current]
        return quote(("../" if "/" in here else "") + file)


def _list(page: Page) -> Page:
    return page.without("after", "before")


def slug(text: str) -> str:
    """A name for a file that every system takes; what had to be changed gets a digest, so that names differ.

    >>> slug("coco_valid"), slug("a/B")
    ('coco_valid', 'a-b-f42815d1')
    """
    plain = _OTHER.sub("-", text.lower()).strip("-")[:_SLUG_LIMIT]
    if plain == text:
        return plain
    return f"{plain}-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}".lstrip("-")
