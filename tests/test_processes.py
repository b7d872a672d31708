"""Two processes on one machine, over gloo: what one process computes, they compute together."""

import contextlib
import itertools
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

COUNT = itertools.count()  # two starts of one process must not take the same port
SETUP = """
import os, sys, torch, vaelib as vl
from vaelib import processes
from vaelib.training import fast, step
folder, ours = sys.argv[1], (fast.RECORD_FROM, step.Step.forward, processes.noise_of)
torch.manual_seed(0)
data = torch.rand(37, 1, 4, 4, generator=torch.Generator().manual_seed(1))  # batches of 16, 16 and an uneven 5
model = vl.{model}
options = dict(transform=torch.bernoulli, epochs=3, batch_size=16, lr=1e-2, device="cpu", progress={progress})
"""
TRAIN = """
history = vl.fit(model, data, data[:11], samples=2, run=vl.Run(folder), **options)
result = vl.nll(model, torch.bernoulli(data, generator=torch.Generator().manual_seed(2)), samples=20)
results = {"weights": model.state_dict(), "nll": result.per_example, "valid": history.valid}
torch.save(results, f"{folder}/{processes.rank()}.pt")
fast.RECORD_FROM, step.Step.forward, processes.noise_of = ours
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


def free_port() -> int:
    """One that nobody listens on, and below those that the system hands out to whoever asks for any (32,768 and up)."""
    for attempt in itertools.count(os.getpid() * 37):
        port = 10_000 + (attempt + next(COUNT)) % 20_000
        with socket.socket() as trial, contextlib.suppress(OSError):
            trial.bind(("127.0.0.1", port))
            return port
    raise AssertionError


def start(code: str, processes: int, folder: Path) -> list[subprocess.Popen]:
    port = free_port()
    folder.mkdir(exist_ok=True)
    common = os.environ | {"OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    common.pop("TQDM_DISABLE", None)
    ranks = [common | {"WORLD_SIZE": str(processes), "RANK": str(rank)} for rank in range(processes)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return [subprocess.Popen([sys.executable, "-c", code, str(folder)], env=env, **pipes) for env in ranks]


def finish(children: list[subprocess.Popen]) -> list[tuple[int, str, str]]:
    outputs = [child.communicate(timeout=120) for child in children]
    return [(child.returncode, *output) for child, output in zip(children, outputs, strict=True)]


MHVAE, HVAE = (f"{family}.mlp((1, 4, 4), latents=(3, 2), hidden=((8,), (5,)))" for family in ("MHVAE", "HVAE"))
RECORDED = """
fast.RECORD_FROM = 1
calls, forward = [], step.Step.forward
step.Step.forward = lambda *args: calls.append(1) or forward(*args)
"""
SEEN = "assert len(calls) == 1 + 3, calls  # to record it, and for the last batch of each epoch\n"
# Batches of 19 and 18: the first process's parts are of 9 examples in both, of which a record must not take one for
# the other.
ALIKE = RECORDED + "options['batch_size'] = 19\n"
# 36 and 1, validation data of 1: there the second process has no example of its own.
EMPTY = "options['batch_size'] = 36\ndata = data.clone()\n"
CASES = {
    "MHVAE": (MHVAE, TRAIN),
    "HVAE": (HVAE, TRAIN),
    "recorded": (MHVAE, RECORDED + TRAIN + SEEN),
    "parts of one size": (MHVAE, ALIKE + TRAIN + SEEN),
    "empty parts": (MHVAE, EMPTY + TRAIN),
    "HVAE, empty parts": (HVAE, EMPTY + TRAIN),
    "compiled": ("VAE.mlp((1, 4, 4), 3, (8,))", "options['compile'] = int(os.environ['WORLD_SIZE']) > 1\n" + TRAIN),
}
APART = (MHVAE, "from contextlib import nullcontext\nprocesses.noise_of = lambda count: nullcontext()\n" + TRAIN)


@pytest.mark.slow
def test_two_processes_give_what_one_gives(tmp_path):
    """Every case in turn, in the same processes; the last, without the noise of the whole batch, has to differ."""
    code, blocks = "", CASES | {"apart": APART}
    for name, (model, training) in blocks.items():
        there = f"folder = f'{{sys.argv[1]}}/{name}'\nos.makedirs(folder, exist_ok=True)\n"
        code += SETUP.format(model=model, progress=True) + f"print('case {name}', file=sys.stderr)\n" + there + training
    runs = {n: finish(start(code, n, tmp_path / str(n))) for n in (1, 2)}
    for n, ended in runs.items():
        assert [status for status, *_ in ended] == [0] * n, ended
        assert not any("compile:" in error for *_, error in ended)  # nothing fell back
    found = {name: results(tmp_path, name) for name in blocks}
    for name in CASES:
        assert_same(*found[name])
        # The first process alone writes.
        files = {".lock", "0.pt", "1.pt", "best.safetensors", "last.safetensors", "metrics.jsonl"}
        assert set(os.listdir(tmp_path / "2" / name)) == files
        left, right = (vl.load_model(tmp_path / n / name / "last.safetensors").state_dict() for n in ("1", "2"))
        assert all(torch.allclose(left[key], right[key], atol=1e-4) for key in left)
    (_, _, bars), (_, _, silent) = runs[2]
    shown = dict(part.split("\n", 1) for part in bars.split("case ")[1:])
    assert all("epoch" in shown[name] for name in blocks), shown.keys()
    assert "epoch" not in silent
    one, two = (found["apart"][k]["weights"] for k in (0, 1))
    assert not all(torch.allclose(one[key], two[key], atol=1e-3) for key in one)


def results(folder: Path, name: str) -> list[dict]:
    """Of one process, and of the first and the second of two."""
    return [
        torch.load(folder / n / name / f, weights_only=False) for n, f in (("1", "0.pt"), ("2", "0.pt"), ("2", "1.pt"))
    ]


def assert_same(one: dict, first: dict, second: dict) -> None:
    for key, weight in one["weights"].items():
        assert torch.equal(first["weights"][key], second["weights"][key])
        # Sums of the same float32 numbers in another order, through nine steps of Adam.
        assert torch.allclose(weight, first["weights"][key], atol=1e-4), key
    for a, b in zip(one["valid"], first["valid"], strict=True):
        assert a.elbo == pytest.approx(b.elbo, abs=1e-3)
    assert torch.equal(first["nll"], second["nll"])
    assert torch.allclose(one["nll"], first["nll"], atol=1e-3)
    assert len(first["nll"]) == 37
    untrained = vl.nll(vl.MHVAE.mlp((1, 4, 4), (3, 2), ((8,), (5,))), torch.zeros(2, 1, 4, 4), samples=2)
    assert not torch.allclose(one["nll"][:2], untrained.per_example, atol=1e-3)


@pytest.mark.slow
def test_a_crashed_process_ends_the_others_with_an_error_and_the_checkpoint_goes_on(tmp_path):
    code = SETUP.format(model=MHVAE, progress=False) + CRASH
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
                rows, weight = processes.part(count)
                taken = range(count)[rows]
                assert taken, "each process has something to compute with"
                covered += list(taken) * weight
            assert covered == list(range(count))


def test_a_single_process_needs_no_messages():
    tensors = [torch.ones(2), torch.zeros(3)]
    processes.sum_over_processes(tensors)
    assert torch.equal(tensors[0], torch.ones(2))
    assert (processes.rank(), processes.world()) == (0, 1)


LAYERS = """
import sys, torch, vaelib as vl
from vaelib import processes
for layer, norm in (("batch normalisation", "batch"), ("dropout", None)):
    torch.manual_seed(0)
    model = vl.VAE.mlp((1, 4, 4), 3, (8,), norm=norm)
    if layer == "dropout":
        model.encoders[0].body.append(torch.nn.Dropout(0.5))
    data = torch.rand(40, 1, 4, 4, generator=torch.Generator().manual_seed(1)).round()
    vl.fit(model, data, data[:10], epochs=2, batch_size=20, device="cpu", progress=False)
    torch.save(model.state_dict(), f"{sys.argv[1]}/{layer}-{processes.rank()}.pt")
"""


@pytest.mark.slow
def test_layers_that_see_one_part_alone_give_one_model_though_not_that_of_one_process(tmp_path):
    """As the docstring of `processes` says: all processes hold the same model, running statistics included."""
    for n in (1, 2):
        ended = finish(start(LAYERS, n, tmp_path / str(n)))
        assert [status for status, *_ in ended] == [0] * n, ended
    for layer in ("batch normalisation", "dropout"):
        files = (f"{n}/{layer}-{rank}.pt" for n, rank in ((1, 0), (2, 0), (2, 1)))
        one, first, second = (torch.load(tmp_path / file, weights_only=False) for file in files)
        assert all(torch.equal(first[name], second[name]) for name in first)
        assert not all(torch.allclose(one[name], first[name], atol=1e-3) for name in one)


SMALL = """
import sys, torch, vaelib as vl
for likelihood in {likelihoods!r}:
    torch.manual_seed(0)
    model = vl.VAE.mlp((1, 4, 4), 3, (8,), likelihood, norm={norm!r})
    data = torch.randint(0, 2, (21, 1, 4, 4), generator=torch.Generator().manual_seed(1)).float()
    vl.fit(model, data, data[:1], epochs=2, batch_size=20, device="cpu", progress=False)
    print(likelihood)
"""


@pytest.mark.slow
def test_a_batch_with_fewer_examples_than_processes_is_trained_on(tmp_path):
    ended = finish(start(SMALL.format(likelihoods=["gaussian", "categorical"], norm=None), 2, tmp_path / "2"))
    assert [(status, out.split()) for status, out, _ in ended] == [(0, ["gaussian", "categorical"])] * 2, ended


@pytest.mark.slow
def test_batch_normalisation_of_a_part_of_one_is_refused_in_words_by_every_process(tmp_path):
    ended = finish(start(SMALL.format(likelihoods=["gaussian"], norm="batch"), 2, tmp_path / "2"))
    assert all(status == 1 and "leave a process a batch of 0: expected two or more" in e for status, _, e in ended), (
        ended
    )


EXITS = int(os.environ.get("VAELIB_EXITS", "2"))  # CONTRIBUTING.md says when to use 60


@pytest.mark.slow
def test_processes_end_in_good_order_next_to_busy_ones(tmp_path):
    """Each ends right after a message, whose tensor a thread of the group may still have to hand back to Python."""
    code = SETUP.format(model=MHVAE, progress=False) + "vl.fit(model, data, **options)\n"
    code += "processes.sum_over_processes([torch.ones(10)])\n"
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        for number in range(EXITS):
            ended = finish(start(code, 2, tmp_path / str(number)))
            assert [status for status, *_ in ended] == [0, 0], ended
    finally:
        for process in busy:
            process.kill()
            process.wait()


OURS = ("processes.start(torch.device('cpu'))", "processes._stop()")
THEIRS = ("torch.distributed.init_process_group('gloo')", "torch.distributed.destroy_process_group()")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted as Linux lists them")
@pytest.mark.parametrize(("begin", "end"), [OURS, THEIRS], ids=["begun by fit", "begun by the user"])
def test_a_group_that_was_ended_leaves_no_thread(begin, end, tmp_path):
    """The compiler, which optimizers import, must not keep the group that it finds."""
    code = SETUP.format(model=MHVAE, progress=False) + f"{begin}; import torch._dynamo; vl.fit(model, data, **options)"
    code += f"""; {end}
names = [open(f"/proc/self/task/{{task}}/comm").read().strip() for task in os.listdir("/proc/self/task")]
print([name for name in names if "gloo" in name])
"""
    ended = finish(start(code, 2, tmp_path / "2"))
    assert [(status, out.strip()) for status, out, _ in ended] == [(0, "[]")] * 2, ended


@pytest.mark.slow
@pytest.mark.parametrize("how", ["raise ValueError('mine')", "sys.exit(3)"])
def test_a_script_that_ends_otherwise_ends_in_good_order_too(how, tmp_path):
    code = SETUP.format(model=MHVAE, progress=False) + f"vl.fit(model, data, **options)\n{how}\n"
    ended = finish(start(code, 2, tmp_path / "2"))
    assert [status for status, *_ in ended] == [1 if "raise" in how else 3] * 2, ended
    assert not any("terminate called" in error for *_, error in ended)


def test_every_process_of_a_machine_takes_a_gpu_of_its_own(monkeypatch):
    from vaelib.training import device

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for local, want in ((None, "cuda:0"), ("0", "cuda:0"), ("1", "cuda:1")):
        if local is None:
            monkeypatch.delenv("LOCAL_RANK", raising=False)
        else:
            monkeypatch.setenv("LOCAL_RANK", local)
        assert str(device.device_named("auto")) == want
