import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal

import vaelib as vl
from vaelib.training import run as runs
from vaelib.training import saving as checkpoint

QUICK = {"transform": torch.bernoulli, "progress": False, "device": "cpu", "batch_size": 16, "lr": vl.cosine(5e-3, 6)}


def images(n: int = 50) -> torch.Tensor:
    return torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def model() -> vl.MHVAE:
    torch.manual_seed(0)
    return vl.MHVAE.mlp((1, 4, 4), latents=(3, 2), hidden=((8,), (5,)))


def same(a: nn.Module, b: nn.Module) -> bool:
    pairs = zip(a.state_dict().items(), b.state_dict().items(), strict=True)
    return all(i == j and torch.equal(x, y) for (i, x), (j, y) in pairs)


# --- Models -----------------------------------------------------------------------------------------------------------

MODELS = {
    "VAE": lambda: vl.VAE.mlp(16, 3, (8,), likelihood="categorical"),
    "VAE from parts": lambda: vl.VAE(
        vl.Gaussian(16, 3, activation=nn.ReLU, norm="batch"), vl.Bernoulli(3, (1, 4, 4), mean=images()[0])
    ),
    "convolutions": lambda: vl.VAE.conv((1, 4, 4), 3, channels=(4, 5), likelihood="discretised_logistic"),
    "MHVAE": model,
    "HVAE": lambda: vl.HVAE.mlp((1, 4, 4), (3, 2), ((8,), (5,)), "gaussian", gated=True, norm="layer"),
    "scales": lambda: vl.VAE(vl.Gaussian(4, 2, ()), vl.Gaussian(2, 4, (), scale="shared"), vl.StandardNormal(2)),
}


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS.keys())
def test_a_model_comes_back_as_it_was(make, tmp_path):
    torch.manual_seed(0)
    saved = make().double()
    vl.save(saved, tmp_path / "m.safetensors")
    loaded = vl.load_model(tmp_path / "m.safetensors").double()
    assert type(loaded) is type(saved)
    assert repr(loaded) == repr(saved)
    assert not loaded.training
    assert same(saved.float(), loaded.float())
    assert os.listdir(tmp_path) == ["m.safetensors"]


class Mine(nn.Module):
    inputs, event = 16, (3,)

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(16, 3)

    def forward(self, x):
        return Independent(Normal(self.layer(x.flatten(1)), 1.0), 1)


def test_a_model_with_a_module_of_ones_own_needs_the_model_to_fill(tmp_path):
    path = tmp_path / "m.safetensors"
    saved = vl.VAE(Mine(), vl.Bernoulli(3, (1, 4, 4), (8,)))
    vl.save(saved, path)
    with pytest.raises(ValueError, match=r"load_model\(path, into=it\)"):
        vl.load_model(path)
    other = vl.VAE(Mine(), vl.Bernoulli(3, (1, 4, 4), (8,)))
    assert not same(saved, other)
    assert same(saved, vl.load_model(path, into=other))
    with pytest.raises(ValueError, match="does not fit the model"):
        vl.load_model(path, into=model())


def test_a_part_exchanged_after_building_is_noticed(tmp_path):
    changed = model()
    changed.decoders[0] = vl.Bernoulli(3, (1, 4, 4), (9, 9))
    vl.save(changed, tmp_path / "m.safetensors")
    with pytest.raises(ValueError, match="modules of its own"):
        vl.load_model(tmp_path / "m.safetensors")


def test_a_description_names_only_classes_of_vaelib_and_activations(tmp_path):
    for description in ({"class": "system", "arguments": {}}, {"activation": "Linear"}):
        checkpoint.write(tmp_path / "m", model().state_dict(), {"kind": "model", "model": description})
        with pytest.raises(ValueError, match=r"no (class|activation) named"):
            vl.load_model(tmp_path / "m")


# --- Files that are not as they should be -----------------------------------------------------------------------------


class Malice:
    def __reduce__(self):
        return (os.system, ("touch ran",))


def test_a_pickle_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain").write_bytes(pickle.dumps(Malice(), protocol=2))
    torch.save({"weights": Malice()}, tmp_path / "zipped")
    for name in ("plain", "zipped"):
        with pytest.raises(ValueError, match="a pickle, which could run any program and is not opened"):
            vl.load_model(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def test_every_truncation_is_noticed(tmp_path):
    vl.save(vl.VAE.mlp(4, 1, (2,)), tmp_path / "m")
    whole = (tmp_path / "m").read_bytes()
    for length in range(0, len(whole), 7):
        (tmp_path / "m").write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"no checkpoint of vaelib|damaged"):
            vl.load_model(tmp_path / "m")


def test_every_flipped_bit_is_noticed_or_harmless(tmp_path):
    """A bit in the header's padding or in a tensor's name or type may be caught by safetensors, JSON or the digest."""
    saved = vl.VAE.mlp(4, 1, (2,))
    vl.save(saved, tmp_path / "m")
    whole = (tmp_path / "m").read_bytes()
    noticed = 0
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        (tmp_path / "m").write_bytes(damaged)
        try:
            assert same(saved, vl.load_model(tmp_path / "m"))
        except ValueError:
            noticed += 1
    assert noticed > 0.99 * len(whole)


@pytest.mark.parametrize("content", [b"", b"hello", b"\0" * 100, b'{"format": 1}'])
def test_foreign_files_are_refused(content, tmp_path):
    (tmp_path / "m").write_bytes(content)
    with pytest.raises(ValueError, match="is no checkpoint of vaelib"):
        vl.load_model(tmp_path / "m")


def test_files_of_other_programs_and_of_the_future_are_refused(tmp_path, monkeypatch):
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(2)}, tmp_path / "other")
    with pytest.raises(ValueError, match="is no checkpoint of vaelib"):
        vl.load_model(tmp_path / "other")
    monkeypatch.setattr(checkpoint, "FORMAT", 7)
    vl.save(model(), tmp_path / "future")
    monkeypatch.setattr(checkpoint, "FORMAT", 1)
    with pytest.raises(ValueError, match="format 7, of a later vaelib"):
        vl.load_model(tmp_path / "future")
    with pytest.raises(FileNotFoundError):
        vl.load_model(tmp_path / "nothing")


@pytest.mark.parametrize("fails", ["write", "fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_no_rubbish(fails, tmp_path, monkeypatch):
    path = tmp_path / "m.safetensors"
    vl.save(model(), path)
    before = path.read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    if fails == "write":
        real = checkpoint.tempfile.NamedTemporaryFile

        def temporary(*args, **kwargs):
            file = real(*args, **kwargs)
            file.write = full
            return file

        monkeypatch.setattr(checkpoint.tempfile, "NamedTemporaryFile", temporary)
    else:
        monkeypatch.setattr(os, fails, full)
    with pytest.raises(OSError, match=r"was not written \(No space left on device\); what lay there before is kept"):
        vl.save(vl.VAE.mlp(4, 1, (2,)), path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["m.safetensors"]
