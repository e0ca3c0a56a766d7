"""A process that may open, write or map little, folders of all names, no home, and nobody who reads its output."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from tests.machine.conftest import ALL, LIMIT_S, Place, check_ends_whole, ended, wait_for
from tests.whole.disk import check_all_whole, litter, tree

from g3m.lab.mischief import Trickle

BYTES_PER_S = 1_000_000


@pytest.mark.parametrize(
    "conditions", ["descriptors_32", "descriptors_64", "files_of_40_kb", "files_of_200_kb"]
)
def test_a_limit_of_the_process_stops_a_run_and_costs_nothing(
    conditions: str, place: Place, undisturbed: Path, tmp_path: Path
) -> None:
    """Too few descriptors, or files that may not grow: done or refused by name, and it goes on without the limit."""
    done = place.get(tmp_path / "root", conditions=conditions)
    assert done.returncode in (0, 1, 3, 6), done.stderr
    if conditions.startswith("files"):
        assert done.returncode in (3, 6), done.stderr
        assert "File too large" in done.stderr
    check_all_whole(tmp_path / "root")
    check_ends_whole(place, tmp_path / "root", tree(undisturbed))


LACKING = ("no_links", "no_holes", "no_maps", "no_links,no_holes,no_maps")


@pytest.mark.parametrize("conditions", LACKING if ALL else LACKING[-1:])
def test_a_file_system_that_can_little_is_enough(
    conditions: str, place: Place, undisturbed: Path, tmp_path: Path
) -> None:
    """Without hard links, reserved room, holes, copies in the kernel and maps: the same bytes by another way."""
    root, keys = tmp_path / "root", tmp_path / "keys.txt"
    keys.write_text("nobody\n")
    for line in (
        ("get", "all", "--yes"),
        ("verify", "--structure"),
        ("index",),
        ("drop", "--keys", str(keys)),
        ("export", "wids", "all", "--to", str(tmp_path / "wids")),
        ("status",),
    ):
        done = place.run(*line, "--root", str(root), conditions=conditions)
        assert done.returncode == 0, (line, done.stderr)
    assert tree(root) == tree(undisturbed)
    streamed = place.get(tmp_path / "streamed", ("coco_valid", "--stream"), conditions=conditions)
    assert streamed.returncode in (0, 2, 6), streamed.stderr
    check_all_whole(tmp_path / "streamed")


@pytest.mark.parametrize("moment", ["moved", "deleted"])
@pytest.mark.parametrize("names", [12, 20, 30, 40, 50] if ALL else [20])
def test_a_root_that_goes_away_in_the_middle(
    names: int, moment: str, place: Place, undisturbed: Path, tmp_path: Path
) -> None:
    """The run ends by name, what it had stays whole where it is now, and goes on from there."""
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    place.world.origin.mischief("*", Trickle(BYTES_PER_S), times=None)
    with place.start("get", "all", "--yes", "--root", str(root)) as process:
        wait_for(lambda: len(list(root.glob(".g3m/**/*"))) >= names or process.poll() is not None, "files")
        root.rename(elsewhere)
        if moment == "deleted":
            shutil.rmtree(elsewhere)
        done = ended(process)
    assert done.returncode in (0, 1, 3, 6, 7), done.stderr
    place.world.origin.be_honest()
    for folder in (root, elsewhere):
        check_all_whole(folder)
    check_ends_whole(place, elsewhere if moment == "moved" else root, tree(undisturbed))


NAMES = {
    "spaces": " a root  with spaces ",
    "emoji": "数据 🦜 é",
    "long": "n" * 255,
    "newline": "two\nlines",
    "signs": "#a?b%20&c='\"$(x);*[y]{z}\\",
    "dash": "-rf",
}


@pytest.mark.parametrize("name", list(NAMES))
def test_a_root_of_any_name(name: str, place: Place, undisturbed: Path, tmp_path: Path) -> None:
    """Spaces, emoji, 255 bytes, a newline, signs that shells and addresses know: all commands work in it."""
    root = tmp_path / NAMES[name]
    shutil.copytree(undisturbed, root)
    shutil.rmtree(root / "coco" / "coco_valid")
    (root / ".g3m" / "g3m.sqlite").unlink(missing_ok=True)
    for line in (
        ("get", "coco_valid", "--yes"),
        ("verify",),
        ("index",),
        ("search", "a"),
        ("export", "wids", "coco_valid", "--to", str(tmp_path / "wids")),
        ("status",),
    ):
        done = place.run(*line, f"--root={root}")
        refused = line[0] == "export" and name in ("newline", "signs")  # no reader of that list could read it
        assert done.returncode == (2 if refused else 0), (line, done.stdout, done.stderr)
    assert tree(root) == tree(undisturbed)
    assert litter(root) == []


@pytest.mark.parametrize(
    "variables",
    [
        {"HOME": ""},
        {"HOME": "/nonexistent", "XDG_CONFIG_HOME": "/dev/null/x"},
        {"HOME": "/dev/null", "XDG_CACHE_HOME": "/dev/full", "G3M_CACHE": "/dev/full/x"},
        {"TMPDIR": "/nonexistent", "TMP": "/dev/full"},
        {"LANG": "xx_XX.bad", "LC_ALL": "", "TZ": "Nowhere/Never", "COLUMNS": "-1", "TERM": "\x1b[31m"},
    ],
)
def test_variables_that_lead_nowhere(
    variables: dict[str, str], place: Place, undisturbed: Path, tmp_path: Path
) -> None:
    """No home, no folder for temporary files, an odd locale: a run needs its root and nothing else."""
    here = place.with_variables(**variables)
    done = here.get(tmp_path / "root", ("coco_valid", "sbu"))
    assert done.returncode == 0, done.stderr
    for name, digest in tree(tmp_path / "root").items():
        assert tree(undisturbed)[name] == digest
    for line in (("list",), ("index",), ("stats",)):
        done = here.run(*line, "--root", str(tmp_path / "root"))
        assert done.returncode == 0, (line, done.stderr)


OUTPUTS = {
    "no stdout": 'exec "$@" >&-',
    "no stderr": 'exec "$@" 2>&-',
    "neither": 'exec "$@" >&- 2>&-',
    "no stdin": 'exec "$@" <&-',
    "full stdout": 'exec "$@" >/dev/full',
    "full stderr": 'exec "$@" 2>/dev/full',
    "both full": 'exec "$@" >/dev/full 2>&1',
}


@pytest.mark.parametrize("output", list(OUTPUTS))
@pytest.mark.parametrize("json", [True, False])
def test_nobody_hears_what_a_run_says(
    json: bool, output: str, place: Place, undisturbed: Path, tmp_path: Path
) -> None:
    """Closed or full, its own output costs a run nothing but the words: it is done, or the next one does it."""
    root = tmp_path / "root"
    line = ["get", "coco_valid", "--yes", "--root", str(root), *(["--json"] if json else [])]
    done = subprocess.run(
        ["sh", "-c", OUTPUTS[output], "sh", *place.command(*line)],
        cwd=place.folder,
        env=dict(place.variables),
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )
    assert "Traceback" not in done.stderr + done.stdout, done.stderr
    assert 0 <= done.returncode < 126 or done.returncode == 141
    check_all_whole(root)
    again = place.get(root, ("coco_valid",))
    assert again.returncode == 0, again.stderr
    assert set(tree(root).items()) <= set(tree(undisturbed).items())
    assert litter(root) == []
    if not output.startswith(("full", "both")):
        assert done.returncode == 0, (done.returncode, done.stderr)
