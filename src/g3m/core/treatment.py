"""What is done with a picture or a caption on its way into a shard, as values: policy and resizing.

Each finding has a class, and the policy says for each class what happens: `keep` (the default for all but
what no loader can use), `reject` (left out, listed with its reason) or `fix`. A recipe's `[policy]` table is
overruled by `--policy CLASS=ACTION`. The default touches no byte of a picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from g3m.core.errors import SettingsError

Action = Literal["keep", "reject", "fix"]
ResizeMode = Literal["keep_ratio", "keep_ratio_largest", "center_crop", "border"]

ACTIONS: tuple[Action, ...] = ("keep", "reject", "fix")
PIXEL_LIMIT = 64_000_000
"""The largest picture of all sources has 25 million pixels; one of 64 million takes 256 MB."""

CLASSES = {
    "not_an_image": "the bytes are no JPEG, PNG, WebP, GIF, BMP or TIFF",
    "bomb": f"the picture claims more than {PIXEL_LIMIT} pixels",
    "broken": "the picture cannot be decoded although its end is there",
    "truncated": "the picture is cut off: decoding stops before its last row",
    "no_end": "the marker that ends the picture is missing",
    "trailing": "bytes stand behind the end of the picture",
    "warning": "the picture decodes, and libjpeg warns about it",
    "not_jpeg": "the picture is a PNG, WebP, GIF, BMP or TIFF, whatever its name says",
    "cmyk": "the picture is stored for print, in four colours",
    "grayscale": "the picture has no colours",
    "orientation": "an Exif tag says that the picture is to be turned or mirrored",
    "duplicate_image": "an earlier sample has a picture of the same bytes",
    "no_caption": "there is no caption, or it is empty",
    "caption_too_long": "the caption has more than 65536 bytes",
    "caption_not_utf8": "the caption is no UTF-8",
}
"""Every class of findings with its meaning, the gravest first; the docs print this table."""

DECODED = ("broken", "truncated", "warning")
"""Classes that only decoding finds; the others show in the header, the last bytes or the caption."""

FIXES = {
    "no_end": "the end marker is appended (lossless)",
    "trailing": "the bytes behind the end are cut off (lossless)",
    "not_jpeg": "the picture is encoded anew as JPEG",
    "cmyk": "the picture is converted to RGB and encoded anew",
    "grayscale": "the picture is converted to RGB and encoded anew",
    "orientation": "the picture is turned and encoded anew",
    "caption_not_utf8": "bytes that are no UTF-8 become U+FFFD",
}
"""What `fix` does, for the classes that have one."""

NEVER_KEPT = ("not_an_image", "no_caption")
"""A sample without a picture or a caption is none."""

DEFAULTS: dict[str, Action] = {
    "not_an_image": "reject",
    "no_caption": "reject",
    "caption_too_long": "reject",
    "caption_not_utf8": "fix",
}
"""Where the default is not `keep`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resize:
    """How large pictures become. Encoded as JPEG of `quality` (1 to 100, no chroma subsampling change
    is promised); a picture that is small enough already keeps its bytes.

    keep_ratio           the shorter side has `size` pixels; smaller pictures stay as they are
    keep_ratio_largest   the longer side has `size` pixels; smaller pictures stay as they are
    center_crop          exactly size x size: scaled to cover it, the middle kept; small ones are enlarged
    border               exactly size x size: scaled to fit in, white around it; small ones are enlarged
    """

    size: int
    mode: ResizeMode = "keep_ratio"
    quality: int = 95


@dataclass(frozen=True, slots=True, kw_only=True)
class Treatment:
    """The policy in force (only what differs from the defaults) and the resizing, if any."""

    policy: Mapping[str, Action] = field(default_factory=dict)
    resize: Resize | None = None

    def action(self, name: str) -> Action:
        """What happens to a finding of a class."""
        return self.policy.get(name) or DEFAULTS.get(name, "keep")

    @property
    def decodes(self) -> bool:
        """Whether pictures must be decoded to carry it out, beyond those that are fixed or resized."""
        return any(self.action(name) != "keep" for name in DECODED)

    def to_dict(self) -> dict[str, Any]:
        """What of it can change the bytes of a shard; empty for the default treatment."""
        body: dict[str, Any] = {}
        if self.policy:
            body["policy"] = dict(sorted(self.policy.items()))
        if self.resize is not None:
            body["resize"] = [self.resize.size, self.resize.mode, self.resize.quality]
        return body


def parse_policy(lines: Iterable[str], *, origin: str = "--policy") -> dict[str, Action]:
    """The actions of `CLASS=ACTION` texts; SettingsError names what is wrong with one.

    >>> parse_policy(["cmyk=fix", "bomb=reject"])
    {'cmyk': 'fix', 'bomb': 'reject'}
    """
    pairs = (line.partition("=") for line in lines)
    found: dict[str, Action] = {}
    for name, _, action in pairs:
        problem = policy_problem(name.strip(), action.strip())
        if problem:
            raise SettingsError(f"{origin} {name}={action}: {problem}")
        found[name.strip()] = action.strip()  # type: ignore[assignment]  # it is one of ACTIONS
    return found


def policy_problem(name: str, action: str) -> str:
    """What is wrong with an action for a class, or an empty text."""
    if name not in CLASSES:
        return f"{name!r} is no class of findings; known: {', '.join(CLASSES)}"
    if action not in ACTIONS:
        return f"{action!r} is none of {', '.join(ACTIONS)}"
    if action == "fix" and name not in FIXES:
        return f"nothing fixes {name}; use keep or reject"
    if action == "keep" and name in NEVER_KEPT:
        return f"{name} cannot be kept: there would be no sample"
    return ""


def combine(*policies: Mapping[str, Action]) -> dict[str, Action]:
    """One policy of several, the first the strongest; what equals the defaults is left out."""
    joined: dict[str, Action] = {}
    for policy in reversed(policies):
        joined |= policy
    return {name: joined[name] for name in CLASSES if name in joined and joined[name] != _default(name)}


def _default(name: str) -> Action:
    return DEFAULTS.get(name, "keep")
