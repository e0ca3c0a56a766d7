"""How much is done at the same time; apart from the runners, so that asking for it imports none."""

from __future__ import annotations

import os

from g3m.adapters.session import Session

CORES_LIMIT = 4


def jobs_of(session: Session) -> int:
    """How many shards are packed, or pictures decoded, at the same time."""
    return session.settings.jobs or min(os.cpu_count() or 1, CORES_LIMIT)
