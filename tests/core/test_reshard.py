"""core/reshard.py: neighbours of a key are a sample, and shards end where they were told to."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.core.errors import SettingsError
from g3m.core.members import Member, Refusal
from g3m.core.reshard import (
    Bundle,
    Group,
    Partition,
    groups,
    image_place,
    judge,
    parse_size,
    plain_extension,
    plain_key,
)
from g3m.core.shard import end_of_archive, ustar_header


def member(name: str, size: int = 10) -> Member:
    return Member(name, "raw", 512, size, size)


def group(*names: str, size: int = 10) -> Group:
    found = list(groups(member(name, size) for name in names))
    assert len(found) == 1
    return found[0]


def test_neighbours_with_one_key_are_one_sample() -> None:
    """The key ends at the first dot of the last component, and folders belong to it, as in every reader."""
    names = ["./a/1.jpg", "a/1.txt", "a/1.seg.png", "b/1.jpg", "2.jpg", "2.json"]
    found = [(one.name, [extension for extension, _ in one.members]) for one in groups(map(member, names))]
    assert found == [("a/1", ["jpg", "txt", "seg.png"]), ("b/1", ["jpg"]), ("2", ["jpg", "json"])]


def test_a_key_that_comes_back_is_a_problem_of_the_later_group() -> None:
    """Readers would take them for two samples, so neither half is passed on as a whole one in silence."""
    found = list(groups(map(member, ["1.jpg", "2.jpg", "1.txt"])))
    assert [judge(one) for one in found] == ["", "", "duplicate_key"]


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["1.jpg"], ""),
        (["1.JPEG", "1.txt"], ""),
        (["1.txt", "1.json"], "missing_image"),
        (["1.jpg", "1.JPG"], "duplicate"),
        (["1"], "unsafe_key"),
        ([".jpg"], "unsafe_key"),
        (["1.jpg", "1."], "unsafe_key"),
        (["é.jpg"], "unsafe_key"),
        (["1.jpg", "1." + "x" * 95], "unsafe_key"),
        (["k" * 80 + ".jpg", "k" * 80 + ".segmentation.png"], ""),
        (["k" * 90 + ".jpg"], ""),
    ],
)
def test_what_is_no_sample_has_a_reason(names: list[str], reason: str) -> None:
    """Each way of being none has its code, and what is sound fits into a ustar header, numbered or not."""
    one = group(*names)
    assert judge(one) == reason
    if not reason:
        partition = Partition(samples=10)
        for _ in range(10):
            bundle = partition.place(one, 0)
            for extension, _, size in bundle.members:
                assert ustar_header(f"{bundle.key}.{extension}", size)


def test_a_refused_member_spoils_its_sample() -> None:
    """A sample without its link, or with half a name, is no whole one."""
    one = next(groups([member("1.jpg"), Refusal("1.txt", "not_a_file", "kind '2'")]))
    assert (judge(one), one.detail) == ("not_a_file", "kind '2'")
    assert judge(group("1.jpg", size=0)) == "empty_image"


def test_the_picture_is_the_plainest_member() -> None:
    """`jpg` before `png` before `input.jpg`, wherever they stand; a table of labels is none."""
    assert image_place(["png", "jpg"]) == 1
    assert image_place(["left.png", "right.jpg"]) == 0
    assert image_place(["seg.png", "webp"]) == 1
    assert image_place(["txt", "npy"]) == -1


@given(st.text(max_size=120))
def test_keys_and_extensions_become_what_a_shard_may_hold(text: str) -> None:
    """Whatever a stranger wrote: printable ASCII without dots and slashes, or nothing."""
    key = plain_key(text.replace(".", ""))
    assert key == "" or (
        key.isascii() and key.isprintable() and len(key) <= 80 and not set(" ./\\") & set(key)
    )
    extension = plain_extension(text)
    assert set(extension) <= set("abcdefghijklmnopqrstuvwxyz0123456789_.")
    assert not extension.startswith(".")
    assert ".." not in extension
    assert plain_key("img-001(2)") == "img-001(2)"


def test_a_shard_never_holds_a_key_twice() -> None:
    """Tars whose keys begin anew are joined without loss: the later ones are numbered, per shard."""
    partition = Partition(samples=5)
    names = ["a", "b", "a", "a_2", "a", "a"]
    keys = [partition.place(group(f"{name}.jpg"), 0).key for name in names]
    assert keys == ["a", "b", "a_2", "a_2_2", "a_3", "a"]
    assert partition.renamed == 3
    assert partition.number == 1


@given(
    st.lists(st.tuples(st.integers(1, 4000), st.booleans()), min_size=1, max_size=60),
    st.integers(0, 7),
    st.sampled_from([0, 20_480, 40_960]),
)
def test_shards_end_where_they_were_told_to(
    sizes: list[tuple[int, bool]], samples: int, limit_bytes: int
) -> None:
    """No shard exceeds a limit unless one sample alone does, none ends early, none loses or moves a sample."""
    partition = Partition(samples, limit_bytes)
    shards: list[list[Bundle]] = []
    sources: list[list[int]] = []
    source = 0
    for number, (size, is_next) in enumerate(sizes):
        source += is_next
        bundle = partition.place(Group(f"k{number}", [("jpg", member("x", size * 8))]), source)
        assert partition.number in (len(shards) - 1, len(shards))
        if partition.number == len(shards):
            shards.append([])
            sources.append([])
        shards[-1].append(bundle)
        sources[-1].append(source)
    assert [bundle.key for shard in shards for bundle in shard] == [f"k{n}" for n in range(len(sizes))]

    def tar_bytes(bundles: list[Bundle]) -> int:
        content = sum(bundle.tar_bytes for bundle in bundles)
        return content + len(end_of_archive(content))

    for shard, following in zip(shards, [*shards[1:], None], strict=True):
        if samples:
            assert len(shard) <= samples
        if limit_bytes:
            assert len(shard) == 1 or tar_bytes(shard) <= limit_bytes
        if following is not None and (samples or limit_bytes):
            full = bool(samples) and len(shard) == samples
            assert full or (limit_bytes and tar_bytes([*shard, following[0]]) > limit_bytes)
    if not samples and not limit_bytes:
        assert all(len(set(of)) == 1 for of in sources)
        assert len(sources) == len({number for of in sources for number in of})


def test_a_line_of_the_list_brings_the_sample_back() -> None:
    """What survey writes is what repack reads."""
    bundle = Bundle("k", 3, 1, (("txt", 512, 7), ("seg.png", 1536, 90_000)))
    assert Bundle.from_line(bundle.to_line().encode()) == bundle
    assert bundle.to_line().endswith("\n")
    assert json.loads(bundle.to_line())[0] == "k"


def test_what_resizing_leaves_is_estimated_below_the_source() -> None:
    """Large pictures shrink to about the wanted pixels, small ones and the other members stay."""
    large, small = Bundle("k", 0, 0, (("jpg", 512, 2_000_000),)), Bundle("k", 0, 0, (("jpg", 512, 9_000),))
    assert 30_000 < large.after_resizing(256) < 90_000
    assert small.after_resizing(256) == small.tar_bytes


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("", 0),
        ("8G", 8 * 10**9),
        ("8g", 8 * 10**9),
        ("500MB", 500 * 10**6),
        ("1.5 GiB", 3 * 2**29),
        ("2T", 2 * 10**12),
        ("1000000", 10**6),
        ("4096KiB", 2**22),
    ],
)
def test_sizes_are_read_as_people_write_them(text: str, size_bytes: int) -> None:
    """Letters are 1000-based as on a disk's label, with an i 1024-based."""
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize("text", ["8X", "G", "-1G", "1e9", "8 8G", "1iB", "999999", "0", "0.5K", "١G", "8G!"])
def test_wrong_sizes_are_refused_in_both_languages(text: str) -> None:
    """A typing error is told with the way to write it, before anything begins."""
    with pytest.raises(SettingsError) as caught:
        parse_size(text)
    assert repr(text) in caught.value.message
    assert all("8G" in words for words in caught.value.hint)


def test_what_resizing_leaves_in_numbers() -> None:
    """Four thirds of the wanted square, at 0.6 bytes a pixel; a small picture keeps its own."""
    large = Bundle("k", 0, 0, (("jpg", 512, 2_000_000), ("txt", 2_001_000, 100)))
    assert large.tar_bytes - large.after_resizing(300) == 2_000_000 - 72_000
    assert large.after_resizing(10_000) == large.tar_bytes
    second = Bundle("k", 0, 1, (("txt", 512, 100), ("jpg", 1536, 100_000)))
    assert second.tar_bytes - second.after_resizing(300) == 28_000


def test_a_shard_begins_empty() -> None:
    """The limit holds from the first byte of the first shard and of each later one; the first source begins the first shard."""
    two = [Group(f"k{number}", [("jpg", member("x", 9216))]) for number in range(7)]
    need = Partition().place(two[0], 0).tar_bytes
    whole = 2 * need + len(end_of_archive(2 * need))
    assert (need, whole) == (9728, 20_480)
    for limit_bytes, expected in ((whole, [0, 0, 1, 1, 2, 2, 3]), (whole - 1, [0, 1, 2, 3, 4, 5, 6])):
        partition = Partition(limit_bytes=limit_bytes)
        assert [(partition.place(sample, 0), partition.number)[1] for sample in two] == expected
    by_source = Partition()
    assert [
        (by_source.place(group(f"{name}.jpg"), source), by_source.number)[1]
        for name, source in zip("abcd", (1, 1, 2, 1), strict=True)
    ] == [0, 0, 1, 2]


def test_how_long_a_key_may_stay() -> None:
    """Eighty plain characters stay as they are; an empty one and one with a slash do not."""
    assert plain_key("k" * 80) == "k" * 80
    assert plain_key("") == ""
    assert "/" not in plain_key("a/b")


@pytest.mark.parametrize(("key", "room"), [("k" * 5, 15), ("k" * 70, 80), ("k" * 75, 80), ("k" * 80, 80)])
def test_the_longest_name_that_fits_a_shard(key: str, room: int) -> None:
    """A hundred bytes, with room for the number of a repeat: the extension has what is left, and not a letter more."""
    for spare, reason in ((0, ""), (1, "unsafe_key")):
        extension = "e" * (99 - room + spare)
        found = Group(key, [("jpg", member("x")), (extension, member("y"))])
        assert judge(found) == reason
