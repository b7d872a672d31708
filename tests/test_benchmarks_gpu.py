"""What test_benchmarks.py does not say about gpu.py and scaling.py."""

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import vaelib as vl
from vaelib.training import fast

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
import gpu  # noqa: E402  # ty: ignore[import-not-found]
import scaling  # noqa: E402  # ty: ignore[import-not-found]

CPU = torch.device("cpu")


@pytest.fixture
def images():
    return vl.load("mnist").test.images[:64]


@pytest.fixture
def run(monkeypatch, tmp_path):
    """gpu.py in small on a CPU, with a page of its own: the exit status, and where the page would be."""

    def run(*arguments):
        out = tmp_path / "gpu.md"
        monkeypatch.setattr(sys, "argv", ["gpu.py", "--out", str(out), *arguments])
        return gpu.main(), out

    return run


@pytest.mark.slow
def test_what_is_right_passes_and_every_bound_and_gradient_is_looked_at(images):
    rows, right = gpu.correctness(CPU, images)
    assert right
    kinds = ("float64", "float32")
    assert {row[0] for row in rows} == {
        f"{what}{name}, {kind}" for what in ("", "gradient of ") for name in ("elbo", "iwae") for kind in kinds
    }
    exact = [float(cell) for row in rows if "float64" in row[0] for cell in row[1:3]]
    rounded = [float(cell) for row in rows if "float32" in row[0] for cell in row[1:3]]
    assert max(exact) == 0  # the same device
    assert 0 < min(rounded) < max(rounded) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["elbo", "iwae"])
@pytest.mark.parametrize("fault", ["value", "gradient", "nan"])
def test_each_fault_ends_it_with_status_one_and_no_page(run, monkeypatch, capsys, name, fault):
    right = gpu.BOUNDS[name]

    def wrong(terms):
        value = right(terms)
        if terms.log_px.dtype != torch.float32:
            return value
        if fault == "nan":
            return value * math.nan
        other = value * (1 + 1e-2)
        return other if fault == "value" else value.detach() + other - other.detach()

    monkeypatch.setitem(gpu.BOUNDS, name, wrong)
    status, out = run("--device", "cpu", "--quick")
    assert status == 1
    assert not out.exists()
    assert "The numbers are wrong." in capsys.readouterr().out


def test_a_fault_of_a_hundred_millionth_is_found_in_float64(images, monkeypatch):
    calls = iter(range(100))
    monkeypatch.setattr(gpu, "BOUNDS", {"elbo": lambda terms: vl.elbo(terms) * (1 + 1e-8 * (next(calls) % 2))})
    rows, right = gpu.correctness(CPU, images)
    assert not right
    assert float(rows[0][1]) == pytest.approx(1e-8, rel=0.1)


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
def test_without_a_gpu_one_line_status_two_and_no_page(tmp_path):
    out = tmp_path / "gpu.md"
    for arguments in ([], ["--device", "cpu"]):  # a CPU is for rehearsals
        command = [sys.executable, str(BENCHMARKS / "gpu.py"), "--out", str(out), *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
        assert done.stdout == ""
    assert not out.exists()


def test_empty_writes_the_committed_page(run):
    status, out = run("--empty")
    assert status == 0
    assert out.read_text() == gpu.RESULTS.read_text()


def test_a_page_is_continued_on_the_same_device_only():
    rows = {
        name: [("a", *["1"] * (len(head) - 1)), ("b", *["2"] * (len(head) - 1))] for name, head in gpu.HEADS.items()
    }
    text = gpu.page(rows, "Device: X. torch 1.")
    assert gpu.kept(text, "Device: X. torch 1.") == rows
    assert gpu.kept(text, "Device: X. torch 2.") == {}
    part = {"speed": rows["speed"]}
    assert gpu.kept(gpu.page(part, "Device: X. torch 1."), "Device: X. torch 1.") == part
    assert gpu.kept(gpu.page({}, "Device: X. torch 1."), "Device: X. torch 1.") == {}


@pytest.mark.slow
def test_the_rehearsal_of_one_table_leaves_the_others_unmeasured_and_writes_nothing(run, capsys):
    status, out = run("--device", "cpu", "--quick", "--only", "time")
    assert status == 0
    assert not out.exists()
    shown = capsys.readouterr().out
    assert "| at the end (W1: 1 epochs, W2: 1 epochs) |" in shown
    assert "| all | not measured | not measured | not measured | not measured |" in shown  # speed


@pytest.mark.slow
def test_a_step_that_cannot_be_compiled_is_marked(monkeypatch, capsys):
    def refuse(*_):
        raise RuntimeError("no compiler today")

    monkeypatch.setattr(gpu, "WORKLOADS", {"W1": gpu.WORKLOADS["W1"]})
    monkeypatch.setattr(fast, "_compiled", refuse)
    rows = gpu.speeds(torch.rand(256, 1, 28, 28), 1, ("float32",))
    marks = {row[0]: [cell.endswith(" (fell back)") for cell in row[1:]] for row in rows}
    assert marks.pop("fit, compiled, float32") == [True, True]
    assert not any(map(any, marks.values()))
    assert "no compiler today" in capsys.readouterr().err


@pytest.mark.slow
def test_the_loop_by_hand_trains_the_model_of_fit(images, monkeypatch):
    """The same start, and after as many steps nearly the same bound."""
    models, build = [], gpu.build
    monkeypatch.setattr(gpu, "build", lambda workload: models.append(build(workload)) or models[-1])
    for workload in gpu.WORKLOADS:
        for train in (gpu.by_hand(workload, images, 16, True), gpu.by_fit(workload, images, 16, False, "float32")):
            for _ in range(20):
                train()
    bounds = [vl.nll(model, images.round(), samples=50).mean for model in models]
    assert len(bounds) == 4
    assert bounds[0] == pytest.approx(bounds[1], rel=0.02)
    assert bounds[2] == pytest.approx(bounds[3], rel=0.02)
    assert max(bounds) < 300  # untrained models are at 784 ln 2 = 543


def test_operations_of_a_step_written_out():
    # 784-200-200-50 (mean and scale) and back: forwards, gradients of weights, and of all inputs but the image.
    layers = [(784, 200), (200, 200), (200, 50), (200, 50), (50, 200), (200, 200), (200, 784)]
    total = sum(2 * 128 * a * b * 3 for a, b in layers) - 2 * 128 * 784 * 200
    assert gpu.operations("W1", 128) == total
    assert gpu.operations("W2", 256) == 2 * gpu.operations("W2", 128)


def test_floors_without_a_gpu_are_positive_and_fall_with_the_batch():
    small, large = (gpu.floors("W1", batch, CPU, ("float32",)) for batch in (128, 128_000))
    assert set(small) == set(large) == {"floor: products, float32", "floor: weights' memory traffic"}
    assert small["floor: products, float32"] > 10 * large["floor: products, float32"] > 0


def test_one_process_costs_no_communication():
    alone = scaling.Links(1, 1.0, 1e9)
    for halving in (False, True):
        assert scaling.all_reduce(1e9, alone, halving) == 0
        assert scaling.speedup(1e6, 64, alone, halving=halving) == 1
    assert scaling.flattening(1e9, 1) == 0 < scaling.flattening(1e9, 2)


@pytest.mark.parametrize("p", [2, 8, 64])
def test_the_limits_of_the_all_reduce(p):
    bandwidth, latency = 1e9, 1e-5
    links = scaling.Links(p, bandwidth, latency)
    large = 4e15  # bytes: latency does not count
    assert scaling.all_reduce(large / 4, links) == pytest.approx(2 * (p - 1) / p * large / bandwidth)
    assert scaling.all_reduce(large / 4, links, halving=True) == pytest.approx(2 * (p - 1) / p * large / bandwidth)
    assert scaling.all_reduce(0, links) == pytest.approx(2 * (p - 1) * latency)
    assert scaling.all_reduce(0, links, halving=True) == pytest.approx(2 * math.log2(p) * latency)
    # Wrong ones: everything sent to everybody, its reduction alone (or one way only), the P forgotten.
    for wrong in (2 * (p - 1), (p - 1) / p, 2):
        assert scaling.all_reduce(large / 4, links) != pytest.approx(wrong * large / bandwidth, rel=0.01)


def test_a_ring_step_by_step_takes_what_the_formula_says():
    """Each of P processes passes on one of P pieces per message, until all have all sums."""
    p, weights, links = 4, 4000, scaling.Links(4, 1e6, 1e-3)
    have = [[{process} for _ in range(p)] for process in range(p)]  # whose gradients are in each piece
    seconds = 0.0
    for message in range(10 * p):
        if all(piece == set(range(p)) for mine in have for piece in mine):
            break
        sent = [((process - message) % p, have[process][(process - message) % p]) for process in range(p)]
        for process, (piece, content) in enumerate(sent):
            have[(process + 1) % p][piece] = have[(process + 1) % p][piece] | content
        seconds += 4 * weights / p / links.bandwidth + links.latency
    assert seconds == pytest.approx(scaling.all_reduce(weights, links))


def test_small_models_meet_the_floor_and_slow_links_make_it_slower():
    assert scaling.compute(1e5, 1) == scaling.LAUNCH
    assert scaling.compute(1e9, 1e4) == pytest.approx(6e13 / scaling.ARITHMETIC + 28e9 / scaling.MEMORY)
    for weights in scaling.MODELS.values():
        for batch in scaling.BATCHES:
            here = scaling.speedup(weights, batch, scaling.MACHINE)
            assert here < 8
            assert here > scaling.speedup(weights, batch, scaling.MACHINE._replace(bandwidth=1e9))


def test_the_committed_page_is_what_the_code_writes():
    assert scaling.RESULTS.read_text() == scaling.page()
