"""Four small trainings for the picture of the twins, alike but for one line: python site/living/twins.py.

It takes some minutes. Writes twins.safetensors: of each training the decoder in half precision, q(z|x) of eight test
images, and as metadata what it reports of itself on the test set and what is true of it, in nats per image.
"""

import json
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

import vaelib as vl

FILE = Path(__file__).with_name("twins.safetensors")
LATENT, HIDDEN, EPOCHS, BATCH, SHOWN = 10, (64,), 30, 100, 8


def rate(mu: Tensor, sigma: Tensor) -> Tensor:
    """KL(N(mu, sigma^2) || N(0, 1)), summed over the last axis, (..., J)."""
    return (mu**2 + sigma**2 - 1 - 2 * sigma.log()).sum(-1) / 2


def sample(mu: Tensor, sigma: Tensor, epsilon: Tensor) -> Tensor:
    """z, as a function of noise, all (..., J)."""
    return mu + sigma * epsilon


def averaged_rate(mu: Tensor, sigma: Tensor) -> Tensor:
    """E1: the mean over the dimensions where the sum is meant."""
    return rate(mu, sigma) / mu.shape[-1]


def unhalved_rate(mu: Tensor, sigma: Tensor) -> Tensor:
    """E5a: 1/2 missing on the log-variance."""
    return ((mu**2 + sigma**2 - 1) / 2 - 2 * sigma.log()).sum(-1)


def mean_alone(mu: Tensor, sigma: Tensor, epsilon: Tensor) -> Tensor:
    """E11a: no noise; the mean is decoded."""
    return mu


# What differs: the rate and the sample.
FORMULAS: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor]]] = {
    "right": (rate, sample),
    "E1": (averaged_rate, sample),
    "E5a": (unhalved_rate, sample),
    "E11a": (rate, mean_alone),
}


def terms(model: vl.VAE, x: Tensor, formulas: str) -> tuple[Tensor, Tensor]:
    """Reconstruction and rate by these formulas, in nats, (B,) each."""
    the_rate, the_sample = FORMULAS[formulas]
    q = model.posterior(x)
    z = the_sample(q.mean, q.stddev, torch.randn_like(q.mean))
    return model.likelihood([z]).log_prob(x), the_rate(q.mean, q.stddev)


def trained(train: Tensor, formulas: str) -> vl.VAE:
    """A VAE trained by these formulas. All start from the same weights and see the same batches."""
    torch.manual_seed(0)
    model = vl.VAE.mlp((1, 28, 28), LATENT, HIDDEN, mean=train.mean(0))
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(train)).split(BATCH):
            reconstruction, the_rate = terms(model, torch.bernoulli(train[rows]), formulas)
            loss = (the_rate - reconstruction).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return model.half().float()  # as it is kept


@torch.no_grad()
def judged(model: vl.VAE, x: Tensor, formulas: str) -> dict[str, float]:
    """What it reports, by its own formulas, and what is true, in nats per image; the spread of its codes."""
    torch.manual_seed(1)
    own, own_rate = terms(model, x, formulas)
    reconstruction, right_rate = terms(model, x, "right")
    q = model.posterior(x)
    return {
        "reported": (own - own_rate).mean().item(),
        "elbo": (reconstruction - right_rate).mean().item(),
        "reconstruction": reconstruction.mean().item(),
        "rate": right_rate.mean().item(),
        "sigma": q.stddev.mean().item(),
        "spread": (q.mean.var(0) + q.variance.mean(0)).sqrt().mean().item(),
    }


def main() -> None:
    digits = vl.load("mnist")
    test = torch.bernoulli(digits.test.images, generator=torch.Generator().manual_seed(0))
    tensors, metadata = {"images": test[:SHOWN].flatten(1).to(torch.uint8)}, {}
    for formulas in FORMULAS:
        model = trained(digits.train.images, formulas)
        metadata[formulas] = judged(model, test, formulas)
        print(formulas, {name: round(value, 3) for name, value in metadata[formulas].items()}, flush=True)
        q = model.posterior(test[:SHOWN])
        tensors |= {f"{formulas}.mean": q.mean.half(), f"{formulas}.sd": q.stddev.half()}
        tensors |= {f"{formulas}.{name}": value.half() for name, value in model.decoders[0].state_dict().items()}
    save_file(
        {name: value.detach().contiguous() for name, value in tensors.items()}, FILE, {"twins": json.dumps(metadata)}
    )


if __name__ == "__main__":
    main()
