import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from typer.testing import CliRunner

import vaelib as vl
from vaelib.__main__ import app

SMALL = ["--images", "300", "--latents", "4,3", "--hidden", "8/5", "--batch-size", "100", "--device", "cpu"]


def vaelib(*arguments: object) -> str:
    """The output of a command that succeeds."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "a"
    assert "3 epochs, best ELBO -" in vaelib("train", "--out", folder, "--epochs", 3, "--warmup", 2, *SMALL)
    return folder


def test_a_training_leaves_its_configuration_metrics_and_models(run):
    assert {path.name for path in run.iterdir()} == {
        ".lock", "best.safetensors", "last.safetensors", "metrics.jsonl", "run.json",
    }  # fmt: skip
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert lines[2]["valid"]["elbo"] > lines[0]["valid"]["elbo"]
    assert json.loads((run / "run.json").read_text())["latents"] == [4, 3]


def test_its_configuration_repeats_it_exactly(run, tmp_path):
    vaelib("train", "--out", tmp_path / "b", "--config", run / "run.json", "--device", "cpu")
    a, b = (vl.load_model(folder / "last.safetensors").state_dict() for folder in (run, tmp_path / "b"))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert (run / "run.json").read_text() == (tmp_path / "b" / "run.json").read_text()


def test_tensorboard_shows_the_metrics_of_every_epoch_once(tmp_path):
    vaelib("train", "--out", tmp_path, "--epochs", 2, "--tensorboard", *SMALL)
    vaelib("resume", tmp_path, "--epochs", 3, "--device", "cpu", "--tensorboard")
    shown = EventAccumulator(str(tmp_path / "tensorboard"))
    shown.Reload()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    for name, want in (
        ("valid/elbo", [line["valid"]["elbo"] for line in lines]),
        ("train/rates/2", [line["train"]["rates"][1] for line in lines]),
        ("beta", [line["beta"] for line in lines]),
    ):
        events = shown.Scalars(name)
        assert [event.step for event in events] == [1, 2, 3]
        assert [event.value for event in events] == pytest.approx(want, rel=1e-6)


def test_evaluate_prints_one_line_of_json_with_the_nll_of_the_library(run):
    line = json.loads(vaelib("evaluate", run, "--samples", 7, "--images", 20, "--device", "cpu"))
    x = torch.bernoulli(vl.load("mnist").test.images[:20], generator=torch.Generator().manual_seed(0))
    want = vl.nll(vl.load_model(run / "best.safetensors"), x, samples=7)
    assert line["nll"] == pytest.approx(want.mean, abs=1e-4)
    assert line["stderr"] == pytest.approx(want.stderr, abs=1e-4)
    assert (line["samples"], line["images"]) == (7, 20)


def test_sample_draws_a_picture(run, tmp_path):
    vaelib("sample", run, "--out", tmp_path / "s.png", "--n", 9)
    assert (tmp_path / "s.png").read_bytes()[:4] == b"\x89PNG"


def test_info_tells_what_a_training_is(run):
    text = vaelib("info", run)
    for words in ("mhvae", "epochs done", "best ELBO", "[4, 3]", "weights"):
        assert words in text


def test_resume_goes_on_where_it_stopped(run, tmp_path):
    vaelib("train", "--out", tmp_path / "c", "--epochs", 2, *SMALL)
    assert "4 epochs" in vaelib("resume", tmp_path / "c", "--epochs", 4, "--device", "cpu")
    assert json.loads((tmp_path / "c" / "run.json").read_text())["epochs"] == 4


@pytest.mark.parametrize(
    "options",
    [
        ["--model", "vae", "--latents", "3", "--hidden", "8", "--objective", "dreg", "--samples", "3"],
        ["--model", "hvae", "--likelihood", "discretised_logistic", "--objective", "free_bits", "--free-bits", "1.5"],
        ["--data", "binarized_mnist", "--objective", "iwae", "--samples", "2", "--warmup", "0"],
        ["--data", "cave", "--likelihood", "gaussian"],
    ],
)
def test_models_likelihoods_objectives_and_data(options, tmp_path):
    vaelib("train", "--out", tmp_path / "d", "--epochs", 1, *SMALL, *options)
    assert json.loads(vaelib("evaluate", tmp_path / "d", "--samples", 2, "--images", 5))["nll"] < 1e5


def program(*arguments: object, **options) -> subprocess.Popen:
    command = [sys.executable, "-m", "vaelib", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["train", "--out", "x", "--model", "vae"], 1, "vaelib: a vae has one level, not 2"),
        (["train", "--out", "x", "--latents", "4,3", "--hidden", "8"], 1, "vaelib: latents=[4, 3]"),
        (["train", "--out", "x", "--latents", "four"], 2, "expected whole numbers with commas"),
        (["train", "--out", "x", "--model", "gan"], 2, "is not one of"),
        (["train", "--out", "x", "--epochs", "0", *SMALL], 1, "vaelib: cosine(0.001, epochs=0): expected two positive"),
        (["train", "--out", "x", "--device", "cuda:99"], 1, "vaelib: device is 'cuda:99'"),
        (["train", "--out", "x", "--config", "wrong.json"], 1, "is no configuration of a training"),
        (["train"], 2, "--out"),
        (["evaluate", "nowhere"], 2, "does not exist"),
        (["resume", "."], 1, "vaelib: "),
    ],
)
def test_what_cannot_be_meant_is_one_line_and_an_exit_code(arguments, status, says, tmp_path):
    (tmp_path / "wrong.json").write_text('{"epochs": 3}')
    child = program(*arguments, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(Path(vl.__file__).parent.parent)})
    _, error = child.communicate(timeout=60)
    assert child.returncode == status
    assert says in error
    assert "Traceback" not in error


def test_ctrl_c_keeps_whole_epochs_and_exits_with_130(tmp_path):
    folder = tmp_path / "e"
    child = program("train", "--out", folder, "--epochs", 500, *SMALL)
    while not (folder / "last.safetensors").exists() and child.poll() is None:
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    _, error = child.communicate(timeout=60)
    assert child.returncode == 130, error
    assert "Traceback" not in error
    assert "whole epochs" in error
    vl.load_model(folder / "last.safetensors")
