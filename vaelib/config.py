"""What decides how a training of the command line comes out: one dataclass, its options, and its `run.json`.

What its folder keeps gives a run's model back, also where a factory alone could not make it:

    config = Config.read(Path("runs/a/run.json"))
    model = vl.load_model("runs/a/best.safetensors", into=config.build())
"""

import hashlib
import json
import math
from argparse import ArgumentTypeError
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .bounds import cosine
from .data import Dataset, Split, binarise, in_unit_interval, load, load_file
from .data.inputs import as_tensor
from .hierarchy import Hierarchy
from .models import HVAE, LIKELIHOODS, MHVAE, VAE
from .priors import MixturePrior, VampPrior
from .randomness import RandomStream
from .training.device import PRECISIONS

BUNDLED = ("mnist", "binarized_mnist", "omniglot", "cave")
SIZES = {"vae": ([50], [[200, 200]])} | dict.fromkeys(("mhvae", "hvae"), ([100, 50], [[200, 200], [100, 100]]))
COMPONENTS = {"standard": None, "mixture": 10, "vamp": 500}
OPTIMIZERS = {"adam": None, "adamw": torch.optim.AdamW, "adamax": torch.optim.Adamax}
COMPILE = {"auto": "auto", "yes": True, "no": False}


def number(kind: type, least: float, words: str) -> Callable[[str], Any]:
    """What reads such a number from a text, and raises ArgumentTypeError for another."""

    def read(text: str) -> Any:
        with suppress(ValueError):
            value = kind(text)
            if least <= value < 2**63:
                return value
        raise ArgumentTypeError(f"{text!r} is no {words}")

    return read


count, from_zero = number(int, 1, "whole number above 0"), number(int, 0, "whole number from 0 on")
positive, not_negative = number(float, math.ulp(0), "number above 0"), number(float, 0, "number from 0 on")


def sizes(text: str) -> list[int]:
    """Such as 200,200."""
    return [count(part) for part in text.split(",")]


def layers(text: str) -> list[list[int]]:
    """Such as 200,200/100,100."""
    return [sizes(level) for level in text.split("/")]


def pairs(text: str) -> list[list[int]]:
    """Such as 20,50/30,80."""
    found = layers(text)
    if any(len(pair) != 2 for pair in found):
        raise ArgumentTypeError(f"{text!r} is no list of pairs")
    return found


def spelt(value: Any) -> str:
    """The text that is read as this value."""
    if not isinstance(value, list):
        return str(value)
    return ("/" if value and isinstance(value[0], list) else ",").join(map(spelt, value))


def option(default: Any, help: str, kind: Callable[[str], Any] = str, choices: Sequence[str] | None = None) -> Any:
    """A field that is an option of `train`; one without help follows from the data, or from what has been done."""
    return field(default=default, metadata={"help": help, "kind": kind, "choices": choices})


@dataclass
class Config:
    """Everything that decides how a training comes out; kept as `run.json` in its folder."""

    data: str = option("mnist", f"{', '.join(BUNDLED)}, or FILE.npy, FILE.npz, FILE.idx or a FOLDER of images")
    model: str = option("mhvae", "the kind of model", choices=tuple(SIZES))
    latents: list[int] = option(None, "of each level, z_1 first [of a vae 50, else 100,50]", sizes)
    hidden: list[list[int]] = option(None, "layers, levels apart by / [of a vae 200,200, else 200,200/100,100]", layers)
    likelihood: str = option("bernoulli", "p(x | z)", choices=tuple(LIKELIHOODS))
    prior: str = option("standard", "p(z_T); the others are learned", choices=tuple(COMPONENTS))
    components: Any = option(None, "of a learned prior [of a mixture 10, of a vamp 500]", count)
    objective: str = option("elbo", "what is maximised", choices=("elbo", "iwae", "dreg", "free_bits"))
    free_bits: float = option(0.5, "nats that each level has free, for that objective", not_negative)
    samples: int = option(1, "draws from the posterior per example and step", count)
    epochs: int = option(20, "passes over the training data", count)
    batch_size: int = option(128, "examples per step", count)
    lr: float = option(1e-3, "learning rate at the start; it falls to 0 along a cosine", positive)
    warmup: float = option(5.0, "epochs over which the rate is switched on, 0 for none", not_negative)
    optimizer: str = option("adam", "how the weights follow the gradient", choices=tuple(OPTIMIZERS))
    clip: float | None = option(None, "scale longer gradients down to this norm", positive)
    images: int | None = option(None, "use the first so many training images only", count)
    seed: int = option(0, "of weights, batches and latents, and of how data of your own are split", from_zero)
    precision: str = option("auto", "of matrix products", choices=PRECISIONS)
    compile: str = option("auto", "yes: a slow start, then fast", choices=tuple(COMPILE))
    # [epochs done, epochs asked for] at each change of the latter by `resume`
    earlier: list[list[int]] | None = option(None, "", pairs)
    event: list[int] | None = option(None, "", sizes)  # the shape of x
    digest: str | None = option(None, "")  # of data of your own

    def __post_init__(self) -> None:
        if self.data not in BUNDLED:
            self.data = str(Path(self.data).expanduser().absolute())
        latents, hidden = SIZES[self.model]
        self.latents, self.hidden = self.latents or latents, self.hidden or hidden
        if len(self.latents) != len(self.hidden) or (self.model == "vae" and len(self.latents) > 1):
            raise ValueError(
                f"--model {self.model} --latents {spelt(self.latents)} --hidden {spelt(self.hidden)}: expected "
                f"{'one level' if self.model == 'vae' else 'as many levels'} of each, "
                f"such as --latents {spelt(latents)} --hidden {spelt(hidden)}"
            )
        if self.model == "hvae" and self.prior == "vamp":
            raise ValueError("--prior vamp needs an encoder of z_T alone; an hvae has none: expected --prior mixture")
        self.components = (self.components or COMPONENTS[self.prior]) if self.prior != "standard" else None

    @classmethod
    def read(cls, path: str | PathLike[str]) -> "Config":
        """From a `run.json`. Raises ValueError where it is none, or a value is none that its option takes."""
        if not Path(path).exists():
            raise ValueError(f"there is no {path}: expected the run.json of a training")
        try:
            values = json.loads(Path(path).read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path} is no JSON: {error}") from error
        there, known = set(values if isinstance(values, dict) else ()), {f.name for f in fields(cls)}
        if there != known:
            missing, unknown = (", ".join(sorted(names)) or "none" for names in (known - there, there - known))
            raise ValueError(f"{path} is no configuration of a training: missing: {missing}; unknown: {unknown}")
        for f in fields(cls):
            value, right = values[f.name], False
            with suppress(ArgumentTypeError):
                right = f.metadata["kind"](spelt(value)) == value and value in (f.metadata["choices"] or [value])
            if not right and not (value is None and f.default is None):
                raise ValueError(f"{path}: {f.name} is {json.dumps(value)}: expected what `vaelib train --help` says")
        return cls(**values)

    def load(self) -> Dataset:
        """The data, whose shape is noted, and their digest where they are your own.

        Raises:
            ValueError: There are none, they are too few, or not those that were noted.
            OSError: They cannot be read.
        """
        if self.data in BUNDLED:
            data, digest = load(self.data), None
        elif Path(self.data).exists():
            data, digest = split(as_tensor(load_file(self.data), name=self.data, dtype=torch.float32), self)
        else:
            raise ValueError(f"there is no {self.data}: expected {', '.join(BUNDLED)}, or a file or folder of your own")
        event = list(data.train.images.shape[1:])
        if self.event is None:
            self.event, self.digest = event, digest
        if (self.event, self.digest) != (event, digest):
            raise ValueError(f"{self.data} is not what it was in the training: expected the same numbers")
        return data

    def build(self, images: Tensor | None = None) -> Hierarchy:
        """The model, its weights drawn from the seed; random numbers of others stay as they are.

        Args:
            images: to train on. A Bernoulli likelihood starts from their mean, a VAE's vamp prior from the first ones.
        Raises:
            ValueError: The sizes cannot be meant, or nobody has yet said the shape of x.
        """
        if self.event is None:
            raise ValueError("the configuration does not say the shape of x: load the data first")
        with RandomStream(self.seed):
            return self._built(tuple(self.event), images)

    def _built(self, event: tuple[int, ...], images: Tensor | None) -> Hierarchy:
        mean = images.mean(0) if images is not None and self.likelihood == "bernoulli" else None
        family: Any = {"vae": VAE, "mhvae": MHVAE, "hvae": HVAE}[self.model]
        stack = (self.latents[0], self.hidden[0]) if self.model == "vae" else (self.latents, self.hidden)
        model = family.mlp(event, *stack, self.likelihood, mean)
        if self.prior == "mixture":
            model.prior = MixturePrior(self.latents[-1], self.components)
        elif self.prior == "vamp":
            start = images[: self.components] if images is not None and self.model == "vae" else None
            if start is not None and len(start) < self.components:
                raise ValueError(f"a vamp prior starts from training images: expected --components {len(start)}")
            model.prior = VampPrior(model.encoders[-1], self.components, start)
        return model

    def lr_at(self, epoch: float) -> float:
        """Half a cosine over the epochs that were asked for when this one was done."""
        total = next((asked for done, asked in self.earlier or () if epoch < done), self.epochs)
        return cosine(self.lr, total)(epoch)

    @property
    def transform(self) -> Callable[[Tensor], Tensor] | None:
        """Grey levels become binary anew in every batch for a Bernoulli likelihood, and stay grey for the others."""
        return binarise if self.likelihood == "bernoulli" and self.data != "binarized_mnist" else None

    def test_images(self, n: int | None, seed: int) -> Tensor:
        """So many of them, all unless given, drawn from the seed, as the model is to see them."""
        x = self.load().test.images
        if n is not None:  # not the first ones, as a data set may be sorted by class
            x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[:n]]
        return torch.bernoulli(x, generator=torch.Generator().manual_seed(seed)) if self.transform else x


def split(x: Tensor, config: Config) -> tuple[Dataset, str]:
    """80 % to train, 10 % to validate and 10 % to test with, drawn from the seed; and the digest of all."""
    if len(x) < 10:
        raise ValueError(f"{config.data} has {len(x)} examples: expected 10 or more, to train, validate and test with")
    if config.likelihood == "bernoulli" and not in_unit_interval(x):
        raise ValueError(f"{config.data} has values outside [0, 1], or NaN: scale them, or choose another --likelihood")
    digest = hashlib.sha256(f"{x.dtype} {tuple(x.shape)}".encode())
    digest.update(x.contiguous().numpy().data)
    x, tenth = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(config.seed))], len(x) // 10
    full, test = Split(x[:-tenth]), Split(x[-tenth:])
    return Dataset(full[:-tenth], full[-tenth:], test, full), digest.hexdigest()
