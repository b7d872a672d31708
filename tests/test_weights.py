"""The models that come with the package are those of their cards."""

import hashlib
import re
from pathlib import Path

import pytest
import torch

import vaelib as vl
from vaelib import weights

FOLDER = Path(weights.__file__).parent
CARDS = (FOLDER / "MODEL_CARDS.md").read_text()


def card(name: str) -> str:
    return CARDS.partition(f"\n## {name}\n")[2].partition("\n## ")[0]


def test_every_model_has_a_card_with_its_size_and_digest_and_no_file_lies_about():
    assert {path.stem for path in FOLDER.glob("*.safetensors")} == set(weights.MODELS)
    assert re.findall(r"\n## (.*)\n", CARDS) == list(weights.MODELS)
    for name in weights.MODELS:
        data = (FOLDER / f"{name}.safetensors").read_bytes()
        assert f"{len(data):,} bytes, SHA-256 `{hashlib.sha256(data).hexdigest()}`" in card(name)
    assert sum(path.stat().st_size for path in FOLDER.glob("*.safetensors")) <= 6e6


def test_half_of_the_digits_cost_less_than_a_hundredth_of_a_nat():
    for name in weights.MODELS:
        (cost,) = re.findall(r"float16 \| ([-+.\d]+) nats", card(name))
        assert abs(float(cost)) < 0.01, name


@pytest.mark.slow
@pytest.mark.parametrize("name", list(weights.MODELS))
def test_a_pretrained_model_is_as_good_as_its_card_says(name):
    torch.manual_seed(5)
    drawn = torch.rand(1)
    torch.manual_seed(5)
    model = vl.pretrained(name)
    assert torch.equal(torch.rand(1), drawn), "the caller's random numbers are the caller's"
    assert not model.training
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    grey = vl.load("cave" if name == "cave" else "mnist").test.images
    generator = torch.Generator().manual_seed(0)
    x = torch.bernoulli(grey[torch.randperm(len(grey), generator=generator)[:300]], generator=generator)
    said, _ = map(float, re.findall(r"NLL, -ELBO \| ([.\d]+) ± ([.\d]+)", card(name))[0])
    result = vl.nll(model, x, samples=100)
    assert abs(result.mean - said) < 4 * result.stderr + 0.5  # a hundred samples are half a nat above 5,000, or less
    result_of_noise = vl.nll(model, torch.bernoulli(torch.full_like(x[:20], 0.5)), samples=10)
    assert result_of_noise.mean > 2 * said


def test_a_pretrained_model_is_new_each_time():
    first, second = vl.pretrained("cave"), vl.pretrained("cave")
    with torch.no_grad():
        next(first.parameters()).zero_()
    assert next(second.parameters()).abs().sum() > 0


def test_what_is_no_model_or_is_damaged_is_said(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="no pretrained model is called 'mnist': expected one of mnist-2d"):
        vl.pretrained("mnist")
    with pytest.raises(ValueError, match=r"no pretrained model is called \['cave'\]: expected"):
        vl.pretrained(["cave"])
    monkeypatch.setattr(weights.importlib.resources, "files", lambda _: tmp_path)
    with pytest.raises(OSError, match=r"cave\.safetensors is missing or damaged: reinstall vaelib"):
        vl.pretrained("cave")
    data = bytearray((FOLDER / "cave.safetensors").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "cave.safetensors").write_bytes(data)
    with pytest.raises(OSError, match="damaged"):
        vl.pretrained("cave")
    (tmp_path / "cave.safetensors").write_bytes((FOLDER / "mnist-2d.safetensors").read_bytes())
    with pytest.raises(OSError, match="damaged"):
        vl.pretrained("cave")
