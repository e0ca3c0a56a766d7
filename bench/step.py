"""Runs the fetch step alone on a recipe's assets: python bench/step.py RECIPE ROOT OUT.

What `g3m get` does besides (adopting the shard, publishing) is left out. OUT becomes a link to the last file;
the events go to stdout as they do under `g3m get --json`.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from g3m.core.events import to_dict
from g3m.core.plan import fetch_task
from g3m.runners.run import make_session
from g3m.steps.fetch import fetch
from g3m.steps.find import whole_path
from g3m.steps.resolve import resolve


def main() -> None:
    recipe, root, out = sys.argv[1:]
    session = make_session({"root": root})
    session.store.prepare()
    plan = resolve([recipe], session)
    for asset in plan.datasets[0].assets:
        for event in fetch(fetch_task(asset, plan.datasets[0].name), plan, session):
            print(json.dumps(to_dict(event)))
        Path(out).unlink(missing_ok=True)
        os.symlink(whole_path(session, asset), out)


if __name__ == "__main__":
    main()
