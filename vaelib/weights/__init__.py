"""Models that come with the package, trained to the end.

>>> model = pretrained("mnist-2d")
>>> model.sample(3).shape
torch.Size([3, 1, 28, 28])

What each was trained on, by which command, how good it is and what it must not be used for stands in `MODEL_CARDS.md`.
"""

import importlib.resources
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from ..hierarchy import Hierarchy
from ..models import HVAE, MHVAE, VAE
from ..priors import MixturePrior
from ..randomness import RandomStream
from ..training.saving import load_model

EVENT = (1, 28, 28)


def ladder() -> HVAE:
    """Of three levels, normalised over batches, with a mixture of 50 Gaussians at the top."""
    hidden = ((400, 400), (200, 200), (100, 100))
    model = HVAE.mlp(EVENT, (64, 32, 16), hidden, markov=True, norm="batch", activation=nn.LeakyReLU)
    model.prior = MixturePrior(16, 50)
    return model


MODELS: dict[str, Callable[[], Hierarchy]] = {
    "mnist-2d": partial(VAE.mlp, EVENT, 2),
    "mnist-flat": partial(VAE.mlp, EVENT),
    "mnist-two-level": partial(MHVAE.mlp, EVENT),
    "mnist-chain": ladder,
    "cave": partial(VAE.mlp, EVENT, 10, (100, 100)),
}


def pretrained(name: str) -> Hierarchy:
    """The model of that name, new each time, on the CPU and in evaluation mode; float32, from a file of float16.

    - "mnist-2d": a VAE with two latents, for pictures of its plane; "mnist-flat": one with 50.
    - "mnist-two-level": an MHVAE of 100 and 50 latents.
    - "mnist-chain": the best of them: a Markov chain of 64, 32 and 16 latents with a learned prior, inferred downwards.
    - "cave": a VAE of the Cave's shadows, with ten latents.

    Raises:
        ValueError: Another name.
        OSError: The file is missing or damaged.
    """
    if not isinstance(name, str) or name not in MODELS:
        raise ValueError(f"no pretrained model is called {name!r}: expected one of {', '.join(MODELS)}")
    with RandomStream(seed=0), torch.device("cpu"):  # the weights that are drawn here are overwritten
        model = MODELS[name]().half()
    with importlib.resources.as_file(importlib.resources.files(__name__) / f"{name}.safetensors") as path:
        try:
            return load_model(path, into=model).float()
        except (ValueError, OSError) as error:
            remedy = "reinstall vaelib (in a clone of the repository: git checkout vaelib/weights)"
            raise OSError(f"the bundled model {name}.safetensors is missing or damaged: {remedy}") from error
