"""One training step: forward, backward, update. What it computes is defined here; `fast` computes the same sooner."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .. import processes
from ..bounds import Terms, dreg
from ..hierarchy import Hierarchy


class Step:
    """Steps of an optimiser on the loss, minus the objective's mean over a batch.

    Args:
        model: what is trained.
        objective: a function of `Terms` and beta that returns (B,), to be maximised.
        samples: K, draws from the posterior for each example.
        optimizer: of the model's weights.
        clip: the largest norm of the gradient of all weights together; a longer one is scaled down to it.
        precision: "bfloat16" computes the networks, never the densities, in that type.
    """

    def __init__(
        self,
        model: Hierarchy,
        objective: Callable[[Terms, Any], Tensor],
        samples: int,
        optimizer: torch.optim.Optimizer,
        clip: float | None = None,
        precision: str = "float32",
    ):
        self.model, self.objective, self.samples = model, objective, samples
        self.optimizer, self.clip, self.precision = optimizer, clip, precision
        self.weights: list[Tensor] = [weight for group in optimizer.param_groups for weight in group["params"]]

    def __call__(self, x: Tensor, lr: float, beta: float) -> tuple[Tensor, Tensor]:
        """One step on a batch x, (B, *event): the loss before it, (), and its `totals`, of this process's examples."""
        loss, totals = self.forward(x, beta)
        self.optimizer.zero_grad()
        loss.backward()
        self.update(lr)
        return loss.detach(), totals

    def forward(self, x: Tensor, beta: float | Tensor) -> tuple[Tensor, Tensor]:
        """The loss and the `totals`. Several processes: each takes its part of the batch, and the losses add up."""
        rows, weight = processes.part(len(x))
        blurred = torch.autocast(x.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")
        with processes.noise_of(len(x)), blurred:
            terms = self.model(x[rows], self.samples, check=False, path=self.objective is dreg)
        if self.precision == "bfloat16" and any(density.dtype != self.weights[0].dtype for density in terms[:3]):
            expected = "expected a module of your own to make its distribution of parameters.float()"
            raise ValueError(f"a density is computed in {torch.bfloat16}: {expected}")
        loss = -weight * self.objective(terms, beta).sum() / len(x)
        return loss, weight * totals(terms)

    def update(self, lr: float) -> None:
        """One step of the optimiser along the gradients that lie in the weights' `grad`."""
        gradients = [weight.grad for weight in self.weights if weight.grad is not None]
        processes.sum_over_processes(gradients)
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self.weights, self.clip)
        set_lr(self.optimizer, lr)
        self.optimizer.step()


class PlainAdam(torch.optim.Adam):
    """Adam with the constants of Kingma & Ba 2015 (arXiv 1412.6980), algorithm 1; its lr is a tensor, set in place."""

    def __init__(self, weights: list[Tensor]):
        device = weights[0].device
        on_gpu = device.type == "cuda"  # which takes lr in float32; from the host it may be as precise as Python's
        dtype, place = (torch.float32, device) if on_gpu else (torch.float64, "cpu")
        lr = torch.zeros((), dtype=dtype, device=place)
        super().__init__(weights, lr=lr, fused=device.type in ("cpu", "cuda", "mps"))
        for weight in weights:  # as its first step would make it; a record of that step wants it before
            moments = {name: torch.zeros_like(weight) for name in ("exp_avg", "exp_avg_sq")}
            self.state[weight] = {"step": torch.zeros((), dtype=torch.float32, device=device), **moments}


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """The learning rate of all groups of weights, in place where it is a tensor."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr


def laid_out(value: Tensor, weight: Tensor) -> Tensor:
    """A gradient or moment as its weight lies in memory: Adam's fused kernel goes by places there, not by indices."""
    if value.shape != weight.shape or value.stride() == weight.stride():
        return value
    return torch.empty_like(weight, dtype=value.dtype).copy_(value)


def totals(terms: Terms) -> Tensor:
    """Reconstruction and the rate of each level, mean over samples and summed over examples: (1 + T,)."""
    return torch.cat([terms.log_px.detach().mean(0).sum()[None], terms.rates.detach().mean(1).sum(-1)])
