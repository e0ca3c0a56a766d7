"""core/events.py: what happened, as frozen values with one JSON form."""

from __future__ import annotations

import json
import pickle
from dataclasses import FrozenInstanceError, asdict, fields

import pytest

from g3m.core import events
from g3m.core.events import (
    SCHEMA,
    Event,
    Noted,
    Progressed,
    Retrying,
    RouteChosen,
    RouteDropped,
    RoutesMeasured,
    RouteSpeed,
    RowsMeasured,
    RunFinished,
    RunStarted,
    TaskFailed,
    TaskFinished,
    TasksAdded,
    TaskStarted,
    to_dict,
)

EXAMPLES: list[Event] = [
    RunStarted(datasets=("a", "b"), tasks=3, total_bytes=10, present_bytes=4),
    TaskStarted(task="fetch/a", kind="fetch", dataset="a", total_bytes=10),
    RouteChosen(task="fetch/a", place="host", way="proxy p:1", offset_bytes=3),
    RouteDropped(task="fetch/a", place="host", reason="404", way="proxy p:1"),
    Retrying(task="fetch/a", place="host", reason="reset", wait_s=0.5, way="proxy p:1"),
    RoutesMeasured(
        task="fetch/a",
        routes=(RouteSpeed(place="host", way="direct", connections=4, rate_bytes_per_s=1.5, done_bytes=9),),
    ),
    Progressed(task="fetch/a", done_bytes=5, total_bytes=10),
    RowsMeasured(task="pack/0", done=9, total=10, good=7, bytes=99, reasons={"http_404": 2}),
    Noted(text="漢"),
    TasksAdded(count=2),
    TaskFinished(
        task="pack/0", kind="pack", dataset="a", output="0.tar", size_bytes=9, samples=2, rejected={"x": 1}
    ),
    TaskFailed(task="fetch/a", kind="fetch", dataset="a", code="G3M-E510", reason="reset"),
    RunFinished(finished=2, failed=1, samples=2, seconds=1.5),
]


def test_every_event_has_an_example_here() -> None:
    """The examples of this file cover each class of the module, so a new event is tested, too."""
    kinds = {value for value in vars(events).values() if isinstance(value, type) and issubclass(value, Event)}
    assert {type(event) for event in EXAMPLES} == kinds - {Event}


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: type(event).__name__)
def test_the_json_form_holds_everything(event: Event) -> None:
    """Schema and name come first, then each field as it is; json gives it back."""
    document = to_dict(event)
    assert list(document)[:3] == ["schema", "event", "task"]
    assert (document["schema"], document["event"]) == (SCHEMA, type(event).__name__)
    assert set(document) == {"schema", "event", *(item.name for item in fields(event))}
    back = json.loads(json.dumps(document))
    for item in fields(event):
        value = getattr(event, item.name)
        assert back[item.name] == json.loads(json.dumps(value, default=asdict))


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: type(event).__name__)
def test_an_event_is_a_value(event: Event) -> None:
    """It crosses process borders unchanged, and nobody can alter it on the way."""
    assert pickle.loads(pickle.dumps(event)) == event
    with pytest.raises(FrozenInstanceError):
        event.task = "other"  # type: ignore[misc]
    assert not hasattr(event, "__dict__")


def test_a_tick_of_routes_reads_like_its_fields() -> None:
    """In JSON each route is an object with place, way, connections, speed and bytes."""
    (tick,) = [event for event in EXAMPLES if isinstance(event, RoutesMeasured)]
    assert json.loads(json.dumps(to_dict(tick)))["routes"] == [
        {"place": "host", "way": "direct", "connections": 4, "rate_bytes_per_s": 1.5, "done_bytes": 9}
    ]


def test_the_json_form_is_apart_from_the_event() -> None:
    """Changing the dictionary of a form changes no event."""
    event = TaskFinished(kind="pack", dataset="a", rejected={"x": 1})
    to_dict(event)["rejected"]["x"] = 99
    assert event.rejected == {"x": 1}


def test_events_of_the_whole_run_have_no_task() -> None:
    """The task is empty unless an event belongs to one, and optional figures begin at nothing."""
    assert Noted(text="x").task == ""
    first, second = (TaskFinished(kind="pack", dataset="a") for _ in range(2))
    first.rejected["x"] = 1
    assert second.rejected == {}
    assert RouteChosen(place="h").way == "direct"
    assert (
        RouteDropped(place="h", reason="x").way == Retrying(place="h", reason="x", wait_s=0).way == "direct"
    )
    assert (Progressed(done_bytes=1).total_bytes, RouteChosen(place="h").offset_bytes) == (0, 0)
