"""treat: one picture on its way into a shard: looked at, judged where that is asked, kept, rejected or fixed.

What is done with which finding says core/treatment.py. Bytes of strangers are decoded in the guard's
processes only; the usual picture under the default treatment is looked at and passed on untouched.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from g3m.adapters.guard import Guard, GuardFailure
from g3m.core.structure import Structure, in_order, look
from g3m.core.treatment import CLASSES, DECODED, REDRAWN, Treatment

_JPEG_END = b"\xff\xd9"


@dataclass(frozen=True, slots=True)
class Treated:
    """What became of a picture: the bytes to pack, the classes found in it, those of them that are not in the
    bytes any more, and the class for which it is rejected, if it is.
    """

    data: bytes | memoryview
    found: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()
    reason: str = ""


class Treater:
    """Treats pictures in one way; any number of threads may share it.

    Without a guard nothing can be decoded: ValueError if the treatment may need it.
    """

    def __init__(self, treatment: Treatment, guard: Guard | None) -> None:
        self.treatment = treatment
        self._rejected = frozenset(name for name in CLASSES if treatment.action(name) == "reject")
        self._fixed = frozenset(name for name in CLASSES if treatment.action(name) == "fix")
        self._every = treatment.decodes or treatment.resize is not None
        if guard is None and (self._every or self._fixed & {"no_end", *REDRAWN}):
            raise ValueError("this treatment decodes pictures and needs a guard")
        self._guard = guard

    def treat(self, image: bytes | memoryview, seen: Structure | None = None) -> Treated:
        """Do with a picture what the treatment says; raises nothing that the bytes could bring about.

        `seen` is what `look` saw, if the caller has looked already.
        """
        seen = seen or look(image)
        if not seen.classes and (not self._every or self._stays(seen)):
            return Treated(image)
        found = set(seen.classes)
        reason, whole = self._reason(found), None
        if not reason:
            whole = self._completed(image, seen, found)
            if whole is None and self.treatment.decodes and "bomb" not in found:
                found.update(self._judge(image))
                reason = self._reason(found)
        if reason:
            return Treated(b"", in_order(found), (), reason)
        redrawn = self._redrawn(whole or image, found) if self._to_be_redrawn(found) else None
        return redrawn or self._mended(image, whole, seen, found)

    def _reason(self, found: set[str]) -> str:
        """The gravest class that is rejected."""
        return next(iter(in_order(found & self._rejected)), "")

    def _stays(self, seen: Structure) -> bool:
        """Whether a sound JPEG has its size already, so that no process need be asked."""
        resize = self.treatment.resize
        small = resize is not None and resize.leaves(seen.width, seen.height)
        return small and seen.kind == "jpeg" and not self.treatment.decodes

    def _to_be_redrawn(self, found: set[str]) -> bool:
        return self.treatment.resize is not None or not self._fixed.isdisjoint(found.intersection(REDRAWN))

    def _completed(self, image: bytes | memoryview, seen: Structure, found: set[str]) -> bytes | None:
        """The picture with its end marker, if that is wanted and no more than the marker was missing.

        With the marker a picture of which rows are missing decodes, too, and libjpeg warns.
        """
        wanted = "no_end" in self._fixed or self._to_be_redrawn(found)
        if seen.kind != "jpeg" or "no_end" not in found or not wanted or "bomb" in found:
            return None
        whole = b"".join((image, _JPEG_END))
        return whole if self._judge(whole).isdisjoint((*DECODED, "bomb")) else None

    def _judge(self, image: bytes | memoryview) -> set[str]:
        """The classes of a picture, also those that decoding shows."""
        return set(self._open_guard.judge(bytes(image)).classes)

    def _redrawn(self, image: bytes | memoryview, found: set[str]) -> Treated | None:
        """The picture encoded anew, or rejected for what stands in the way; None if nothing has to change."""
        resize, wanted = self.treatment.resize, found & self._fixed
        options = {
            "resize": asdict(resize) if resize else None,
            "turn": "orientation" in wanted,
            # Of a GIF or BMP the header does not say whether it is gray.
            "rgb": "cmyk" in wanted or "grayscale" in self._fixed,
            "jpeg": "not_jpeg" in wanted,
            "quality": self.treatment.quality,
        }
        reason, data = "bomb", b""
        if "bomb" not in found:
            try:
                reason, data = "", self._open_guard.call("redraw", bytes(image), options).data
            except GuardFailure as failure:
                reason = failure.finding
        if reason:
            return Treated(b"", in_order(found | {reason}), (), reason)
        fixed = found - set(look(data).classes)
        return Treated(data, in_order(found), in_order(fixed)) if data else None

    def _mended(
        self, image: bytes | memoryview, whole: bytes | None, seen: Structure, found: set[str]
    ) -> Treated:
        """The picture with the fixes that decode nothing."""
        if whole is not None and "no_end" in self._fixed:
            return Treated(whole, in_order(found), ("no_end",))
        if "trailing" in found & self._fixed:
            return Treated(image[: seen.end], in_order(found), ("trailing",))
        return Treated(image, in_order(found))

    @property
    def _open_guard(self) -> Guard:
        assert self._guard is not None  # noqa: S101  # the constructor sees to it
        return self._guard
