"""Training: one readable loop over data that stay on the device."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from .bounds import Terms, dreg, elbo
from .hierarchy import Hierarchy
from .inputs import as_images

Schedule = float | Callable[[float], float]


class Summary(NamedTuple):
    """Means over a data set, nats per example: elbo = reconstruction - sum(rates), always at beta = 1."""

    elbo: float
    reconstruction: float
    rates: tuple[float, ...]


@dataclass
class History:
    """What `fit` saw, one entry per epoch.

    train: running means over the epoch's batches, while the weights moved. valid: at the epoch's end; empty where no
    validation data were given. beta, lr: the values at the epoch's last step. seconds: since the start of training.
    """

    train: list[Summary] = field(default_factory=list)
    valid: list[Summary] = field(default_factory=list)
    beta: list[float] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def fit(
    model: Hierarchy,
    train: Any,
    valid: Any = None,
    *,
    transform: Callable[[Tensor], Tensor] | None = None,
    epochs: int,
    batch_size: int = 128,
    lr: Schedule = 1e-3,
    beta: Schedule = 1.0,
    samples: int = 1,
    objective: Callable[[Terms, float], Tensor] = elbo,
    seed: int = 0,
    device: str | torch.device = "auto",
    progress: bool = True,
) -> History:
    """Maximise the mean ELBO, or another bound, with Adam; the model is trained in place and stays on `device`.

    Parameters
    ----------
    train, valid: images (N, *event), as a tensor, an array or a `torch.utils.data.Dataset`.
    transform: applied to every batch anew, e.g. `torch.bernoulli` for dynamic binarisation (a pixel is a probability).
        The validation data are transformed once, with a fixed seed, so that its curve is not jittered by re-drawing.
    lr, beta: a number, or a schedule from the (fractional) epoch to a number, such as `cosine(2e-3, 20)`, `warmup(5)`.
        beta multiplies the rates in the training objective; the history reports the ELBO at beta = 1.
    samples: K, draws from the posterior per example and step.
    objective: a function of the terms and beta that returns (B,), to be maximised: `elbo`, `iwae`, `dreg`, or
        `functools.partial(free_bits, nats=0.5)`.
    seed: of the order of the data, the transform and the latents. The weights were drawn when the model was built.
    device: "auto" takes a GPU where there is one; else "cpu", "cuda", "cuda:1", "mps".

    Raises ValueError for arguments or data that cannot be meant, FloatingPointError where the loss stops being finite.

    Source: Kingma & Welling 2014 (arXiv 1312.6114), algorithm 1; warm-up: Sonderby et al. 2016 (arXiv 1602.02282).
    """
    for name, value in (("epochs", epochs), ("batch_size", batch_size), ("samples", samples)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} is {value!r}: expected an integer of at least 1")
    for name, value in (("lr", lr), ("beta", beta)):
        if not callable(value) and not 0 <= value < math.inf:
            raise ValueError(f"{name} is {value!r}: expected a finite number of at least 0, or a schedule")
    target = _device(device)
    history = History()
    with torch.random.fork_rng(
        devices=[target] if target.type == "cuda" else []
    ):  # the caller's random numbers are left as they were
        torch.manual_seed(seed)
        x_train = _enter(model, train, transform, "train").to(target)
        x_valid = None
        if valid is not None:
            x_valid = _enter(model, valid, transform, "valid")
            x_valid = (x_valid if transform is None else transform(x_valid)).to(target)
        model.to(target)
        lr_at, beta_at = _schedule(lr), _schedule(beta)
        optimizer = torch.optim.Adam(model.parameters(), lr=lr_at(0.0), fused=True)
        steps = math.ceil(len(x_train) / batch_size)
        start = time.perf_counter()
        # Not `disable=not progress`: that would overrule the variable TQDM_DISABLE.
        bar = tqdm(range(epochs), unit="epoch", **({} if progress else {"disable": True}))
        for epoch in bar:
            model.train()
            totals = torch.zeros(1 + model.levels, device=target)  # summed over examples; read once per epoch
            for step, index in enumerate(torch.randperm(len(x_train), device=target).split(batch_size)):
                now = epoch + step / steps
                for group in optimizer.param_groups:
                    group["lr"] = lr_at(now)
                x = x_train[index] if transform is None else transform(x_train[index])
                terms = model(x, samples=samples, check=False, path=objective is dreg)
                loss = -objective(terms, beta_at(now)).mean()
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                totals += _totals(terms)
            history.train.append(_summary(totals, len(x_train)))
            history.lr.append(lr_at(now))
            history.beta.append(beta_at(now))
            if not math.isfinite(history.train[-1].elbo):
                raise FloatingPointError(
                    f"training diverged in epoch {epoch + 1}: the mean ELBO is {history.train[-1].elbo}; lower lr"
                )
            if x_valid is not None:
                history.valid.append(evaluate(model, x_valid, batch_size=batch_size))
            history.seconds.append(time.perf_counter() - start)
            bar.set_postfix(elbo=f"{(history.valid or history.train)[-1].elbo:.2f}")
        model.eval()
    return history


@torch.no_grad()
def evaluate(model: Hierarchy, x: Tensor, batch_size: int = 1000) -> Summary:
    """The mean ELBO of x, (N, *event), its reconstruction term and the rate of each level, by one draw per example."""
    model.eval()
    totals = torch.stack([_totals(model(batch, check=False)) for batch in x.split(batch_size)])
    return _summary(totals.sum(0), len(x))


def _totals(terms: Terms) -> Tensor:
    """Reconstruction and the rate of each level, mean over samples and summed over examples: (1 + T,)."""
    return torch.cat([terms.log_px.detach().mean(0).sum()[None], terms.rates.detach().mean(1).sum(-1)])


def _summary(totals: Tensor, count: int) -> Summary:
    reconstruction, *rates = (totals / count).tolist()
    return Summary(reconstruction - sum(rates), reconstruction, tuple(rates))


def _schedule(value: Schedule) -> Callable[[float], float]:
    return (lambda epoch: value) if isinstance(value, int | float) else value


def _enter(model: Hierarchy, data: Any, transform: Callable[[Tensor], Tensor] | None, name: str) -> Tensor:
    """The data as one tensor, checked once, here, so that the loop need not."""
    x = as_images(data)
    if transform is torch.bernoulli and len(x) and not (x.min() >= 0 and x.max() <= 1):
        raise ValueError(
            f"{name} has values outside [0, 1] (min {x.min().item():.4g}, max {x.max().item():.4g}) or NaN: "
            "dynamic binarisation needs pixel intensities in [0, 1]; divide 8-bit images by 255"
        )
    model.check(x if transform is None or not len(x) else transform(x))
    return x


def _device(name: str | torch.device) -> torch.device:
    if str(name) == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f'device is {name!r}: expected "auto", "cpu" or a device present here such as "cuda"'
        ) from error
    return device
