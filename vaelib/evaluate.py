"""How good a trained model is: the test negative log-likelihood by importance sampling."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .bounds import iwae
from .inputs import as_images
from .models import MHVAE

# Decoder outputs held at once, in numbers: 2^22 of float32 are 16 MiB, which was fastest on a CPU.
_BUDGET = 2**22


class NLL(NamedTuple):
    """Negative log-likelihood, nats per example, estimated with `samples` importance samples.

    per_example: (N,). mean: over the N examples. stderr: standard error of that mean as an estimate for the whole
    population of examples: std / sqrt(N). In expectation each entry lies *above* -log p(x): it is minus a lower bound.
    """

    per_example: Tensor
    mean: float
    stderr: float
    samples: int


@torch.no_grad()
def nll(model: MHVAE, x: Tensor, samples: int = 5000, seed: int = 0) -> NLL:
    """-log p(x) by importance sampling: minus the IWAE bound with many samples.

    x: (N, *event), already binarised where the likelihood is Bernoulli. samples: K. Examples and samples are taken in
    chunks, so that memory stays bounded whatever N and K; each example counts once. seed: of the importance samples.

    Raises ValueError where x does not suit the model or samples < 1.

    Source: Burda et al. 2016 (arXiv 1509.00519), eq. 8 and section 5; Rezende et al. 2014, appendix E.
    """
    if not isinstance(samples, int) or samples < 1:
        raise ValueError(f"samples is {samples!r}: expected an integer of at least 1")
    x = as_images(x)
    model.check(x)
    device = next((tensor.device for tensor in (*model.parameters(), *model.buffers())), x.device)
    was_training = model.training
    model.eval()
    rows = max(1, _BUDGET // x[0].numel())  # (samples x examples) that fit the budget
    chunk = min(samples, rows)
    per_example = []
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        for batch in x.split(max(1, rows // chunk)):
            batch = batch.to(device)
            bounds, sizes = [], []
            for start in range(0, samples, chunk):
                size = min(chunk, samples - start)
                bounds.append(iwae(model(batch, samples=size, check=False)))  # log of the mean of `size` weights
                sizes.append(math.log(size / samples))
            weights = torch.tensor(sizes, device=device, dtype=bounds[0].dtype)[:, None]
            per_example.append(-torch.logsumexp(torch.stack(bounds) + weights, 0))
    model.train(was_training)
    values = torch.cat(per_example).double().cpu()
    stderr = values.std().item() / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return NLL(values, values.mean().item(), stderr, samples)
