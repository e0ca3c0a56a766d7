"""Which runner runs the tasks of a plan, by the settings."""

from __future__ import annotations

from functools import partial

from g3m.adapters.session import Session
from g3m.core.plan import Plan
from g3m.runners.base import Runner
from g3m.runners.local import run_local


def runner_for(session: Session, plan: Plan) -> Runner:
    """Threads of this machine, or a Ray cluster."""
    if session.settings.runner == "ray":
        from g3m.runners.ray import run_ray

        return partial(run_ray, plan=plan)
    return run_local
