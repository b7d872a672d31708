"""How good a trained model is: the test negative log-likelihood by importance sampling.

>>> import vaelib as vl
>>> chain = vl.exact.LinearGaussianChain.random([4, 2])
>>> x = torch.zeros(3, 4, dtype=torch.float64)
>>> result = nll(chain.model(), x, samples=5)  # with the exact posterior any number of samples will do
>>> bool(torch.allclose(result.per_example, -chain.log_px(x)))
True
"""

import math
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import MixtureSameFamily

from . import processes
from .arguments import integers
from .bounds import Terms, iwae
from .data.inputs import as_tensor
from .hierarchy import Hierarchy, check_model
from .randomness import RandomStream
from .trials import device_of, dtype_of, in_evaluation

_BUDGET = 2**22  # decoder outputs held at once, in numbers: 16 MiB of float32, which was fastest on a CPU


class NLL(NamedTuple):
    """Negative log-likelihood in nats per example, estimated with `samples` importance samples.

    Attributes:
        per_example: (N,). In expectation each entry lies *above* -log p(x): it is minus a lower bound.
        mean, stderr: over the N examples; the standard error of this mean for the whole population is std / sqrt(N).
        dimensions: D, the number of entries of an example.
    """

    per_example: Tensor
    mean: float
    stderr: float
    samples: int
    dimensions: int

    @property
    def bits_per_dim(self) -> float:
        """mean / (D ln 2): the usual unit for the likelihoods over 256 grey levels, `Categorical` and the like.

        The figure of a density over [0, 1] counts the same after adding log2(256) = 8, as its unit cell is one level.
        """
        return self.mean / (self.dimensions * math.log(2))


@contextmanager
def evaluation(model: Hierarchy, seed: int) -> Generator[None]:
    """Within this block: evaluation mode, and random numbers of its own; the caller's are left as they were."""
    with RandomStream(seed, device_of(model)), in_evaluation(model):
        yield


def suited(model: Hierarchy, x: Any, key: str | None = None) -> Tensor:
    """The user's data as one tensor that the model has checked, of its dtype and on its device."""
    check_model(model)
    with RandomStream(0):  # a DataLoader draws, if only to shuffle
        x = as_tensor(x, key=key, dtype=dtype_of(model)).to(device_of(model))
    model.check(x)
    return x


@torch.no_grad()
def nll(model: Hierarchy, x: Any, samples: int = 5000, seed: int = 0, key: str | None = None) -> NLL:
    """-log p(x) by importance sampling: minus the IWAE bound with many samples.

    Examples and samples are taken in chunks, so that memory stays bounded whatever N and K. Several processes share the
    work.

    Args:
        x: (N, *event), or a data set; already binarised where the likelihood is Bernoulli.
        samples: K, drawn with the `seed`.
        key: which entry of a data set's dicts is x.
    Raises:
        ValueError: Where x does not suit the model or `samples` is no positive integer.
    Source: Burda et al. 2016 (arXiv 1509.00519), eq. 8 and section 5; Rezende et al. 2014, appendix E.
    """
    (samples,) = integers(samples=samples)
    x = suited(model, x, key)
    values = x.new_empty(len(x))  # made at once: small tensors kept among large ones that go keep *their* memory, too
    with evaluation(model, seed):
        numbers, prior = x[0].numel() * getattr(model.decoders[0], "numbers_per_entry", 1), model.prior()
        if isinstance(prior, MixtureSameFamily):  # each latent is scored under each component
            numbers = max(numbers, prior.component_distribution.batch_shape.numel() * model.latents[-1])
        rows = max(1, _BUDGET // numbers)  # (samples x examples) that fit the budget
        chunk = min(samples, rows)
        starts = range(0, samples, chunk)
        for number, (batch, found) in enumerate(zip(*(part.split(rows // chunk) for part in (x, values)), strict=True)):
            mine = number % processes.world() == processes.rank()
            bounds = x.new_empty(len(starts), len(batch))
            for bound, start in zip(bounds, starts, strict=True):
                size = min(chunk, samples - start)
                bound.copy_(iwae(_terms(model, batch, size, mine)) + math.log(size / samples))
            found.copy_(-torch.logsumexp(bounds, 0) * mine)
        processes.sum_over_processes([values])
    values = values.double().cpu()
    stderr = values.std().item() / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return NLL(values, values.mean().item(), stderr, samples, x[0].numel())


def _terms(model: Hierarchy, x: Tensor, samples: int, mine: bool) -> Terms:
    """`model(x, samples)`; where memory runs out, p(x | z), its largest part, is scored in ever smaller slices.

    The latents are drawn before the slices are cut, so that the answer does not depend on them. What is not `mine`, but
    another process's, is drawn for the sake of the random numbers after it, and not scored.
    """
    latents, posteriors, priors = model.infer(x, samples)
    log_pz = torch.stack([p.log_prob(z) for p, z in zip(priors, latents, strict=True)])
    log_qz = torch.stack([q.log_prob(z) for q, z in zip(posteriors, latents, strict=True)])
    if not mine:
        return Terms(torch.zeros_like(log_pz[0]), log_pz, log_qz)
    size = samples
    while True:
        try:
            slices = zip(*(z.split(size) for z in latents), strict=True)
            return Terms(torch.cat([model.likelihood(part).log_prob(x) for part in slices]), log_pz, log_qz)
        except (MemoryError, RuntimeError) as error:
            if size == 1 or not (isinstance(error, MemoryError) or "memory" in str(error)):
                raise
            size = (size + 1) // 2
