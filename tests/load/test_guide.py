"""docs/guides/loading.md: what it shows of datasets runs as it stands there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tests.load.folders import folder_of, published
from tests.whole.sources import tiny_jpeg

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "loading.md"


def blocks() -> list[str]:
    """The Python of the part on datasets."""
    part = GUIDE.read_text(encoding="utf-8").partition("\n## Datasets\n")[2].partition("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", part, re.DOTALL)


def test_the_lines_of_the_guide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All blocks, one after the other in one session, below a root with the paper's datasets, print what they must."""
    monkeypatch.chdir(tmp_path)
    meta = json.dumps({"captions": ["a dog", "two dogs"]}).encode()
    for name, folder in (("cc3m", "cc3m/cc3m"), ("sbu", "sbu/sbu"), ("coco", "coco/coco_train")):
        key = "{:012}" if name == "coco" else name + "-{}"
        members = {"jpg": tiny_jpeg(1), "json": meta, "txt": b"a dog two dogs"}
        published(tmp_path / "data", folder, name, [(key.format(n), members) for n in (8, 9, 10)])
    found = tmp_path / "data/coco/coco_train/findings.jsonl"
    found.write_text(
        '{"shard": "00000.tar", "key": "000000000010", "class": "grayscale"}\n', encoding="utf-8"
    )
    Path("leaked.txt").write_text("sbu/sbu-9\ncoco/nothing\n", encoding="utf-8")
    tars = folder_of(tmp_path / "nas/tars", {"a.tar": [("k", {"png": b"P", "cls": b"7"})]})
    session: dict[str, object] = {}
    for block in blocks():
        exec(block.replace("/nas/tars", str(tars)), session)
    assert session["label"] == b"7"
    assert session["mixed"].weights == (0.25, 0.75)  # type: ignore[attr-defined]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "('cc3m', 'sbu', 'coco') (3, 3, 3) 9"
    assert lines[1].startswith("cc3m cc3m-8 a dog two dogs ('a dog', 'two dogs') {'captions':")
    assert lines[2] == "1 Exclusion(entries=2, samples=2, unmatched=0, examples=())"
    assert lines[3] in {"a dog", "two dogs"}
    assert len(lines) == 4
