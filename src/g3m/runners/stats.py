"""stats and leaks as functions: what the catalog knows of whole datasets, for `g3m stats` and the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial

from g3m.adapters.catalog import FILE, Catalog, DatasetRow, open_catalog
from g3m.adapters.guard import Guard
from g3m.adapters.session import Session
from g3m.core.alike import Leaks
from g3m.core.catalog import CHARTS
from g3m.core.charts import bin_order
from g3m.core.events import Event, RunFinished, RunStarted, Sink
from g3m.runners.jobs import jobs_of
from g3m.runners.run import make_session
from g3m.steps.leaks import leaks as leaks_step

Charts = Mapping[str, Sequence[tuple[str, int]]]
"""For each chart of core/catalog.py its bins, each with how many samples fall into it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """What the catalog knows of some datasets together.

    `looked`: of how many samples the picture was decoded. `same`: samples with the bytes of an earlier one's
    picture; `near`: those that look like an earlier one (core/alike.py). Both are 0 before `g3m index
    --pictures`, and of an older state of the catalog if not `is_current`.
    """

    datasets: tuple[DatasetRow, ...]
    samples: int
    looked: int
    same: int
    near: int
    charts: Charts = field(repr=False)
    is_current: bool = True


def stats(*datasets: str, **options: object) -> Stats:
    """Figures of datasets below `root`, all by default, from the catalog; nothing else is read.

    Raises UnknownCatalog if there is no catalog, and UnknownDataset for a name that it does not have.
    """
    session = make_session(options)
    with open_catalog(session.store.work / FILE) as catalog:
        return stats_in(catalog, datasets)


def stats_in(catalog: Catalog, datasets: Sequence[str] = ()) -> Stats:
    """`stats` of an open catalog."""
    rows = catalog.named(datasets)
    wanted = tuple(rows[name] for name in dict.fromkeys(datasets or rows))
    shards = [shard for row in wanted for shard in catalog.shards(row.name)]
    same, near = catalog.alike_counts([row.name for row in wanted])
    return Stats(
        datasets=wanted,
        samples=sum(row.samples for row in wanted),
        looked=sum(shard.samples for shard in shards if shard.looked),
        same=same,
        near=near,
        charts=_joined([catalog.tallies(row.name) for row in wanted]),
        is_current=catalog.is_alike_current(),
    )


def _joined(several: Sequence[Charts]) -> Charts:
    """The charts of several datasets as one."""
    made: dict[str, list[tuple[str, int]]] = {}
    for chart in CHARTS:
        counts: Counter[str] = Counter()
        for charts in several:
            counts.update(dict(charts.get(chart, ())))
        if counts:
            made[chart] = sorted(counts.items(), key=partial(_order, chart))
    return made


def _order(chart: str, one: tuple[str, int]) -> tuple[int, str]:
    return bin_order(chart, *one)


def leaks(
    evaluation: str,
    *datasets: str,
    on_event: Callable[[Event], None] | None = None,
    **options: object,
) -> Leaks:
    """Which samples of other datasets below `root` have a picture of the evaluation set, exactly or nearly.

    Needs a catalog with the pictures (`g3m index --pictures`). What nearly means is in core/alike.py.
    `leaks("coco_valid").exclusion()` gives the lines of a file for `g3m.dataset(..., exclude=...)`.
    """
    session = make_session(options)
    with open_catalog(session.store.work / FILE) as catalog:
        return leaks_in(catalog, evaluation, session, datasets, [on_event] if on_event else [])


def leaks_in(
    catalog: Catalog,
    evaluation: str,
    session: Session,
    datasets: Sequence[str] = (),
    sinks: Sequence[Sink] = (),
) -> Leaks:
    """`leaks` of an open catalog; uses the session's guard, or one of its own."""

    def emit(event: Event) -> None:
        for sink in sinks:
            sink(event)

    started_s = session.monotonic()
    with ExitStack() as stack:
        guard = session.guard or stack.enter_context(Guard(jobs_of(session)))
        steps = leaks_step(catalog, evaluation, replace(session, guard=guard), datasets)
        stack.callback(steps.close)
        searched, begun = len(datasets) or len(catalog.datasets()) - 1, False
        while True:
            try:
                event = next(steps)
                if not begun:  # of a name that is not there no run is told
                    emit(RunStarted(datasets=(evaluation,), tasks=searched, total_bytes=0))
                    begun = True
                emit(event)
            except StopIteration as stop:
                made: Leaks = stop.value
                break
    if begun:
        seconds = round(session.monotonic() - started_s, 2)
        emit(RunFinished(finished=len(made.datasets), failed=0, samples=made.looked, seconds=seconds))
    return made
