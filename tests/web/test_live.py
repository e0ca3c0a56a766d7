"""The run at work as it is sent to those who look: bounded, drawn once for all, and true of the run that is now."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.testclient import TestClient
from tests.web.conftest import LIMIT_S

from g3m.core.events import Event, Noted, RunStarted, TaskStarted, to_dict
from g3m.runners.run import make_session
from g3m.ui.logs import json_line
from g3m.ui.web import live as module
from g3m.ui.web.live import Live


@pytest.fixture
def live(tmp_path: Path) -> Live:
    """What follows the log of a root without a run."""
    (tmp_path / ".g3m").mkdir()
    return Live(make_session({"root": str(tmp_path)}, {}))


def log(live: Live) -> Path:
    return live._session.store.work / "events.jsonl"


def written(*events: Event) -> str:
    return "".join(json_line(to_dict(event)) for event in events)


def begun(name: str) -> tuple[Event, ...]:
    """The first events of a run over one dataset."""
    return (
        RunStarted(datasets=(name,), tasks=2, total_bytes=100),
        TaskStarted(task=f"fetch/{name}", kind="fetch", dataset=name, total_bytes=100),
    )


def now(live: Live) -> tuple[tuple[str, ...], list[str]]:
    """The datasets of the run and what was noted, read at once."""
    live._read_s = -module.TICK_S
    state = live.state()
    return (state.datasets if state else ()), live.recent()


def follow(live: Live, part: Callable[[str], str]) -> Callable[..., Awaitable[Any]]:
    return live.routes(part)[0].endpoint


def request(lang: str = "en") -> Request:
    return Request({"type": "http", "method": "GET", "query_string": f"lang={lang}".encode(), "headers": []})


def test_more_than_a_bound_are_told_to_come_back(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """And who goes makes place for another."""
    monkeypatch.setattr(module, "MOST_FOLLOWING", 2)

    async def all_of_it() -> None:
        streams: list[AsyncIterator[str]] = []
        for _ in range(2):
            answer = await follow(live, lambda _: "part")(request())
            streams.append(answer.body_iterator)
            await anext(streams[-1])
        refused = await follow(live, lambda _: "part")(request())
        assert refused.status_code == 503 and int(refused.headers["retry-after"]) > 0
        await streams[0].aclose()  # type: ignore[attr-defined]  # as Starlette does when a client is gone
        assert (await follow(live, lambda _: "part")(request())).status_code == 200
        await streams[1].aclose()  # type: ignore[attr-defined]

    asyncio.run(all_of_it())


def test_all_who_look_share_one_drawing(live: Live) -> None:
    """One for each language and tick, however many there are."""
    drawn: list[str] = []

    def part(lang: str) -> str:
        drawn.append(lang)
        return f"part {lang}"

    async def all_of_it() -> None:
        live._parts = {lang: (float("inf"), "kept") for lang in ("zh",)}
        for lang in ("en", "zh"):
            stream = (await follow(live, part)(request(lang))).body_iterator
            assert "kept" in await anext(stream) if lang == "zh" else "part en" in await anext(stream)
            await stream.aclose()

    asyncio.run(all_of_it())
    assert drawn == ["en"]


def test_the_streams_end_when_the_server_does(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, and not at their next tick."""
    monkeypatch.setattr(module, "TICK_S", 3600.0)

    async def all_of_it() -> None:
        stream = (await follow(live, lambda _: "part")(request())).body_iterator
        assert "part" in await anext(stream)
        rest = asyncio.ensure_future(anext(stream, "over"))
        await asyncio.sleep(0)
        live.end()
        assert await asyncio.wait_for(rest, LIMIT_S) == "over"

    asyncio.run(all_of_it())


def test_head_is_no_stream(live: Live) -> None:
    """It ends with its headers."""
    client = TestClient(Starlette(routes=live.routes(lambda _: "part")))
    answer = client.head("/live")
    assert answer.headers["content-type"].startswith("text/event-stream") and answer.content == b""


def test_a_new_run_has_not_the_troubles_of_the_one_before(live: Live) -> None:
    """They were of late when it began, and are no news of it."""
    log(live).write_text(written(*begun("coco"), Noted(text="the disk is slow")), encoding="utf-8")
    assert now(live) == (("coco",), ["the disk is slow"])
    with log(live).open("a", encoding="utf-8") as file:
        file.write(written(*begun("sbu")))
    assert now(live) == (("sbu",), [])
    live.close()


@pytest.mark.parametrize("is_renamed", [True, False], ids=["replaced", "truncated"])
def test_a_log_that_begins_anew_is_followed(live: Live, is_renamed: bool) -> None:
    """Whether another file has its name by now, or the same one was emptied and written again."""
    log(live).write_text(written(*begun("coco"), *[Noted(text="x" * 100)] * 9), encoding="utf-8")
    assert now(live)[0] == ("coco",)
    if is_renamed:
        log(live).rename(log(live).with_name("gone"))
    log(live).write_text(written(*begun("sbu")), encoding="utf-8")
    assert now(live)[0] == ("sbu",)
    live.close()


def test_a_log_that_is_gone_is_no_trouble(live: Live) -> None:
    """The root may be taken away while somebody looks, and come back."""
    log(live).write_text(written(*begun("coco")), encoding="utf-8")
    assert now(live)[0] == ("coco",)
    log(live).unlink()
    assert now(live)[0] == ("coco",)
    log(live).write_text(json.dumps({"event": "nonsense"}) + "\n" + written(*begun("sbu")), encoding="utf-8")
    assert now(live)[0] == ("sbu",)
    live.close()
