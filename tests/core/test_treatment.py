"""core/treatment.py: what is done with which finding, as values that can be written, read and compared."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.core.errors import SettingsError
from g3m.core.samples import REASONS
from g3m.core.settings import Layer, Settings, merge
from g3m.core.treatment import (
    ACTIONS,
    CAPTION_BOUND_BYTES,
    CAPTION_LIMIT_BYTES,
    CLASSES,
    DECODED,
    DEFAULTS,
    DRAWING,
    FIXES,
    NEVER_KEPT,
    PIXEL_LIMIT,
    REDRAWN,
    Resize,
    Treatment,
    combine,
    options_for,
    parse_policy,
    policy_problem,
    settings_policy,
    treatment_for,
)

POSSIBLE = [f"{name}={action}" for name in CLASSES for action in ACTIONS if not policy_problem(name, action)]
policies = st.lists(st.sampled_from(POSSIBLE), max_size=6, unique_by=lambda line: line.partition("=")[0])
resizes = st.none() | st.builds(
    Resize,
    size=st.integers(1, 16384),
    mode=st.sampled_from(["keep_ratio", "keep_ratio_largest", "center_crop", "border"]),
    quality=st.integers(1, 100),
)


def settings(**values: Any) -> Settings:
    return merge([Layer("command line", values)])


def test_the_tables_fit_together() -> None:
    """Every table speaks of known classes, every default is possible, and each class can be a reason."""
    for table in (DECODED, DEFAULTS, FIXES, NEVER_KEPT, REDRAWN):
        assert set(table) <= set(CLASSES)
    assert set(REDRAWN) <= set(FIXES)
    assert not [name for name in CLASSES if policy_problem(name, DEFAULTS.get(name, "keep"))]
    assert set(CLASSES) <= set(REASONS)
    assert all(policy_problem(name, "keep") for name in NEVER_KEPT)
    assert len(POSSIBLE) == 3 * len(CLASSES) - len(NEVER_KEPT) - (len(CLASSES) - len(FIXES))


def test_the_default_does_nothing() -> None:
    """It decodes nothing, redraws nothing, and leaves nothing in an identity or a message."""
    default = Treatment()
    assert (default.decodes, default.redraws, default.to_dict(), default.words()) == (False, False, {}, "")
    assert {name: default.action(name) for name in CLASSES if default.action(name) != "keep"} == DEFAULTS


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("greyscale=reject", "'greyscale' is no class of findings"),
        ("cmyk=drop", "'drop' is none of keep, reject, fix"),
        ("cmyk", "write CLASS=keep, CLASS=reject or CLASS=fix"),
        ("", "write CLASS=keep, CLASS=reject or CLASS=fix"),
        ("=", "'' is no class of findings"),
        ("truncated=fix", "nothing fixes truncated; use keep or reject"),
        ("not_an_image=keep", "there would be no sample"),
        ("caption_not_utf8=keep", "stops the loaders"),
    ],
)
def test_a_wrong_line_is_named(line: str, problem: str) -> None:
    """The message has the line, where it stands, and what is wrong with it."""
    with pytest.raises(SettingsError) as caught:
        settings_policy(settings(policy=(line,)))
    assert str(caught.value).startswith(f"--policy {line}: ")
    assert problem in str(caught.value)
    with pytest.raises(SettingsError, match=r"^g3m\.toml: policy "):
        settings_policy(merge([Layer("g3m.toml", {"policy": [line]})]))


def test_two_actions_for_one_class_are_a_mistake() -> None:
    """Which of them was meant is not guessed; the same one twice is harmless."""
    assert parse_policy(["cmyk=fix", " cmyk = fix "]) == {"cmyk": "fix"}
    with pytest.raises(SettingsError, match="cmyk=fix was said before"):
        parse_policy(["cmyk=fix", "cmyk=keep"])


def test_the_settings_overrule_the_recipe() -> None:
    """Class by class; what equals the default leaves no trace, wherever it was said."""
    recipe = parse_policy(["cmyk=reject", "trailing=fix", "bomb=reject"])
    made = treatment_for(recipe, settings(policy=("cmyk=fix", "bomb=keep", "no_caption=reject")))
    assert made.policy == {"trailing": "fix", "cmyk": "fix"}
    assert treatment_for({}, settings(policy=("cmyk=keep",))).to_dict() == {}
    assert combine({}, {"not_jpeg": "keep"}) == {}


def test_resizing_needs_a_size() -> None:
    """A mode or a quality alone resizes nothing; a mode on the command line without a size is a mistake."""
    made = treatment_for({}, settings(image_size=512, resize="border", quality=80))
    assert made.resize == Resize(size=512, mode="border", quality=80)
    assert treatment_for({}, settings(quality=80)).to_dict() == {}
    with pytest.raises(SettingsError, match="--image-size"):
        treatment_for({}, settings(resize="border"))
    assert treatment_for({}, merge([Layer("g3m.toml", {"resize": "border"})])).resize is None


@given(policies, resizes, st.integers(1, 100))
def test_a_treatment_is_read_as_it_was_written(lines: list[str], resize: Resize | None, quality: int) -> None:
    """Through JSON it comes back to what has the same effect: one more writing gives the same text."""
    made = Treatment(policy=combine(parse_policy(lines)), resize=resize, quality=quality)
    body = json.loads(json.dumps(made.to_dict()))
    again = Treatment.from_dict(body)
    assert again.to_dict() == made.to_dict()
    assert (again.policy, again.resize, again.words()) == (made.policy, made.resize, made.words())
    assert bool(body) == bool(made.words())


@given(policies, policies, st.none() | st.integers(1, 16384), st.integers(1, 100))
def test_options_lead_back_to_a_treatment(
    lines: list[str], recipe: list[str], size: int | None, quality: int
) -> None:
    """Whatever the recipe says by now, the options of a treatment give that treatment again."""
    resize = None if size is None else Resize(size=size, mode="center_crop", quality=quality)
    made = Treatment(policy=combine(parse_policy(lines)), resize=resize, quality=quality)
    found = treatment_for(parse_policy(recipe), Settings(**options_for(Treatment.from_dict(made.to_dict()))))
    assert found.to_dict() == made.to_dict()


@pytest.mark.parametrize(
    "body",
    [
        {"policy": {"cmyk": "burn"}},
        {"policy": {"unknown": "keep"}},
        {"policy": ["cmyk"]},
        {"resize": [1, "keep_ratio"]},
        {"resize": [1, "sideways", 95]},
        {"resize": ["1", "keep_ratio", 95]},
        {"resize": None},
        {"quality": True},
    ],
)
def test_what_is_no_treatment_is_refused(body: dict[str, Any]) -> None:
    """A damaged manifest is told from one of another treatment."""
    with pytest.raises((ValueError, TypeError, KeyError, AttributeError)):
        Treatment.from_dict(body)


@pytest.mark.parametrize("name", CLASSES)
def test_what_needs_a_decoder(name: str) -> None:
    """Classes that only decoding shows are decoded for; a fix that is no mere cut encodes anew."""
    for action in ACTIONS:
        if policy_problem(name, action):
            continue
        made = Treatment(policy={name: action})
        assert made.decodes == (name in DECODED and action == "reject")
        assert made.redraws == (name in REDRAWN and action == "fix")


def test_how_long_a_caption_may_be() -> None:
    """Up to the limit by default; kept ones have a bound that no policy lifts."""
    assert Treatment().caption_limit_bytes == CAPTION_LIMIT_BYTES
    assert Treatment(policy={"caption_too_long": "keep"}).caption_limit_bytes == CAPTION_BOUND_BYTES
    assert str(CAPTION_LIMIT_BYTES) in CLASSES["caption_too_long"]


@pytest.mark.parametrize(
    ("mode", "size", "always", "bigger"),
    [
        ("keep_ratio", (900, 256), True, True),
        ("keep_ratio", (900, 257), False, False),
        ("keep_ratio_largest", (256, 9), True, True),
        ("center_crop", (900, 200), False, True),
        ("center_crop", (900, 257), False, False),
        ("border", (200, 100), False, True),
        ("border", (257, 100), False, False),
        ("border", (256, 256), True, True),
    ],
)
def test_small_squares_stay_only_if_asked(
    mode: Any, size: tuple[int, int], always: bool, bigger: bool
) -> None:
    """Square modes enlarge small pictures unless only bigger ones are to change; the identity tells them apart."""
    plain, asked = Resize(size=256, mode=mode), Resize(size=256, mode=mode, only_if_bigger=True)
    assert (plain.leaves(*size), asked.leaves(*size)) == (always, bigger)
    written = Treatment(resize=asked).to_dict()
    assert written != Treatment(resize=plain).to_dict()
    assert Treatment.from_dict(written).resize == asked


def test_pictures_drawn_in_another_way_are_another_dataset() -> None:
    """What encodes pictures anew names its way, which treatments of before did not; what does not is as it was."""
    assert Treatment(resize=Resize(size=9)).to_dict() == {"resize": [9, "keep_ratio", 95], "drawing": DRAWING}
    assert "drawing" not in Treatment(policy={"bomb": "reject", "trailing": "fix"}).to_dict()
    old = Treatment.from_dict({"resize": [9, "keep_ratio", 95]})
    assert old.resize == Resize(size=9)


def test_words_are_short_and_whole() -> None:
    """A message names the policy, the size and the quality of what is encoded anew."""
    made = Treatment(
        policy={"cmyk": "fix", "bomb": "reject"}, resize=Resize(size=64, mode="border", quality=80)
    )
    assert made.words() == "cmyk=fix, bomb=reject, 64 pixels (border), quality 80"
    assert Treatment(policy={"cmyk": "fix"}).words() == "cmyk=fix, quality 95"
    assert Treatment(policy={"cmyk": "reject"}).words() == "cmyk=reject"


def test_the_tables_hold_these() -> None:
    """Shards on disks, catalogs and configs of users speak of these names and sizes."""
    assert (PIXEL_LIMIT, CAPTION_LIMIT_BYTES, CAPTION_BOUND_BYTES, DRAWING) == (
        64_000_000,
        65_536,
        1_048_576,
        3,
    )
    assert list(CLASSES) == [
        "not_an_image", "bomb", "broken", "truncated", "no_end", "trailing", "warning", "not_jpeg", "cmyk", "grayscale", "orientation",
        "duplicate_image", "no_caption", "caption_too_long", "caption_not_utf8",
    ]  # fmt: skip
    assert DECODED == ("broken", "truncated", "warning")
    assert REDRAWN == ("not_jpeg", "cmyk", "grayscale", "orientation")
    assert set(FIXES) == {"no_end", "trailing", *REDRAWN, "caption_not_utf8"}
    assert set(NEVER_KEPT) == {"not_an_image", "no_caption", "caption_not_utf8"}
    assert DEFAULTS == {
        "not_an_image": "reject",
        "no_caption": "reject",
        "caption_too_long": "reject",
        "caption_not_utf8": "fix",
    }


def test_what_a_treatment_is_unless_said_otherwise() -> None:
    """The shorter side, quality 95, and small pictures stay; the settings of it say the same."""
    assert Resize(size=9) == Resize(size=9, mode="keep_ratio", quality=95, only_if_bigger=False)
    assert Treatment() == Treatment(policy={}, resize=None, quality=95)
    plain = options_for(Treatment())
    assert {name: plain[name] for name in plain if name != "policy"} == {
        "image_size": 0,
        "resize": "keep_ratio",
        "quality": 95,
        "only_if_bigger": False,
    }
    assert options_for(Treatment(resize=Resize(size=9, only_if_bigger=True)))["only_if_bigger"] is True
    assert (Treatment().words(), Treatment().to_dict(), Treatment().decodes, Treatment().redraws) == (
        "",
        {},
        False,
        False,
    )


@pytest.mark.parametrize(
    ("mode", "size", "stays"),
    [("keep_ratio", (256, 900), True), ("keep_ratio", (257, 900), False), ("keep_ratio_largest", (9, 256), True), ("keep_ratio_largest", (9, 257), False),
     ("center_crop", (256, 256), True), ("center_crop", (256, 255), False), ("border", (255, 255), False), ("border", (256, 256), True)],
)  # fmt: skip
def test_what_is_small_enough_stays(mode: str, size: tuple[int, int], stays: bool) -> None:
    """Up to the wanted pixels of the side that counts; squares only if they are that square."""
    assert Resize(size=256, mode=mode).leaves(*size) is stays  # type: ignore[arg-type]
    assert Resize(size=256, mode=mode).leaves(*reversed(size)) is stays  # type: ignore[arg-type]


def test_what_of_a_treatment_can_change_bytes() -> None:
    """The quality only where something is encoded by it, and how it is drawn wherever something is."""
    assert Treatment(policy={"cmyk": "fix"}, quality=80).to_dict() == {
        "policy": {"cmyk": "fix"},
        "quality": 80,
        "drawing": 3,
    }
    assert Treatment(policy={"cmyk": "reject"}, quality=80).to_dict() == {"policy": {"cmyk": "reject"}}
    assert Treatment(resize=Resize(size=9, quality=70, only_if_bigger=True)).to_dict() == {
        "resize": [9, "keep_ratio", 70], "only_if_bigger": True, "drawing": 3
    }  # fmt: skip
    assert Treatment(policy={"cmyk": "fix"}, quality=80).words() == "cmyk=fix, quality 80"
    assert (
        Treatment(resize=Resize(size=9, quality=70, only_if_bigger=True)).words()
        == "9 pixels (keep_ratio, only if bigger), quality 70"
    )
