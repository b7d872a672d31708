"""Variational autoencoders, flat and hierarchical, whose formulas are checked by machine.

Data flows one way::

    data -> model -> Terms -> bound -> fit -> evaluate -> plots

Notation: x is the observation, z_1 ... z_T are the latents with z_1 next to the data, K is the number of importance
samples and B the number of examples. Every bound and every density is in nats per example.

    >>> import torch, vaelib as vl
    >>> _ = torch.manual_seed(0)
    >>> model = vl.VAE.mlp((1, 28, 28), latent=8, hidden=(32,))
    >>> x = torch.bernoulli(torch.full((4, 1, 28, 28), 0.1))
    >>> terms = model(x, samples=5)
    >>> terms.log_px.shape, terms.log_pz.shape, vl.elbo(terms).shape
    (torch.Size([5, 4]), torch.Size([1, 5, 4]), torch.Size([4]))
"""

import importlib
from typing import TYPE_CHECKING

from . import diagnostics, diffusion, nets, sandwich
from .bounds import Terms, cosine, dreg, elbo, free_bits, iwae, warmup
from .conditionals import Bernoulli, Categorical, Conditional, ContinuousBernoulli, DiscretisedLogistic, Gaussian
from .data import Dataset, Split, binarise, cave, load
from .diffusion import Diffusion
from .evaluate import NLL, nll
from .hierarchy import Hierarchy
from .models import HVAE, MHVAE, VAE, Ladder
from .priors import MixturePrior, StandardNormal, VampPrior
from .training import Epoch, History, Run, Training, fit, load_model, save
from .weights import pretrained

if TYPE_CHECKING:
    from . import checking, exact, plots
    from .checking.audit import audit

__all__ = [
    "HVAE",
    "MHVAE",
    "NLL",
    "VAE",
    "Bernoulli",
    "Categorical",
    "Conditional",
    "ContinuousBernoulli",
    "Dataset",
    "Diffusion",
    "DiscretisedLogistic",
    "Epoch",
    "Gaussian",
    "Hierarchy",
    "History",
    "Ladder",
    "MixturePrior",
    "Run",
    "Split",
    "StandardNormal",
    "Terms",
    "Training",
    "VampPrior",
    "audit",
    "binarise",
    "cave",
    "checking",
    "cosine",
    "diagnostics",
    "diffusion",
    "dreg",
    "elbo",
    "exact",
    "fit",
    "free_bits",
    "iwae",
    "load",
    "load_model",
    "nets",
    "nll",
    "plots",
    "pretrained",
    "sandwich",
    "save",
    "warmup",
]

__version__ = "0.1.0"


def __getattr__(name: str):
    # Matplotlib, sympy and scipy take seconds to import; who only trains a model does not pay for them.
    if name in ("checking", "exact", "plots"):
        return importlib.import_module(f"{__name__}.{name}")
    if name == "audit":
        return importlib.import_module(f"{__name__}.checking.audit").audit
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
