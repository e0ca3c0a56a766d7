"""core/receipt.py: proofs that can be read again, and never trusted when they cannot."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.core.digest import Digest
from g3m.core.members import refuse_name
from g3m.core.receipt import (
    FORMAT,
    NOTES,
    Arrangement,
    AssetReceipt,
    Manifest,
    PlannedShard,
    ShardReceipt,
    add_counts,
    add_findings,
    arrangement,
    asset_receipt,
    count_findings,
    count_reasons,
    latest_reasons,
    manifest,
    shard_receipt,
    to_json,
)
from g3m.core.shard import ShardSummary
from g3m.core.treatment import CLASSES, Resize, Treatment

Document = AssetReceipt | Arrangement | ShardReceipt | Manifest
READERS: dict[type, Callable[[str], Document | None]] = {
    AssetReceipt: asset_receipt,
    Arrangement: arrangement,
    ShardReceipt: shard_receipt,
    Manifest: manifest,
}

texts = st.text(max_size=8)
names = texts.filter(lambda name: not refuse_name(name))
"""What may be joined to a path."""
numbers = st.integers(0, 2**45)
counts = st.dictionaries(texts, numbers, max_size=3)
digests = st.lists(
    st.builds(Digest, st.just("sha256"), st.text("0123456789abcdef", min_size=64, max_size=64))
    | st.builds(Digest, st.just("md5"), st.text("0123456789abcdef", min_size=32, max_size=32)),
    max_size=2,
).map(tuple)
assets = st.builds(
    AssetReceipt, id=names, name=texts, size_bytes=numbers, digests=digests, proof=texts, path=texts
)
summaries = st.builds(ShardSummary, names, numbers, numbers, texts)
rejected = st.lists(st.tuples(texts, texts, texts), max_size=3).map(tuple)
arrangements = st.builds(
    Arrangement,
    identity=texts,
    sources=st.dictionaries(texts, texts, max_size=3),
    shards=st.lists(
        st.builds(PlannedShard, name=names, offset_bytes=numbers, samples=numbers), max_size=3
    ).map(tuple),
    list_size_bytes=numbers,
    rejected=rejected,
    form=texts,
    notes=counts,
)
shard_receipts = st.builds(
    ShardReceipt, identity=texts, shard=summaries, rejected=rejected, notes=counts, findings=rejected
)
treatments = st.builds(
    Treatment,
    policy=st.sampled_from([{}, {"cmyk": "reject"}, {"truncated": "reject", "orientation": "reject"}]),
    resize=st.none()
    | st.builds(Resize, size=st.integers(1, 9), mode=st.sampled_from(["border", "keep_ratio"])),
)
manifests = st.builds(
    Manifest,
    dataset=names,
    title=texts,
    folder=names,
    identity=texts,
    parity=st.sampled_from(["none", "nxtp"]),
    licence=texts,
    homepage=texts,
    assets=st.lists(assets, max_size=2).map(tuple),
    shards=st.lists(summaries, max_size=3).map(tuple),
    rejected=counts,
    notes=counts,
    expected_samples=st.none() | numbers,
    expected_source=texts,
    form=texts,
    treatment=treatments,
    findings=st.none() | st.dictionaries(texts, counts, max_size=2),
)
documents = st.one_of(assets, arrangements, shard_receipts, manifests)

EXAMPLES: list[Document] = [
    AssetReceipt(id="0123", name="a.zip", size_bytes=5, digests=(Digest("md5", "0" * 32),), proof="recipe"),
    Arrangement(
        identity="id",
        sources={"a.zip": "asset:0123"},
        shards=(PlannedShard(name="00000.tar", offset_bytes=0, samples=2),),
        list_size_bytes=99,
        rejected=(("k", "no_caption", "a.jpg"),),
    ),
    ShardReceipt(
        identity="id",
        shard=ShardSummary("00000.tar", 2, 10240, "f" * 64),
        notes={"gray": 1},
        findings=(("k", "cmyk", "fixed"),),
    ),
    Manifest(
        dataset="toy",
        title="t",
        folder="toy/toy",
        identity="id",
        parity="none",
        licence="CC0",
        homepage="",
        assets=(AssetReceipt(id="0", name="a", size_bytes=5, digests=(), proof="first use"),),
        shards=(ShardSummary("00000.tar", 2, 10240, "f" * 64), ShardSummary("00001.tar", 3, 20480, "e" * 64)),
        rejected={"no_caption": 1},
        notes={"overwritten": 1},
        treatment=Treatment(policy={"cmyk": "fix"}, resize=Resize(size=9), quality=80),
        findings={"cmyk": {"fixed": 1}},
    ),
]

OPTIONAL = ("check", "path", "form", "expected_samples", "expected_source", "samples", "size_bytes", "seen")
LATER = {"Arrangement": ("notes",), "ShardReceipt": ("findings",), "Manifest": ("treatment", "findings")}
"""What documents of earlier versions do not have."""


@given(documents)
def test_documents_are_read_as_they_were_written(document: Document) -> None:
    """Each document comes back equal through its JSON, the same text each time, and as no other kind."""
    text = to_json(document)
    assert text.endswith("}\n")
    assert to_json(document) == text
    for kind, reader in READERS.items():
        assert reader(text) == (document if kind is type(document) else None)


@given(documents, st.data())
def test_a_cut_document_is_absent(document: Document, data: st.DataObject) -> None:
    """A document that was written in part is as good as none."""
    text = to_json(document)
    cut = data.draw(st.integers(0, len(text) - 3))
    assert READERS[type(document)](text[:cut]) is None


@given(documents, st.data(), st.text(max_size=5))
def test_no_damage_raises(document: Document, data: st.DataObject, patch: str) -> None:
    """Any stretch of the text replaced by anything: the answer is a document or None, never an exception."""
    text = to_json(document)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 20)))
    for reader in READERS.values():
        found = reader(text[:start] + patch + text[end:])
        assert found is None or isinstance(found, type(document))


@given(st.text(max_size=40) | st.binary(max_size=40).map(lambda data: data.decode("latin-1")))
def test_foreign_text_is_no_receipt(text: str) -> None:
    """A file that is something else counts as absent."""
    assert [reader(text) for reader in READERS.values()] == [None] * 4


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, '{"format": ' + "9" * 5000 + "}"])
def test_a_bottomless_text_is_no_receipt(text: str) -> None:
    """Nesting or numbers beyond Python's limits count as absent, too."""
    assert [reader(text) for reader in READERS.values()] == [None] * 4


def paths(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to each value inside a JSON document."""
    found = [way] if way else []
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in pairs:
        found += paths(inner, (*way, step))
    return found


def with_value(body: Any, way: tuple[Any, ...], value: Any) -> str:
    *steps, last = way
    place = body
    for step in steps:
        place = place[step]
    place[last] = value
    return json.dumps(body)


PLACES = [
    (number, way) for number, document in enumerate(EXAMPLES) for way in paths(json.loads(to_json(document)))
]


@pytest.mark.parametrize("value", [None, -1, 1.5, True, "x", [], {}, [[]], [{}], {"a": None}], ids=repr)
def test_no_wrong_value_raises(value: Any) -> None:
    """Whatever stands in place of any value of any document, reading it raises nothing."""
    for number, way in PLACES:
        text = with_value(json.loads(to_json(EXAMPLES[number])), way, value)
        for reader in READERS.values():
            found = reader(text)
            assert found is None or isinstance(found, type(EXAMPLES[number]))


def test_endless_numbers_are_no_receipt() -> None:
    """Infinity, which Python's json reads, is no size."""
    for number, way in PLACES:
        text = with_value(json.loads(to_json(EXAMPLES[number])), way, float("inf"))
        READERS[type(EXAMPLES[number])](text)


@pytest.mark.parametrize("value", ["5", None, 1.5, [], {}, -1, 2**63], ids=repr)
def test_a_count_that_is_no_whole_number_makes_a_receipt_absent(value: Any) -> None:
    """Sizes and counts are whole numbers: a receipt with another type there is not trusted."""
    for number, way in PLACES:
        if way[-1] in ("size_bytes", "samples", "offset_bytes", "list_size_bytes") and (number, len(way)) != (
            3,
            1,
        ):
            text = with_value(json.loads(to_json(EXAMPLES[number])), way, value)
            assert READERS[type(EXAMPLES[number])](text) is None, (way, text)


@pytest.mark.parametrize(
    "digest", [{"algorithm": "sha1", "hex": "0" * 40}, {"algorithm": "md5", "hex": "zz"}]
)
def test_a_digest_that_cannot_be_makes_a_receipt_absent(digest: dict[str, str]) -> None:
    """A digest is checked as a recipe's is: else it would raise where it is compared, much later."""
    body = json.loads(to_json(EXAMPLES[0]))
    assert asset_receipt(with_value(body, ("digests",), [digest])) is None


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_other_formats_and_kinds_are_absent(number: int) -> None:
    """A document of another format number, without one, or of another kind is not guessed at."""
    document = EXAMPLES[number]
    read = READERS[type(document)]
    body = json.loads(to_json(document))
    assert read(json.dumps(body)) == document
    for key, value in (("format", 2), ("format", "1"), ("format", None), ("kind", "Other"), ("kind", None)):
        assert read(json.dumps({**body, key: value})) is None
    for key in ("format", "kind"):
        assert read(json.dumps({name: value for name, value in body.items() if name != key})) is None


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_required_keys_are_required(number: int) -> None:
    """Without any key that has no default the document is absent."""
    document = EXAMPLES[number]
    body = json.loads(to_json(document))
    for way in [way for place, way in PLACES if place == number and len(way) == 1]:
        optional = way[0] in (*OPTIONAL, *LATER.get(body["kind"], ()))
        if not optional or (way[0] == "size_bytes" and number == 0):
            text = json.dumps({name: value for name, value in body.items() if name != way[0]})
            assert READERS[type(document)](text) is None, way


def test_documents_of_earlier_versions_are_read() -> None:
    """Without what was added later they are as before: treated by the default, and nothing is said of findings."""
    plain = [json.loads(to_json(document)) for document in EXAMPLES[1:]]
    for body in plain:
        for name in LATER[body["kind"]]:
            del body[name]
    arranged, shard, whole = (
        READERS[type(document)](json.dumps(body)) for document, body in zip(EXAMPLES[1:], plain, strict=True)
    )
    assert isinstance(arranged, Arrangement)
    assert arranged.notes == {}
    assert isinstance(shard, ShardReceipt)
    assert shard.findings == ()
    assert isinstance(whole, Manifest)
    assert (whole.treatment, whole.findings) == (Treatment(), None)


@pytest.mark.parametrize(
    "treatment", [{"policy": {"cmyk": "burn"}}, {"policy": 3}, {"resize": [1]}, {"quality": "x"}, 5]
)
def test_a_treatment_that_cannot_be_makes_a_manifest_absent(treatment: Any) -> None:
    """What the pictures were treated with decides how shards are made again, so it is not guessed at."""
    body = json.loads(to_json(EXAMPLES[3]))
    assert manifest(json.dumps({**body, "treatment": treatment})) is None


def test_names_of_any_script_can_be_written() -> None:
    """A rejected name with lone surrogates, as a caption file may hold it, gives a text that a file can take."""
    odd = ShardReceipt(
        identity="id",
        shard=ShardSummary("0.tar", 1, 1, "f"),
        rejected=(("k", "missing_image", "\ud800漢.jpg"),),
    )
    text = to_json(odd)
    assert "漢" in text or "\\u6f22" in text
    assert shard_receipt(text.encode("utf-8").decode("utf-8")) is not None


def test_documents_hold_no_times_and_read_well() -> None:
    """The text is indented, in a fixed order, says format and kind first, and keeps other scripts readable."""
    text = to_json(AssetReceipt(id="1", name="漢.zip", size_bytes=5, digests=(), proof="hub"))
    assert text.startswith('{\n "format": 1,\n "kind": "AssetReceipt",\n "id": "1",\n "name": "漢.zip",')


def test_a_manifest_adds_up() -> None:
    """Samples and bytes are those of the shards, also in its JSON, where a reader's copy is not believed."""
    document = EXAMPLES[3]
    assert isinstance(document, Manifest)
    assert (document.samples, document.size_bytes) == (5, 30720)
    body = json.loads(to_json(document))
    assert (body["samples"], body["size_bytes"], body["seen"]) == (5, 30720, 7)
    read = manifest(json.dumps({**body, "samples": 999}))
    assert read == document
    assert isinstance(EXAMPLES[1], Arrangement)
    assert EXAMPLES[1].samples == 2


@given(rejected)
def test_reasons_are_counted(items: tuple[tuple[str, str, str], ...]) -> None:
    """Every rejected sample counts once for its reason, and reasons stand in order."""
    found = count_reasons(items)
    assert sum(found.values()) == len(items)
    assert list(found) == sorted({reason for _, reason, _ in items})
    assert all(found[name] == [reason for _, reason, _ in items].count(name) for name in found)


def test_seen_is_packed_left_out_and_overwritten() -> None:
    """Files that belong to no sample stand among those left out and are no samples."""
    document = EXAMPLES[3]
    assert isinstance(document, Manifest)
    strays = replace(document, rejected={"not_a_file": 2, "no_caption": 1}, notes={"stray_files": 2})
    assert (document.left_out, document.seen) == (1, 7)
    assert (strays.left_out, strays.seen) == (1, 6)


@given(
    st.lists(
        st.lists(st.tuples(texts, st.sampled_from([*CLASSES, "zebra"]), st.sampled_from(["kept", "fixed"])))
    )
)
def test_findings_are_counted(parts: list[list[tuple[str, str, str]]]) -> None:
    """Every finding counts once, by class and by what was done; the gravest class stands first."""
    found = count_findings(parts)
    rows = [row for part in parts for row in part]
    assert sum(sum(counts.values()) for counts in found.values()) == len(rows)
    assert all(
        found[name][done] == [(n, d) for _, n, d in rows].count((name, done))
        for name in found
        for done in found[name]
    )
    assert list(found) == sorted(found, key=[*CLASSES, "zebra"].index)


@given(st.lists(counts, max_size=4))
def test_counts_are_added_by_name(parts: list[dict[str, int]]) -> None:
    """The sum has each name once, in order, and leaves its parts alone."""
    before = [dict(part) for part in parts]
    total = add_counts(parts)
    assert total == {name: sum(part.get(name, 0) for part in parts) for name in sorted(set().union(*parts))}
    assert list(total) == sorted(total)
    assert parts == before


@pytest.mark.parametrize("name", ["../../x", "/etc/x", "a/../../x", "..", "C:x", "a\\..\\x", "", "a\0"])
def test_a_name_that_leads_elsewhere_makes_a_document_absent(name: str) -> None:
    """Names of shards, datasets, folders and assets are joined to paths below the root: none may lead out of it."""
    asset, arranged, receipt, whole = EXAMPLES
    assert isinstance(whole, Manifest)
    assert isinstance(arranged, Arrangement)
    assert isinstance(receipt, ShardReceipt)
    assert isinstance(asset, AssetReceipt)
    shard = replace(receipt.shard, name=name)
    for document in (
        replace(asset, id=name),
        replace(arranged, shards=(replace(arranged.shards[0], name=name),)),
        replace(receipt, shard=shard),
        replace(whole, shards=(shard,)),
        replace(whole, dataset=name),
        replace(whole, folder=name),
        replace(whole, assets=(replace(whole.assets[0], id=name),)),
    ):
        assert READERS[type(document)](to_json(document)) is None


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_one_wrong_bit_makes_a_receipt_absent(number: int) -> None:
    """Or it says the same; a receipt of before, without a checksum, is read. A manifest may be edited by hand."""
    document = EXAMPLES[number]
    read, text = READERS[type(document)], to_json(document)
    if isinstance(document, Manifest):
        assert read(text.replace('"licence": "', '"licence": "no ')) not in (None, document)
        return
    data = text.encode()
    for bit in range(8 * len(data)):
        made = bytearray(data)
        made[bit // 8] ^= 1 << bit % 8
        try:
            assert read(made.decode()) in (None, document)
        except UnicodeDecodeError:
            continue
    old = {name: value for name, value in json.loads(text).items() if name != "check"}
    assert read(json.dumps(old)) == document


TEXTS = {
    0: [("id",), ("name",), ("proof",), ("path",)],
    1: [("shards", 0, "name")],
    2: [("shard", "name"), ("shard", "sha256")],
    3: [
        (name,)
        for name in (
            "dataset",
            "title",
            "folder",
            "identity",
            "parity",
            "licence",
            "homepage",
            "expected_source",
            "form",
        )
    ],
}


@pytest.mark.parametrize("value", [5, None, True, ["a"], {}], ids=repr)
def test_a_text_that_is_none_makes_a_document_absent(value: Any) -> None:
    """Names, digests and words are texts: a document with another type there is not trusted."""
    for number, ways in TEXTS.items():
        for way in ways:
            body = json.loads(to_json(EXAMPLES[number]))
            body.pop("check", None)
            assert READERS[type(EXAMPLES[number])](with_value(body, way, value)) is None, way


def test_the_first_documents_are_of_these_sizes() -> None:
    """What is not said of an asset, a manifest or a shard is empty; the notes have these names."""
    assert AssetReceipt(id="1", name="a", size_bytes=5, digests=(), proof="hub").path == ""
    arranged, receipt, whole = EXAMPLES[1:]
    assert isinstance(arranged, Arrangement)
    assert isinstance(receipt, ShardReceipt)
    assert isinstance(whole, Manifest)
    assert (arranged.form, whole.form, whole.expected_source, whole.expected_samples) == ("", "", "", None)
    assert FORMAT == 1
    assert set(NOTES) == {"stray_files", "overwritten", "renamed_keys", "rewritten_shard", "from_peer"}


def test_a_shard_of_rows_counts_and_names_nobody() -> None:
    """Its counts are written where there are any, are read back, and are added to what was named."""
    plain = ShardReceipt(identity="id", shard=ShardSummary("0.tar", 1, 1, "f"), rejected=(("k", "gone", ""),))
    rows = replace(
        plain, reasons={"gone": 2, "dead": 1}, again={"dead": 4}, found={"cmyk": {"kept": 3, "fixed": 1}}
    )
    assert not {"reasons", "again", "found"} & set(json.loads(to_json(plain)))
    assert json.loads(to_json(plain))["notes"] == {}
    assert shard_receipt(to_json(rows)) == rows
    assert (plain.left_out, rows.left_out) == ({"gone": 1}, {"dead": 1, "gone": 3})


def test_what_was_said_before_is_taken_back() -> None:
    """Rows that were tried again count by their latest reason; what comes to nothing is left out."""
    shard = ShardSummary("0.tar", 1, 1, "f")
    receipts = [
        ShardReceipt(identity="id", shard=shard, reasons={"timeout": 5, "gone": 2, "bad": 1}),
        ShardReceipt(identity="id", shard=shard, reasons={"gone": 1}, again={"timeout": 5}),
    ]
    found = latest_reasons(receipts)
    assert found == {"bad": 1, "gone": 3}
    assert list(found) == ["bad", "gone"]


def test_findings_are_added_up_in_order() -> None:
    """Classes from the gravest on, unknown ones behind by name; within a class by what was done."""
    first, second = list(CLASSES)[:2]
    parts = [
        {"zebra": {"kept": 1}, second: {"kept": 2, "fixed": 1}},
        {first: {"kept": 1}, second: {"kept": 3}, "aaa": {"kept": 1}},
    ]
    found = add_findings(parts)
    assert found == {
        first: {"kept": 1},
        second: {"fixed": 1, "kept": 5},
        "aaa": {"kept": 1},
        "zebra": {"kept": 1},
    }
    assert list(found) == [first, second, "aaa", "zebra"]
    counted = count_findings(
        [
            [("k", "zebra", "kept"), ("k", "aaa", "kept")],
            [("k", second, "kept"), ("k", second, "fixed"), ("k", first, "kept")],
        ]
    )
    assert list(counted) == [first, second, "aaa", "zebra"]
    assert list(counted[second]) == ["fixed", "kept"]


def test_only_a_manifest_has_sums() -> None:
    """Samples and bytes of all shards stand in a manifest; its treatment is written as settings say it; no other has them."""
    bodies = [json.loads(to_json(document)) for document in EXAMPLES]
    assert ["seen" in body for body in bodies] == [False, False, False, True]
    assert ["samples" in body for body in bodies] == [False, False, False, True]
    assert bodies[3]["treatment"] == EXAMPLES[3].treatment.to_dict()  # type: ignore[union-attr]
    assert ["check" in body for body in bodies] == [True, True, True, False]


def test_the_largest_number_of_a_document() -> None:
    """What 63 bits hold is a size, one more is none."""
    body = json.loads(to_json(EXAMPLES[0]))
    del body["check"]
    assert asset_receipt(with_value(body, ("size_bytes",), 2**63 - 1)) is not None
    assert asset_receipt(with_value(body, ("size_bytes",), 2**63)) is None
