"""steps/treat.py: the usual picture passes untouched, and every other one leaves as the policy says."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.realdata import REAL

from g3m.adapters.guard import Guard, GuardFailure
from g3m.core.structure import look
from g3m.core.treatment import (
    CLASSES,
    DECODED,
    FIXES,
    REDRAWN,
    Action,
    Resize,
    ResizeMode,
    Treatment,
    policy_problem,
)
from g3m.steps.treat import Treated, Treater

ODD = [path.read_bytes() for path in sorted(REAL.glob("malformed/**/*")) if path.is_file()]
PHOTOS = [path.read_bytes() for path in sorted(REAL.glob("coco_mini/*/*.jpg"))]


def drawn(kind: str = "JPEG", mode: str = "RGB", size: tuple[int, int] = (60, 40), **options: Any) -> bytes:
    """A picture with something to see in every row."""
    image = Image.linear_gradient("L").resize(size).convert(mode)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def turned(tag: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = tag
    return drawn(exif=exif.tobytes())


def huge() -> bytes:
    """A GIF whose header claims more pixels than any picture has."""
    return b"GIF89a" + (65535).to_bytes(2, "little") * 2 + bytes(3) + b";"


WHOLE = drawn()
CUT = drawn(size=(600, 400))[:3000]
WARNED = WHOLE[:-2] + b"\x55" * 40 + WHOLE[-2:]
BROKEN = WHOLE[:30] + WHOLE[-2:]
CASES: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "a photo": (WHOLE, ()),
    "a page": (b"<html>", ("not_an_image",)),
    "nothing": (b"", ("not_an_image",)),
    "a bomb": (huge(), ("bomb", "not_jpeg")),
    "no end": (WHOLE[:-2], ("no_end",)),
    "cut": (CUT, ("no_end",)),
    "a tail": (WHOLE + b"tail", ("trailing",)),
    "a PNG": (drawn("PNG"), ("not_jpeg",)),
    "a gray PNG": (drawn("PNG", "L"), ("not_jpeg", "grayscale")),
    "for print": (drawn(mode="CMYK"), ("cmyk",)),
    "gray": (drawn(mode="L"), ("grayscale",)),
    "turned": (turned(6), ("orientation",)),
    "no scan": (BROKEN, ("broken",)),
}


@pytest.fixture(scope="module")
def guard() -> Iterator[Guard]:
    with Guard(2) as guard:
        yield guard


def opened(data: bytes | memoryview) -> Image.Image:
    image = Image.open(io.BytesIO(bytes(data)))
    image.load()
    return image


def treat(data: bytes, guard: Guard | None, resize: Resize | None = None, **policy: Action) -> Treated:
    return Treater(Treatment(policy=policy, resize=resize), guard).treat(data)


@pytest.mark.parametrize("kind", [bytes, memoryview])
def test_the_usual_picture_is_passed_on(kind: type) -> None:
    """The very object comes back: no byte is copied, and no guard is needed."""
    image = kind(WHOLE)
    found = Treater(Treatment(), None).treat(image)
    assert found == Treated(image)
    assert found.data is image


@pytest.mark.parametrize("name", CASES)
def test_the_default_finds_and_keeps(name: str) -> None:
    """Every class that header and ends show is found; only what is no picture at all is rejected."""
    image, classes = CASES[name]
    found = Treater(Treatment(), None).treat(image)
    if classes == ("not_an_image",):
        assert found == Treated(b"", classes, (), "not_an_image")
    else:
        assert found == Treated(image, classes)
        assert found.data is image


@pytest.mark.parametrize("name", [name for name, (_, classes) in CASES.items() if classes])
def test_what_is_rejected_says_why(guard: Guard, name: str) -> None:
    """With all its classes rejected a picture is left out for the gravest of them."""
    image, classes = CASES[name]
    policy: dict[str, Action] = dict.fromkeys(classes, "reject")
    assert Treater(Treatment(policy=policy), guard).treat(image) == Treated(b"", classes, (), classes[0])


@pytest.mark.parametrize(
    ("image", "reason"),
    [(CUT, "truncated"), (WARNED, "warning"), (BROKEN, "broken"), (WHOLE, ""), (WHOLE[:-2], "truncated")],
)
def test_what_only_decoding_shows(guard: Guard, image: bytes, reason: str) -> None:
    """Asked to reject it, every picture is decoded; under the default none is."""
    found = treat(image, guard, broken="reject", truncated="reject", warning="reject")
    assert found.reason == reason
    assert reason == "" or reason in found.found
    assert treat(image, None).reason == ""


def test_a_tail_is_cut_off() -> None:
    """What remains is the picture as it was, without any decoder."""
    assert treat(WHOLE + b"\0tail\xff\xd9tail", None, trailing="fix") == Treated(
        WHOLE, ("trailing",), ("trailing",)
    )
    assert treat(WHOLE, None, trailing="fix").data is WHOLE


@pytest.mark.parametrize("progressive", [False, True])
def test_a_missing_end_is_appended(guard: Guard, progressive: bool) -> None:
    """The bytes are then those of the whole picture; with `truncated=reject` it is not taken for a cut one."""
    whole = drawn(progressive=progressive)
    expected = Treated(whole, ("no_end",), ("no_end",))
    assert treat(whole[:-2], guard, no_end="fix") == expected
    assert treat(whole[:-2], guard, no_end="fix", truncated="reject") == expected


def test_a_cut_picture_does_not_get_an_end(guard: Guard) -> None:
    """With a marker behind it, half a picture would pass for a whole one."""
    assert treat(CUT, guard, no_end="fix") == Treated(CUT, ("no_end",))
    assert treat(CUT, guard, no_end="fix", truncated="reject").reason == "truncated"
    assert treat(drawn("PNG")[:-12], guard, no_end="fix").fixed == ()


@pytest.mark.parametrize("name", ["cmyk", "grayscale", "orientation", "not_jpeg"])
def test_fixes_that_draw_anew(guard: Guard, name: str) -> None:
    """The class is not found in the new picture, which is a JPEG and shows the same; others stay as they are."""
    image = {
        "cmyk": drawn(mode="CMYK"),
        "grayscale": drawn(mode="L"),
        "orientation": turned(6),
        "not_jpeg": drawn("PNG"),
    }[name]
    found = treat(image, guard, **{name: "fix"})
    assert (found.found, found.fixed, found.reason) == ((name,), (name,), "")
    assert look(found.data).classes == ()
    made, wanted = opened(found.data), opened(image).convert("RGB")
    if name == "orientation":
        wanted = wanted.transpose(Image.Transpose.ROTATE_270)
    assert (made.format, made.mode, made.size) == ("JPEG", "RGB", wanted.size)
    worst = max(abs(a - b) for a, b in zip(made.tobytes()[::97], wanted.tobytes()[::97], strict=True))
    assert worst <= 12
    assert treat(WHOLE, guard, **{name: "fix"}).data is WHOLE


def test_a_fix_leaves_other_classes_alone(guard: Guard) -> None:
    """A gray PNG that is to be a JPEG stays gray, and that is said."""
    found = treat(drawn("PNG", "L"), guard, not_jpeg="fix")
    assert (found.found, found.fixed) == (("not_jpeg", "grayscale"), ("not_jpeg",))
    assert opened(found.data).mode == "L"


def test_only_what_is_asked_is_turned(guard: Guard) -> None:
    """A picture that is drawn anew for another reason keeps its tag, and the pixels under it."""
    exif = Image.Exif()
    exif[0x0112] = 6
    image = drawn(mode="CMYK", exif=exif.tobytes())
    found = treat(image, guard, cmyk="fix")
    assert (found.found, found.fixed) == (("cmyk", "orientation"), ("cmyk",))
    assert opened(found.data).size == opened(image).size


def test_quality_reaches_the_encoder(guard: Guard) -> None:
    """A lower one gives fewer bytes."""
    image = drawn("PNG", size=(300, 200))
    sizes = [
        len(Treater(Treatment(policy={"not_jpeg": "fix"}, quality=quality), guard).treat(image).data)
        for quality in (30, 95)
    ]
    assert sizes[0] < sizes[1]


@pytest.mark.parametrize(
    ("mode", "size"),
    [
        ("keep_ratio", (45, 30)),
        ("keep_ratio_largest", (30, 20)),
        ("center_crop", (30, 30)),
        ("border", (30, 30)),
    ],
)
def test_pictures_are_resized(guard: Guard, mode: ResizeMode, size: tuple[int, int]) -> None:
    """To the size of the mode; findings of the source are told, and what is no more in the bytes counts as fixed."""
    found = treat(WHOLE + b"tail", guard, Resize(size=30, mode=mode))
    assert opened(found.data).size == size
    assert (found.found, found.fixed) == (("trailing",), ("trailing",))


def test_a_small_picture_keeps_its_bytes(guard: Guard) -> None:
    """Where nothing has to change, nothing does: also not the missing end of one that may keep it."""
    for image in (WHOLE, WHOLE[:-2], WHOLE + b"tail", drawn("PNG")):
        assert treat(image, guard, Resize(size=64)).data is image


def test_a_picture_that_lacks_its_end_alone_is_resized(guard: Guard) -> None:
    """No decoder here takes it as it is, and every row of it is there."""
    found = treat(WHOLE[:-2], guard, Resize(size=30))
    assert (found.found, found.fixed) == (("no_end",), ("no_end",))
    assert found.data == treat(WHOLE, guard, Resize(size=30)).data


@pytest.mark.parametrize(
    ("name", "reason"),
    [("cut", "truncated"), ("no scan", "broken"), ("a bomb", "bomb"), ("a page", "not_an_image")],
)
def test_what_cannot_be_redrawn_is_rejected(guard: Guard, name: str, reason: str) -> None:
    """It was asked for, so a picture without it is not packed; the reason is what stands in the way."""
    found = treat(CASES[name][0], guard, Resize(size=8))
    assert (found.data, found.reason) == (b"", reason)
    assert reason in found.found


@pytest.mark.parametrize("policy", [{"truncated": "reject"}, {"cmyk": "fix"}, {"no_end": "fix"}])
def test_without_a_guard_nothing_is_decoded(policy: dict[str, Action]) -> None:
    """A treatment that may need one is refused at once, and not at the first such picture."""
    with pytest.raises(ValueError, match="needs a guard"):
        Treater(Treatment(policy=policy), None)
    with pytest.raises(ValueError, match="needs a guard"):
        Treater(Treatment(resize=Resize(size=1)), None)


class Untouched:
    """A guard that nobody may ask."""

    def judge(self, data: bytes) -> Any:
        raise AssertionError("nothing is to be judged")

    call = judge


def test_a_bomb_is_never_decoded() -> None:
    """Whatever is asked: its header is enough."""
    for policy in ({}, {"truncated": "reject"}, {"not_jpeg": "fix"}):
        for resize in (None, Resize(size=9)):
            made = Treater(Treatment(policy=policy, resize=resize), Untouched()).treat(huge())  # type: ignore[arg-type]
            drawn_anew = resize is not None or "not_jpeg" in policy
            assert made.reason == ("bomb" if drawn_anew else "")


class Failing:
    """A guard on whose watch every picture ends badly."""

    def judge(self, data: bytes) -> Any:
        raise AssertionError("nothing is to be judged")

    def call(self, operation: str, data: bytes, options: dict[str, Any]) -> Any:
        raise GuardFailure("time", "it takes too long", "bomb")


def test_a_worker_that_fails_is_a_verdict() -> None:
    """A picture on which the decoder hangs or dies is rejected with the guard's finding, and the run goes on."""
    found = Treater(Treatment(resize=Resize(size=9)), Failing()).treat(WHOLE)  # type: ignore[arg-type]
    assert found == Treated(b"", ("bomb",), (), "bomb")


def policies() -> st.SearchStrategy[dict[str, Action]]:
    lines = [(n, a) for n in CLASSES for a in ("keep", "reject", "fix") if not policy_problem(n, a)]
    return st.lists(st.sampled_from(lines), max_size=5).map(dict)  # type: ignore[arg-type]


@given(
    policies(),
    st.sampled_from([*(image for image, _ in CASES.values()), WARNED]),
    st.none() | st.just(Resize(size=20)),
)
def test_whatever_the_policy_is(
    guard: Guard, policy: dict[str, Action], image: bytes, resize: Resize | None
) -> None:
    """Rejected ones have a reason that was found and no bytes; fixed is what was found and is not there any more."""
    made = Treatment(policy=policy, resize=resize)
    found = Treater(made, guard).treat(image)
    assert set(found.fixed) <= set(found.found)
    assert list(found.found) == sorted(found.found, key=list(CLASSES).index)
    if found.reason:
        assert found.data == b""
        assert found.reason in found.found
        assert found.fixed == ()
        return
    assert not [name for name in found.found if made.action(name) == "reject"]
    left = look(found.data).classes
    assert not set(found.fixed).intersection(left)
    if not made.decodes:
        assert set(left) == set(found.found) - set(found.fixed)
    if not found.fixed and resize is None:
        assert found.data is image


@pytest.mark.filterwarnings("ignore:.*malformed MPO")
def test_odd_pictures_leave_in_good_order(guard: Guard) -> None:
    """With everything fixed and everything undecodable rejected, all that is packed are upright JPEGs in RGB that decode."""
    fixes: dict[str, Action] = {name: "fix" for name in FIXES if name != "caption_not_utf8"}
    rejects: dict[str, Action] = dict.fromkeys((*DECODED, "bomb"), "reject")
    strict = Treater(Treatment(policy={**fixes, **rejects}), guard)
    packed = 0
    for image in ODD:
        found = strict.treat(image)
        if not found.reason:
            made = opened(found.data)
            assert (made.format in ("JPEG", "MPO"), made.mode) == (True, "RGB")
            assert not set(look(found.data).classes) & {*REDRAWN, "trailing", "no_end", "bomb"}
            packed += 1
    assert packed >= len(ODD) // 10


def test_photos_pass_the_strict_treatment(guard: Guard) -> None:
    """Real photos of COCO are packed byte for byte, but for the gray ones if those are to be fixed."""
    strict = Treater(Treatment(policy={"broken": "reject", "truncated": "reject", "trailing": "fix"}), guard)
    for image in PHOTOS[:60]:
        found = strict.treat(image)
        assert found.data is image
        assert set(found.found) <= {"grayscale"}
