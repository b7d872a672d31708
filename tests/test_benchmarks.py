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
import hierarchies  # noqa: E402
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


def figures(**of: list[list[float]]) -> list[dict]:
    """Rows as a training gives them: for each model and seed the NLL of every test image; without warm-up one more."""
    return [
        {"model": name, "warm_up": warm, "seed": seed, "weights": 1000, "nll": sum(nll) / len(nll) + (not warm)}
        | {
            "stderr": 0.5,
            "rates": [3.0] if name == "flat" else [2.0, 1.0],
            "per_example": [v + (not warm) for v in nll],
        }
        for name, seeds in of.items()
        for warm in (True, False)
        for seed, nll in enumerate(seeds)
    ]


def test_hierarchies_are_compared_seed_by_seed_and_image_by_image():
    flat = [[90.0, 100.0, 110.0], [91.0, 101.0, 111.0], [92.0, 102.0, 112.0]]
    other = [[nll + gap for nll in nlls] for nlls, gap in zip(flat, (1.0, 2.0, 3.0), strict=True)]
    other[0][0] += 3.0  # this image and seed only
    results = hierarchies.document(figures(flat=flat, mhvae=other, ladder=flat, hvae=flat), "a machine")
    found = [gap for gap in results["gaps"] if (gap["of"], gap["minus"]) == ("mhvae", "flat")]
    assert [(gap["seed"], gap["gap"]) for gap in found] == [(0, 2.0), (1, 2.0), (2, 3.0)]
    assert [gap["stderr"] for gap in found] == [1.0, 0.0, 0.0]  # images at 4, 1 and 1; no matter how hard they are
    cold = [gap["gap"] for gap in results["gaps"] if gap["of"] == "hvae, no warm-up"]
    assert cold == [1.0] * 3
    page = hierarchies.page(results)
    assert "| mhvae | flat | +2.00 (1.00), +2.00 (0.00), +3.00 (0.00) | +2.33 ± 0.33 |" in page
    assert "| flat | yes | 1,000 | 100.00, 101.00, 102.00 | 101.00 ± 0.58 | 3.0 |  |" in page
    assert "| hvae | no | 1,000 | 101.00, 102.00, 103.00 | 102.00 ± 0.58 | 2.0 | 1.0 |" in page


def test_the_page_of_the_hierarchies_is_what_their_table_says_and_has_every_training():
    results = json.loads((hierarchies.RESULTS / "hierarchies.json").read_text())
    assert (hierarchies.RESULTS / "hierarchies.md").read_text() == hierarchies.page(results)
    trained = {(row["model"], row["warm_up"], row["seed"]) for row in results["rows"]}
    assert trained == {(name, warm, seed) for name in hierarchies.MODELS for warm in (True, False) for seed in range(3)}
    weights = {row["model"]: row["weights"] for row in results["rows"]}
    for name, build in hierarchies.MODELS.items():
        assert weights[name] == sum(weight.numel() for weight in build(torch.full((1, 28, 28), 0.5)).parameters())


def test_the_hierarchies_go_on_where_they_were_stopped(monkeypatch, tmp_path, capsys):
    trained = []

    def train(name, seed, warm, small):
        trained.append((name, seed, warm))
        if len(trained) == 4:
            raise KeyboardInterrupt
        (row,) = (r for r in figures(**{name: [[1.0, 2.0]] * 3}) if (r["seed"], r["warm_up"]) == (seed, warm))
        return row

    for place in ("KEPT", "RESULTS"):
        monkeypatch.setattr(hierarchies, place, tmp_path)
    monkeypatch.setattr(hierarchies, "train", train)
    with pytest.raises(KeyboardInterrupt):
        hierarchies.main(["--only", "flat"])
    hierarchies.main(["--only", "flat"])
    assert len(trained) == 7  # six, one of them begun twice
    assert not (tmp_path / "hierarchies.json").exists()
    hierarchies.main([])
    assert len(set(trained)) == 24 == len(trained) - 1
    assert (tmp_path / "hierarchies.md").read_text().startswith("# Hierarchies, trained alike")
    assert "hvae, no warm-up     seed 2: NLL 2.50" in capsys.readouterr().out


@pytest.mark.slow
def test_every_hierarchy_can_be_trained():
    for name in hierarchies.MODELS:
        row = hierarchies.train(name, seed=0, warm=True, small=64)
        assert len(row["per_example"]) == 64
        assert row["nll"] < 784 * 0.7
        assert len(row["rates"]) == (1 if name == "flat" else 2)
