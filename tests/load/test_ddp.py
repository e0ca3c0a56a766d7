"""The loader in a real group of processes: ranks under DistributedDataParallel end their epochs together.

Two processes with gloo on the loopback, as torchrun would start them. Each has a time limit: ranks that disagree
on the number of batches wait for one another for ever, and that fails here.
"""

from __future__ import annotations

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
LIMIT_S = 120
"""Two processes that import torch at once, on a machine that is busy with other things."""

RANK = textwrap.dedent(
    """
    import json, os, sys, threading
    import torch
    import torch.distributed as dist
    import g3m

    root, rendezvous, target, last, batch_size, workers = sys.argv[1:]
    torch.set_num_threads(1)
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=world)
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(3 * 8 * 8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    data = g3m.dataset("heap", root=root)
    loader = g3m.loader(data, int(batch_size), image_size=8, seed=7, last=last, workers=int(workers))
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
    weights = [parameter.detach().clone() for parameter in model.parameters()]
    for mine in weights:
        theirs = mine.clone()
        dist.broadcast(theirs, src=0)
        assert torch.equal(mine, theirs), "the ranks do not hold the same model"
    with open(f"{target}-{rank}.json", "w") as file:
        json.dump({"rank": rank, "length": len(loader), "epochs": epochs}, file)
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


def run_ranks(made: Made, last: str, batch_size: int, workers: int) -> list[list[list[list[str]]]]:
    """What each rank saw: epochs of batches of keys."""
    scratch = made.root.parent
    arguments = [made.root, scratch / "rendezvous", scratch / "seen", last, batch_size, workers]
    processes = []
    for rank in range(RANKS):
        variables = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
        variables |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(RANKS)}
        line = [sys.executable, "-c", RANK, *map(str, arguments)]
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
    seen = [json.loads((scratch / f"seen-{rank}.json").read_text(encoding="utf-8")) for rank in range(RANKS)]
    assert len({rank["length"] for rank in seen}) == 1
    return [rank["epochs"] for rank in seen]


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("g3m.core.samples.SHARD_SAMPLES", 5)


@pytest.mark.parametrize(
    ("samples", "batch_size", "workers"), [(23, 4, 2), (17, 8, 0)], ids=["23 by 2 by 4", "17 by 2 by 8"]
)
@pytest.mark.parametrize("last", ["drop", "pad", "even"])
def test_ranks_end_together(tmp_path: Path, last: str, samples: int, batch_size: int, workers: int) -> None:
    """Both ranks end both epochs after the same number of steps, and each sample came as often as promised."""
    made = heap(tmp_path, samples)
    ranks = run_ranks(made, last, batch_size, workers)
    everything = {f"heap/k{number}" for number in range(samples)}
    orders = []
    for epoch in range(EPOCHS):
        batches = [batch for rank in ranks for batch in rank[epoch]]
        assert len(ranks[0][epoch]) == len(ranks[1][epoch]) > 0
        seen = Counter(key for batch in batches for key in batch)
        assert set(seen) <= everything
        sizes = {len(batch) for batch in batches}
        if last == "drop":
            assert sizes == {batch_size}
            assert max(seen.values()) == 1
            assert samples - len(seen) < RANKS * batch_size
        elif last == "pad":
            assert sizes == {batch_size}
            assert set(seen) == everything
            assert max(seen.values()) == 2
            assert sum(seen.values()) - samples < RANKS * batch_size
        else:
            assert max(sizes) == batch_size
            assert seen == Counter(everything)
        orders.append([key for batch in batches for key in batch])
    assert orders[0] != orders[1], "the second epoch has the order of the first"
