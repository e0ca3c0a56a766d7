"""core/digest.py: digests as values, and one pass that computes several."""

from __future__ import annotations

import hashlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.core.digest import STRENGTH, Digest, Hasher, disagreement, of_bytes, strongest

LENGTHS = {"sha256": 64, "git-sha1": 40, "md5": 32}
digests = st.sampled_from(sorted(LENGTHS)).flatmap(
    lambda name: st.text("0123456789abcdef", min_size=LENGTHS[name], max_size=LENGTHS[name]).map(
        lambda value: Digest(name, value)
    )
)


@given(digests)
def test_text_and_value_are_the_same(digest: Digest) -> None:
    """What `str` writes, `parse` reads."""
    assert Digest.parse(str(digest)) == digest


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not a digest algorithm"),
        ("0" * 64, "is not a digest algorithm"),
        ("sha1:" + "0" * 40, "use sha256, md5, git-sha1"),
        ("SHA256:" + "0" * 64, "is not a digest algorithm"),
        ("sha256:" + "0" * 63, "64 lower-case hexadecimal digits"),
        ("sha256:" + "0" * 65, "64 lower-case hexadecimal digits"),
        ("sha256:" + "A" * 64, "64 lower-case hexadecimal digits"),
        ("sha256:" + "0" * 64 + "\n", "64 lower-case hexadecimal digits"),
        ("sha256: " + "0" * 63, "64 lower-case hexadecimal digits"),
        ("md5:sha256:" + "0" * 64, "32 lower-case hexadecimal digits"),
        ("md5:" + "0" * 64, "32 lower-case hexadecimal digits"),
        ("git-sha1:" + "g" * 40, "40 lower-case hexadecimal digits"),
        ("md5:" + "٠" * 32, "32 lower-case hexadecimal digits"),
    ],
)
def test_mistakes_are_explained(text: str, words: str) -> None:
    """A digest of another algorithm, length, case or script is refused with the rule it breaks."""
    with pytest.raises(ValueError, match=words):
        Digest.parse(text)


@given(st.lists(digests, max_size=5))
def test_the_strongest_comes_from_the_best_algorithm(found: list[Digest]) -> None:
    """sha256 is preferred to git-sha1, that to md5, and no digests give none."""
    best = strongest(found)
    if not found:
        assert best is None
    else:
        assert best in found
        assert best.algorithm == next(
            name for name in STRENGTH if name in {digest.algorithm for digest in found}
        )


@given(st.lists(st.binary(max_size=50), max_size=5), st.sets(st.sampled_from([*LENGTHS, "crc32"])))
def test_one_pass_gives_what_single_passes_give(chunks: list[bytes], wanted: set[str]) -> None:
    """However the stream is cut, each digest is that of the whole; sha256 is always there and comes first."""
    whole = b"".join(chunks)
    hasher = Hasher(wanted, size_bytes=len(whole))
    for chunk in chunks:
        hasher.update(memoryview(chunk))
    expected = {"sha256": hashlib.sha256(whole).hexdigest()}
    if "git-sha1" in wanted:
        expected["git-sha1"] = hashlib.sha1(b"blob %d\0" % len(whole) + whole).hexdigest()
    if "md5" in wanted:
        expected["md5"] = hashlib.md5(whole).hexdigest()
    assert [(digest.algorithm, digest.hex) for digest in hasher.digests()] == list(expected.items())
    assert hasher.size_bytes == len(whole)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"", "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"),
        (b"hello world\n", "3b18e512dba79e4c8300dd08aeb37f8e728b8dad"),
    ],
)
def test_git_sha1_is_the_name_that_git_gives(content: bytes, name: str) -> None:
    """The blob hash equals that of `git hash-object`."""
    hasher = Hasher(["git-sha1"], size_bytes=len(content))
    hasher.update(content)
    assert Digest("git-sha1", name) in hasher.digests()


def test_git_sha1_needs_the_size_beforehand() -> None:
    """Without the size there is no blob hash, and nothing is invented."""
    assert [digest.algorithm for digest in Hasher(["git-sha1", "md5"]).digests()] == ["sha256", "md5"]


@given(st.binary(max_size=40), st.binary(min_size=1, max_size=40))
def test_a_copy_goes_its_own_way(first: bytes, second: bytes) -> None:
    """A copied hasher starts from the same state, and updating either leaves the other alone."""
    hasher = Hasher(["md5", "git-sha1"], size_bytes=len(first))
    hasher.update(first)
    before = hasher.digests()
    twin = hasher.copy()
    assert (twin.digests(), twin.size_bytes) == (before, hasher.size_bytes)
    twin.update(second)
    assert hasher.digests() == before
    assert (twin.size_bytes, hasher.size_bytes) == (len(first + second), len(first))
    assert of_bytes(first + second) in twin.digests()


@given(
    st.lists(digests, max_size=4), st.lists(digests, max_size=4, unique_by=lambda digest: digest.algorithm)
)
def test_disagreement_needs_the_same_algorithm(expected: list[Digest], actual: list[Digest]) -> None:
    """A pair is reported exactly if an expected digest and the measured one of its algorithm differ."""
    pairs = [
        (wanted, found)
        for wanted, found in itertools.product(expected, actual)
        if wanted.algorithm == found.algorithm and wanted != found
    ]
    assert disagreement(expected, actual) == (pairs[0] if pairs else None)


def test_one_bad_digest_among_good_ones_is_found() -> None:
    """A right md5 does not cover for a wrong sha256."""
    hasher = Hasher(["md5"])
    hasher.update(b"abc")
    sha256, md5 = hasher.digests()
    wrong = Digest("sha256", "0" * 64)
    assert disagreement([md5, wrong], hasher.digests()) == (wrong, sha256)
    assert disagreement([md5, sha256], hasher.digests()) is None


@given(st.binary(max_size=60))
def test_small_documents_have_their_sha256(data: bytes) -> None:
    """`of_bytes` is sha256."""
    assert of_bytes(data) == Digest("sha256", hashlib.sha256(data).hexdigest())
