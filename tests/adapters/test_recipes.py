"""adapters/recipes.py: names lead to recipes, the user's own first, and mistakes are found where they stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from g3m.adapters.recipes import Recipes, builtin_files, read_recipe, read_toml
from g3m.core.errors import RecipeError, UnknownDataset

PAPER = {"cc3m", "cc3m_valid", "coco", "coco_valid", "openimages_v7_valid", "sbu"}
NAMES = {*PAPER, "laion115m"}


def _own(folder: Path, name: str, *, replace: tuple[str, str] = ("", "")) -> Path:
    """A copy of the built-in coco_valid recipe under another name."""
    source = next(path for path in builtin_files() if path.stem == "coco_valid")
    text = source.read_text(encoding="utf-8").replace('name = "coco_valid"', f'name = "{name}"')
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.toml"
    path.write_text(text.replace(*replace) if replace[0] else text, encoding="utf-8")
    return path


def test_every_builtin_recipe_is_right() -> None:
    """What is shipped can be read, bears its file's name and has a title, a licence and terms."""
    recipes = Recipes()
    assert set(recipes.names) == NAMES
    for name in recipes.names:
        recipe = recipes.get(name)
        assert recipe.name == name
        assert recipe.title
        assert recipe.licence
        assert recipe.terms
        assert recipe.terms_zh


def test_groups_name_known_datasets() -> None:
    """A group holds recipes only; `all` holds all but the list of a hundred million URLs, which g70m has."""
    recipes = Recipes()
    assert set(recipes.groups) == {"g3m", "eval", "all", "g70m"}
    assert set(recipes.groups["all"]) == PAPER
    assert {*recipes.groups["g3m"], *recipes.groups["eval"]} == PAPER
    assert recipes.groups["g70m"] == (*recipes.groups["g3m"], "laion115m")


def test_groups_expand_each_dataset_once() -> None:
    """However often a dataset is named, it is planned once, in the order of the first naming."""
    names = [recipe.name for recipe in Recipes().expand(["coco_valid", "eval", "all", "coco_valid"])]
    assert names[0] == "coco_valid"
    assert sorted(names) == sorted(PAPER)


def test_expanding_nothing_is_nothing() -> None:
    """No name, no recipe."""
    assert Recipes().expand([]) == ()


def test_a_folder_of_the_users_wins(tmp_path: Path) -> None:
    """A recipe of the same name in a user's folder replaces the built-in one; the last folder wins."""
    _own(tmp_path / "a", "coco_valid", replace=("validation split", "mine"))
    _own(tmp_path / "b", "coco_valid", replace=("validation split", "hers"))
    _own(tmp_path / "a", "pets")
    recipes = Recipes([tmp_path / "a", tmp_path / "b"])
    assert recipes.get("coco_valid").title.endswith("hers")
    assert Recipes([tmp_path / "a"]).expand(["eval"])[1].title.endswith("mine")
    assert set(recipes.names) == NAMES | {"pets"}


def test_a_recipe_file_needs_no_folder(tmp_path: Path) -> None:
    """A path that ends in .toml is a recipe by itself, under its own name."""
    path = _own(tmp_path, "pets")
    (recipe,) = Recipes().expand([str(path)])
    assert recipe.name == "pets"
    renamed = path.rename(tmp_path / "other.toml")
    assert [recipe.name for recipe in Recipes().expand([str(renamed), str(renamed)])] == ["pets"]


def test_a_recipe_in_a_folder_must_bear_its_files_name(tmp_path: Path) -> None:
    """Otherwise a name would lead somewhere else than it says."""
    _own(tmp_path, "pets").rename(tmp_path / "dogs.toml")
    with pytest.raises(RecipeError, match=r"dogs\.toml: name: must be 'dogs'.*'pets'"):
        Recipes([tmp_path]).get("dogs")


@pytest.mark.parametrize(("name", "near"), [("cocoo_valid", "coco_valid"), ("CC3M", ""), ("evall", "eval")])
def test_an_unknown_name_offers_the_nearest(name: str, near: str) -> None:
    """A typing error is met with a proposal, of groups too."""
    with pytest.raises(UnknownDataset) as caught:
        Recipes().expand([name])
    assert repr(name) in caught.value.message
    assert f"did you mean '{near}" in caught.value.message or not near
    assert caught.value.exit_code == 2


def test_a_name_far_from_everything_offers_nothing() -> None:
    """No proposal is better than a silly one."""
    with pytest.raises(UnknownDataset) as caught:
        Recipes().get("zzzzzzzz")
    assert "did you mean" not in caught.value.message


@pytest.mark.parametrize("name", ["../coco", "/etc/passwd", "", "groups", "coco.tom"])
def test_names_are_names_and_no_paths(name: str) -> None:
    """What is not in the table is unknown."""
    with pytest.raises(UnknownDataset):
        Recipes().expand([name])


def test_broken_toml_names_file_and_line(tmp_path: Path) -> None:
    """A missing quote is found at its line."""
    path = tmp_path / "pets.toml"
    path.write_text('format = 1\nname = "pets\n')
    with pytest.raises(RecipeError) as caught:
        read_recipe(path)
    assert str(path) in caught.value.message
    assert "line 2" in caught.value.message


def test_every_problem_is_listed_with_its_key(tmp_path: Path) -> None:
    """One reading shows all mistakes, each with file and key."""
    path = _own(
        tmp_path, "pets", replace=('reader = "coco_captions"', 'reader = "coco_caption"\nspilt = "x"')
    )
    with pytest.raises(RecipeError) as caught:
        read_recipe(path)
    lines = caught.value.message.splitlines()
    assert all(line.startswith(f"{path}: samples.") for line in lines)
    assert any("samples.reader" in line and "did you mean 'coco_captions'" in line for line in lines)
    assert any("samples.spilt" in line and "did you mean 'split'" in line for line in lines)


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"title = '\xe9'"])
def test_a_file_that_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    """Missing, or no text: the file is named."""
    path = tmp_path / "pets.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RecipeError, match=r"pets\.toml"):
        read_toml(path)


def test_a_folder_for_a_recipe(tmp_path: Path) -> None:
    """A folder that ends in .toml is named, not crashed into."""
    (tmp_path / "x.toml").mkdir()
    with pytest.raises(RecipeError, match="cannot be read"):
        Recipes().expand([str(tmp_path / "x.toml")])


def test_a_recipes_folder_that_is_not_there(tmp_path: Path) -> None:
    """A wrong line in the config file is said, not passed over."""
    with pytest.raises(RecipeError, match="gone"):
        Recipes([tmp_path / "gone"])


def test_a_broken_recipe_breaks_only_itself(tmp_path: Path) -> None:
    """Half-written recipes beside good ones do not stop those."""
    (tmp_path / "broken.toml").write_text("[")
    _own(tmp_path, "pets")
    recipes = Recipes([tmp_path])
    assert recipes.get("pets").name == "pets"
    with pytest.raises(RecipeError, match=r"broken\.toml"):
        recipes.get("broken")
