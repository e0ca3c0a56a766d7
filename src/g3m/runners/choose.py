"""Who runs the tasks of a plan, and who goes through shards that stand, by the settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from g3m.adapters.session import Session
from g3m.core.plan import Plan
from g3m.runners.base import Runner
from g3m.runners.local import run_local
from g3m.steps.check import Walk
from g3m.steps.examine import Depth


def runner_for(session: Session, plan: Plan) -> Runner:
    """Threads of this machine, or a Ray cluster."""
    if session.settings.runner == "ray":
        from g3m.runners.ray import run_ray

        return partial(run_ray, plan=plan)
    return run_local


@contextmanager
def walking(depth: Depth, session: Session) -> Iterator[Walk | None]:
    """What goes through shards in place of this machine, for the time of a verification; None: nothing."""
    if session.settings.runner == "ray":
        from g3m.runners.ray_verify import survey

        with survey(depth, session) as walk:
            yield walk
    else:
        yield None
