"""The loader in a real group of processes: ranks under DistributedDataParallel end their epochs together.

Two processes with gloo on the loopback, as torchrun would start them. They have a time limit: ranks that disagree
on the number of batches wait for one another for ever, and that fails here.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path

import pytest
from tests.steps.offline import Made, make, zip_of
from tests.whole.sources import my_recipe, tiny_jpeg

RANKS = 2
EPOCHS = 2
LIMIT_S = 240
"""Two processes that import torch at once, on a machine that is busy with other things."""

SHAPES = {"23 by 2 by 4": (23, 4, 2), "17 by 2 by 8": (17, 8, 0)}
"""Samples, the size of a batch, and threads."""

LASTS = ("drop", "pad", "even")

Seen = list[list[list[list[str]]]]
"""What each rank saw: epochs of batches of keys."""

RANK = textwrap.dedent(
    """
    import json, os, sys, threading
    import torch
    import torch.distributed as dist
    import g3m

    def epochs_of(root, last, batch_size, workers):
        model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(3 * 8 * 8, 1))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        data = g3m.dataset("heap", root=root)
        loader = g3m.loader(data, batch_size, image_size=8, seed=7, last=last, workers=workers)
        epochs = []
        for _ in range(2):
            seen = []
            for images, captions, keys in loader:
                optimizer.zero_grad()
                model(images.flatten(1)).mean().backward()     # every step waits for the other rank
                optimizer.step()
                assert len(images) == len(captions) == len(keys)
                seen.append(keys)
            assert len(seen) == len(loader), (len(seen), len(loader))
            epochs.append(seen)
        for mine in (parameter.detach().clone() for parameter in model.parameters()):
            theirs = mine.clone()
            dist.broadcast(theirs, src=0)
            assert torch.equal(mine, theirs), "the ranks do not hold the same model"
        return epochs

    folder, jobs = sys.argv[1], json.loads(sys.argv[2])
    torch.set_num_threads(1)
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world)
    seen = [epochs_of(*job) for job in jobs]
    with open(f"{folder}/seen-{rank}.json", "w") as file:
        json.dump(seen, file)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("g3m")]
    dist.destroy_process_group()
    os._exit(0)  # torch 2.15 with gloo, and nothing of g3m, aborts at one exit in fifteen
    """
)


def heap(folder: Path, samples: int) -> Made:
    """A dataset of so many tiny samples in shards of five."""
    files: dict[str, bytes] = {}
    for number in range(samples):
        files |= {f"k{number}.jpg": tiny_jpeg(number), f"k{number}.txt": f"caption {number}".encode()}
    archive = zip_of(folder / "source" / "heap.zip", files)
    recipe = my_recipe(folder / "heap.toml", [(archive, [])], {"reader": "pairs", "images": archive.name})
    return make(recipe, archive)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Seen]:
    """For each shape and each `last`, one job after the other in one group: importing torch takes longest."""
    folder = tmp_path_factory.mktemp("ranks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("g3m.core.samples.SHARD_SAMPLES", 5)
        roots = {name: heap(folder / name.replace(" ", "-"), SHAPES[name][0]).root for name in SHAPES}
    names = list(itertools.product(SHAPES, LASTS))
    ranks = run_ranks(folder, [(str(roots[name]), last, *SHAPES[name][1:]) for name, last in names])
    return {name: [rank[place] for rank in ranks] for place, name in enumerate(names)}


def run_ranks(folder: Path, jobs: list[tuple[str, str, int, int]]) -> list[Seen]:
    """What each rank saw in each job."""
    processes = []
    for rank in range(RANKS):
        variables = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
        variables |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(RANKS)}
        line = [sys.executable, "-c", RANK, str(folder), json.dumps(jobs)]
        processes.append(
            subprocess.Popen(line, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        )
    told = []
    try:
        told = [process.communicate(timeout=LIMIT_S)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert [process.returncode for process in processes] == [0] * RANKS, "\n".join(told)
    return [json.loads((folder / f"seen-{rank}.json").read_text(encoding="utf-8")) for rank in range(RANKS)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("last", LASTS)
def test_ranks_end_together(seen: dict[tuple[str, str], Seen], last: str, shape: str) -> None:
    """Both ranks end both epochs after the same number of steps, and each sample came as often as promised."""
    samples, batch_size, _ = SHAPES[shape]
    ranks = seen[shape, last]
    everything = {f"heap/k{number}" for number in range(samples)}
    orders = []
    for epoch in range(EPOCHS):
        batches = [batch for rank in ranks for batch in rank[epoch]]
        assert len(ranks[0][epoch]) == len(ranks[1][epoch]) > 0
        keys = Counter(key for batch in batches for key in batch)
        assert set(keys) <= everything
        sizes = {len(batch) for batch in batches}
        if last == "drop":
            assert sizes == {batch_size}
            assert max(keys.values()) == 1
            assert samples - len(keys) < RANKS * batch_size
        elif last == "pad":
            assert sizes == {batch_size}
            assert set(keys) == everything
            assert max(keys.values()) == 2
            assert sum(keys.values()) - samples < RANKS * batch_size
        else:
            assert max(sizes) == batch_size
            assert keys == Counter(everything)
        orders.append([key for batch in batches for key in batch])
    assert orders[0] != orders[1], "the second epoch has the order of the first"
