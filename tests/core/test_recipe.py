"""core/recipe.py: a recipe is read whole, or every mistake in it is named."""

from __future__ import annotations

import copy
import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import g3m.recipes
from g3m.core.digest import Digest
from g3m.core.errors import RecipeError, SettingsError
from g3m.core.recipe import READERS, SCHEMES, Listing, Recipe, choose_form, parse, suggest

# tomllib came with Python 3.11
toml = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")

FOLDER = Path(str(g3m.recipes.__file__)).parent
BUILT_IN = sorted(path for path in FOLDER.glob("*.toml") if path.name != "groups.toml")
SHA256 = "sha256:" + "0" * 64

GOOD: dict[str, Any] = {
    "format": 1,
    "name": "toy",
    "title": "A toy",
    "folder": "toy/toy_valid",
    "licence": "CC0",
    "assets": [
        {
            "name": "pictures.zip",
            "places": ["https://a.example/pictures.zip"],
            "size_bytes": 9,
            "digests": [SHA256],
        },
        {"name": "captions.json", "places": ["http://a.example/captions.json"], "digests": [SHA256]},
    ],
    "samples": {"reader": "coco_captions", "images": "pictures.zip/val", "captions": "captions.json"},
    "expect": {"samples": 3, "source": "the page"},
}
LISTED: dict[str, Any] = {
    **{key: value for key, value in GOOD.items() if key != "assets"},
    "samples": {"reader": "shards"},
    "listing": {"repository": "owner/name", "revision": "0" * 40, "include": "a-*.tar"},
}
REMOVE = object()


def changed(path: str, value: object, base: dict[str, Any] = GOOD) -> dict[str, Any]:
    """A copy of a document with the value at a dotted path replaced or removed."""
    document: Any = copy.deepcopy(base)
    *way, last = [int(step) if step.isdecimal() else step for step in path.split(".")]
    table = document
    for step in way:
        table = table[step]
    if value is REMOVE:
        del table[last]
    else:
        table[last] = value
    return document


def problems(document: dict[str, Any]) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        parse(document, file="toy.toml")
    return str(caught.value).splitlines()


@pytest.mark.parametrize("path", BUILT_IN, ids=lambda path: path.stem)
def test_every_built_in_recipe_parses(path: Path) -> None:
    """Each recipe that g3m carries is right, bears its file's name, and speaks both languages."""
    recipe = parse(toml.loads(path.read_text("utf-8")), file=path.name)
    assert recipe.name == path.stem
    assert recipe.terms.strip()
    assert recipe.terms_zh.strip()
    assert recipe.expect.samples
    assert recipe.expect.source
    assert recipe.samples.reader in READERS
    assert recipe.citation.startswith("@")


def test_the_built_in_recipes_are_those_of_the_papers_and_keep_to_their_folders() -> None:
    """The seven datasets are all there, in the folders that the old layout gives them, and groups name only them."""
    recipes = {path.stem: parse(toml.loads(path.read_text("utf-8")), file=path.name) for path in BUILT_IN}
    assert {name: recipe.folder for name, recipe in recipes.items()} == {
        "cc3m": "cc3m/cc3m",
        "cc3m_valid": "cc3m/cc3m_valid",
        "coco": "coco/coco_train",
        "coco_valid": "coco/coco_valid",
        "laion115m": "laion115m/laion115m",
        "openimages_v7_valid": "openimages_v7/openimages_v7_valid",
        "sbu": "sbu/sbu",
    }
    groups = toml.loads((FOLDER / "groups.toml").read_text("utf-8"))["groups"]
    assert {name for members in groups.values() for name in members} <= set(recipes)
    assert groups["g3m"] == ["cc3m", "sbu", "coco"]


def test_the_recorded_digests_of_coco_are_the_published_ones() -> None:
    """The recipe of coco_valid pins the sizes and digests of data-facts, with TLS asked first."""
    recipe = parse(toml.loads((FOLDER / "coco_valid.toml").read_text("utf-8")), file="x")
    pictures, captions = recipe.assets
    assert (pictures.size_bytes, captions.size_bytes) == (815_585_330, 252_907_541)
    assert pictures.digests[0].hex == "4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05"
    assert captions.digests[0].hex == "113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268"
    assert pictures.places[0].startswith("https://")
    assert recipe.samples.captions_digest == Digest(
        "sha256", "afe3b30e403dd7f228e2373023abbd60042a6e10ec6874d3652df034d289ebb9"
    )


def test_the_catalogue_separates_train_and_validation_shards() -> None:
    """The two listings of one repository share no file, so validation cannot leak into training."""
    train, valid = (
        parse(toml.loads((FOLDER / f"{name}.toml").read_text("utf-8")), file=name).listing
        for name in ("cc3m", "cc3m_valid")
    )
    assert train is not None
    assert valid is not None
    assert train.takes("cc3m-train-0000.tar")
    assert not valid.takes("cc3m-train-0000.tar")
    assert valid.takes("cc3m-validation-0015.tar")
    assert not train.takes("cc3m-validation-0015.tar")
    assert not train.takes("_info.json")
    assert not train.takes("CC3M-TRAIN-0000.tar")


def test_a_good_document_becomes_a_recipe() -> None:
    """Everything that the document says stands in the recipe, and what it leaves out has its default."""
    recipe = parse(GOOD, file="toy.toml")
    assert isinstance(recipe, Recipe)
    assert (recipe.name, recipe.title, recipe.folder, recipe.homepage) == (
        "toy",
        "A toy",
        "toy/toy_valid",
        "",
    )
    assert [asset.name for asset in recipe.assets] == ["pictures.zip", "captions.json"]
    assert recipe.assets[0].digests == (Digest.parse(SHA256),)
    assert (recipe.assets[0].size_bytes, recipe.assets[1].size_bytes) == (9, None)
    assert recipe.expect.rejected_fraction == 0.01
    assert recipe.listing is None
    assert parse(LISTED, file="x").listing == Listing(
        repository="owner/name", revision="0" * 40, include="a-*.tar"
    )


MISTAKES: list[tuple[str, object, str]] = [
    ("format", 2, "toy.toml: format: must be 1, found 2; a newer g3m may be needed"),
    ("format", REMOVE, "toy.toml: format: must be 1, found None"),
    ("format", "1", "toy.toml: format: must be a whole number, not str"),
    ("name", REMOVE, "toy.toml: name: is missing"),
    ("name", " ", "toy.toml: name: must not be empty"),
    ("name", "Toy", "toy.toml: name: 'Toy' does not fit"),
    ("name", "../toy", "toy.toml: name: '../toy' does not fit"),
    ("name", "a" * 65, "does not fit"),
    ("name", 7, "toy.toml: name: must be text, not int"),
    ("title", REMOVE, "toy.toml: title: is missing"),
    ("licence", REMOVE, "toy.toml: licence: is missing"),
    ("folder", "/data", "toy.toml: folder: '/data' does not fit"),
    ("folder", "a/../b", "toy.toml: folder: 'a/../b' does not fit"),
    ("folder", "a/", "toy.toml: folder: 'a/' does not fit"),
    ("folder", ".g3m", "toy.toml: folder: '.g3m' does not fit"),
    ("titel", "x", "toy.toml: titel: unknown key; did you mean 'title'?"),
    ("zzzz", 1, "toy.toml: zzzz: unknown key"),
    ("assets", [], "toy.toml: assets: give either [[assets]] or a [listing]"),
    ("assets", {}, "toy.toml: assets: must be a list of tables, not dict"),
    ("assets", ["a.zip"], "toy.toml: assets: must be a list of tables"),
    ("listing", LISTED["listing"], "toy.toml: assets: give either [[assets]] or a [listing]"),
    ("listing", 5, "toy.toml: listing: must be a table, not int"),
    ("assets.0.name", REMOVE, "toy.toml: assets[0].name: is missing"),
    ("assets.0.name", "a/b.zip", "toy.toml: assets[0].name: 'a/b.zip' does not fit"),
    ("assets.0.name", ".hidden", "does not fit"),
    ("assets.0.name", "captions.json", "toy.toml: assets: the name 'captions.json' is used twice"),
    ("assets.0.places", REMOVE, "toy.toml: assets[0].places: name at least one place"),
    ("assets.0.places", [], "toy.toml: assets[0].places: name at least one place"),
    ("assets.0.places", "https://a", "toy.toml: assets[0].places: must be a list of texts, not str"),
    ("assets.0.places", [1], "toy.toml: assets[0].places: must be a list of texts"),
    (
        "assets.0.places",
        ["ftp://a/b"],
        "toy.toml: assets[0].places: 'ftp://a/b' must begin with one of https://",
    ),
    ("assets.0.places", ["/etc/passwd"], "must begin with one of"),
    ("assets.0.places", ["file:///a"], "must begin with one of"),
    ("assets.0.size_bytes", -1, "toy.toml: assets[0].size_bytes: must not be negative"),
    ("assets.0.size_bytes", 1.5, "toy.toml: assets[0].size_bytes: must be a whole number, not float"),
    ("assets.0.size_bytes", True, "toy.toml: assets[0].size_bytes: must be a whole number, not bool"),
    ("assets.0.digests", ["sha1:0"], "toy.toml: assets[0].digests: 'sha1' is not a digest algorithm"),
    ("assets.0.digests", ["sha256:0"], "toy.toml: assets[0].digests: a sha256 digest has 64"),
    ("assets.1.digests", REMOVE, "toy.toml: assets[1].digests: a file from an http:// place needs a digest"),
    (
        "assets.1.digests",
        ["sha256:0"],
        "toy.toml: assets[1].digests: a file from an http:// place needs a digest",
    ),
    ("assets.1.holds", "captions.json", "toy.toml: assets[1].holds: must be a list of texts, not str"),
    ("assets.1.hold", ["x"], "toy.toml: assets[1].hold: unknown key; did you mean 'holds'?"),
    ("assets.1.size", 5, "toy.toml: assets[1].size: unknown key"),
    ("samples", REMOVE, "toy.toml: samples.reader: is missing"),
    ("samples", "coco", "toy.toml: samples: must be a table, not str"),
    ("samples.reader", "coco_caption", "'coco_caption' is not a reader; did you mean 'coco_captions'?"),
    ("samples.reader", "qqq", "toy.toml: samples.reader: 'qqq' is not a reader; known: coco_captions,"),
    ("samples.images", REMOVE, "toy.toml: samples.images: the reader coco_captions needs it"),
    ("samples.captions", REMOVE, "toy.toml: samples.captions: the reader coco_captions needs it"),
    (
        "samples.images",
        "picture.zip/val",
        "toy.toml: samples.images: 'picture.zip' is not an asset of this recipe",
    ),
    ("samples.captions_digest", "md5:x", "toy.toml: samples.captions_digest: a md5 digest has 32"),
    ("samples.image", "x", "toy.toml: samples.image: unknown key; did you mean 'images'?"),
    ("expect.samples", "3", "toy.toml: expect.samples: must be a whole number, not str"),
    ("expect.source", REMOVE, "toy.toml: expect.source: say where the expected count comes from"),
    ("expect.rejected_fraction", 1.5, "toy.toml: expect.rejected_fraction: must be a number from 0 to 1"),
    ("expect.rejected_fraction", float("nan"), "must be a number from 0 to 1"),
    ("expect.rejected_fraction", True, "must be a number from 0 to 1"),
    ("expect.sample", 3, "toy.toml: expect.sample: unknown key; did you mean 'samples'?"),
]


@pytest.mark.parametrize(
    ("path", "value", "words"), MISTAKES, ids=[f"{m[0]}-{n}" for n, m in enumerate(MISTAKES)]
)
def test_each_mistake_has_its_message(path: str, value: object, words: str) -> None:
    """A single mistake gives a line with the file, the key's path and what is wrong or was meant."""
    found = problems(changed(path, value))
    assert any(words in line for line in found)
    assert all(line.startswith("toy.toml: ") for line in found)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("listing.repository", "justname", "listing.repository: 'justname' does not fit"),
        ("listing.revision", "main", "listing.revision: 'main' does not fit"),
        ("listing.revision", REMOVE, "listing.revision: is missing"),
        ("listing.include", REMOVE, "listing.include: is missing"),
        ("listing.includes", "*", "listing.includes: unknown key; did you mean 'include'?"),
    ],
)
def test_a_listing_is_pinned_and_whole(path: str, value: object, words: str) -> None:
    """A listing needs a repository, a full commit (no branch can be pinned) and the names to take."""
    assert any(words in line for line in problems(changed(path, value, LISTED)))


@pytest.mark.parametrize("digests", [["md5:" + "0" * 32], [SHA256], ["git-sha1:" + "0" * 40]])
def test_an_http_place_with_any_digest_is_allowed(digests: list[str]) -> None:
    """What is checked on arrival may come over plain HTTP."""
    assert parse(changed("assets.1.digests", digests), file="x").assets[1].digests


@pytest.mark.parametrize("place", ["https://a/b", "kaggle://owner/slug"])
def test_places_over_tls_need_no_digest(place: str) -> None:
    """Where the line itself is protected, a digest may be unknown."""
    document = changed("assets.1.digests", REMOVE)
    document["assets"][1]["places"] = [place]
    assert parse(document, file="x").assets[1].digests == ()
    document["assets"][1]["places"] = [place, "http://a/b"]
    assert "needs a digest" in problems(document)[0]


@given(st.lists(st.sampled_from(MISTAKES), min_size=2, max_size=6, unique_by=lambda mistake: mistake[0]))
def test_all_problems_are_listed_at_once(mistakes: list[tuple[str, object, str]]) -> None:
    """Mistakes in different places hide one another nowhere: the message has a line for each."""
    leaves = {path for path, _, _ in mistakes}
    apart = [m for m in mistakes if not any(m[0] != o and m[0].startswith(o + ".") for o in leaves)]
    document = copy.deepcopy(GOOD)
    expected = []
    for path, value, words in apart:
        if path in ("assets", "listing", "samples", "expect.source") or path.startswith(
            ("assets.0.name", "samples.")
        ):
            continue  # these change what others mean
        document = changed(path, value, document)
        expected.append(words)
    if expected:
        found = problems(document)
        assert all(any(words in line for line in found) for words in expected)
        assert len(found) >= len(expected)


@pytest.mark.parametrize("document", [{}, {"samples": {}}, {"format": 1, "expect": {}}])
def test_an_empty_document_lists_what_is_needed(document: dict[str, Any]) -> None:
    """From nothing one learns everything that must be said."""
    found = "\n".join(problems(document))
    for key in ("name", "title", "folder", "licence", "samples.reader"):
        assert f"toy.toml: {key}: is missing" in found
    assert "give either [[assets]] or a [listing]" in found


values = st.recursive(
    st.integers() | st.floats() | st.booleans() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from([m[0] for m in MISTAKES]), values)
def test_no_value_anywhere_breaks_the_reading(path: str, value: object) -> None:
    """Whatever stands at a key, the answer is a recipe or a RecipeError that names the file."""
    try:
        assert isinstance(parse(changed(path, value), file="toy.toml"), Recipe)
    except RecipeError as error:
        assert str(error).startswith("toy.toml: ")


@pytest.mark.parametrize(
    "place", ["hub://owner/name/a.tar", "hub://owner/name@main/a.tar", "hub://x", "kaggle://slug"]
)
def test_a_hub_place_is_pinned(place: str) -> None:
    """A hub place without a full commit, or a Kaggle place without owner and slug, is refused as a mistake."""
    assert problems(changed("assets.0.places", [place]))


@pytest.mark.parametrize("place", ["ftp://me:QXZQXZ@a.example/b", "https//a.example/b?sig=QXZQXZ"])
def test_messages_hide_credentials(place: str) -> None:
    """A place that is not usable is named without its password and without its signature."""
    assert "QXZQXZ" not in "".join(problems(changed("assets.0.places", [place])))


def test_a_near_name_is_suggested() -> None:
    """A slip in a dataset's name is answered with the name meant; nonsense with nothing."""
    known = ["coco", "coco_valid", "sbu"]
    assert suggest("coco_vlaid", known) == "; did you mean 'coco_valid'?"
    assert suggest("qqqq", known) == ""
    assert suggest("coco", []) == ""


def test_a_policy_is_read() -> None:
    """Each class of the table is taken with its action, in the order of the classes; without a table there is none."""
    recipe = parse(
        {**GOOD, "policy": {"grayscale": "reject", "trailing": "fix", "bomb": "keep"}}, file="x.toml"
    )
    assert list(recipe.policy.items()) == [("bomb", "keep"), ("trailing", "fix"), ("grayscale", "reject")]
    assert parse(GOOD, file="x.toml").policy == {}


@pytest.mark.parametrize(
    ("policy", "problem"),
    [
        ({"greyscale": "reject"}, "policy.greyscale: unknown key; did you mean 'grayscale'?"),
        ({"cmyk": "drop"}, "policy.cmyk: 'drop' is none of keep, reject, fix"),
        ({"bomb": "fix"}, "policy.bomb: nothing fixes bomb; use keep or reject"),
        ({"no_caption": "keep"}, "policy.no_caption: no_caption cannot be kept: there would be no sample"),
        ({"cmyk": 1}, "policy.cmyk: must be text, not int"),
        ({"cmyk": ""}, "policy.cmyk: must not be empty"),
        (["cmyk"], "policy: must be a table, not list"),
    ],
)
def test_mistakes_in_a_policy_are_named(policy: object, problem: str) -> None:
    """With the key's path, and what would be right."""
    with pytest.raises(RecipeError) as caught:
        parse({**GOOD, "policy": policy}, file="x.toml")
    assert str(caught.value) == f"x.toml: {problem}"


def test_ready_shards_have_no_policy() -> None:
    """They are adopted as they are, so a recipe that says otherwise is wrong."""
    with pytest.raises(RecipeError, match="policy: the reader shards adopts shards as they are"):
        parse({**LISTED, "policy": {"cmyk": "reject"}}, file="x.toml")


# --- lists of URLs, and other sources -------------------------------------------------------------------------------

ROWS: dict[str, Any] = {
    **GOOD,
    "assets": [{"name": "list.json", "places": ["https://a.example/list.json"]}],
    "samples": {"reader": "urls", "url": "link", "caption": "text", "sha256": "hash"},
}
FORMED: dict[str, Any] = {
    **GOOD,
    "forms": {
        "urls": {
            "assets": ROWS["assets"],
            "samples": ROWS["samples"],
            "expect": {"samples": 9, "source": "the list"},
            "terms": "links",
        }
    },
}


def test_a_list_of_urls_has_columns() -> None:
    """The reader urls names the columns of its lists; all of them may be left out."""
    rule = parse(ROWS, file="x").samples
    assert (rule.url, rule.caption, rule.sha256) == ("link", "text", "hash")
    bare = parse(changed("samples", {"reader": "urls"}, ROWS), file="x").samples
    assert (bare.url, bare.caption, bare.sha256) == ("", "", "")
    unsaid = parse(changed("expect", {}, ROWS), file="x"), parse(changed("expect", {}), file="x")
    assert [recipe.expect.rejected_fraction for recipe in unsaid] == [1.0, 0.01]


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("samples.images", "list.json", "samples.images: the reader urls has no use for it"),
        ("samples.captions", "list.json", "samples.captions: the reader urls has no use for it"),
        ("samples.split", "train", "samples.split: the reader urls has no use for it"),
        ("samples.captions_digest", SHA256, "samples.captions_digest: the reader urls has no use for it"),
        ("samples.rul", "x", "samples.rul: unknown key; did you mean 'url'?"),
    ],
)
def test_a_list_has_columns_and_nothing_else(path: str, value: object, words: str) -> None:
    """Keys of other readers are no keys of a list."""
    assert problems(changed(path, value, ROWS)) == [f"toy.toml: {words}"]


def test_other_readers_have_no_columns() -> None:
    """A column with another reader is a mistake, not silently ignored."""
    assert problems(changed("samples.url", "url")) == [
        "toy.toml: samples.url: the reader coco_captions has no use for it"
    ]
    listed = changed("samples", {"reader": "urls"}, LISTED)
    assert problems(listed) == ["toy.toml: listing: the reader urls reads [[assets]]"]


def test_columns_are_facts_only_where_there_are_some() -> None:
    """The identity of every dataset from before there were lists stays what it was."""
    assert set(parse(GOOD, file="x").samples.facts()) == {
        "reader",
        "images",
        "captions",
        "captions_digest",
        "split",
    }
    assert parse(ROWS, file="x").samples.facts()["url"] == "link"


def test_a_form_takes_the_place_of_the_recipes_source() -> None:
    """With --source: its assets, rule, figures and terms; name, folder and licence stay."""
    recipe = parse(FORMED, file="x")
    (formed,) = choose_form([recipe], "urls")
    assert [asset.name for asset in formed.assets] == ["list.json"]
    assert (formed.samples.reader, formed.expect.samples, formed.terms) == ("urls", 9, "links")
    assert (formed.name, formed.folder, formed.licence) == (recipe.name, recipe.folder, recipe.licence)
    assert (recipe.form, formed.form) == ("", "urls")
    assert choose_form([recipe], "") == (recipe,)
    of_rows = parse(ROWS, file="x")
    assert choose_form([of_rows, recipe], "urls") == (of_rows, formed)
    assert choose_form([formed], "urls") == (formed,)


def test_terms_of_the_recipe_are_those_of_a_form_that_has_none() -> None:
    """What is not said anew still holds."""
    recipe = parse({**changed("forms.urls.terms", REMOVE, FORMED), "terms": "whole"}, file="x")
    assert recipe.as_form("urls").terms == "whole"


def test_a_form_of_one_dataset_leaves_the_others_as_they_are() -> None:
    """In a group, those that have no such source are fetched from their own."""
    plain, formed = parse(GOOD, file="x"), parse(FORMED, file="x")
    assert [recipe.form for recipe in choose_form([plain, formed], "urls")] == ["", "urls"]


@pytest.mark.parametrize(
    ("documents", "form", "words"),
    [
        ([FORMED], "url", "--source url: no such source of toy; did you mean 'urls'?"),
        ([FORMED], "xyz", "--source xyz: no such source of toy; known: urls"),
        ([GOOD], "urls", "--source urls: no such source of toy; they have one only"),
    ],
)
def test_a_source_that_nobody_has_is_refused(documents: list[dict[str, Any]], form: str, words: str) -> None:
    """With the name that was meant, or those that there are."""
    with pytest.raises(SettingsError) as caught:
        choose_form([parse(document, file="x") for document in documents], form)
    assert str(caught.value) == words


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("forms.urls", "x", "forms.urls: must be a table, not str"),
        ("forms", ["x"], "forms: must be a table, not list"),
        ("forms.urls.assets", REMOVE, "forms.urls.assets: name at least one"),
        ("forms.urls.samples", REMOVE, "forms.urls.samples.reader: is missing"),
        (
            "forms.urls.samples.reader",
            "url",
            "forms.urls.samples.reader: 'url' is not a reader; did you mean 'urls'?",
        ),
        ("forms.urls.listing", {}, "forms.urls.listing: unknown key"),
        ("forms.urls.expect.samples", "9", "forms.urls.expect.samples: must be a whole number, not str"),
        ("forms.Urls", FORMED["forms"]["urls"], "forms.Urls: the name does not fit [a-z0-9][a-z0-9_-]{0,31}"),
    ],
)
def test_mistakes_in_a_form_have_their_path(path: str, value: object, words: str) -> None:
    """A form is read as strictly as the recipe around it."""
    assert f"toy.toml: {words}" in problems(changed(path, value, FORMED))


def test_the_list_of_sbu_is_pinned() -> None:
    """SBU's other source has the digest that torchvision has, and says what is left of its links."""
    recipe = parse(toml.loads((FOLDER / "sbu.toml").read_text("utf-8")), file="x").as_form("urls")
    (asset,) = recipe.assets
    assert str(asset.digests[0]) == "md5:9aec147b3488753cf758b4d493422285"
    assert recipe.expect.samples == 1_000_000
    assert recipe.expect.rejected_fraction == 1.0
    assert "403" in recipe.terms
    assert "403" in recipe.terms_zh


def test_where_files_may_be_fetched_from() -> None:
    """The four kinds of places."""
    assert SCHEMES == ("https://", "http://", "hub://", "kaggle://")
