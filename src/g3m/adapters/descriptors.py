"""How many files and sockets this process may have open at a time."""

from __future__ import annotations

import resource


def allow_files(wanted: int) -> int:
    """Raise the process's own limit to `wanted` if the system lets it; gives the limit that holds now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if limit > soft:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        except (ValueError, OSError):
            return soft
    return limit
