"""What happened, as frozen values; everything that people see is a fold of this one stream.

Facts must arrive. Ticks (`Progressed`, `RoutesMeasured`, `RowsMeasured`) may be merged or dropped: each
carries totals, so that the last one is enough. An event knows nothing of terminals or files and holds
no secret.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

SCHEMA = 1
"""The version of the JSON form; it rises when a field changes its meaning or goes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Anything that happened; `task` is empty for the whole run."""

    task: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Event):
    """A plan begins: its tasks, the bytes to fetch, and what is already there."""

    datasets: tuple[str, ...]
    tasks: int
    total_bytes: int
    present_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStarted(Event):
    """A task begins: kind is `fetch`, `arrange`, `pack`, `adopt`, `publish` or `verify`."""

    kind: str
    dataset: str
    total_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteChosen(Event):
    """Bytes of an asset now come over this route too; `offset_bytes` is where its first range begins."""

    place: str
    way: str = "direct"
    offset_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteDropped(Event):
    """A route is given up for this asset, and why."""

    place: str
    reason: str
    way: str = "direct"


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrying(Event):
    """The route rests and is tried again after `wait_s` seconds; others go on meanwhile."""

    place: str
    reason: str
    wait_s: float
    way: str = "direct"


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteSpeed:
    """One route at one moment: open connections, bytes a second of late, bytes of this run."""

    place: str
    way: str
    connections: int
    rate_bytes_per_s: float
    done_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutesMeasured(Event):
    """A tick: what every route of a download carries now; each one replaces the one before."""

    routes: tuple[RouteSpeed, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progressed(Event):
    """A tick: so much of the task is done."""

    done_bytes: int
    total_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsMeasured(Event):
    """A tick of a task that gathers: rows of its list so far, and why those that are no samples are none.

    `bytes` came over the network; `reasons` has codes of core/outcomes.py and classes of pictures.
    """

    done: int
    total: int
    good: int = 0
    bytes: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted(Event):
    """Something a careful user would want to know; the run goes on."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TasksAdded(Event):
    """Arranging a dataset showed which shards there are to make; `rows` of a list are to be asked for."""

    count: int
    rows: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFinished(Event):
    """A task is done and its receipt is on the disk."""

    kind: str
    dataset: str
    output: str = ""
    size_bytes: int = 0
    samples: int = 0
    rejected: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFailed(Event):
    """A task gave up; others go on."""

    kind: str
    dataset: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished(Event):
    """The end: what is done, what failed, how long it took."""

    finished: int
    failed: int
    samples: int
    seconds: float


Sink = Callable[[Event], None]
"""Takes every event in order; it must neither raise nor block."""


def to_dict(event: Event) -> dict[str, Any]:
    """The JSON form: `schema`, `event` and the fields.

    >>> to_dict(Noted(text="hello"))
    {'schema': 1, 'event': 'Noted', 'task': '', 'text': 'hello'}
    """
    return {"schema": SCHEMA, "event": type(event).__name__, **asdict(event)}
