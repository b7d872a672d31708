"""Two processes on one machine, over gloo: what one process computes, they compute together."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import vaelib as vl
from vaelib import processes

SETUP = """
import os, sys, torch, vaelib as vl
from vaelib import processes
torch.manual_seed(0)
data = torch.rand(37, 1, 4, 4, generator=torch.Generator().manual_seed(1))  # batches of 16, 16 and an uneven 5
model = vl.{family}.mlp((1, 4, 4), latents=(3, 2), hidden=((8,), (5,)))
options = dict(transform=torch.bernoulli, epochs=3, batch_size=16, lr=1e-2, device="cpu", progress={progress})
"""
TRAIN = """
history = vl.fit(model, data, data[:11], samples=2, run=vl.Run(sys.argv[1]), **options)
result = vl.nll(model, torch.bernoulli(data, generator=torch.Generator().manual_seed(2)), samples=20)
results = {"weights": model.state_dict(), "nll": result.per_example, "valid": history.valid}
torch.save(results, f"{sys.argv[1]}/{processes.rank()}.pt")
print("rank", processes.rank(), "done")
"""
CRASH = """
if os.environ.get("RANK") == "1":
    calls = []
    def crash(*args):
        calls.append(1)
        if len(calls) == 8:
            os._exit(3)
    model.register_forward_hook(crash)
vl.fit(model, data, run=vl.Run(sys.argv[1]), **options)
"""


def start(code: str, processes: int, folder: Path) -> list[subprocess.Popen]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder.mkdir(exist_ok=True)
    common = os.environ | {"OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    common.pop("TQDM_DISABLE", None)
    ranks = [common | {"WORLD_SIZE": str(processes), "RANK": str(rank)} for rank in range(processes)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return [subprocess.Popen([sys.executable, "-c", code, str(folder)], env=env, **pipes) for env in ranks]


def finish(children: list[subprocess.Popen]) -> list[tuple[int, str, str]]:
    outputs = [child.communicate(timeout=120) for child in children]
    return [(child.returncode, *output) for child, output in zip(children, outputs, strict=True)]


RECORDED = """
from vaelib.training import fast, step
fast.RECORD_FROM = 1
calls, forward = [], step.Step.forward
step.Step.forward = lambda *args: calls.append(1) or forward(*args)
"""


# Batches of 19 and 18: the first process's parts are of 9 examples in both, of which a record must not take one for
# the other.
ALIKE = RECORDED + "options['batch_size'] = 19\n"
COMPILED = "options['compile'] = True\n"


@pytest.mark.parametrize(
    ("family", "extra"),
    [("MHVAE", ""), ("HVAE", ""), ("MHVAE", RECORDED), ("MHVAE", ALIKE), ("MHVAE", COMPILED)],
    ids=["MHVAE", "HVAE", "recorded", "parts of one size", "compiled"],
)
def test_two_processes_give_what_one_gives(family, extra, tmp_path):
    code = SETUP.format(family=family, progress=True) + extra + TRAIN
    if extra.startswith(RECORDED):
        code += "assert len(calls) == 2 + 3, calls  # the first step, to record it, and the last batch of each epoch"
    runs = {n: finish(start(code, n, tmp_path / str(n))) for n in (1, 2)}
    for n, ended in runs.items():
        assert [status for status, *_ in ended] == [0] * n, ended
        assert not any("compile:" in error for *_, error in ended)  # nothing fell back
    one, first, second = (torch.load(tmp_path / f, weights_only=False) for f in ("1/0.pt", "2/0.pt", "2/1.pt"))
    for name, weight in one["weights"].items():
        assert torch.equal(first["weights"][name], second["weights"][name])
        # Sums of the same float32 numbers in another order, through nine steps of Adam.
        assert torch.allclose(weight, first["weights"][name], atol=1e-4), name
    for a, b in zip(one["valid"], first["valid"], strict=True):
        assert a.elbo == pytest.approx(b.elbo, abs=1e-3)
    assert torch.equal(first["nll"], second["nll"])
    assert torch.allclose(one["nll"], first["nll"], atol=1e-3)
    assert len(first["nll"]) == 37
    untrained = vl.nll(vl.MHVAE.mlp((1, 4, 4), (3, 2), ((8,), (5,))), torch.zeros(2, 1, 4, 4), samples=2)
    assert not torch.allclose(one["nll"][:2], untrained.per_example, atol=1e-3)
    # The first process alone prints and writes.
    (_, _, bar), (_, _, silent) = runs[2]
    assert "epoch" in bar
    assert "epoch" not in silent
    files = {".lock", "0.pt", "1.pt", "best.safetensors", "last.safetensors", "metrics.jsonl"}
    assert set(os.listdir(tmp_path / "2")) == files
    left, right = (vl.load_model(tmp_path / n / "last.safetensors").state_dict() for n in ("1", "2"))
    assert all(torch.allclose(left[name], right[name], atol=1e-4) for name in left)


def test_without_the_noise_of_the_whole_batch_two_processes_differ(tmp_path):
    """The comparison above would notice."""
    spoil = "from contextlib import nullcontext\nprocesses.noise_of = lambda count: nullcontext()\n"
    code = SETUP.format(family="MHVAE", progress=False) + spoil + TRAIN
    assert [status for status, *_ in finish(start(code, 2, tmp_path / "2"))] == [0, 0]
    assert [status for status, *_ in finish(start(code, 1, tmp_path / "1"))] == [0]
    one, two = (torch.load(tmp_path / f"{n}/0.pt", weights_only=False)["weights"] for n in (1, 2))
    assert not all(torch.allclose(one[name], two[name], atol=1e-3) for name in one)


def test_a_crashed_process_ends_the_others_with_an_error_and_the_checkpoint_goes_on(tmp_path):
    code = SETUP.format(family="MHVAE", progress=False) + CRASH
    began = time.monotonic()
    (first, _, error), (second, _, _) = finish(start(code, 2, tmp_path / "run"))
    assert second == 3
    assert first != 0, "the first process must not go on alone"
    assert "Error" in error
    assert time.monotonic() - began < 60
    torch.manual_seed(0)
    data = torch.rand(37, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    model = vl.MHVAE.mlp((1, 4, 4), latents=(3, 2), hidden=((8,), (5,)))
    options = {"transform": torch.bernoulli, "batch_size": 16, "lr": 1e-2, "device": "cpu", "progress": False}
    history = vl.fit(model, data, epochs=3, run=vl.Run(tmp_path / "run", resume=True), **options)
    assert len(history.train) == 3


def test_parts_cover_a_batch_once(monkeypatch):
    for world in (1, 2, 3, 5):
        monkeypatch.setattr(processes, "world", lambda world=world: world)
        for count in (1, 2, 5, 128):
            covered = []
            for rank in range(world):
                monkeypatch.setattr(processes, "rank", lambda rank=rank: rank)
                covered += range(count)[processes.part(count)[0]]
            assert covered == list(range(count))


def test_a_single_process_needs_no_messages():
    tensors = [torch.ones(2), torch.zeros(3)]
    processes.sum_over_processes(tensors)
    assert torch.equal(tensors[0], torch.ones(2))
    assert (processes.rank(), processes.world()) == (0, 1)
