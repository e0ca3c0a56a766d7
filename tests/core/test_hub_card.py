"""core/hub_card.py: front matter that YAML readers read back, and words of the hub's own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml

from g3m.core.errors import UsageError
from g3m.core.hub_card import hub_card, licence_id, patterns, size_category
from g3m.core.neighbours import Part
from g3m.core.shard import ShardSummary

TOY = Part(
    name="toy",
    place="/data/toy/toy",
    folder="toy/toy",
    shards=(
        ShardSummary("00000.tar", 700, 10_240, "a" * 64),
        ShardSummary("00001.tar", 400, 10_240, "b" * 64),
    ),
    title='A "toy": #1',
    licence="CC BY 4.0",
    terms="Be kind.",
    citation="@x",
)
VALID = replace(TOY, name="toy_valid", place="/data/v", split="validation", fields=("png", "txt"))


def front(*parts: Part) -> dict[str, Any]:
    text = hub_card(parts, [patterns(part, "/data", True) for part in parts])
    return dict(yaml.safe_load(text.split("---\n")[1]))


def test_one_dataset_is_one_configuration() -> None:
    """Its split, its files, its count."""
    assert front(TOY)["configs"] == [
        {"config_name": "toy", "data_files": [{"split": "train", "path": ["toy/toy/*.tar"]}]}
    ]
    assert front(TOY)["dataset_info"] == [
        {"config_name": "toy", "splits": [{"name": "train", "num_examples": 1100}]}
    ]
    assert front(TOY)["pretty_name"] == 'A "toy": #1'


def test_several_have_one_with_everything_that_is_the_default() -> None:
    """Its columns are stated, because pictures of the two have different extensions."""
    body = front(TOY, VALID)
    names = [(one["config_name"], one.get("default", False)) for one in body["configs"]]
    assert names == [("all", True), ("toy", False), ("toy_valid", False)]
    assert [one["split"] for one in body["configs"][0]["data_files"]] == ["train", "validation"]
    columns = {one["name"]: one["dtype"] for one in body["dataset_info"][0]["features"]}
    assert columns == {
        "jpg": "image",
        "png": "image",
        "txt": "string",
        "__key__": "string",
        "__url__": "string",
    }
    assert [one["config_name"] for one in body["dataset_info"]] == ["all", "toy", "toy_valid"]


def test_a_dataset_that_is_called_all_stays_alone_in_its_name() -> None:
    """No configuration of that name is made beside it."""
    names = [one["config_name"] for one in front(replace(TOY, name="all"), VALID)["configs"]]
    assert names == ["all", "toy_valid"]


@pytest.mark.parametrize(
    ("stated", "known"),
    [
        (["CC BY 4.0"], "cc-by-4.0"),
        (["CC BY 4.0", "CC BY 4.0"], "cc-by-4.0"),
        (["CC BY 4.0", "CC0"], "other"),
        (["captions CC BY 4.0; pictures under other licences"], "other"),
        (["none found: nobody states one"], "unknown"),
        (["none found", "CC0"], "other"),
        ([""], "unknown"),
    ],
)
def test_a_licence_is_named_only_where_it_is_the_whole_statement(stated: list[str], known: str) -> None:
    """An identifier must not promise more than the owner said."""
    assert licence_id([replace(TOY, licence=text) for text in stated]) == known


@pytest.mark.parametrize(
    ("samples", "word"),
    [
        (0, "n<1K"), (1000, "1K<n<10K"), (9999, "1K<n<10K"), (10_000, "10K<n<100K"), (999_999, "100K<n<1M"),
        (3_645_221, "1M<n<10M"), (10**9, "1B<n<10B"), (10**12, "n>1T"),
    ],
)  # fmt: skip
def test_sizes_have_the_hubs_words(samples: int, word: str) -> None:
    """By powers of ten."""
    assert size_category(samples) == word


def test_files_are_a_pattern_where_nothing_else_lies_there() -> None:
    """Otherwise each shard is named; signs of patterns in names are escaped."""
    odd = replace(TOY, place="/data/a [x]*")
    assert patterns(odd, "/data", True) == ["a [[]x][*]/*.tar"]
    assert patterns(odd, "/data", False) == ["a [[]x][*]/00000.tar", "a [[]x][*]/00001.tar"]
    assert patterns(TOY, "/data/toy/toy", True) == ["*.tar"]
    assert patterns(TOY, "/other", True) == ["/data/toy/toy/*.tar"]
    with pytest.raises(UsageError, match="control character"):
        patterns(replace(TOY, place="/a\nb"), "/", True)
    with pytest.raises(UsageError, match="cannot read a folder"):
        patterns(replace(TOY, place="/da[t]a/toy"), "/da[t]a", True)


def test_the_page_has_licence_terms_and_citation_of_each() -> None:
    """What a person must know before using the data."""
    text = hub_card([TOY, VALID], [["a"], ["b"]])
    for line in ("## toy", "## toy_valid", "Licence: CC BY 4.0", "Be kind.", "@x"):
        assert line in text.splitlines()
    assert "| toy | train | 1100 | 2 | 20480 | CC BY 4.0 |" in text


@pytest.mark.parametrize(
    ("stated", "known"),
    [("CC0", "cc0-1.0"), ("CC0 1.0", "cc0-1.0"), ("CC BY 2.0", "cc-by-2.0"), ("CC BY 4.0", "cc-by-4.0"), ("CC BY-SA 4.0", "cc-by-sa-4.0"),
     ("CC BY-NC 4.0", "cc-by-nc-4.0"), ("MIT", "mit"), ("Apache-2.0", "apache-2.0"), (" MIT ", "mit"), ("", "unknown"),
     ("Unknown", "unknown"), ("CC BY-NC 2.0", "other")],
)  # fmt: skip
def test_names_of_licences(stated: str, known: str) -> None:
    """Each name that a recipe may state has the hub's word for it, blanks around it or not."""
    assert licence_id([replace(TOY, licence=stated)]) == known


def test_every_size_has_a_word() -> None:
    """From a thousand on each power of ten begins another word, up to a trillion."""
    words = [size_category(10**digits) for digits in range(3, 13)]
    assert words == [f"{low}<n<{high}" for low, high in zip(
        ["1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B"],
        ["10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T"], strict=True,
    )] + ["n>1T"]  # fmt: skip
    assert [size_category(10**digits - 1) for digits in range(4, 13)] == words[:-1]
    assert size_category(999) == "n<1K"


def test_the_page_of_one_dataset() -> None:
    """Every line of it, so that none goes missing; what is not known is left out, but for the licence."""
    page = hub_card([TOY], [["a"]]).partition("\n---\n\n")[2]
    bare = replace(TOY, title="", homepage="", licence="", terms="", citation="")
    assert page.splitlines() == [
        "# toy", "", "WebDataset shards of pictures with captions, packed by g3m. Loads with",
        "`datasets.load_dataset(FOLDER, NAME)`; names and splits:", "", "| name | split | samples | shards | bytes | licence |",
        "| --- | --- | --: | --: | --: | --- |", "| toy | train | 1100 | 2 | 20480 | CC BY 4.0 |", "", "## toy", "",
        TOY.title, "", *([f"Homepage: {TOY.homepage}", ""] if TOY.homepage else []), "Licence: CC BY 4.0", "", TOY.terms, "",
        "```bibtex", TOY.citation, "```",
    ]  # fmt: skip
    assert (
        "Homepage: https://h.example"
        in hub_card([replace(TOY, homepage="https://h.example")], [["a"]]).splitlines()
    )
    lines = hub_card([bare], [["a"]]).partition("## toy\n")[2].splitlines()
    assert lines == ["", "Licence: none stated"]
    assert hub_card([TOY], [["a"]]).endswith("```\n")
