"""The pages, given a collection: what they say, how they are written, and that no text of a stranger becomes more than text."""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
import tarfile
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tests.web.drawn_collection import HOSTILE, DrawnCollection, DrawnLive, a_leak, client, shown
from tests.whole.sources import tiny_jpeg

import g3m
from g3m.core.browse import Span, View
from g3m.core.errors import NotVerified
from g3m.core.events import RouteSpeed
from g3m.core.tally import Failures, Rows, Running, Snapshot
from g3m.ui.web.drawing import TEMPLATES, brief, chips, python_lines, speeds
from g3m.ui.web.facts import Card, Detail, LeftOut, LeftOutPage, Member, NeedsCatalog, Pair, Shard
from g3m.ui.web.links import STATIC, Links, ServerLinks
from g3m.ui.web.pages import Pages

EVERY = (
    "/",
    "/browse",
    "/browse?dataset=coco_valid&words=5-6&flag=grayscale&seed=3",
    "/search",
    "/search?q=red+bus",
    "/sample/coco_valid/1",
    "/stats",
    "/stats?scale=log&dataset=coco_valid",
    "/alike",
    "/leaks",
    "/leaks?of=coco_valid",
    "/shards?dataset=coco_valid",
    "/left-out?dataset=coco_valid",
    "/downloads",
    "/help",
    "/nowhere",
    "/browse?words=many",
)
VOID = {"meta", "link", "img", "input", "br", "line", "rect", "polyline"}
AT_WORK = Snapshot(
    datasets=("coco",),
    tasks=9,
    finished=2,
    total_bytes=1000,
    fetched_bytes=400,
    arrived_bytes=400,
    now_s=4.0,
    marks=((0.0, 0), (2.0, 100)),
    running={
        "fetch/a": Running(
            kind="fetch", dataset="coco", done_bytes=5, total_bytes=10, routes=(RouteSpeed(place="h", way="direct", connections=2, rate_bytes_per_s=5.0, done_bytes=7),)
        ),
        "pack/l/0": Running(kind="pack", dataset="l", rows=Rows(done=5, total=10, good=4, reasons={"http_404": 1})),
    },
    failed=Failures(1, {"pack/x": "it broke"}),
)  # fmt: skip


class Reader(HTMLParser):
    """Reads a page strictly: what is opened is closed, ids are unique, attributes are known."""

    def __init__(self, body: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.problems: list[str] = []
        self.texts: list[str] = []
        self.feed(body)
        self.close()
        if self.open:
            self.problems.append(f"never closed: {self.open}")
        ids = [found["id"] for _, found in self.tags if "id" in found]
        if len(ids) != len(set(ids)):
            self.problems.append(f"ids twice: {ids}")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.problems.append(f"closed wrongly: {tag} at {self.getpos()}")

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def _full(**more: object) -> DrawnCollection:
    pair = Pair(one=shown(0), other=shown(1), distance=5)
    return DrawnCollection(duplicates=(pair, replace(pair, distance=0)), found=a_leak(), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("address", EVERY)
def test_every_page_is_well_formed(address: str, lang: str) -> None:
    """Tags match, ids are unique, nothing is styled or scripted in place, and the language is named."""
    answer = client(_full(), DrawnLive(AT_WORK, "host:1", ["late"])).get(
        address, headers={"accept-language": lang}
    )
    reader = Reader(answer.text)
    assert reader.problems == []
    assert reader.tags[0] == ("html", {"lang": {"en": "en", "zh": "zh-Hans"}[lang]})
    for tag, attributes in reader.tags:
        assert "style" not in attributes and tag not in ("style", "iframe", "object", "base")
        assert not [name for name in attributes if name.startswith("on")]
        assert tag != "script" or (attributes["src"] or "").startswith("/static/")
        if tag == "img":
            assert {"src", "width", "height", "alt"} <= set(attributes)


@pytest.mark.parametrize("address", EVERY)
def test_every_page_can_be_used_without_a_mouse_and_without_eyes(address: str) -> None:
    """Every field has a label, every link words or a label, and there is one heading and one main part."""
    body = client(_full(), DrawnLive(AT_WORK)).get(address).text
    reader = Reader(body)
    names = [tag for tag, _ in reader.tags]
    assert names.count("h1") == 1 and names.count("main") == 1
    for field in re.findall(r"<(?:input|select)[^>]*>", body):
        labelled = "aria-label" in field or 'type="hidden"' in field
        assert labelled or re.search(r"<label>[^<]*" + re.escape(field), body), field
    assert 'href="#main"' in body


@pytest.mark.parametrize("address", EVERY)
def test_nothing_on_a_page_is_asked_from_elsewhere(address: str) -> None:
    """Pictures, scripts and styles come from here; a link that leads away is a link, and gives no referrer."""
    for tag, attributes in Reader(client(_full()).get(address).text).tags:
        for name in ("src", "href", "action", "hx-get"):
            value = attributes.get(name) or ""
            if tag == "a" and value.startswith("http"):
                assert "noreferrer" in (attributes["rel"] or "")
            else:
                assert not value or value[0] in "/?#", (tag, value)


# What strangers wrote


def _hostile() -> DrawnCollection:
    rows = [
        shown(
            number,
            key=HOSTILE,
            caption=caption,
            host=HOSTILE,
            format=HOSTILE,
            dataset=HOSTILE,
            flags=("bomb", HOSTILE),
        )
        for number, caption in enumerate((HOSTILE, HOSTILE * 900, "", "\u202e" * 50, "x" * 100_000))
    ]
    card = Card(
        name=HOSTILE, title=HOSTILE, state="part", samples=5, expected=9, expected_source=HOSTILE, licence=HOSTILE,
        homepage="javascript:alert(1)", missing={HOSTILE: 3}, findings={HOSTILE: {HOSTILE: 1}}, problem=HOSTILE,
    )  # fmt: skip
    detail = Detail(
        shown=rows[1], shard=HOSTILE, members=(Member(HOSTILE, 1, 2),), folder=HOSTILE, captions=(HOSTILE, "b"),
        json_text='{"x": "</script><script>alert(1)</script>"}' + HOSTILE, alike=((rows[0], 0),),
    )  # fmt: skip
    left = LeftOutPage(
        rows=(LeftOut(key=HOSTILE, reason=HOSTILE, detail=HOSTILE, shard=HOSTILE),), after=HOSTILE
    )
    leaks = a_leak(
        evaluation=HOSTILE,
        pairs=(replace(a_leak().pairs[0], dataset=HOSTILE, key=HOSTILE, like_key=HOSTILE),),
    )
    charts = {
        "word": [(HOSTILE, 3)],
        "host": [(HOSTILE, 1)],
        "format": [(HOSTILE, 1)],
        "flag": [(HOSTILE, 1)],
        "words": [(HOSTILE, 2)],
    }
    found = DrawnCollection(rows=rows, card=card, detail=detail, left=left, found=leaks, charts=charts)
    found.duplicates = (Pair(one=rows[0], other=rows[1], distance=0),)
    return found


RUNNING = Snapshot(
    datasets=(HOSTILE,), tasks=1, running={HOSTILE: Running(kind="fetch", dataset=HOSTILE, total_bytes=3)}, failed=Failures(1, {HOSTILE: HOSTILE})
)  # fmt: skip


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("address", EVERY[:14])
def test_no_text_of_a_stranger_becomes_markup(address: str, lang: str) -> None:
    """Scripts, quotes, braces, nulls, half characters and letters that turn lines stay text, wherever they are shown."""
    collection, live = _hostile(), DrawnLive(RUNNING, HOSTILE, [HOSTILE])
    collection.shards = lambda dataset: [Shard(name=HOSTILE, number=0, first=0, samples=1, sha256=HOSTILE)]  # type: ignore[method-assign]
    answer = client(collection, live).get(address, headers={"accept-language": lang})
    assert answer.status_code == 200
    assert "<script>alert" not in answer.text and "onload='x'" not in answer.text
    assert "javascript:" not in answer.text and "{{" not in answer.text.replace("{{ 7*7 }}", "")
    assert not set(answer.text) & set("\x00\u202e\u202c\ufeff")
    reader = Reader(answer.text)
    assert reader.problems == []
    for tag, attributes in reader.tags:
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        assert tag != "script" or (attributes["src"] or "").startswith("/static/")


@pytest.mark.parametrize("address", ["/browse", "/sample/coco_valid/1"])
def test_a_caption_is_isolated_and_its_unseen_characters_are_named(address: str) -> None:
    """What turns a line turns nothing outside, and is seen."""
    body = client(_hostile()).get(address).text
    assert '<span class="unseen" title="right-to-left override">U+202E</span>' in body
    assert re.search(r'<bdi dir="auto">&lt;script&gt;alert\(1\)', body)
    assert re.search(r'(<summary>|<blockquote class="said">)<bdi dir="auto">', body)


def test_a_huge_caption_does_not_make_a_huge_page() -> None:
    """Of 100 kB a card has two, and says how much more there is; the sample's page has at most 100,000 letters."""
    body = client(_hostile()).get("/browse").text
    assert len(body) < 60_000 and "98,000" in body
    long = shown(0, caption="word " * 60_000)
    whole = client(DrawnCollection(rows=[long])).get("/sample/coco_valid/0").text
    assert 90_000 < len(whole) < 130_000


def test_what_is_typed_comes_back_as_text() -> None:
    """A query is shown in the field and in the heading, escaped."""
    body = client().get("/search", params={"q": '"><script>alert(1)</script>'}).text
    assert "<script>alert" not in body
    assert 'value="&#34;&gt;&lt;script&gt;' in body


# What the pages say


def test_home_says_how_many_are_here_and_how_many_there_should_be() -> None:
    """Honest numbers: here, stated, by whom, and what is missing and why."""
    body = client().get("/").text
    for part in (
        "5,000",
        "of 5,100",
        "98.0 %",
        "the paper",
        "99</span>",
        "the captions name an image",
        "CC BY 4.0",
    ):
        assert part in body


def test_home_of_an_empty_root_says_what_to_run() -> None:
    """The first thing that a newcomer sees is the command to begin with."""
    none = DrawnCollection()
    none.card = replace(none.card, state="none", samples=0)
    assert "g3m get eval" in client(none).get("/").text


@pytest.mark.parametrize("address", ["/stats", "/search?q=bus", "/browse?words=5"])
def test_without_a_catalog_the_page_says_how_to_make_one(address: str) -> None:
    """What cannot be answered yet is no error, and names the command."""
    answer = client(DrawnCollection(cataloged=False)).get(address)
    assert answer.status_code == 200 and "g3m index</code>" in answer.text


def test_without_a_catalog_pictures_are_still_shown() -> None:
    """Browsing by number needs nothing but the shards."""
    assert (
        client(DrawnCollection(cataloged=False))
        .get("/browse?dataset=coco_valid")
        .text.count('<li class="card">')
        == 3
    )


def test_duplicates_are_not_claimed_to_be_none_before_anybody_looked() -> None:
    """No duplicates found, and not looked yet, are two sentences."""
    collection = DrawnCollection()
    assert "No duplicates" in client(collection).get("/alike").text
    collection.card = replace(collection.card, looked=False)
    body = client(collection).get("/alike").text
    assert "No duplicates" not in body and "g3m index --pictures" in body


def test_leaks_are_not_claimed_to_be_none_before_all_were_looked_at() -> None:
    """An answer from a part of the pictures says so."""
    collection = DrawnCollection(found=a_leak(hit=0, pairs=(), looked=4))
    assert "Not all pictures were looked at" in client(collection).get("/leaks?of=coco_valid").text
    assert "Not all" not in client(_full()).get("/leaks?of=coco_valid").text


def test_hits_are_marked_where_they_are() -> None:
    """The words that were searched for stand out in the caption."""
    body = client().get("/search?q=red+bus").text
    assert "A <mark>red</mark> <mark>bus</mark> beside" in body


def test_the_next_page_and_the_filters_keep_the_rest_of_the_address() -> None:
    """Paging and taking a filter away change nothing else."""
    body = client().get("/browse?dataset=coco_valid&words=5-6&seed=3").text
    assert (
        'rel="next" data-key="j" href="/browse?dataset=coco_valid&amp;words=5-6&amp;seed=3&amp;after=60"'
        in body
    )
    assert 'href="/browse?dataset=coco_valid&amp;seed=3" title="Take this filter away"' in body
    assert 'href="/browse?dataset=coco_valid&amp;words=5-6&amp;seed=4"' in body


def test_fields_without_a_value_do_not_stay_in_the_address() -> None:
    """A form sends them all; the answer is the shortest address of the same view, for a script too."""
    sent = "/search?q=&dataset=coco_valid&words=5-6&width=&host=&flag="
    answer = client().get(sent, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/browse?dataset=coco_valid&words=5-6")
    part = client().get(sent, headers={"HX-Request": "true"}, follow_redirects=False)
    assert (part.status_code, part.headers["hx-push-url"]) == (200, "/browse?dataset=coco_valid&words=5-6")
    assert client().get("/search?q=", follow_redirects=False).status_code == 200


def test_every_bar_opens_its_grid() -> None:
    """A bar of a chart is a link to the samples that it stands for."""
    body = client().get("/stats?dataset=coco_valid").text
    for address in (
        "browse?dataset=coco_valid&amp;words=5-6",
        "search?dataset=coco_valid&amp;q=bus",
        "browse?dataset=coco_valid&amp;host=a.example",
    ):
        assert f'href="/{address}"' in body
    assert "5-6: 400 samples" in body


def test_duplicates_and_what_was_left_out_are_charts_too() -> None:
    """Each bar opens the pairs or the list; what nobody looked at has no chart, and nothing alike no link."""
    for address in ("/stats?dataset=coco_valid", "/stats"):
        body = client().get(address).text
        query = "?dataset=coco_valid" if "?" in address else ""
        assert f'href="/alike{query}"' in body and "the same bytes" in body
        assert "nearly the same" in body
        assert 'href="/left-out?dataset=coco_valid"' in body
        assert ("no picture" in body) is bool(query)
    unknown = client(DrawnCollection(alike=None)).get("/stats").text
    assert "the same bytes" not in unknown
    assert 'href="/left-out?dataset=coco_valid"' in unknown


def test_a_count_that_is_a_bound_is_called_one() -> None:
    """More than ten thousand are not said to be ten thousand."""
    collection = DrawnCollection(total=10_000)
    grid = collection.browse
    collection.browse = lambda view, limit=60: replace(grid(view, limit), total_is_bound=True)  # type: ignore[method-assign]
    assert "more than 10,000 samples" in client(collection).get("/browse").text


def test_neighbours_are_a_key_away() -> None:
    """j and k go to the next and the previous sample; the first has none before it."""
    body = client().get("/sample/coco_valid/1").text
    assert (
        'data-key="k" href="/sample/coco_valid/0"' in body
        and 'data-key="j" href="/sample/coco_valid/2"' in body
    )
    assert 'data-key="k"' not in client().get("/sample/coco_valid/0").text


def test_look_alikes_say_how_alike_they_are() -> None:
    """Distance 0 is the same bytes; n + 1 is n differing bits."""
    body = client().get("/sample/coco_valid/1").text
    assert "same bytes" in body and "3 of 128 bits differ" in body


@pytest.mark.parametrize(
    ("address", "status", "words"),
    [
        ("/sample/coco_valid/99", 404, "not here"),
        ("/sample/gone/1", 410, "dropped"),
        ("/nowhere", 404, "no such page"),
        ("/browse?words=many", 400, "words: a number or a range"),
        ("/search?q=-", 400, "no letter"),
        ("/alike?after=x", 400, "after: a whole number"),
        ("/leaked.jsonl", 400, "of: the name"),
    ],
)
def test_what_is_not_there_is_said_with_the_right_status(address: str, status: int, words: str) -> None:
    """Each has a page of its own, and a way back."""
    answer = client().get(address)
    assert answer.status_code == status and words in answer.text and 'href="/"' in answer.text


def test_errors_of_files_are_said_with_their_hint() -> None:
    """A damaged shard is a page with what to do, not a stack of calls; any other error says nothing of the inside."""
    collection = DrawnCollection()

    def broken(dataset: str, number: int) -> Detail:
        raise NotVerified("00000.tar: not as indexed") if number == 1 else ZeroDivisionError("secret /path")

    collection.sample = broken  # type: ignore[method-assign]
    answer = client(collection).get("/sample/coco_valid/1")
    assert answer.status_code == 500 and "00000.tar: not as indexed" in answer.text
    other = client(collection).get("/sample/coco_valid/2")
    assert other.status_code == 500 and "secret" not in other.text and "The other pages go on" in other.text


def test_a_page_changes_nothing() -> None:
    """Nothing but GET and HEAD is answered."""
    browser = client()
    assert browser.head("/").status_code == 200 and browser.head("/").content == b""
    for method in ("post", "put", "delete", "patch"):
        answer = getattr(browser, method)("/browse")
        assert answer.status_code == 405 and "looking only" in answer.text


# Languages


def test_the_language_is_asked_for_remembered_and_guessed() -> None:
    """?lang= wins and is kept in a cookie that no script reads; then the cookie, the setting, the browser."""
    browser = client()
    assert "Datasets here" in browser.get("/").text
    assert "本机数据集" in browser.get("/", headers={"accept-language": "zh-CN,en"}).text
    answer = browser.get("/?lang=zh")
    assert "本机数据集" in answer.text
    assert "HttpOnly" in answer.headers["set-cookie"] and "SameSite=strict" in answer.headers["set-cookie"]
    assert "本机数据集" in browser.get("/").text
    assert "Datasets here" in browser.get("/?lang=en").text
    assert "set-cookie" not in client().get("/?lang=fr").headers
    assert "本机数据集" in client(lang="zh").get("/").text


def test_the_other_language_is_a_link_to_this_very_page() -> None:
    """Switching keeps what is looked at, and drops a token that might be there."""
    body = client().get("/browse?dataset=coco_valid&words=5-6&t=secret").text
    assert 'href="?dataset=coco_valid&amp;words=5-6&amp;lang=zh"' in body


# Lists


def test_keys_are_a_file_to_be_saved() -> None:
    """One key a line, of the whole view, wherever its pages are."""
    collection = DrawnCollection(rows=[shown(0), shown(1, key="a\nb")])
    asked: list[View] = []
    keys = collection.keys
    collection.keys = lambda view: (asked.append(view), keys(view))[1]  # type: ignore[method-assign, func-returns-value]
    answer = client(collection).get("/keys.txt?q=bus&after=60")
    assert answer.text.splitlines() == [
        "coco_valid/000000000000",
        '{"dataset": "coco_valid", "key": "a\\nb"}',
    ]
    assert answer.headers["content-disposition"] == 'attachment; filename="keys.txt"'
    assert asked == [View(query="bus")]


def test_the_exclusion_list_has_a_safe_name() -> None:
    """No name of a dataset writes a header of its own."""
    answer = client(_full()).get("/leaked.jsonl", params={"of": 'a"\r\nb/数'})
    assert answer.headers["content-disposition"] == 'attachment; filename="leaks-a___b_.jsonl"'
    assert '"why": "exact"' in answer.text


def test_many_shards_are_on_many_pages() -> None:
    """A thousand shards are two pages; none is missing, none is twice."""
    collection = DrawnCollection()
    collection.shards = lambda dataset: [  # type: ignore[method-assign]
        Shard(name=f"{number:05d}.tar", number=number, first=number * 10, samples=10)
        for number in range(1000)
    ]
    browser = client(collection)
    found = [
        re.findall(r">(?:<bdi>)?(\d{5}\.tar)", browser.get(f"/shards?dataset=coco_valid{more}").text)
        for more in ("", "&after=500")
    ]
    assert found[0] + found[1] == [f"{number:05d}.tar" for number in range(1000)]


# The run at work


def test_downloads_tell_the_run() -> None:
    """Bytes, speed, routes, rows, what failed and what happened of late."""
    body = client(live=DrawnLive(AT_WORK, "node:7", ["h: timed out"])).get("/downloads").text
    for part in (
        "At work: node:7",
        "405 B",
        "of 1.0 kB",
        "100 B/s",
        "fetch/a",
        "80.0 % became samples",
        "it broke",
        "h: timed out",
        "<polyline",
    ):
        assert part in body, part
    assert 'data-live="/live?lang=en"' in body and '<noscript><meta http-equiv="refresh"' in body


def test_without_a_run_downloads_say_how_to_begin_one() -> None:
    """No run and no live object are the same to a reader."""
    for live in (None, DrawnLive(None)):
        assert "g3m get eval" in client(live=live).get("/downloads").text


def test_speeds_are_those_between_the_marks() -> None:
    """Bytes by seconds, from mark to mark."""
    assert speeds(AT_WORK) == [50.0, 150.0]


# A copy without a server


class Nowhere(ServerLinks):
    """Links of a copy in which only the home page and the pictures are."""

    answers = False  # type: ignore[assignment]
    note = "A copy."  # type: ignore[assignment]
    policy = "default-src 'self'"  # type: ignore[assignment]

    def page(self, name: str, /, **parameters: object) -> str | None:
        return "index.html" if name == "home" else None

    def original(self, dataset: str, number: int, /) -> str | None:
        return None


@pytest.mark.parametrize("address", EVERY)
def test_a_copy_has_no_forms_no_links_to_nowhere_and_says_what_it_is(address: str) -> None:
    """Where a page is not there its words are; nothing waits for a server."""
    links: Links = Nowhere()
    body = client(_full(), DrawnLive(AT_WORK), links_of=lambda request: links).get(address).text
    reader = Reader(body)
    assert reader.problems == []
    assert not {"form", "input", "select", "button"} & {tag for tag, _ in reader.tags}
    assert (
        "htmx" not in body
        and "data-live" not in body
        and "A copy." in body
        and "Nothing leaves it" not in body
        and 'http-equiv="refresh"' not in body
    )
    for tag, attributes in reader.tags:
        if tag == "a" and not (attributes["href"] or "").startswith("http"):
            assert attributes["href"] in ("index.html", "#main"), attributes


# Small things


def test_python_lines_are_true(tmp_path: Path) -> None:
    """The lines on a sample's page, run as they stand, give that sample and its very bytes."""
    folder, key, image = tmp_path / 'it\'s "mine"', "b", tiny_jpeg("b")
    folder.mkdir()
    with tarfile.open(folder / "00000.tar", "w") as tar:
        for name, content in (
            ("a.jpg", tiny_jpeg("a")),
            ("a.txt", b"one"),
            ("b.jpg", image),
            ("b.txt", b"two"),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    with tarfile.open(folder / "00000.tar") as tar:
        offset = tar.getmember("b.jpg").offset_data
    g3m.index(str(folder))
    row = shown(1, key=key)
    detail = Detail(
        shown=row,
        shard="00000.tar",
        members=(Member("txt", 1, 1), Member("jpg", offset, len(image))),
        folder=str(folder),
    )
    lines = python_lines(detail).replace(
        "sample.key, sample.text, sample.open().size", "found = sample.key, sample.image, sample.open().size"
    )
    values: dict[str, object] = {}
    exec(lines, values)
    with contextlib.closing(values["data"]):  # type: ignore[type-var]
        assert values["found"] == (key, image, (8, 8))
    assert values["image"] == image


def test_chips_are_what_a_view_is_filtered_by() -> None:
    """Each with the view that is left without it."""
    view = View(dataset="a", words=Span(5, None), seed=0, after=9)
    assert [(name, value) for name, value, _ in chips(view)] == [
        ("dataset", "a"),
        ("words", "5-"),
        ("seed", "0"),
    ]
    assert chips(view)[1][2] == View(dataset="a", seed=0)


def test_no_template_trusts_data() -> None:
    """Nothing switches escaping off."""
    for path in TEMPLATES.glob("*.html"):
        text = path.read_text()
        assert "|safe" not in text.replace(" ", "") and "autoescape" not in text and "<style" not in text, (
            path.name
        )


def test_a_page_is_small() -> None:
    """Scripts, styles and a grid of sixty cards weigh less than a picture."""
    sixty = client(DrawnCollection(rows=[shown(number) for number in range(60)])).get("/browse").text
    assert len(sixty) < 60_000
    assert sum(path.stat().st_size for path in STATIC.iterdir()) < 65_000


def test_htmx_is_the_published_file() -> None:
    """The one of npm's htmx.org 4.0.1, with its licence beside it."""
    digest = hashlib.sha256((STATIC / "htmx.min.js").read_bytes()).hexdigest()
    assert digest == "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130"
    assert "Zero-Clause BSD" in (STATIC / "htmx.LICENSE.txt").read_text()


def test_counts_on_a_scale_are_short() -> None:
    """Thousands and millions have a letter."""
    assert [brief(n) for n in (0, 999, 1000, 12_345, 10**6)] == ["0", "999", "1 k", "12.3 k", "1 M"]


def test_needs_catalog_is_not_an_error_of_the_server() -> None:
    """The class that says so is no G3MError, so that no code is shown for it."""
    handlers = Pages(DrawnCollection()).exception_handlers()  # type: ignore[arg-type]
    assert NeedsCatalog in handlers and Exception in handlers
