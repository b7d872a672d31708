"""The commands, called in this process but where a process of its own is the point."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import asdict, fields
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from filelock import FileLock
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import vaelib as vl
from vaelib.__main__ import OPTIONS, main, parser
from vaelib.config import Config

ROOT = Path(vl.__file__).parent.parent
SMALL = ["--latents", "4,3", "--hidden", "8/5", "--batch-size", "20", "--device", "cpu"]


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """No bars, and no figures left open."""
    monkeypatch.setenv("TQDM_DISABLE", "1")
    yield
    plt.close("all")


@pytest.fixture
def vaelib(capsys):
    """Runs a command and gives its standard output, or, where another exit code is expected, the error."""

    def call(*arguments: object, status: int = 0) -> str:
        capsys.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as end:  # argparse's
            code = end.code
        output, error = capsys.readouterr()
        assert code == status, error
        if status:
            assert output == ""
            assert error.count("\n") == 1, error
        return error if status else output

    return call


def grey(folder: Path, count: int = 100, event: tuple[int, ...] = (1, 5, 4)) -> Path:
    """A file of data of one's own."""
    np.save(folder / "grey.npy", np.random.default_rng(0).random((count, *event), dtype=np.float32))
    return folder / "grey.npy"


@pytest.fixture
def own(tmp_path) -> Path:
    return grey(tmp_path)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A training for tests that only read it."""
    folder = tmp_path_factory.mktemp("runs")
    options = ["--data", str(grey(folder)), "--epochs", "3", "--warmup", "2", *SMALL]
    assert main(["train", "--out", str(folder / "a"), *options]) == 0
    return folder / "a"


def settings(folder: Path) -> dict:
    return json.loads((folder / "run.json").read_text())


def metrics(folder: Path) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def assert_same_training(a: Path, b: Path) -> None:
    """Bit for bit."""
    assert metrics(a) == metrics(b)
    left, right = (Config.read(folder / "run.json").build() for folder in (a, b))
    for model, folder in ((left, a), (right, b)):
        vl.load_model(folder / "last.safetensors", into=model)
    for (name, here), there in zip(left.state_dict().items(), right.state_dict().values(), strict=True):
        assert torch.equal(here, there), name


# What a training leaves, and what repeats it


def test_a_training_leaves_its_configuration_metrics_and_models(run):
    assert {path.name for path in run.iterdir()} == {
        ".lock", "best.safetensors", "last.safetensors", "metrics.jsonl", "run.json",
    }  # fmt: skip
    lines = metrics(run)
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert lines[2]["valid"]["elbo"] > lines[0]["valid"]["elbo"]
    assert settings(run)["latents"] == [4, 3]


def test_its_configuration_repeats_it_exactly(run, tmp_path, vaelib):
    vaelib("train", "--out", tmp_path / "b", "--config", run / "run.json", "--device", "cpu")
    assert_same_training(run, tmp_path / "b")
    assert settings(run) == settings(tmp_path / "b")


@pytest.mark.parametrize(
    ("option", "value", "kept"),
    [("epochs", "3", 3), ("seed", "7", 7), ("hidden", "9/6", [[9, 6], [5]]), ("clip", "0.5", 0.5)],
)
def test_options_win_over_the_configuration_of_a_file(option, value, kept, own, tmp_path, vaelib):
    vaelib("train", "--out", tmp_path / "a", "--data", own, "--epochs", 1, *SMALL)
    value = value if option != "hidden" else "9,6/5"
    vaelib("train", "--out", tmp_path / "b", "--config", tmp_path / "a/run.json", f"--{option}", value)
    assert settings(tmp_path / "b") == settings(tmp_path / "a") | {option: kept}
    assert metrics(tmp_path / "b") != metrics(tmp_path / "a")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"epoch": 3}, "missing: none; unknown: epoch"),
        ({"epochs": ...}, "missing: epochs; unknown: none"),
        ({"epochs": "3"}, 'epochs is "3"'),
        ({"epochs": True}, "epochs is true"),
        ({"epochs": 2.5}, "epochs is 2.5"),
        ({"epochs": None}, "epochs is null"),
        ({"lr": float("nan")}, "lr is NaN"),
        ({"latents": "4,3"}, 'latents is "4,3"'),
        ({"latents": [4, 0]}, "latents is [4, 0]"),
        ({"hidden": [8, 5]}, "hidden is [8, 5]"),
        ({"objective": "Hierarchy"}, 'objective is "Hierarchy"'),
        ({"data": 5}, "data is 5"),
        ({"earlier": 5}, "earlier is 5"),
        ({"earlier": [[3]]}, "earlier is [[3]]"),
        ({"earlier": [[3, 9], [4, 9, 9]]}, "earlier is [[3, 9], [4, 9, 9]]"),
    ],
)
def test_a_configuration_that_cannot_be_meant_is_one_clear_error(change, says, run, tmp_path, vaelib):
    values = {name: value for name, value in (settings(run) | change).items() if value is not ...}
    (tmp_path / "run.json").write_text(json.dumps(values))
    error = vaelib("train", "--config", tmp_path / "run.json", "--out", tmp_path / "x", status=1)
    assert error.startswith(f"vaelib: {tmp_path / 'run.json'}")
    assert says in error
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("text", ["", "[1, 2]", "{", "\udcff", pytest.param("[" * 100_000, id="deep")])
def test_a_file_that_is_no_configuration_is_one_clear_error(text, tmp_path, vaelib):
    (tmp_path / "run.json").write_bytes(text.encode(errors="surrogateescape"))
    error = vaelib("train", "--config", tmp_path / "run.json", "--out", tmp_path / "x", status=1)
    assert str(tmp_path / "run.json") in error


def test_every_field_of_the_configuration_has_the_value_of_its_option(own, tmp_path, vaelib):
    given = {
        "data": str(own), "model": "hvae", "latents": "3,2", "hidden": "8/5", "likelihood": "gaussian",
        "prior": "mixture", "components": "3", "objective": "free_bits", "free_bits": "0.25", "samples": "2",
        "epochs": "1", "batch_size": "30", "lr": "0.01", "warmup": "0", "optimizer": "adamw", "clip": "2",
        "images": "60", "seed": "5", "precision": "float32", "compile": "no",
    }  # fmt: skip
    options = [text for name, value in given.items() for text in (f"--{name.replace('_', '-')}", value)]
    vaelib("train", "--out", tmp_path / "a", *options)
    kept = settings(tmp_path / "a")
    numbers = {"components": 3, "free_bits": 0.25, "samples": 2, "epochs": 1, "batch_size": 30, "lr": 0.01}
    numbers |= {"warmup": 0.0, "clip": 2.0, "images": 60, "seed": 5, "latents": [3, 2], "hidden": [[8], [5]]}
    assert {name: kept[name] for name in given} == given | numbers
    assert set(kept) - set(given) == {"earlier", "event", "digest"}
    assert set(kept) == {field.name for field in fields(Config)}


@pytest.mark.parametrize(
    ("model", "latents", "hidden"),
    [
        ("vae", [50], [[200, 200]]),
        ("mhvae", [100, 50], [[200, 200], [100, 100]]),
        ("hvae", [100, 50], [[200, 200], [100, 100]]),
    ],
)
def test_a_model_has_sizes_of_its_own(model, latents, hidden, own, tmp_path, vaelib):
    vaelib("train", "--out", tmp_path / "a", "--model", model, "--data", own, "--epochs", 1)
    kept = settings(tmp_path / "a")
    assert (kept["latents"], kept["hidden"]) == (latents, hidden)


# More epochs, fewer epochs


def test_after_more_epochs_the_configuration_repeats_the_training(own, tmp_path, vaelib):
    a, again = tmp_path / "a", tmp_path / "again"
    vaelib("train", "--out", a, "--data", own, "--epochs", 2, *SMALL)
    output = vaelib("resume", a, "--epochs", 4)
    assert "from epoch 3 on the learning rate follows a cosine over 4 epochs, no longer over 2\n" in output
    vaelib("resume", a, "--epochs", 5)
    vaelib("train", "--config", a / "run.json", "--out", again)
    assert_same_training(a, again)
    assert settings(a) == settings(again)
    assert (settings(a)["epochs"], settings(a)["earlier"]) == (5, [[2, 2], [4, 4]])
    # Batches of 20 from 80 examples: an epoch's last step begins at three quarters of it.
    want = [vl.cosine(1e-3, total)(epoch + 0.75) for epoch, total in enumerate((2, 2, 4, 4, 5))]
    assert [line["lr"] for line in metrics(a)] == want


@pytest.mark.parametrize("epochs", [7, 3, 2])
def test_a_training_that_was_stopped_may_be_given_any_epochs_not_yet_done(epochs, own, tmp_path, vaelib, monkeypatch):
    a, keep = tmp_path / "a", vl.Run.keep

    def stop(self, state):
        if len(state.history) == 3:
            raise KeyboardInterrupt
        keep(self, state)

    with monkeypatch.context() as patch:
        patch.setattr(vl.Run, "keep", stop)
        assert main(["train", "--out", str(a), "--data", str(own), "--epochs", "5", *SMALL]) == 130
    assert settings(a)["earlier"] is None
    vaelib("resume", a, "--epochs", epochs)
    assert (settings(a)["epochs"], settings(a)["earlier"]) == (epochs, [[2, 5]])
    vaelib("train", "--config", a / "run.json", "--out", tmp_path / "again")
    assert_same_training(a, tmp_path / "again")


def test_a_plan_of_which_nothing_was_done_leaves_no_trace(own, tmp_path, vaelib, monkeypatch):
    vaelib("train", "--out", tmp_path / "a", "--data", own, "--epochs", 2, *SMALL)
    with monkeypatch.context() as patch:
        patch.setattr(vl.Run, "keep", lambda *_: os.kill(os.getpid(), signal.SIGINT))
        assert main(["resume", str(tmp_path / "a"), "--epochs", "9"]) == 130
    vaelib("resume", tmp_path / "a", "--epochs", 3)
    assert (settings(tmp_path / "a")["epochs"], settings(tmp_path / "a")["earlier"]) == (3, [[2, 2]])


def test_other_epochs_for_a_new_training_are_those_of_one_cosine(own, tmp_path, vaelib):
    vaelib("train", "--out", tmp_path / "a", "--data", own, "--epochs", 1, *SMALL)
    vaelib("resume", tmp_path / "a", "--epochs", 2)
    vaelib("train", "--config", tmp_path / "a/run.json", "--epochs", 3, "--out", tmp_path / "b")
    vaelib("train", "--out", tmp_path / "c", "--data", own, "--epochs", 3, *SMALL)
    assert_same_training(tmp_path / "b", tmp_path / "c")


def test_fewer_epochs_than_are_done_are_an_error_that_changes_nothing(own, tmp_path, vaelib):
    vaelib("train", "--out", tmp_path / "a", "--data", own, "--epochs", 3, *SMALL)
    before = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    for epochs in (1, 2):
        error = vaelib("resume", tmp_path / "a", "--epochs", epochs, status=1)
        assert error == f"vaelib: {tmp_path / 'a'} has done 3 epochs: expected --epochs 3 or more\n"
    assert {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()} == before


def test_resume_of_what_is_done_changes_nothing(own, tmp_path, vaelib):
    vaelib("train", "--out", tmp_path / "a", "--data", own, "--epochs", 2, *SMALL)
    before = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    for more in ([], ["--epochs", 2]):
        assert "2 epochs" in vaelib("resume", tmp_path / "a", *more)
    assert {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()} == before


def test_resume_begins_a_training_that_was_killed_in_its_first_epoch(own, tmp_path, vaelib):
    vaelib("train", "--out", tmp_path / "a", "--data", own, "--epochs", 1, *SMALL)
    (tmp_path / "b").mkdir()
    (tmp_path / "b/run.json").write_bytes((tmp_path / "a/run.json").read_bytes())
    assert "epochs done  0" in vaelib("info", tmp_path / "b")
    for command in ("evaluate", "sample", "reconstruct"):
        error = vaelib(command, tmp_path / "b", status=1)
        assert error == f"vaelib: no epoch of {tmp_path / 'b'} is done yet: vaelib resume {tmp_path / 'b'}\n"
    vaelib("resume", tmp_path / "b", "--epochs", 2)
    vaelib("train", "--out", tmp_path / "c", "--data", own, "--epochs", 2, *SMALL)
    assert_same_training(tmp_path / "b", tmp_path / "c")


def test_a_folder_that_holds_a_training_is_left_alone(own, tmp_path, vaelib):
    a = tmp_path / "a"
    vaelib("train", "--out", a, "--data", own, "--epochs", 1, *SMALL)
    before = {path.name: path.read_bytes() for path in a.iterdir()}
    error = vaelib("train", "--out", a, "--data", own, "--epochs", 9, status=1)
    assert error == f"vaelib: {a} holds a training: continue it with vaelib resume {a}, or choose another --out\n"
    assert {path.name: path.read_bytes() for path in a.iterdir()} == before


@pytest.mark.parametrize("command", ["train", "resume"])
def test_the_configuration_of_a_training_under_way_is_left_alone(command, own, tmp_path, vaelib):
    a = tmp_path / "a"
    vaelib("train", "--out", a, "--data", own, "--epochs", 1, *SMALL)
    before = (a / "run.json").read_bytes()
    if command == "train":
        (a / "last.safetensors").unlink()  # as in the first epoch
    with FileLock(a / ".lock"):
        arguments = ["resume", a, "--epochs", 5] if command == "resume" else ["train", "--out", a, "--data", own]
        try:
            assert main([str(argument) for argument in arguments]) == 1
        finally:
            assert (a / "run.json").read_bytes() == before


# Data of one's own


def test_data_of_ones_own_are_split_by_the_seed(own):
    everything = np.load(own).reshape(100, -1)
    splits = [Config(data=str(own), seed=seed).load() for seed in (0, 0, 1)]
    for data in splits:
        assert [len(part) for part in (data.train, data.valid, data.test, data.full_train)] == [80, 10, 10, 90]
        parts = [part.images.flatten(1).numpy() for part in (data.train, data.valid, data.test)]
        assert sorted(map(tuple, np.concatenate(parts))) == sorted(map(tuple, everything))
    assert torch.equal(splits[0].test.images, splits[1].test.images)
    assert not torch.equal(splits[0].test.images, splits[2].test.images)


@pytest.mark.parametrize("event", [(1, 5, 4), (3, 4, 5), (7,)])
@pytest.mark.parametrize("model", ["vae", "hvae"])
def test_data_of_ones_own_are_trained_on_and_evaluated(model, event, tmp_path, vaelib):
    sizes = ["--latents", "3", "--hidden", "8"] if model == "vae" else ["--latents", "3,2", "--hidden", "8/5"]
    own = grey(tmp_path, event=event)
    likelihood = ["--likelihood", "gaussian"] if len(event) == 1 else []
    vaelib("train", "--out", tmp_path / "a", "--data", own, "--model", model, "--epochs", 1, *sizes, *likelihood)
    assert settings(tmp_path / "a")["event"] == list(event)
    line = json.loads(vaelib("evaluate", tmp_path / "a", "--samples", 2))
    assert line["images"] == 10
    if len(event) == 3:
        for command in ("sample", "reconstruct"):
            vaelib(command, tmp_path / "a", "--out", tmp_path / f"{command}.png")
            assert (tmp_path / f"{command}.png").read_bytes()[:4] == b"\x89PNG"


def test_a_folder_of_pictures_is_trained_on(tmp_path, vaelib):
    from PIL import Image

    (tmp_path / "pictures").mkdir()
    for i, picture in enumerate(np.random.default_rng(0).integers(0, 255, (20, 5, 4, 3), dtype=np.uint8)):
        Image.fromarray(picture).save(tmp_path / f"pictures/{i}.png")
    vaelib("train", "--out", tmp_path / "a", "--data", tmp_path / "pictures", "--epochs", 1, *SMALL)
    assert settings(tmp_path / "a")["event"] == [3, 5, 4]


def test_data_that_have_changed_are_noticed(own, tmp_path, vaelib):
    vaelib("train", "--out", tmp_path / "a", "--data", own, "--epochs", 1, *SMALL)
    x = np.load(own)
    x[-1, 0, 0, 0] += 1e-3
    np.save(own, x)
    for arguments in (
        ["resume", tmp_path / "a", "--epochs", 2],
        ["evaluate", tmp_path / "a"],
        ["reconstruct", tmp_path / "a"],
        ["train", "--config", tmp_path / "a/run.json", "--out", tmp_path / "b"],
    ):
        assert "grey.npy is not what it was in the training" in vaelib(*arguments, status=1)
    vaelib("sample", tmp_path / "a", "--out", tmp_path / "s.png")  # needs none
    vaelib("train", "--config", tmp_path / "a/run.json", "--data", own, "--out", tmp_path / "b")
    assert settings(tmp_path / "a")["digest"] != settings(tmp_path / "b")["digest"]


def test_data_are_found_from_another_folder(own, tmp_path, vaelib, monkeypatch):
    monkeypatch.chdir(tmp_path)
    vaelib("train", "--out", "a", "--data", own.name, "--epochs", 1, *SMALL)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    vaelib("evaluate", "../a", "--samples", 2)


# What is read from a training


def test_evaluate_prints_one_line_of_json_with_the_nll_of_the_library(run, vaelib):
    line = json.loads(vaelib("evaluate", run, "--samples", 7, "--images", 4, "--seed", 3, "--device", "cpu"))
    seeded = [torch.Generator().manual_seed(3) for _ in range(2)]
    x = Config.read(run / "run.json").load().test.images[torch.randperm(10, generator=seeded[0])[:4]]
    want = vl.nll(vl.load_model(run / "best.safetensors"), torch.bernoulli(x, generator=seeded[1]), samples=7, seed=3)
    assert line["nll"] == pytest.approx(want.mean, abs=1e-4)  # sums in float32
    assert line["stderr"] == pytest.approx(want.stderr, abs=1e-4)
    assert (line["samples"], line["images"], line["seed"]) == (7, 4, 3)


def test_the_standard_error_of_one_image_is_null(run, vaelib):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    line = json.loads(vaelib("evaluate", run, "--samples", 2, "--images", 1, "--device", "cpu"), parse_constant=refuse)
    assert line["stderr"] is None
    assert line["nll"] > 0


def test_bundled_data_are_trained_on_and_evaluated(tmp_path, vaelib):
    options = ["--data", "binarized_mnist", "--images", 300, "--epochs", 1, *SMALL]
    vaelib("train", "--out", tmp_path / "a", *options)
    assert settings(tmp_path / "a")["event"] == [1, 28, 28]
    assert settings(tmp_path / "a")["digest"] is None
    # Its test set is sorted by class: the first ones would all be zeros.
    assert json.loads(vaelib("evaluate", tmp_path / "a", "--samples", 2, "--images", 5))["nll"] < 1000


def test_sample_draws_at_the_temperature_of_the_level(run, tmp_path, vaelib, monkeypatch):
    drawn, sample = [], vl.MHVAE.sample
    monkeypatch.setattr(vl.MHVAE, "sample", lambda *a, **named: drawn.append(named) or sample(*a, **named))
    for options, temperatures in (
        ([], [1.0, 1.0]),
        (["--temperature", 0.5], [0.5, 0.5]),
        (["--temperature", 0, "--level", 2], [1.0, 0.0]),
        (["--temperature", 0.5, "--level", 1], [0.5, 1.0]),
    ):
        vaelib("sample", run, "--out", tmp_path / "s.png", "--n", 9, *options)
        assert drawn[-1]["temperature"] == temperatures
        assert (tmp_path / "s.png").read_bytes()[:4] == b"\x89PNG"
    assert "level is 3: expected 1" in vaelib("sample", run, "--level", 3, status=1)
    assert "--level has no effect without a --temperature" in vaelib("sample", run, "--level", 2, status=1)


def test_reconstruct_shows_originals_and_a_row_for_each_level(run, tmp_path, vaelib, monkeypatch):
    shown, draw = [], vl.plots.reconstructions
    monkeypatch.setattr(vl.plots, "reconstructions", lambda rows, **named: shown.append(rows) or draw(rows, **named))
    for options, names in (([], ["x", "from z1", "from z2"]), (["--level", 2], ["x", "from z2"])):
        vaelib("reconstruct", run, "--out", tmp_path / "r.png", "--images", 5, *options)
        assert list(shown[-1]) == names
        assert {tuple(images.shape) for images in shown[-1].values()} == {(5, 1, 5, 4)}
        assert (tmp_path / "r.png").read_bytes()[:4] == b"\x89PNG"
    assert set(shown[0]["x"].unique().tolist()) == {0.0, 1.0}  # as the model sees them
    assert "level is 3: expected 1" in vaelib("reconstruct", run, "--level", 3, status=1)


def test_info_tells_what_a_training_is(run, vaelib):
    lines = dict(re.split(r"  +", line, maxsplit=1) for line in vaelib("info", run).splitlines() if "  " in line)
    assert (lines["model"], lines["latents"], lines["hidden"]) == ("mhvae", "4,3", "8/5")
    best = max(metrics(run), key=lambda line: line["valid"]["elbo"])["valid"]
    text = vaelib("info", run)
    assert f"best ELBO    {best['elbo']:.2f} = {best['reconstruction']:.2f} - (" in text
    assert "epochs done  3" in text
    weights = sum(weight.numel() for weight in vl.load_model(run / "best.safetensors").parameters())
    assert f"weights      {weights:,}" in text


def test_tensorboard_shows_the_metrics_of_every_epoch_once(own, tmp_path, vaelib):
    vaelib("train", "--out", tmp_path / "a", "--data", own, "--epochs", 2, "--tensorboard", *SMALL)
    vaelib("resume", tmp_path / "a", "--epochs", 3, "--device", "cpu", "--tensorboard")
    shown = EventAccumulator(str(tmp_path / "a/tensorboard"))
    shown.Reload()
    for name, want in (
        ("valid/elbo", [line["valid"]["elbo"] for line in metrics(tmp_path / "a")]),
        ("train/rates/2", [line["train"]["rates"][1] for line in metrics(tmp_path / "a")]),
        ("beta", [line["beta"] for line in metrics(tmp_path / "a")]),
    ):
        events = shown.Scalars(name)
        assert [event.step for event in events] == [1, 2, 3]
        assert [event.value for event in events] == pytest.approx(want, rel=1e-6)  # kept in float32


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        ["--model", "vae", "--latents", "3", "--hidden", "8", "--objective", "dreg", "--samples", "3"],
        ["--model", "hvae", "--likelihood", "continuous_bernoulli", "--objective", "free_bits", "--free-bits", "1.5"],
        ["--likelihood", "gaussian", "--objective", "iwae", "--samples", "2", "--warmup", "0"],
        ["--model", "vae", "--latents", "3", "--hidden", "8", "--prior", "vamp", "--components", "6"],
        ["--model", "mhvae", "--prior", "vamp", "--components", "4"],
        ["--model", "mhvae", "--prior", "mixture"],
        ["--model", "hvae", "--prior", "mixture", "--components", "2"],
        ["--optimizer", "adamw", "--clip", "1"],
        ["--optimizer", "adamax"],
        ["--compile", "no"],
    ],
)
def test_what_a_training_is_made_of_can_be_resumed_repeated_and_read(options, own, tmp_path, vaelib):
    a = tmp_path / "a"
    vaelib("train", "--out", a, "--data", own, "--epochs", 1, *SMALL, *options)
    vaelib("resume", a, "--epochs", 2)
    vaelib("train", "--config", a / "run.json", "--out", tmp_path / "b")
    assert_same_training(a, tmp_path / "b")
    assert json.loads(vaelib("evaluate", a, "--samples", 2))["nll"] < 100
    vaelib("sample", a, "--out", tmp_path / "s.png", "--n", 2)


def test_the_optimizer_and_the_clipping_change_the_training(own, tmp_path, vaelib):
    chosen = {
        "plain": [],
        "adamw": ["--optimizer", "adamw"],
        "adamax": ["--optimizer", "adamax"],
        "clip": ["--clip", "1e-3"],
    }
    for name, options in chosen.items():
        vaelib("train", "--out", tmp_path / name, "--data", own, "--epochs", 2, *SMALL, *options)
    assert len({json.dumps(metrics(tmp_path / name)) for name in chosen}) == len(chosen)


# What is said


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        ([], 2, "vaelib: the following arguments are required: COMMAND"),
        (["train"], 2, "--out"),
        (["fit"], 2, "invalid choice: 'fit'"),
        (["train", "--out", "x", "--epo", "3"], 2, "unrecognized arguments: --epo"),
        (["train", "--out", "x", "--latents", "four"], 2, "'four' is no whole number above 0"),
        (["train", "--out", "x", "--latents", "4,,3"], 2, "'' is no whole number above 0"),
        (["train", "--out", "x", "--model", "gan"], 2, "invalid choice: 'gan'"),
        (["train", "--out", "x", "--epochs", "0"], 2, "--epochs: '0' is no whole number above 0"),
        (["train", "--out", "x", "--images", "-5"], 2, "--images: '-5' is no whole number above 0"),
        (["train", "--out", "x", "--seed", "-1"], 2, "--seed: '-1' is no whole number from 0 on"),
        (["train", "--out", "x", "--seed", str(2**64)], 2, "--seed"),
        (["train", "--out", "x", "--lr", "nan"], 2, "--lr: 'nan' is no number above 0"),
        (["train", "--out", "x", "--clip", "0"], 2, "--clip: '0' is no number above 0"),
        (["train", "--out", "x", "--warmup", "inf"], 2, "--warmup: 'inf' is no number from 0 on"),
        (["train", "--out", "x", "--model", "vae", "--latents", "4,3"], 1, "expected one level of each, such as --lat"),
        (["train", "--out", "x", "--model", "vae", "--hidden", "8/5"], 1, "expected one level of each, such as --lat"),
        (
            ["train", "--out", "x", "--model", "vae", "--latents", "4,3", "--hidden", "8/5"],
            1,
            "expected one level of each, such as --lat",
        ),
        (
            ["train", "--out", "x", "--latents", "4,3", "--hidden", "8"],
            1,
            "expected as many levels of each, such as --",
        ),
        (["train", "--out", "x", "--model", "hvae", "--prior", "vamp"], 1, "expected --prior mixture"),
        (
            ["train", "--out", "x", "--data", "few.npy", "--model", "vae", "--prior", "vamp"],
            1,
            "expected --components 16",
        ),
        (["train", "--out", "x", "--components", "5"], 1, "--components has no effect"),
        (["train", "--out", "x", "--free-bits", "1"], 1, "--free-bits has no effect"),
        (["train", "--out", "x", "--device", "cuda:99"], 1, "device is 'cuda:99'"),
        (["train", "--out", "x", "--data", "minst"], 1, "minst: expected mnist, binarized_mnist, omniglot, cave, or a"),
        (["train", "--out", "x", "--data", "nine.npy"], 1, "nine.npy has 9 examples: expected 10 or more"),
        (["train", "--out", "x", "--data", "wild.npy"], 1, "wild.npy has values outside [0, 1]"),
        (["train", "--out", "x", "--data", "nan.npy"], 1, "nan.npy has values outside [0, 1]"),
        (["train", "--out", "x", "--data", "wild.json"], 1, "wild.json is a file of another kind"),
        (["train", "--out", "x", "--config", "none.json"], 1, "there is no none.json"),
        (["evaluate", "nowhere"], 1, "there is no nowhere/run.json: expected the run.json of a training"),
        (["resume", "."], 1, "there is no run.json"),
        (["info", "nine.npy"], 1, "run.json"),
    ],
)
def test_what_cannot_be_meant_is_one_line_and_an_exit_code(arguments, status, says, tmp_path, vaelib, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("nine.npy", np.zeros((9, 4), np.float32))
    np.save("few.npy", np.zeros((20, 4), np.float32))
    np.save("wild.npy", np.full((20, 4), 1.5, np.float32))
    np.save("nan.npy", np.full((20, 4), np.nan, np.float32))
    Path("wild.json").write_text("{}")
    assert says in vaelib(*arguments, status=status)
    assert not Path("x").exists()


def test_options_that_have_no_effect_can_stay_in_a_file(own, tmp_path, vaelib):
    """A mixture's components and an objective's free bits do not stand in the way of choosing others."""
    options = ["--prior", "mixture", "--objective", "free_bits", "--free-bits", 1]
    vaelib("train", "--out", tmp_path / "a", "--data", own, "--epochs", 1, *SMALL, *options)
    others = ["--prior", "standard", "--objective", "elbo"]
    vaelib("train", "--out", tmp_path / "b", "--config", tmp_path / "a/run.json", *others)
    assert (settings(tmp_path / "a")["components"], settings(tmp_path / "b")["components"]) == (10, None)


def test_another_model_has_the_levels_that_it_has_by_itself(own, tmp_path, vaelib):
    vaelib("train", "--out", tmp_path / "a", "--data", own, "--epochs", 1, "--model", "vae", "--latents", 4)
    again = ["train", "--config", tmp_path / "a/run.json", "--epochs", 1, "--out"]
    vaelib(*again, tmp_path / "b", "--model", "mhvae")
    vaelib(*again, tmp_path / "c", "--model", "vae")
    vaelib(*again, tmp_path / "d", "--model", "mhvae", "--latents", "5,3")
    assert [settings(tmp_path / run)["latents"] for run in "abcd"] == [[4], [100, 50], [4], [5, 3]]
    assert [len(settings(tmp_path / run)["hidden"]) for run in "abcd"] == [1, 2, 1, 2]


def test_own_data_of_more_digits_are_cast_and_that_is_said(tmp_path, capsys):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(20, 4)))
    options = ["--likelihood", "gaussian", "--model", "vae", "--epochs", "1"]
    assert main(["train", "--data", f"{tmp_path}/x.npy", "--out", f"{tmp_path}/a", *options]) == 0
    assert f"{tmp_path}/x.npy is float64: cast to float32, as the model is" in capsys.readouterr().err


def test_another_prior_has_as_many_components_as_it_has_by_itself(own, tmp_path, vaelib):
    vaelib("train", "--out", tmp_path / "a", "--data", own, "--epochs", 1, *SMALL, "--prior", "mixture")
    again = ["train", "--config", tmp_path / "a/run.json", "--epochs", 1, "--prior", "vamp"]
    vaelib(*again, "--out", tmp_path / "b")
    vaelib(*again, "--components", 10, "--out", tmp_path / "c")
    assert [settings(tmp_path / run)["components"] for run in "abc"] == [10, 500, 10]


def test_where_memory_runs_out_one_line_says_so(own, tmp_path, vaelib, monkeypatch):
    def build(*_):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(Config, "build", build)
    assert "not enough memory" in vaelib("train", "--out", tmp_path / "a", "--data", own, status=1)


def test_a_fault_of_the_program_is_no_line_but_a_traceback(own, tmp_path, monkeypatch):
    def build(*_):
        raise RuntimeError("shapes cannot be multiplied")

    monkeypatch.setattr(Config, "build", build)
    with pytest.raises(RuntimeError):
        main(["train", "--out", str(tmp_path / "a"), "--data", str(own)])


def test_a_missing_package_is_named(run, tmp_path, vaelib, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert vaelib("sample", run, status=1) == "vaelib: this command needs matplotlib: pip install matplotlib\n"
    monkeypatch.setitem(sys.modules, "PIL", None)
    (tmp_path / "picture.png").touch()
    assert "pip install pillow" in vaelib("train", "--out", tmp_path / "x", "--data", tmp_path, status=1)


def test_ctrl_c_outside_of_a_training_is_one_line(run, vaelib, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(vl, "nll", interrupted)
    assert vaelib("evaluate", run, status=130) == "vaelib: stopped\n"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_terminal_may_lack_letters(encoding, own, tmp_path, monkeypatch):
    streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2)]
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    folder = tmp_path / "Höhle λ 洞"
    folder.mkdir()
    data = own.rename(folder / own.name)
    assert main(["train", "--out", str(folder / "a"), "--data", str(data), "--epochs", "1", *SMALL]) == 0
    assert main(["info", str(folder / "a")]) == 0
    assert main(["train", "--out", str(folder / "a"), "--data", str(data)]) == 1
    with pytest.raises(SystemExit) as end:
        main(["train", "--help"])
    assert end.value.code == 0
    for stream in streams:
        stream.flush()
    assert b"1 epochs, best ELBO" in streams[0].buffer.getvalue()
    assert b"holds a training" in streams[1].buffer.getvalue()


def test_the_commands_of_the_readme_and_of_the_help_are_commands():
    texts = [(ROOT / "README.md").read_text(), *(do.__doc__ for do in OPTIONS)]
    lines = [line for text in texts for line in re.findall(r"\bvaelib ([a-z]+ [^`&\n]*runs/[^`&\n]*)", text)]
    assert len(lines) > 12
    for line in lines:
        parser().parse_args(line.split())


def test_ctrl_c_between_two_epochs_ends_a_training_in_good_order(own, tmp_path, vaelib, monkeypatch, capsys):
    epochs = vl.Training.__iter__

    def interrupted(self):
        yield next(epochs(self))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(vl.Training, "__iter__", interrupted)
        assert main(["train", "--out", str(tmp_path / "a"), "--data", str(own), "--epochs", "3", *SMALL]) == 130
    assert capsys.readouterr().out.startswith("1 epochs, best ELBO")
    assert "3 epochs" in vaelib("resume", tmp_path / "a")


# Processes of their own


def program(*arguments: object, module: tuple[str, ...] = ("vaelib",)) -> subprocess.Popen:
    command = [sys.executable, "-m", *module, *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


@pytest.mark.slow
def test_ctrl_c_keeps_whole_epochs_and_exits_with_130(own, tmp_path):
    folder = tmp_path / "e"
    child = program("train", "--out", folder, "--data", own, "--epochs", 100_000, "--compile", "no", *SMALL)
    while not (folder / "last.safetensors").exists() and child.poll() is None:
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    output, error = child.communicate(timeout=60)
    assert child.returncode == 130, error
    assert "Traceback" not in error
    assert "epochs, best ELBO" in output
    vl.load_model(folder / "last.safetensors")


@pytest.mark.slow
def test_two_processes_go_on_as_one_and_say_everything_once(own, tmp_path, vaelib):
    folder, alone = tmp_path / "two", tmp_path / "one"
    vaelib("train", "--out", folder, "--data", own, "--epochs", 1, *SMALL)
    torchrun = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "vaelib")
    child = program("resume", folder, "--epochs", 2, "--device", "cpu", module=torchrun)
    output, error = child.communicate(timeout=120)
    assert child.returncode == 0, error
    assert [output.count(words) for words in ("from epoch 2 on", "kept in")] == [1, 1]
    vaelib("train", "--out", alone, "--config", folder / "run.json")
    assert settings(folder) == settings(alone) == asdict(Config.read(folder / "run.json"))
    for a, b in zip(metrics(folder), metrics(alone), strict=True):
        assert a["valid"]["elbo"] == pytest.approx(b["valid"]["elbo"], abs=1e-3)  # sums in another order
    child = program("evaluate", folder, "--samples", 5, "--device", "cpu", module=torchrun)
    output, error = child.communicate(timeout=120)
    assert child.returncode == 0, error
    (line,) = output.splitlines()
    alone = json.loads(vaelib("evaluate", folder, "--samples", 5))
    assert json.loads(line)["nll"] == pytest.approx(alone["nll"], abs=1e-4)


# What nobody would expect


def test_few_images_are_all_that_a_model_starts_from(tmp_path, vaelib):
    x = np.zeros((40, 1, 4, 4), np.float32)
    x[::2] = 1.0
    np.save(tmp_path / "halves.npy", x)
    options = ["--data", tmp_path / "halves.npy", "--model", "vae", "--latents", 2, "--hidden", 8, "--device", "cpu"]
    vaelib("train", "--out", tmp_path / "a", *options, "--images", 1, "--epochs", 1, "--lr", "1e-9")
    config = Config.read(tmp_path / "a" / "run.json")
    model = vl.load_model(tmp_path / "a" / "last.safetensors", into=config.build())
    start = model.decoders[0].heads[0].bias.sigmoid()
    assert start.min() > 0.9 or start.max() < 0.1  # of one image, all white or all black, not of their mean
    said = vaelib(
        "train", "--out", tmp_path / "b", *options, "--images", 4, "--prior", "vamp", "--components", 9, status=1
    )
    assert "expected --components 4" in said


def test_a_model_is_built_without_touching_the_random_numbers_of_others(run):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again = (Config.read(run / "run.json").build() for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))


def test_a_picture_is_written_where_it_is_said_to_be(run, tmp_path, vaelib):
    for out in (tmp_path, tmp_path / "picture"):
        for command in ("sample", "reconstruct"):
            assert "is no name of a picture: expected one such as" in vaelib(command, run, "--out", out, status=1)
    assert "written to" in vaelib("sample", run, "--out", tmp_path / "picture.png")
    assert [path.name for path in tmp_path.iterdir()] == ["picture.png"]


def test_a_file_of_a_run_that_is_gone_or_of_another_kind_is_said(own, tmp_path, vaelib):
    folder = tmp_path / "a"
    vaelib("train", "--out", folder, "--data", own, "--epochs", 2, *SMALL)
    best = (folder / "best.safetensors").read_bytes()
    (folder / "best.safetensors").unlink()
    assert "best.safetensors is gone" in vaelib("evaluate", folder, status=1)
    (folder / "last.safetensors").write_bytes(best)
    for command in ("info", "resume"):
        assert "last.safetensors holds a model, not a training" in vaelib(command, folder, status=1)


def test_nan_in_data_of_ones_own_is_named(tmp_path, vaelib):
    x = np.random.default_rng(0).random((40, 1, 4, 4), dtype=np.float32)
    x[3, 0, 1, 1] = np.nan
    np.save(tmp_path / "nan.npy", x)
    assert "or NaN" in vaelib("train", "--out", tmp_path / "a", "--data", tmp_path / "nan.npy", *SMALL, status=1)
