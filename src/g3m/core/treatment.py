"""What is done with a picture or a caption on its way into a shard, as values: policy and resizing.

Each finding has a class, and the policy says for each class what happens: `keep` (the default for all but
what no loader can use), `reject` (left out, listed with its reason) or `fix`. A recipe's `[policy]` table is
overruled by `--policy CLASS=ACTION`. The default touches no byte of a picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from g3m.core.errors import SettingsError
from g3m.core.settings import Settings

Action = Literal["keep", "reject", "fix"]
ResizeMode = Literal["keep_ratio", "keep_ratio_largest", "center_crop", "border"]

ACTIONS: tuple[Action, ...] = ("keep", "reject", "fix")
PIXEL_LIMIT = 64_000_000
"""The largest picture of all sources has 25 million pixels; one of 64 million takes 256 MB."""

DRAWING = 3
"""The way in which pictures are encoded anew; another one gives other bytes, and another identity.

1   Lanczos over red, green and blue, encoded by Pillow; treatments of that time do not name it
2   bicubic over brightness and colour apart (docs/guides/resizing.md)
3   the last row counts once where a side is odd; TIFF too
"""

CAPTION_LIMIT_BYTES = 65536
CAPTION_BOUND_BYTES = 2**20
"""A longer caption is left out whatever the policy says: it is no caption, and it would be held in memory."""

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
    "caption_too_long": f"the caption has more than {CAPTION_LIMIT_BYTES} bytes",
    "caption_not_utf8": "the caption is no UTF-8",
}
"""Every class of findings with its meaning, the gravest first; the docs print this table."""

DECODED = ("broken", "truncated", "warning")
"""Classes that only decoding finds; the others show in the header, the last bytes or the caption."""

FIXES = {
    "no_end": "a JPEG gets its end marker if no more than that is missing (lossless)",
    "trailing": "the bytes behind the end are cut off (lossless)",
    "not_jpeg": "the picture is encoded anew as JPEG",
    "cmyk": "the picture is converted to RGB and encoded anew",
    "grayscale": "the picture is converted to RGB and encoded anew",
    "orientation": "the picture is turned and encoded anew",
    "caption_not_utf8": "bytes that are no UTF-8 become U+FFFD",
}
"""What `fix` does, for the classes that have one."""

REDRAWN = ("not_jpeg", "cmyk", "grayscale", "orientation")
"""Classes whose fix encodes the picture anew."""

NEVER_KEPT = {
    "not_an_image": "there would be no sample",
    "no_caption": "there would be no sample",
    "caption_not_utf8": "such a text stops the loaders that people train with",
}
"""Classes that cannot be kept, and why."""

DEFAULTS: dict[str, Action] = {
    "not_an_image": "reject",
    "no_caption": "reject",
    "caption_too_long": "reject",
    "caption_not_utf8": "fix",
}
"""Where the default is not `keep`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resize:
    """How large pictures become. Encoded as baseline JPEG of `quality` (1 to 100), colours at half
    resolution; a picture that is small enough (square modes: of that size) already keeps its bytes.

    keep_ratio           the shorter side has `size` pixels; smaller pictures stay as they are
    keep_ratio_largest   the longer side has `size` pixels; smaller pictures stay as they are
    center_crop          exactly size x size: scaled to cover it, the middle kept; small ones are enlarged
    border               exactly size x size: scaled to fit in, white around it; small ones are enlarged

    With `only_if_bigger` the square modes, too, leave small pictures as they are, and not square then:
    center_crop those whose shorter side has no more than `size` pixels, border those whose longer side has.
    """

    size: int
    mode: ResizeMode = "keep_ratio"
    quality: int = 95
    only_if_bigger: bool = False

    def leaves(self, width: int, height: int) -> bool:
        """Whether a picture of so many pixels stays as it is.

        >>> Resize(size=256).leaves(640, 256), Resize(size=256, mode="border").leaves(64, 48)
        (True, False)
        """
        is_square = self.mode in ("center_crop", "border")
        if is_square and not self.only_if_bigger:
            return width == height == self.size
        decisive = min if self.mode in ("keep_ratio", "center_crop") else max
        return decisive(width, height) <= self.size


@dataclass(frozen=True, slots=True, kw_only=True)
class Treatment:
    """The policy in force (only what differs from the defaults) and the resizing, if any."""

    policy: Mapping[str, Action] = field(default_factory=dict)
    resize: Resize | None = None
    quality: int = 95
    """The JPEG quality of pictures that a fix encodes anew."""

    def action(self, name: str) -> Action:
        """What happens to a finding of a class."""
        return self.policy.get(name) or DEFAULTS.get(name, "keep")

    @property
    def decodes(self) -> bool:
        """Whether pictures must be decoded to carry it out, beyond those that are fixed or resized."""
        return any(self.action(name) != "keep" for name in DECODED)

    @property
    def redraws(self) -> bool:
        """Whether pictures may be encoded anew."""
        return self.resize is not None or any(self.action(name) == "fix" for name in REDRAWN)

    @property
    def caption_limit_bytes(self) -> int:
        """Above how many bytes of UTF-8 a caption is left out."""
        return CAPTION_LIMIT_BYTES if self.action("caption_too_long") == "reject" else CAPTION_BOUND_BYTES

    def to_dict(self) -> dict[str, Any]:
        """What of it can change the bytes of a shard; empty for the default treatment."""
        body: dict[str, Any] = {}
        if self.policy:
            body["policy"] = dict(sorted(self.policy.items()))
        if self.resize is not None:
            body["resize"] = [self.resize.size, self.resize.mode, self.resize.quality]
            if self.resize.only_if_bigger:
                body["only_if_bigger"] = True
        if any(self.policy.get(name) == "fix" for name in REDRAWN):
            body["quality"] = self.quality
        if self.redraws:
            body["drawing"] = DRAWING
        return body

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> Treatment:
        """What `to_dict` gave; ValueError, TypeError or KeyError if it is anything else."""
        policy = {str(name): action for name, action in body.get("policy", {}).items()}
        for problem in filter(None, (policy_problem(name, str(action)) for name, action in policy.items())):
            raise ValueError(problem)
        resize, quality = None, body.get("quality", 95)
        if "resize" in body:
            size, mode, resize_quality = body["resize"]
            resize = Resize(
                size=_whole(size),
                mode=mode,
                quality=_whole(resize_quality),
                only_if_bigger=body.get("only_if_bigger") is True,
            )
            if mode not in get_args(ResizeMode):
                raise ValueError(f"{mode!r} is no way to resize")
        return cls(policy=combine(policy), resize=resize, quality=_whole(quality))

    def words(self) -> str:
        """It in a few words, for messages: `cmyk=fix, 512 pixels (keep_ratio)`; empty for the default."""
        parts = [f"{name}={action}" for name, action in self.policy.items()]
        if self.resize is not None:
            smaller = ", only if bigger" if self.resize.only_if_bigger else ""
            parts.append(f"{self.resize.size} pixels ({self.resize.mode}{smaller})")
        if self.redraws:
            parts.append(f"quality {self.resize.quality if self.resize else self.quality}")
        return ", ".join(parts)


AS_IT_IS = Treatment()
"""The default: no byte of a picture is touched."""


def parse_policy(lines: Iterable[str], *, origin: str = "--policy") -> dict[str, Action]:
    """The actions of `CLASS=ACTION` texts; SettingsError names what is wrong with one.

    >>> parse_policy(["cmyk=fix", "bomb=reject"])
    {'cmyk': 'fix', 'bomb': 'reject'}
    """
    found: dict[str, Action] = {}
    for line in lines:
        name, given, action = (part.strip() for part in line.partition("="))
        problem = policy_problem(name, action) if given else "write CLASS=keep, CLASS=reject or CLASS=fix"
        if not problem and found.get(name, action) != action:
            problem = f"{name}={found[name]} was said before"
        if problem:
            raise SettingsError(f"{origin} {line}: {problem}")
        found[name] = action  # type: ignore[assignment]  # it is one of ACTIONS
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
        return f"{name} cannot be kept: {NEVER_KEPT[name]}"
    return ""


def combine(*policies: Mapping[str, Action]) -> dict[str, Action]:
    """One policy of several, the first the strongest; what equals the defaults is left out."""
    joined: dict[str, Action] = {}
    for policy in reversed(policies):
        joined |= policy
    return {name: joined[name] for name in CLASSES if name in joined and joined[name] != _default(name)}


def _default(name: str) -> Action:
    return DEFAULTS.get(name, "keep")


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{value!r} is no whole number")
    return value


def settings_policy(settings: Settings) -> dict[str, Action]:
    """The policy of the settings; SettingsError names the line that is wrong and where it stands."""
    origin = settings.origins.get("policy", "command line")
    return parse_policy(
        settings.policy, origin="--policy" if origin == "command line" else f"{origin}: policy"
    )


def treatment_for(recipe_policy: Mapping[str, Action], settings: Settings) -> Treatment:
    """The treatment of a recipe under the settings, which are the stronger."""
    resize: Resize | None = None
    if settings.image_size:
        # The table of options allows no other mode.
        mode: ResizeMode = settings.resize  # type: ignore[assignment]
        resize = Resize(
            size=settings.image_size,
            mode=mode,
            quality=settings.quality,
            only_if_bigger=settings.only_if_bigger,
        )
    elif settings.origins.get("resize") in ("command line", "argument"):
        raise SettingsError("--resize says how; --image-size must say to how many pixels")
    policy = combine(settings_policy(settings), recipe_policy)
    return Treatment(policy=policy, resize=resize, quality=settings.quality)


def options_for(treatment: Treatment) -> dict[str, Any]:
    """The settings that lead to a treatment, whatever the recipe says."""
    resize = treatment.resize
    quality = resize.quality if resize else treatment.quality
    return {
        "policy": tuple(f"{name}={treatment.action(name)}" for name in CLASSES),
        "image_size": resize.size if resize else 0,
        "resize": resize.mode if resize else "keep_ratio",
        "quality": quality,
        "only_if_bigger": resize.only_if_bigger if resize else False,
    }
