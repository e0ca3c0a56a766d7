"""A dataset behind an address: the same samples as on the disk, its share of the bytes, and clear errors."""

from __future__ import annotations

import os
import pickle
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.bucket_host import without_variables
from tests.steps.offline import Made, make, zip_of
from tests.whole.sources import my_recipe, tiny_jpeg
from tests.whole.test_real_servers import Nginx, free_port, stop, wait_for_port

import g3m
from g3m.core.errors import NotVerified, UnknownDataset
from g3m.load.dataset import Dataset

SAMPLES = 40
PADDING = random.Random(3).randbytes(20_000)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """Forty samples of some twenty kilobytes in six shards; nothing of the machine's variables plays a part."""
    without_variables(monkeypatch)
    monkeypatch.setenv("G3M_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("G3M_CACHE_LIMIT", raising=False)
    monkeypatch.setattr("g3m.core.samples.SHARD_SAMPLES", 7)
    files: dict[str, bytes] = {}
    for number in range(SAMPLES):
        files |= {f"k{number:02}.jpg": tiny_jpeg(number) + PADDING[number:]}
        files |= {f"k{number:02}.txt": f"caption {number} é".encode()}
        files |= {f"k{number:02}.json": b'{"n": %d}' % number}
    archive = zip_of(tmp_path / "source" / "heap.zip", files)
    recipe = my_recipe(tmp_path / "heap.toml", [(archive, [])], {"reader": "pairs", "images": archive.name})
    return make(recipe, archive)


@pytest.fixture
def nginx(made: Made, tmp_path: Path) -> Iterator[Nginx]:
    """nginx, which serves what was made."""
    server = Nginx(tmp_path / "nginx", made.root)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def url(nginx: Nginx, made: Made) -> str:
    return f"{nginx.url}/{made.manifest.folder}/"


def fetched_bytes(data: Dataset) -> int:
    """How much the dataset's readers fetched in this process."""
    return sum(folder._reader.fetched_bytes for folder in data.folders)  # type: ignore[attr-defined]


def test_the_same_samples_as_on_the_disk(made: Made, url: str) -> None:
    """By its address a dataset has the name, the length and every sample of the folder that is served."""
    with g3m.dataset("heap", root=made.root) as local, g3m.dataset(url) as remote:
        assert len(remote) == len(local) == SAMPLES
        assert remote.names == local.names == ("heap",)
        assert remote.fingerprint == local.fingerprint
        assert list(remote) == list(local)
        assert remote[3].meta == {"n": 3}


def test_a_second_epoch_costs_nothing(made: Made, url: str) -> None:
    """All blocks come once; another epoch, and another process's, reads them from the cache."""
    order = random.Random(1).sample(range(SAMPLES), SAMPLES)
    whole = sum(shard.size_bytes for shard in made.manifest.shards)
    looks = len(made.manifest.shards)
    with g3m.dataset(url) as data:
        for _ in range(2):
            assert [data[number].key for number in order] == [f"k{number:02}" for number in order]
        assert fetched_bytes(data) <= whole + looks
    with g3m.dataset(url) as data:
        assert [data[number].key for number in order] == [f"k{number:02}" for number in order]
        assert fetched_bytes(data) == looks


@pytest.mark.parametrize("world", [1, 4])
def test_a_rank_fetches_its_share(
    made: Made, url: str, nginx: Nginx, world: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a cache each rank fetches the bytes of its own samples and no others: 1.00 of its share."""
    monkeypatch.setenv("G3M_CACHE_LIMIT", "0")
    for rank in range(world):
        with g3m.dataset(url) as data:
            mine = range(rank, SAMPLES, world)
            got = sum(len(s.image) + len(s.text.encode()) + len(s.json) for s in (data[n] for n in mine))
            looks = len(made.manifest.shards)
            # Between the members of a sample stand two headers and padding: they come with the one read.
            assert got <= fetched_bytes(data) - looks <= got + len(mine) * 2 * 1024
            assert fetched_bytes(data) <= 1.1 * got + looks


def test_many_threads_and_a_pickled_copy(url: str) -> None:
    """Threads share a dataset behind an address, and a copy made by pickle reads the same."""
    with g3m.dataset(url) as data:
        expected = {number: data.key(number) for number in range(SAMPLES)}
        wrong: list[int] = []

        def work(seed: int) -> None:
            for number in random.Random(seed).sample(range(SAMPLES), SAMPLES):
                sample = data[number]
                if f"heap/{sample.key}" != expected[number] or PADDING[-50:] != sample.image[-50:]:
                    wrong.append(number)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        assert wrong == []
        with pickle.loads(pickle.dumps(data)) as copy:
            assert list(copy) == list(data)


def test_beside_a_local_one(made: Made, url: str, tmp_path: Path) -> None:
    """A folder of the disk and one behind an address are one dataset."""
    shutil.copytree(made.folder, tmp_path / "copy")
    with g3m.dataset([tmp_path / "copy", url]) as data:
        assert len(data) == 2 * SAMPLES
        assert data[SAMPLES + 5].image == data[5].image


def test_a_folder_without_a_manifest(made: Made, url: str) -> None:
    """Tars with an index are enough; their sizes are those of the index, as far as it has them."""
    (made.folder / "manifest.json").unlink()
    with g3m.dataset(url) as data:
        assert [sample.key for sample in data] == [f"k{number:02}" for number in range(SAMPLES)]


def test_no_index_is_said(made: Made, url: str) -> None:
    """A folder without an index, or an address where nothing is, says what to do."""
    with pytest.raises(UnknownDataset, match=r"index\.bin"):
        g3m.dataset(f"{url}nowhere/")
    (made.folder / "index.bin").unlink()
    with pytest.raises(UnknownDataset, match=r"index\.bin"):
        g3m.dataset(url)


@pytest.mark.parametrize("how", ["grown", "same size"])
def test_a_shard_that_was_replaced_is_said(made: Made, url: str, how: str) -> None:
    """A shard of another size than the manifest's, or one that changes while it is read, is an error that names it."""
    path = made.folder / "00001.tar"
    with g3m.dataset(url) as data:
        assert data[0].key == "k00"
        if how == "same size":
            assert data[8].key == "k08"
        content = path.read_bytes()
        new = path.with_name("new")
        new.write_bytes(content + bytes(10240) if how == "grown" else content[::-1])
        os.utime(new, (1, 1))
        os.replace(new, path)
        shutil.rmtree(made.root.parent / "cache")
        with pytest.raises(
            NotVerified, match=r"00001\.tar: (has .* bytes on the server|changed on the server)"
        ):
            data[8]
        assert data[0].key == "k00"


def test_from_a_bucket(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`g3m.dataset("s3://…")` reads a public bucket at the endpoint that the variable names."""
    import boto3
    from botocore.config import Config

    port = free_port()
    with open(tmp_path / "moto.log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log
        )
        try:
            wait_for_port(process, port, limit_s=60)
            endpoint = f"http://127.0.0.1:{port}"
            client: Any = boto3.client(
                "s3",
                endpoint_url=endpoint,
                region_name="us-east-1",
                aws_access_key_id="nobody",
                aws_secret_access_key="nothing",
                config=Config(s3={"addressing_style": "path"}),
            )
            client.create_bucket(Bucket="shards", ACL="public-read")
            for path in made.folder.iterdir():
                client.put_object(
                    Bucket="shards", Key=f"heap/{path.name}", Body=path.read_bytes(), ACL="public-read"
                )
            client.close()
            monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
            with g3m.dataset("s3://shards/heap") as data, g3m.dataset("heap", root=made.root) as local:
                assert list(data) == list(local)
        finally:
            stop(process)
