import json
import math
import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, RandomSampler

import vaelib as vl
from vaelib.training import checks
from vaelib.training import saving as checkpoint

QUICK = {"transform": torch.bernoulli, "progress": False, "device": "cpu", "batch_size": 16, "lr": vl.cosine(5e-3, 6)}


def images(n: int = 50) -> torch.Tensor:
    return torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def model() -> vl.MHVAE:
    torch.manual_seed(0)
    return vl.MHVAE.mlp((1, 4, 4), latents=(3, 2), hidden=((8,), (5,)))


def columns(history: vl.History) -> dict[str, list]:
    return {name: getattr(history, name) for name in ("train", "valid", "lr", "beta", "seconds")}


def same(a: nn.Module, b: nn.Module) -> bool:
    pairs = zip(a.state_dict().items(), b.state_dict().items(), strict=True)
    return all(i == j and torch.equal(x, y) for (i, x), (j, y) in pairs)


def test_a_full_disk_during_training_keeps_the_checkpoint_and_the_model(tmp_path, monkeypatch):
    trained, calls = model(), []
    real = checkpoint.write

    def write(path, *rest):
        calls.append(path.name)
        if calls.count("last.safetensors") == 3:
            raise OSError(28, "No space left on device")
        real(path, *rest)

    monkeypatch.setattr(checkpoint, "write", write)
    with pytest.raises(OSError, match="No space left"):
        vl.fit(trained, images(), epochs=6, run=vl.Run(tmp_path), **QUICK)
    monkeypatch.undo()
    assert torch.isfinite(vl.elbo(trained(torch.bernoulli(images())))).all()
    history = vl.fit(trained, images(), epochs=6, run=vl.Run(tmp_path, resume=True), **QUICK)
    assert len(history.train) == 6


READ_ONLY = """
import os, sys
sys.path.insert(0, {tests!r})
import vaelib as vl
from test_training_run import QUICK, images, model
trained, epochs = model(), []
def lr(epoch):
    if epoch == 2.0:  # after two epochs the folder can no longer be written to
        os.chmod({folder!r}, 0o555)
        if os.geteuid() == 0:
            os.seteuid(65534)  # the superuser could still write
    return QUICK["lr"](epoch)
try:
    vl.fit(trained, images(), epochs=6, run=vl.Run({folder!r}), **(QUICK | {{"lr": lr}}))
except OSError as error:
    print(type(error).__name__)
"""


@pytest.mark.slow
def test_a_folder_that_becomes_read_only_keeps_the_epochs_before(tmp_path):
    folder = tmp_path / "run"
    code = READ_ONLY.format(tests=str(Path(__file__).parent), folder=str(folder))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "PermissionError", done.stderr
    folder.chmod(0o755)
    _, info = checkpoint.read(folder / "last.safetensors")
    assert len(info["history"]) == 2
    history = vl.fit(resumed := model(), images(), epochs=6, run=vl.Run(folder, resume=True), **QUICK)
    vl.fit(whole := model(), images(), epochs=6, **QUICK)
    assert len(history.train) == 6
    assert same(resumed, whole)


def test_a_folder_that_cannot_be_written_is_an_error_before_training(tmp_path):
    (tmp_path / "file").write_text("no folder")
    seen = []
    trained = model()
    trained.register_forward_hook(lambda *args: seen.append(args))
    with pytest.raises(OSError):  # noqa: PT011 - NotADirectoryError or FileExistsError, by operating system
        vl.fit(trained, images(), epochs=1, run=vl.Run(tmp_path / "file" / "run"), **QUICK)
    assert not seen


# --- Trainings that stop and go on ------------------------------------------------------------------------------------


def test_a_resumed_training_is_the_uninterrupted_one_bit_for_bit(tmp_path):
    whole = model()
    history = vl.fit(whole, images(), images(20), epochs=6, beta=vl.warmup(4), run=vl.Run(tmp_path / "whole"), **QUICK)
    options = QUICK | {"beta": vl.warmup(4), "run": vl.Run(tmp_path / "parts", resume=True)}
    for epochs in (1, 4, 6):
        again = vl.fit(model(), images(), images(20), epochs=epochs, **options)  # what counts is the folder
    parts = vl.load_model(tmp_path / "parts" / "last.safetensors")
    assert same(whole, parts)
    assert same(
        vl.load_model(tmp_path / "whole" / "best.safetensors"), vl.load_model(tmp_path / "parts" / "best.safetensors")
    )
    for name, values in columns(history).items():
        assert name == "seconds" or values == columns(again)[name]
    assert again.seconds == sorted(again.seconds)


@pytest.mark.slow
def test_a_compiled_training_is_resumed_bit_for_bit(tmp_path):
    quick = QUICK | {"compile": True, "batch_size": 20}  # the program of test_training_fast.py, which is kept on disk
    options = quick | {"run": vl.Run(tmp_path, resume=True)}
    vl.fit(model(), images(90), epochs=2, **options)
    vl.fit(resumed := model(), images(90), epochs=4, **options)
    vl.fit(whole := model(), images(90), epochs=4, **quick)
    assert same(resumed, whole)


@pytest.mark.parametrize("own", ["the loader", "its sampler"])
def test_a_loader_that_shuffles_by_a_generator_of_its_own_is_resumed_bit_for_bit(own, tmp_path):
    def loader() -> DataLoader:
        generator = torch.Generator().manual_seed(3)
        if own == "the loader":
            return DataLoader(images(), 16, shuffle=True, generator=generator)
        return DataLoader(images(), 16, sampler=RandomSampler(images(), generator=generator))

    options = {name: value for name, value in QUICK.items() if name != "batch_size"}
    vl.fit(model(), loader(), epochs=2, run=vl.Run(tmp_path), **options)
    vl.fit(resumed := model(), loader(), epochs=4, run=vl.Run(tmp_path, resume=True), **options)
    vl.fit(whole := model(), loader(), epochs=4, **options)
    assert same(resumed, whole)


def decays(first: float, backwards: bool = False):
    """AdamW that decays biases, vectors and matrices in their own way."""

    def make(weights):
        groups = [{"params": [w for w in weights if w.ndim == axes], "weight_decay": first * axes} for axes in (1, 2)]
        return torch.optim.AdamW(groups[:: -1 if backwards else 1])

    return make


@pytest.mark.parametrize("other", [decays(0.2), decays(0.1, backwards=True), torch.optim.AdamW])
def test_groups_of_weights_with_other_settings_are_another_training(other, tmp_path):
    vl.fit(model(), images(), epochs=1, run=vl.Run(tmp_path), optimizer=decays(0.1), **QUICK)
    vl.fit(model(), images(), epochs=2, run=vl.Run(tmp_path, resume=True), optimizer=decays(0.1), **QUICK)
    with pytest.raises(ValueError, match="is of a training with another optimizer"):
        vl.fit(model(), images(), epochs=3, run=vl.Run(tmp_path, resume=True), optimizer=other, **QUICK)


def test_the_learning_rate_that_an_optimiser_was_made_with_is_free(tmp_path):
    """It follows `lr`, which may change when a training is continued."""
    for epochs, rate in ((1, 0.1), (2, 0.2)):
        run = vl.Run(tmp_path, resume=True)
        history = vl.fit(
            model(), images(), epochs=epochs, run=run, optimizer=partial(torch.optim.AdamW, lr=rate), **QUICK
        )
        assert len(history) == epochs


class Setting:
    """A plain object, whose text has an address in it."""


def test_what_is_bound_to_an_objective_is_known_without_its_address():
    for value in (torch.tanh, Setting(), [Setting(), math.sqrt], lambda x: x):
        named = checks.named(partial(vl.free_bits, nats=value))
        assert named.startswith("free_bits(")
        assert "0x" not in named
    assert checks.named(partial(vl.free_bits, nats=0.5)) != checks.named(partial(vl.free_bits, nats=0.25))


def test_without_a_folder_the_result_is_the_same(tmp_path):
    a, b = model(), model()
    vl.fit(a, images(), epochs=2, run=vl.Run(tmp_path), **QUICK)
    vl.fit(b, images(), epochs=2, **QUICK)
    assert same(a, b)


def test_best_is_the_model_of_the_highest_validation_elbo(tmp_path):
    history = vl.fit(model(), images(), images(20), epochs=4, run=vl.Run(tmp_path), **QUICK)
    metrics = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in metrics] == [1, 2, 3, 4]
    assert [line["valid"]["elbo"] for line in metrics] == [summary.elbo for summary in history.valid]
    best = vl.load_model(tmp_path / "best.safetensors")
    vl.fit(again := model(), images(), images(20), epochs=4, **QUICK)
    at = max(range(4), key=lambda epoch: history.valid[epoch].elbo)
    assert same(best, again) is (at == 3)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"seed": 1}, "another seed: 0 there, 1 here"),
        ({"batch_size": 8}, "another batch_size: 16 there, 8 here"),
        ({"samples": 2}, "another samples: 1 there, 2 here"),
        ({"objective": vl.iwae}, "another objective: 'elbo' there, 'iwae' here"),
        ({"objective": partial(vl.free_bits, nats=1.0)}, "another objective"),
        ({"transform": vl.binarise}, "another transform: 'bernoulli' there, 'binarise' here"),
        ({"optimizer": torch.optim.AdamW}, "another optimizer"),
        ({"optimizer": partial(torch.optim.Adam, betas=(0.5, 0.9), fused=True)}, "another optimizer"),
        ({"clip": 1.0}, "another clip: None there, 1.0 here"),
        ({"precision": "bfloat16"}, "another precision"),
        ({"train": images() * 0.99}, "another train: "),
        ({"train": images(51)}, "another train: "),
        ({"valid": images(20)}, "another valid: None there, "),
    ],
)
def test_another_training_is_not_continued(change, says, tmp_path):
    vl.fit(model(), images(), epochs=1, run=vl.Run(tmp_path), **QUICK)
    options = {"train": images(), **QUICK, **change}
    with pytest.raises(ValueError, match=says):
        vl.fit(model(), epochs=2, run=vl.Run(tmp_path, resume=True), **options)


def test_validation_data_dropped_are_noticed_before_training(tmp_path):
    vl.fit(model(), images(), images(20), epochs=1, run=vl.Run(tmp_path), **QUICK)
    with pytest.raises(ValueError, match=r"another valid: .* there, None here"):
        vl.fit(model(), images(), epochs=2, run=vl.Run(tmp_path, resume=True), **QUICK)


def other_activation() -> vl.MHVAE:
    return vl.MHVAE.mlp((1, 4, 4), latents=(3, 2), hidden=((8,), (5,)), activation=nn.ReLU)


def other_likelihood() -> vl.MHVAE:
    return vl.MHVAE.mlp((1, 4, 4), latents=(3, 2), hidden=((8,), (5,)), likelihood="continuous_bernoulli")


def frozen() -> vl.MHVAE:
    changed = model()
    changed.encoders.requires_grad_(False)
    return changed


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: vl.VAE.mlp((1, 4, 4), 3, (8,)), "another model: 'model: vaelib.MHVAE"),
        (other_activation, "another model: .*Tanh.* there, .*ReLU"),
        (other_likelihood, r"another model: .*support=Boolean.* there, .*support=Interval"),
        (lambda: model().double(), "another model"),
        (frozen, "another trained weights"),
    ],
)
def test_the_training_of_another_model_is_not_continued(make, says, tmp_path):
    vl.fit(model(), images(), epochs=1, run=vl.Run(tmp_path), **QUICK)
    other = make()
    before = [weight.clone() for weight in other.parameters()]
    data = images().to(before[0].dtype)
    with pytest.raises(ValueError, match=says):
        vl.fit(other, data, epochs=2, run=vl.Run(tmp_path, resume=True), **QUICK)
    assert all(torch.equal(a, b) for a, b in zip(before, other.parameters(), strict=True))


def test_a_folder_with_a_training_is_not_written_to_unless_asked(tmp_path):
    vl.fit(model(), images(), epochs=1, run=vl.Run(tmp_path, config={"a": 1}), **QUICK)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match="pass resume=True to continue it"):
        vl.fit(model(), images(), epochs=2, run=vl.Run(tmp_path, config={"a": 2}), **QUICK)
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    vl.save(model(), tmp_path / "last.safetensors")
    with pytest.raises(ValueError, match="holds a model, not a training"):
        vl.fit(model(), images(), epochs=2, run=vl.Run(tmp_path, resume=True), **QUICK)


@pytest.mark.parametrize("config", [{"a": torch.ones(1)}, {"a": float("nan")}, {(1, 2): 3}, ["a"]], ids=str)
def test_a_configuration_that_is_no_json_object_is_refused_before_the_training(config, tmp_path):
    with pytest.raises(ValueError, match="config cannot be kept as a JSON object: "):
        vl.Run(tmp_path / "run", config=config)
    assert not (tmp_path / "run").exists()


def test_two_trainings_do_not_write_to_one_folder(tmp_path):
    """The second changes nothing, run.json included."""
    first = iter(vl.Training(model(), images(), epochs=3, run=vl.Run(tmp_path, config={"of": "first"}), **QUICK))
    next(first)
    with pytest.raises(ValueError, match="another training is writing to"):
        vl.fit(model(), images(), epochs=1, run=vl.Run(tmp_path, resume=True, config={"of": "second"}), **QUICK)
    assert json.loads((tmp_path / "run.json").read_text()) == {"of": "first"}
    assert len([*first]) == 2
    vl.fit(model(), images(), epochs=4, run=vl.Run(tmp_path, resume=True), **QUICK)


def test_a_training_that_is_left_frees_its_folder_and_leaves_the_model_ready(tmp_path):
    trained = model()
    for epoch in vl.Training(trained, images(), images(20), epochs=6, run=vl.Run(tmp_path), **QUICK):
        if epoch.number == 2:
            break
    assert not trained.training
    history = vl.fit(resumed := model(), images(), images(20), epochs=6, run=vl.Run(tmp_path, resume=True), **QUICK)
    vl.fit(whole := model(), images(), images(20), epochs=6, **QUICK)
    assert len(history) == 6
    assert same(resumed, whole)


def test_a_training_can_be_iterated_in_pieces():
    trained, whole = model(), model()
    training = vl.Training(trained, images(), epochs=4, **QUICK)
    assert [epoch.number for epoch, _ in zip(training, range(2), strict=False)][:2] == [1, 2]
    rest = [epoch.number for epoch in training]
    assert [epoch.number for epoch in training.history] == [1, 2, 3, 4]
    assert rest[-1] == 4
    assert [*training] == []
    vl.fit(whole, images(), epochs=4, **QUICK)
    assert same(trained, whole)


def test_other_optimisers_are_resumed_bit_for_bit(tmp_path):
    for name, optimizer in (
        ("adamw", partial(torch.optim.AdamW, weight_decay=0.1)),
        ("momentum", partial(torch.optim.SGD, momentum=0.9)),
        ("rmsprop", torch.optim.RMSprop),
        ("nadam", torch.optim.NAdam),
    ):
        options = QUICK | {"optimizer": optimizer, "lr": 1e-3}
        vl.fit(model(), images(), epochs=2, run=vl.Run(tmp_path / name), **options)
        vl.fit(resumed := model(), images(), epochs=4, run=vl.Run(tmp_path / name, resume=True), **options)
        vl.fit(whole := model(), images(), epochs=4, **options)
        assert same(resumed, whole), name


@pytest.mark.parametrize(
    ("name", "schedule"),
    [
        ("lr", lambda e: np.float32(1e-3) * np.float32(0.9) ** np.float32(e)),
        ("beta", lambda e: torch.sigmoid(torch.tensor(e - 5.0))),
        ("lr", lambda e: torch.tensor(1e-3, dtype=torch.float64)),
        ("beta", lambda e: np.int64(1)),
        ("lr", np.float32(1e-3)),
    ],
)
def test_numbers_of_numpy_and_torch_are_kept_as_pythons_own(name, schedule, tmp_path):
    history = vl.fit(model(), images(), epochs=2, run=vl.Run(tmp_path), **(QUICK | {name: schedule}))
    assert [type(value) for value in (*history.lr, *history.beta)] == [float] * 4
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2


def test_a_change_in_the_last_example_is_noticed(tmp_path):
    changed = images()
    changed[-1] *= 0.5
    vl.fit(model(), images(), epochs=1, run=vl.Run(tmp_path), **QUICK)
    with pytest.raises(ValueError, match="another train: "):
        vl.fit(model(), changed, epochs=2, run=vl.Run(tmp_path, resume=True), **QUICK)


def test_what_a_killed_process_left_half_written_is_swept_away(tmp_path):
    (tmp_path / "last.safetensors.0123abcd.part").write_bytes(b"half")
    (tmp_path / "mine.part").write_bytes(b"another's")
    vl.fit(model(), images(), epochs=1, run=vl.Run(tmp_path), **QUICK)
    assert sorted(path.name for path in tmp_path.glob("*.part")) == ["mine.part"]


def test_home_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    vl.fit(model(), images(), epochs=1, run=vl.Run("~/runs/a"), **QUICK)
    assert (tmp_path / "runs" / "a" / "last.safetensors").exists()
    assert not (tmp_path / "~").exists()


def test_shared_modules_and_tied_weights_can_be_kept(tmp_path):
    def vamp():
        torch.manual_seed(0)
        encoder = vl.Gaussian(16, 2, (8,))
        return vl.VAE(encoder, vl.Bernoulli(2, (1, 4, 4), (8,)), vl.VampPrior(encoder, components=5))

    vl.fit(vamp(), images(), epochs=2, run=vl.Run(tmp_path), **QUICK)
    vl.fit(resumed := vamp(), images(), epochs=4, run=vl.Run(tmp_path, resume=True), **QUICK)
    vl.fit(whole := vamp(), images(), epochs=4, **QUICK)
    assert same(resumed, whole)
    assert same(whole, vl.load_model(tmp_path / "last.safetensors", into=vamp()))


def test_broken_weights_are_not_kept(tmp_path):
    """One step an epoch, so that its loss is that of the weights before: it is finite, what the step makes is not."""
    trained = model()
    start = {name: value.clone() for name, value in trained.state_dict().items()}
    options = QUICK | {"batch_size": 50, "lr": lambda epoch: 1e-3 if epoch < 1 else 1e38}
    with pytest.raises(FloatingPointError, match=r"epoch 2: .* not finite at its end; .* from before this epoch"):
        vl.fit(trained, images(), images(20), epochs=3, run=vl.Run(tmp_path), **options)
    assert all(weight.isfinite().all() for weight in trained.state_dict().values())
    assert not all(torch.equal(start[name], value) for name, value in trained.state_dict().items())
    kept = vl.load_model(tmp_path / "last.safetensors")
    assert same(kept, trained)


@pytest.mark.parametrize(
    ("entries", "finite"), [((3e38, 3e38), True), ((math.inf, -math.inf), False), ((0, math.nan), False)]
)
def test_large_weights_are_no_broken_ones(entries, finite):
    """Their sum overflows in float32, and is not what is asked for."""
    trained = model()
    trained.register_buffer("large", torch.zeros(2))

    def lr(epoch):  # within the epoch, so that it leaves another buffer than it found
        trained.large.copy_(torch.tensor(entries))
        return 1e-3

    with nullcontext() if finite else pytest.raises(FloatingPointError, match="weights not finite"):
        vl.fit(trained, images(), epochs=1, **QUICK | {"lr": lr})


def test_metrics_are_plain_numbers_by_name():
    (epoch,) = vl.Training(model(), images(), images(20), epochs=1, **QUICK)
    metrics = epoch.metrics
    assert set(metrics) == {
        *("lr", "beta", "seconds", "train/elbo", "train/reconstruction", "train/rates/1", "train/rates/2"),
        *("valid/elbo", "valid/reconstruction", "valid/rates/1", "valid/rates/2"),
    }
    assert all(type(value) is float for value in metrics.values())
    assert metrics["valid/rates/2"] == epoch.valid.rates[1]
    (bare,) = vl.Training(model(), images(), epochs=1, **QUICK)
    assert not any(name.startswith("valid") for name in bare.metrics)


def test_ctrl_c_gives_back_a_usable_model_and_the_history_of_whole_epochs(tmp_path, capsys):
    trained, calls = model(), []

    def interrupt(*args):
        calls.append(1)
        if len(calls) == 10:  # four steps an epoch: in the third
            raise KeyboardInterrupt

    handle = trained.register_forward_hook(interrupt)
    history = vl.fit(trained, images(), images(20), epochs=6, run=vl.Run(tmp_path), **QUICK)
    handle.remove()
    assert history.interrupted
    assert {len(values) for values in columns(history).values()} == {len(history.train)} == {1}
    assert "Stopped in epoch 2: 1 whole epochs" in capsys.readouterr().err
    assert not trained.training
    assert torch.isfinite(vl.elbo(trained(torch.bernoulli(images())))).all()
    vl.fit(whole := model(), images(), images(20), epochs=3, **QUICK)
    vl.fit(trained, images(), images(20), epochs=3, run=vl.Run(tmp_path, resume=True), **QUICK)
    assert same(whole, trained)  # what the interrupted epoch did is forgotten


def test_after_divergence_the_model_has_its_last_good_weights():
    trained = model()
    poison = []

    def nan(module, args, output):
        poison.append(1)
        return output._replace(log_px=output.log_px * float("nan")) if len(poison) == 7 else None

    handle = trained.register_forward_hook(nan)
    with pytest.raises(FloatingPointError, match=r"epoch 2, step 3 of 4: the loss is nan; .* lower lr"):
        vl.fit(trained, images(), epochs=3, **QUICK)
    handle.remove()
    vl.fit(good := model(), images(), epochs=1, **QUICK)
    assert same(trained, good)


CHILD = """
import sys, torch, vaelib as vl
sys.path.insert(0, {tests!r})
from test_training_run import QUICK, images, model
vl.fit(model(), images(), images(20), epochs=400, run=vl.Run({folder!r}, resume=True), **QUICK)
"""


@pytest.mark.slow
def test_nothing_is_lost_to_kill_9_at_random_moments(tmp_path):
    """50 kills, each some milliseconds after the folder changed; then the run is brought to its end and compared.

    One process is killed, its successor goes on, until all are used up: whatever the moment, `last` is whole.
    """
    folder = tmp_path / "run"
    code = CHILD.format(tests=str(Path(__file__).parent), folder=str(folder))
    random = torch.Generator().manual_seed(0)
    epochs = []
    for _ in range(KILLS):
        child = subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"OMP_NUM_THREADS": "1"})
        seen = (folder / "last.safetensors").stat().st_mtime_ns if epochs else 0
        while child.poll() is None:
            if (folder / "last.safetensors").exists() and (folder / "last.safetensors").stat().st_mtime_ns != seen:
                break
            time.sleep(0.002)
        time.sleep(0.05 * torch.rand((), generator=random).item())
        child.send_signal(signal.SIGKILL)
        child.wait()
        _, info = checkpoint.read(folder / "last.safetensors")
        epochs.append(len(info["history"]))
        vl.load_model(folder / "best.safetensors")
    assert epochs == sorted(epochs)
    assert 2 <= epochs[-1] < 400
    vl.fit(resumed := model(), images(), images(20), epochs=epochs[-1] + 1, run=vl.Run(folder, resume=True), **QUICK)
    vl.fit(whole := model(), images(), images(20), epochs=epochs[-1] + 1, **QUICK)
    assert same(resumed, whole)


KILLS = int(os.environ.get("VAELIB_KILLS", "3"))  # each takes the time of a start; CONTRIBUTING.md says when to use 50


def test_a_part_of_a_history_is_a_history():
    history = vl.fit(model(), images(), epochs=3, **QUICK)
    assert history[1:].train == history.train[1:]
    assert history[-1].number == 3
    assert [epoch.number for epoch in history[::-1]] == [3, 2, 1]
