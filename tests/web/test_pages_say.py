"""The pages say what is so: no claim without having looked, no sentence that something else on the page denies."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape

import pytest
from tests.web.drawn_collection import DrawnCollection, a_leak, client, shown

from g3m.core.alike import Searched
from g3m.core.browse import View
from g3m.core.errors import Locked, NotVerified
from g3m.ui.web.drawing import chart
from g3m.ui.web.facts import Card, Detail, Grid, LeftOut, LeftOutPage, Pair, Rewriting
from g3m.ui.web.links import ServerLinks

LOOK = "g3m index --pictures</code>"
HOSTILE_NAME = "sbu; touch pwned #"


def _text(body: str) -> str:
    """What a reader sees, in one line."""
    main = body.partition("<main")[2].partition("</main>")[0]
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", main)).split())


def _searched(**more: int) -> Searched:
    return Searched(dataset="cc3m", samples=100, **{"looked": 100, **more})


# Shards that are being exchanged


@pytest.mark.parametrize(("lang", "words"), [("en", "being written anew"), ("zh", "正在重写")])
def test_who_comes_while_shards_are_exchanged_is_asked_to_wait(lang: str, words: str) -> None:
    """503 with when to come back, for programs and for browsers, and a sentence for people."""
    collection = DrawnCollection()

    def busy(dataset: str, number: int) -> Detail:
        raise Rewriting(dataset)

    collection.sample = busy  # type: ignore[method-assign]
    answer = client(collection).get("/sample/coco_valid/0", headers={"accept-language": lang})
    assert answer.status_code == 503 and int(answer.headers["retry-after"]) > 0
    assert answer.headers["cache-control"] == "no-store"
    assert words in answer.text and "coco_valid" in answer.text
    assert f'http-equiv="refresh" content="{answer.headers["retry-after"]}"' in answer.text
    assert 'http-equiv="refresh"' not in client().get("/sample/gone/1").text


def test_who_comes_while_the_catalog_is_locked_is_asked_to_wait() -> None:
    """A catalog that is being written for longer than was waited for is no failure: 503, with what is at work."""
    collection = DrawnCollection()

    def locked(dataset: str, number: int) -> Detail:
        raise Locked("g3m.sqlite: is being written by another process")

    collection.sample = locked  # type: ignore[method-assign]
    answer = client(collection).get("/sample/coco_valid/0")
    assert answer.status_code == 503 and int(answer.headers["retry-after"]) > 0
    assert "is being written by another process" in answer.text


# Leaks


@pytest.mark.parametrize("looked", [True, False])
def test_leaks_say_first_that_nobody_looked(looked: bool) -> None:
    """Before a set is chosen, and only where no picture was looked at."""
    collection = DrawnCollection()
    collection.card = replace(collection.card, looked=looked)
    assert (LOOK in client(collection).get("/leaks").text) is not looked


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"looked": 0}, "The pictures of coco_valid were not looked at yet"),
        ({"datasets": (_searched(looked=0),)}, "The pictures of the other datasets were not looked at yet"),
        ({"datasets": (_searched(looked=7),)}, "None found so far"),
        ({"datasets": (_searched(),), "is_crowded": True}, "None found so far"),
        ({"datasets": ()}, "There is nothing to compare with"),
        ({"datasets": (_searched(),)}, "No leak was found"),
    ],
)
def test_no_leak_is_only_said_where_all_was_compared(more: dict[str, object], says: str) -> None:
    """Otherwise what is missing, and the command that brings it."""
    nothing = a_leak(**{"hit": 0, "pairs": (), "datasets": (_searched(),), **more})
    answer = client(DrawnCollection(found=nothing)).get("/leaks?of=coco_valid")
    text = _text(answer.text)
    assert says in text
    assert ("No leak was found" in text) is (says == "No leak was found")
    assert (LOOK in answer.text) is (says not in ("No leak was found", "There is nothing to compare with"))


def test_a_dataset_that_was_not_looked_at_has_no_zeros() -> None:
    """A dash says that nobody knows; a zero would say that there is none."""
    both = (_searched(near=3), replace(_searched(looked=0), dataset="sbu"))
    body = client(DrawnCollection(found=a_leak(datasets=both))).get("/leaks?of=coco_valid").text
    row = re.search(r"<tr><td><bdi>sbu</bdi>.*?</tr>", body)
    assert row is not None and row[0].count("–") == 3 and ">0<" not in row[0].partition("of 100")[2]


def test_leaks_say_what_near_means() -> None:
    """With the numbers that decide it, what it does not find, and that unsure is not near."""
    leak = replace(a_leak().pairs[0], why="unsure", bits=9)
    text = _text(client(DrawnCollection(found=a_leak(pairs=(leak,)))).get("/leaks?of=coco_valid").text)
    for part in ("128 bits each", "correlate by", "mirrored", "could not be compared a second time"):
        assert part in text
    assert "unsure · 9 of 128 bits differ" in text


def test_what_is_not_in_the_catalog_was_not_searched() -> None:
    """Leaks in it are not found, so it is named."""
    collection = DrawnCollection(found=a_leak())
    collection.card = replace(collection.card, name="fresh", catalogued=0)
    assert "so not searched: fresh" in _text(client(collection).get("/leaks?of=coco_valid").text)


def test_duplicates_of_a_part_say_so() -> None:
    """Also where some were found."""
    pair_of = DrawnCollection(duplicates=(Pair(one=shown(0), other=shown(1), distance=3),))
    assert "there may be more" not in client(pair_of).get("/alike").text
    pair_of.card = replace(pair_of.card, looked=False)
    assert "there may be more" in client(pair_of).get("/alike").text


# What was left out


@pytest.mark.parametrize(
    ("left", "card", "after", "says"),
    [
        (LeftOutPage(rows=()), {"missing": {}, "expected": 5000}, "", "Every sample of the source is here"),
        (LeftOutPage(rows=()), {"missing": {}, "expected": None}, "", "is not stated"),
        (LeftOutPage(rows=()), {"missing": {}, "expected": 5100}, "", "is not stated"),
        (
            LeftOutPage(rows=()),
            {"missing": {}, "expected": 5000, "dropped": 3},
            "",
            "Dropped with g3m drop: 3",
        ),
        (LeftOutPage(rows=()), {}, "", "no list of them, one by one"),
        (LeftOutPage(rows=()), {}, "rejected.jsonl:9", "The list ends here"),
        (LeftOutPage(rows=(), after="rows:1:0"), {}, "", "None among the rows that were read"),
    ],
)
def test_nothing_was_left_out_is_only_said_where_it_is_so(
    left: LeftOutPage, card: dict[str, object], after: str, says: str
) -> None:
    """An empty page has many reasons."""
    collection = DrawnCollection(left=left)
    collection.card = replace(collection.card, **card)  # type: ignore[arg-type]
    text = _text(client(collection).get("/left-out", params={"dataset": "coco_valid", "after": after}).text)
    assert says in text
    assert ("Every sample of the source" in text) is says.startswith("Every")


def test_a_row_of_a_list_says_where_it_leads() -> None:
    """Address, reason and message; and a table that cannot be read, with what helps."""
    error = NotVerified("00001.parquet: is cut", hint=("run `g3m verify`", "运行 `g3m verify`"))
    row = LeftOut(key="7", reason="timeout", detail="10 s", url="https://a.example/7", shard="00000.tar")
    body = client(DrawnCollection(left=LeftOutPage(rows=(row,), problem=error))).get(
        "/left-out?dataset=coco_valid"
    )
    for part in ("https://a.example/7", "10 s", "00001.parquet: is cut", "<code>g3m verify</code>"):
        assert part in body.text
    assert 'a href="https://a.example' not in body.text


# Lists


def test_what_is_not_in_the_catalog_is_told_beside_a_search() -> None:
    """So that nobody takes "no caption has these words" for the whole."""
    collection = DrawnCollection()
    collection.browse = lambda view, limit=60: Grid(view=view, shown=(), total=0, lacking=1234)  # type: ignore[method-assign]
    text = _text(client(collection).get("/search?q=bus").text)
    assert "1,234 samples here are not in the catalog yet" in text


@pytest.mark.parametrize("address", ["/browse?after=4000", "/shards?dataset=coco_valid&after=4000"])
def test_behind_the_end_of_a_list_nothing_is_claimed(address: str) -> None:
    """The list ends before; that is not an empty dataset."""
    collection = DrawnCollection(rows=())
    text = _text(client(collection).get(address).text)
    assert (
        "The list ends before this" in text and "No samples here yet" not in text and "no shards" not in text
    )


def test_a_shard_belongs_to_its_dataset() -> None:
    """Who chooses another dataset in the filters does not search for the shard of the one before."""
    collection = DrawnCollection()
    client(collection).get("/browse?dataset=cc3m&shard=00007.tar&shard_of=coco_valid", follow_redirects=True)
    assert collection.asked[-1] == View(dataset="cc3m")
    client(collection).get("/browse?dataset=cc3m&shard=00007.tar&shard_of=cc3m", follow_redirects=True)
    assert collection.asked[-1] == View(dataset="cc3m", shard="00007.tar")


# Cards


def _home(**more: object) -> str:
    collection = DrawnCollection()
    collection.card = Card(**{"name": "sbu", "title": "SBU", "state": "part", **more})  # type: ignore[arg-type]
    return client(collection).get("/").text


def test_what_was_begun_has_no_doors_yet() -> None:
    """How much is ready of what is planned, how to go on, and no link to what cannot be opened."""
    body = _home(samples=7, shards=2, planned_shards=9, is_recipe=True)
    text = _text(body)
    assert "Shards: 2 of 9" in text and "g3m get sbu" in text and "in part" in text
    assert "/browse?dataset=sbu" not in body and "/left-out" not in body and "<img" not in body
    assert "g3m get" not in _text(_home(samples=7, is_recipe=False))


def test_a_command_can_be_pasted_whatever_the_name() -> None:
    """A name from a stranger's manifest is quoted for the shell."""
    body = _home(name=HOSTILE_NAME, is_recipe=True)
    assert "g3m get &#39;sbu; touch pwned #&#39;" in body
    collection = DrawnCollection(found=a_leak(evaluation=HOSTILE_NAME))
    collection.card = replace(collection.card, name=HOSTILE_NAME)
    for page, command in (("shards?dataset", "verify"), ("leaks?of", "stats --leaks")):
        body = client(collection).get(f"/{page}=sbu%3B+touch+pwned+%23").text
        assert f"g3m {command} &#39;sbu; touch pwned #&#39;" in body


def test_only_samples_that_can_be_shown_stand_on_a_card() -> None:
    """Their numbers come with the card: the first may have been dropped."""
    body = _home(state="done", samples=9, first=(3, 5))
    assert re.findall(r"/picture/sbu/(\d+)", body) == ["3", "5"]
    assert "being written anew" in _home(state="done", samples=9, is_rewriting=True)


# All pages


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize(
    "address",
    ["/", "/left-out?dataset=coco_valid", "/sample/coco_valid/0", "/browse?flag=bomb", "/help", "/leaks"],
)
def test_no_page_shows_a_backtick(address: str, lang: str) -> None:
    """Commands in sentences that terminals share are set as code here."""
    collection = DrawnCollection()
    collection.card = replace(collection.card, missing={"dropped": 3, "http_404": 1})
    assert "`" not in client(collection).get(address, headers={"accept-language": lang}).text


def test_empty_bins_are_drawn_between_others() -> None:
    """A gap is seen; what is not known (0) stands before, without a gap."""
    drawn = chart("width", [("0", 2), ("192-223", 1), ("320-383", 4)], "", ServerLinks(), is_log=False)
    bars = [column.bar for column in drawn.columns]  # type: ignore[union-attr]
    labels = [bar.label for bar in bars]
    assert labels[0] == "0" and labels[-1] == "320-383" and len(labels) > 3
    assert all((bar.href is None) == (bar.count == 0) for bar in bars)
    assert sum(bar.count for bar in bars) == 7


@pytest.mark.parametrize(
    "address",
    [
        "/browse?words=x",
        "/browse?after=x",
        "/browse?flag=x",
        "/shards?after=x",
        "/leaked.jsonl",
        "/search?q=-",
    ],
)
def test_what_cannot_be_asked_for_is_said_in_chinese(address: str) -> None:
    """The reason, too, and not only the sentence around it."""
    answer = client().get(address, headers={"accept-language": "zh"})
    reason = re.search(r"<code>(.*?)</code>", answer.text)
    assert answer.status_code == 400 and reason is not None and re.search("[\u4e00-\u9fff]", reason[1])
