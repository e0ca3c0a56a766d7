"""What `g3m pack` made of foreign tars, read by another program: the same samples as before."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image
from tests.steps.offline import tar_bytes
from tests.whole.test_consumers import LOAD_WITH_WEBDATASET, run_reader

import g3m


def test_webdataset_reads_the_same_samples_from_the_new_shards(tmp_path: Path) -> None:
    """Recut, the rows are those of the source; resized, keys and texts are, and every picture has its size."""
    source = tmp_path / "source"
    source.mkdir()
    for number in range(3):
        members = []
        for one in range(number * 5, number * 5 + 5):
            written = io.BytesIO()
            Image.effect_noise((96, 64), 50).convert("RGB").save(written, "JPEG")
            members += [(f"{one:04d}.jpg", written.getvalue()), (f"{one:04d}.txt", b"text %d" % one)]
            members.append((f"{one:04d}.json", b'{"number": %d}' % one))
        (source / f"{number}.tar").write_bytes(tar_bytes(members))
    g3m.pack(source, tmp_path / "recut", shard_size=4)
    g3m.pack(source, tmp_path / "small", image_size=32, resize="center_crop", max_shard_bytes="1M")
    shards = {
        name: [str(path) for path in sorted((tmp_path / name).glob("*.tar"))]
        for name in ("source", "recut", "small")
    }
    answers = run_reader(LOAD_WITH_WEBDATASET, shards, tmp_path)
    assert len(answers["source"]["rows"]) == 15
    assert answers["recut"] == answers["source"]
    assert [[size, text] for size, text in answers["small"]["pairs"]] == [
        [[32, 32], text] for _, text in answers["source"]["pairs"]
    ]
    same = [[row[0], *row[2:]] for row in answers["source"]["rows"]]
    assert [[row[0], *row[2:]] for row in answers["small"]["rows"]] == same
