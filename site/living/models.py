"""The chain of two levels that a picture shows, trained on MNIST for a few minutes: python site/living/models.py.

Kept in half precision in NAME.safetensors. It is for pictures only: longer training gives a better one.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

import vaelib as vl

EVENT = (1, 28, 28)
MAKE: dict[str, Callable[..., vl.MHVAE]] = {
    "mnist-two-level": partial(vl.MHVAE.mlp, EVENT),
}
EPOCHS = {"mnist-two-level": 15}
BATCH, WARMUP, RATE = 128, 4, 1e-3


def kept(name: str) -> vl.MHVAE:
    """The trained model, on the CPU and in evaluation mode; float32."""
    model = MAKE[name]().half()
    return vl.load_model(Path(__file__).with_name(f"{name}.safetensors"), into=model).float().eval()


def trained(name: str, train: Tensor) -> vl.MHVAE:
    """A model after `EPOCHS` passes over grey images (N, 1, 28, 28), drawn as black and white ones anew in each."""
    torch.manual_seed(0)
    model = MAKE[name](mean=train.mean(0))
    optimiser = torch.optim.Adam(model.parameters(), lr=RATE)
    for epoch in range(EPOCHS[name]):
        for rows in torch.randperm(len(train)).split(BATCH):
            beta = min(1, (epoch + 0.5) / WARMUP)
            loss = -vl.elbo(model(torch.bernoulli(train[rows]), check=False), beta).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        for group in optimiser.param_groups:
            group["lr"] = RATE * (1 - (epoch + 1) / EPOCHS[name]) + 1e-5
    return model


def main() -> None:
    train = vl.load("mnist").train.images
    for name, make in MAKE.items():
        model = make()  # one that does not remember the mean of the data
        model.load_state_dict(trained(name, train).state_dict())
        vl.save(model.half(), Path(__file__).with_name(f"{name}.safetensors"))


if __name__ == "__main__":
    main()
