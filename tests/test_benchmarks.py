import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import vaelib as vl

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
SPEED = BENCHMARKS / "speed.py"
sys.path.insert(0, str(BENCHMARKS))
import gpu  # noqa: E402
import scaling  # noqa: E402
import speed  # noqa: E402


@pytest.mark.slow
def test_the_speed_benchmark_measures_every_contender_on_both_workloads():
    command = [sys.executable, str(SPEED), "--threads", "1", "--rounds", "2", "--quick"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    results = json.loads(done.stdout)
    assert set(results) == {"W1", "W2"}
    for record in results.values():
        assert set(record) == {"bare loop", "bare loop, fused Adam", speed.SHORT, "matrix products alone"}
        assert all(len(turns["seconds"]) == 2 and min(turns["seconds"]) > 0 for turns in record.values())
        assert min(record["matrix products alone"]["seconds"]) < min(record["bare loop"]["seconds"])
        # The same model, trained alike: after three epochs of 50 steps the losses are alike.
        losses = [record[name]["loss"][-1] for name in ("bare loop", "bare loop, fused Adam", speed.SHORT)]
        assert max(losses) - min(losses) < 5
        assert losses[0] < 300  # an untrained model is at 784 ln 2 = 543


@pytest.mark.slow
def test_the_gpu_benchmark_rehearses_on_a_cpu(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--device", "cpu", "--quick"])
    monkeypatch.setattr(gpu, "WAYS", {"plain": False})  # compiling has tests of its own
    committed = gpu.RESULTS.read_text()
    assert gpu.main() == 0
    shown = capsys.readouterr().out
    assert "not measured" not in shown
    assert gpu.RESULTS.read_text() == committed == gpu.page({}, committed.split("\n\n")[1].split(" Command")[0])
    assert "| all | not measured | not measured | not measured |" in committed


@pytest.mark.slow
def test_a_wrong_bound_ends_the_gpu_benchmark(monkeypatch, capsys):
    def wrong(terms):  # by a thousandth, where the numbers are float32
        return vl.elbo(terms) * (1 + 1e-3 * (terms.log_px.dtype == torch.float32))

    monkeypatch.setattr(sys, "argv", ["gpu.py", "--device", "cpu", "--quick"])
    monkeypatch.setitem(gpu.BOUNDS, "elbo", wrong)
    assert gpu.main() == 1
    assert "The numbers are wrong." in capsys.readouterr().out


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
def test_without_a_gpu_the_gpu_benchmark_says_so(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    assert gpu.main() == 2
    assert "no GPU here" in capsys.readouterr().err


def test_the_cost_model_has_the_limits_that_it_must_have():
    alone, fast = scaling.Links(1, 1e9, 1e-3), scaling.Links(8, 1e9, 0.0)
    assert scaling.all_reduce(1e6, alone) == 0
    assert scaling.speedup(1e9, 1024, alone) == 1
    assert scaling.all_reduce(1e9, fast) == pytest.approx(2 * 7 / 8 * 4e9 / 1e9)  # not 4e9 / 1e9, one way only
    assert scaling.speedup(1e9, 10**7, scaling.MACHINE) == pytest.approx(8, rel=0.01)  # large batches: P times
    for weights in scaling.MODELS.values():
        batch = scaling.break_even(weights, scaling.CLUSTER)
        assert (
            scaling.speedup(weights, batch, scaling.CLUSTER)
            > 1
            >= scaling.speedup(weights, batch // 2, scaling.CLUSTER)
        )


def test_the_cost_models_page_is_what_it_computes_and_its_networks_have_so_many_weights():
    assert scaling.RESULTS.read_text() == scaling.page()
    for name in ("W1", "W2"):
        weights = sum(weight.numel() for weight in gpu.build(name).parameters())
        assert scaling.MODELS[name] == pytest.approx(weights, rel=0.02)
