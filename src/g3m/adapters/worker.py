"""The process in which pictures of strangers are decoded; adapters/guard.py starts it and talks to it.

It calls adapters/image.py, redraw.py and glimpse.py and does nothing else: it reads a request from its stdin,
answers on its stdout, and ends with its stdin. It can open few files and write none, and takes no more memory
and time than it was told. What goes wrong in it is its own end only. The frames are in core/frames.py.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

from g3m.core.frames import OUT_OF_MEMORY, SIZES, frame_head

_LEFT_TO_THE_PARENT = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
"""Slurm sends them to every process of a step: a picture must not count as one that its decoder died of."""

_OPEN_FILES = 32
_READ_BYTES = 2**20
_DETAIL_CHARACTERS = 200

Operation = Callable[[bytes, dict[str, Any]], tuple[dict[str, Any], bytes]]


def _judge(data: bytes, _options: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    from g3m.adapters.image import judge

    found = judge(data)
    return {"classes": list(found.classes), "detail": found.detail}, b""


def _redraw(data: bytes, options: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    from g3m.adapters.redraw import redraw
    from g3m.core.treatment import Resize

    resize = options.pop("resize", None)
    made = redraw(data, resize=None if resize is None else Resize(**resize), **options)
    return {"changed": made is not None}, made or b""


def _glimpse(data: bytes, _options: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    from g3m.adapters.glimpse import glimpse

    found = glimpse(data)
    body = {"rows": found.rows, "columns": found.columns, "width": found.width, "height": found.height}
    if found.is_sure:
        return {**body, "classes": list(found.classes), "detail": ""}, b""
    return {**body, **_judge(data, {})[0]}, b""


def _grey(data: bytes, options: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    from g3m.adapters.glimpse import grey

    return {}, grey(data, **options)


def _thumbnail(data: bytes, options: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    from g3m.adapters.glimpse import thumbnail

    return {}, thumbnail(data, **options)


OPERATIONS: dict[str, Operation] = {
    "judge": _judge,
    "redraw": _redraw,
    "glimpse": _glimpse,
    "grey": _grey,
    "thumbnail": _thumbnail,
}


def main(memory_bytes: int, cpu_s: float, wall_s: float) -> None:
    """Answer requests until stdin ends; seconds are for one request."""
    requests, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)  # what a decoder prints must not stand among the answers
    for number in _LEFT_TO_THE_PARENT:
        signal.signal(number, signal.SIG_IGN)
    try:
        from g3m.adapters.image import load_decoders

        load_decoders()
        _restrict(memory_bytes)
    except Exception as error:  # noqa: BLE001  # it is raised where the process was started
        _answer(answers, {"failed": "", "detail": f"{type(error).__name__}: {error}"}, b"")
        return
    _answer(answers, {"ready": True}, b"")
    try:
        while (sizes := _exactly(requests, SIZES.size)) is not None:
            head_bytes, data_bytes = SIZES.unpack(sizes)
            operation, options = json.loads(_exactly(requests, head_bytes) or b"")
            data = _exactly(requests, data_bytes) or b""
            with _clock(cpu_s, wall_s):
                body, made = _do(operation, data, options)
            _answer(answers, body, made)
    except MemoryError:
        os._exit(OUT_OF_MEMORY)  # what is left of this process is not to be relied on


def _do(operation: str, data: bytes, options: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    try:
        return OPERATIONS[operation](data, options)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001  # what says no finding is a defect of ours, not of the picture
        finding = getattr(error, "finding", "")
        words = str(error) if finding else f"{type(error).__name__}: {error}"
        return {"failed": finding, "detail": words[:_DETAIL_CHARACTERS]}, b""


def _restrict(memory_bytes: int) -> None:
    """What this process may take; a system that does not know a limit goes without it."""
    limits = {
        resource.RLIMIT_AS: memory_bytes,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: _OPEN_FILES,
    }
    for kind, limit in limits.items():
        _set_limit(kind, limit)


def _set_limit(kind: int, limit: int) -> None:
    _, hard = resource.getrlimit(kind)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(kind, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


@contextlib.contextmanager
def _clock(cpu_s: float, wall_s: float) -> Iterator[None]:
    """The system ends this process when one request takes longer, also in the middle of a decoder."""
    _set_limit(resource.RLIMIT_CPU, math.ceil(time.process_time() + cpu_s))
    signal.setitimer(signal.ITIMER_REAL, wall_s)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)


def _exactly(source: int, size_bytes: int) -> bytes | None:
    """So many bytes, or None where the other side is gone."""
    chunks, missing = [], size_bytes
    while missing:
        chunk = os.read(source, min(missing, _READ_BYTES))
        if not chunk:
            return None
        chunks.append(chunk)
        missing -= len(chunk)
    return b"".join(chunks)


def _answer(target: int, body: dict[str, Any], data: bytes) -> None:
    for piece in (frame_head(body, len(data)), data):
        view = memoryview(piece)
        while view:
            view = view[os.write(target, view) :]
