"""export as a function: what other programs want to be told about the shards that stand."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from g3m.runners.run import make_session
from g3m.steps.export import Exported
from g3m.steps.export import export as export_in


def export(
    format: str,  # noqa: A002  # the word of the command
    names: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
    *,
    to: str | os.PathLike[str] | None = None,
    factors: Mapping[str, float] | None = None,
    **options: object,
) -> Exported:
    """Tell a program about datasets: nxtp, webdataset, open_clip (text), wids, hf or energon (files).

    `names` are datasets or groups below `root` (all by default), or folders with an index. Files go beside
    the data, or to the file or folder `to`; what is right already is left as it is. `factors` say how often a
    dataset's samples come in an epoch (open_clip, energon). Raises UsageError, NotVerified or StorageError.
    """
    texts = [names] if isinstance(names, (str, os.PathLike)) else list(names)
    where = None if to is None else Path(to)
    session = make_session(options)
    return export_in(format, [os.fspath(text) for text in texts], session, to=where, factors=factors)
