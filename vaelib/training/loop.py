"""Training: one readable loop over data that stay on the device.

>>> import vaelib as vl
>>> images = torch.full((64, 1, 4, 4), 0.5)  # grey levels, binarised anew in each step
>>> model = vl.VAE.mlp((1, 4, 4), latent=2, hidden=(8,))
>>> history = fit(model, images, transform=vl.binarise, epochs=2, beta=vl.warmup(2), device="cpu", progress=False)
>>> len(history.train), history.beta[-1] <= 1
(2, True)
"""

import math
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from .. import processes
from ..arguments import integers, is_number
from ..bounds import Terms, elbo
from ..data import SCALE, binarise, in_unit_interval
from ..data.inputs import as_tensor
from ..hierarchy import Hierarchy
from . import fast as steps
from .run import History, Run, Summary, locked

Schedule = float | Callable[[float], float]

CHECKED = 1000  # examples at a time, so that looking at the data takes no memory to speak of


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
    precision: str = "auto",
    compile: bool | str = "auto",
    folder: str | os.PathLike[str] | None = None,
    resume: bool = False,
    tensorboard: bool = False,
    progress: bool = True,
) -> History:
    """Maximise the mean ELBO, or another bound, with Adam; the model is trained in place and stays on `device`.

    Parameters
    ----------
    train, valid: images (N, *event), as a tensor, an array or a `torch.utils.data.Dataset`.
    transform: applied to every batch anew, e.g. `vaelib.binarise` for dynamic binarisation (a pixel is a probability).
        The validation data are transformed once, with a fixed seed, so that its curve is not jittered by re-drawing.
    lr, beta: a number, or a schedule from the (fractional) epoch to a number, such as `cosine(2e-3, 20)`, `warmup(5)`.
        beta multiplies the rates in the training objective; the history reports the ELBO at beta = 1.
    samples: K, draws from the posterior per example and step.
    objective: a function of the terms and beta that returns (B,), to be maximised: `elbo`, `iwae`, `dreg`, or
        `functools.partial(free_bits, nats=0.5)`.
    seed: of the order of the data, the transform and the latents. The weights were drawn when the model was built.
    device: "auto" takes a GPU where there is one; else "cpu", "cuda", "cuda:1", "mps".
    precision: of matrix products: "float32", which "auto" is too; "tf32", on NVIDIA GPUs; "bfloat16", for the networks,
        never for the densities. The latter two are faster on a GPU and blur the gradients; look whether your NLL minds.
    compile: "auto" records the step of a training of 500 steps or more and replays it, on a GPU as a CUDA graph: the
        same numbers, sooner. From 10,000 steps on, on a CPU, it also compiles it: the numbers then agree to rounding.
        True compiles in any case, which costs up to half a minute and needs a C++ compiler. False runs each step as it
        stands, to be looked at with a debugger. See `vaelib.training.fast`.
    folder: where to keep the training after each epoch, see `vaelib.training.run`; made if missing, and locked.
    resume: continue what lies in `folder`, with the same data and arguments, as if it had never stopped. `epochs`
        counts from the very beginning, and may be raised (past 10,000 steps the rest is compiled, see `compile`).
        Where nothing lies there, the training starts.
    tensorboard: write the history to `folder`/tensorboard as well, epoch by epoch; needs the package tensorboard.

    Ctrl-C ends the training early: the model keeps its weights of that moment and the history of its whole epochs is
    returned. Under torchrun the processes share each batch, and the result is that of one process; see
    `vaelib.processes`.

    Raises ValueError for arguments or data that cannot be meant, or a folder that holds another training; OSError where
    the folder cannot be written; FloatingPointError where the loss stops being finite: the model then has its weights
    from the end of the epoch before.

    Source: Kingma & Welling 2014 (arXiv 1312.6114), algorithm 1; warm-up: Sonderby et al. 2016 (arXiv 1602.02282).
    """
    if not isinstance(model, Hierarchy):
        raise ValueError(f"model is {type(model).__name__}: expected a VAE, MHVAE, HVAE or another vaelib.Hierarchy")
    integers(epochs=epochs, batch_size=batch_size, samples=samples)
    integers(0, seed=seed)
    for name, value in (("lr", lr), ("beta", beta)):
        if not callable(value) and not (is_number(value) and value >= 0):
            raise ValueError(f"{name} is {value!r}: expected a finite number of at least 0, or a schedule")
    if transform is not None and not callable(transform):
        raise ValueError(f"transform is {transform!r}: expected a function of a batch, such as vaelib.binarise")
    if precision not in steps.PRECISIONS:
        raise ValueError(f"precision is {precision!r}: expected one of {', '.join(steps.PRECISIONS)}")
    if compile != "auto" and not isinstance(compile, bool):
        raise ValueError(f'compile is {compile!r}: expected "auto", True or False')
    if tensorboard and folder is None:
        raise ValueError("tensorboard is True without a folder: expected one to write to")
    _check_objective(objective, model.levels, samples)
    target = device_named(device)
    processes.start(target)
    history, kept = History(), None if folder is None else Path(folder)
    with torch.random.fork_rng([target] if target.type == "cuda" else []), locked(kept):
        torch.manual_seed(seed)  # the caller's random numbers are left as they were
        x_train = _placed(_enter(model, train, transform, "train"), target)
        x_valid = None
        if valid is not None:
            x_valid = _enter(model, valid, transform, "valid")
            x_valid = (x_valid if transform is None else transform(x_valid)).to(target)
        if (len(x_train) - 1) % batch_size == 0 and any(isinstance(m, nn.BatchNorm1d) for m in model.modules()):
            raise ValueError(f"{len(x_train)} examples leave a last batch of one: expected two or more to normalise by")
        model.to(target)
        total = epochs * math.ceil(len(x_train) / batch_size)
        step = steps.Step(model, objective, samples, total, compile, precision)
        training = _Training(step, transform, _schedule(lr), _schedule(beta))
        same = {"examples": len(x_train), "batch_size": batch_size, "samples": samples, "seed": seed}
        run = None if kept is None else Run(kept, model, step.adam.state, history, same, resume, tensorboard)
        start = time.perf_counter() - (history.seconds[-1] if history.seconds else 0.0)
        # Not `disable=not progress`: that would overrule the variable TQDM_DISABLE.
        quiet = {} if progress and processes.rank() == 0 else {"disable": True}
        bar = tqdm(range(len(history.train), epochs), unit="epoch", **quiet)
        for epoch in bar:
            before = {name: value.clone() for name, value in model.state_dict().items()}
            try:
                history.train.append(training.epoch(x_train, epoch, batch_size))
                history.lr.append(training.lr)
                history.beta.append(training.beta)
                if x_valid is not None:
                    history.valid.append(evaluate(model, x_valid, batch_size=batch_size))
                history.seconds.append(time.perf_counter() - start)
                bar.set_postfix(elbo=f"{history.curve[-1].elbo:.2f}")
                if run is not None:
                    run.keep()
            except FloatingPointError:
                model.load_state_dict(before)
                model.eval()
                raise
            except KeyboardInterrupt:
                history.cut(epoch)
                history.interrupted = True
                print(f"Stopped in epoch {epoch + 1}: {epoch} whole epochs are in the history.", file=sys.stderr)
                break
        model.eval()
    return history


class _Training:
    """A step, and what it needs besides the model."""

    def __init__(
        self,
        step: steps.Step,
        transform: Callable[[Tensor], Tensor] | None,
        lr_at: Callable[[float], float],
        beta_at: Callable[[float], float],
    ):
        self.step, self.lr_at, self.beta_at = step, lr_at, beta_at
        # The data were checked where they entered.
        self.transform = partial(binarise, check=False) if transform is binarise else transform
        self.lr = self.beta = math.nan

    def epoch(self, data: Tensor, epoch: int, batch_size: int) -> Summary:
        """One pass over the data in a new order; raises FloatingPointError where a loss is not finite."""
        model, device = self.step.model.train(), self.step.device
        batches = torch.randperm(len(data), device=data.device).split(batch_size)
        totals = torch.zeros(1 + model.levels, device=device)  # summed over examples; read once per epoch
        losses = torch.zeros(len(batches), device=device)
        for number, index in enumerate(batches):
            now = epoch + number / len(batches)
            self.lr, self.beta = self.lr_at(now), self.beta_at(now)
            if not (0 <= self.lr < math.inf and 0 <= self.beta < math.inf):
                raise ValueError(f"at epoch {now:.3f} lr is {self.lr} and beta {self.beta}: expected numbers from 0 on")
            x = _taken(data, index, device)
            if self.transform is not None:
                x = self.transform(x)
            mine, whole = x[processes.part(len(x))], len(x) == len(batches[0])
            losses[number], more = self.step(mine, self.lr, self.beta, len(x), whole)
            totals += more
        processes.sum_over_processes([totals, losses])
        finite = torch.isfinite(losses)
        if not finite.all():
            number = int((~finite).nonzero()[0])
            raise FloatingPointError(
                f"training diverged in epoch {epoch + 1}, step {number + 1} of {len(batches)}: the loss is "
                f"{losses[number].item()}; the model has its weights from before this epoch; lower lr"
            )
        return _summary(totals, len(data))


def _taken(data: Tensor, index: Tensor, device: torch.device) -> Tensor:
    """These examples, on the device. From a host's memory they go through pinned memory, so that nobody waits."""
    if data.device == device:
        return data.index_select(0, index)
    batch = data.new_empty(len(index), *data.shape[1:], pin_memory=True)
    return torch.index_select(data, 0, index, out=batch).to(device, non_blocking=True)


def _placed(data: Tensor, device: torch.device) -> Tensor:
    """On the device if they fill no more than half of its free memory, else where they are."""
    if device.type == "cuda" and data.nbytes > torch.cuda.mem_get_info(device)[0] / 2:
        return data.cpu()
    return data.to(device)


@torch.no_grad()
def evaluate(model: Hierarchy, x: Tensor, batch_size: int = 1000) -> Summary:
    """The mean ELBO of x, (N, *event), its reconstruction term and the rate of each level, by one draw per example."""
    model.eval()
    totals = torch.zeros(1 + model.levels, device=x.device)
    for batch in x.split(batch_size):
        with processes.noise_of(len(batch)):
            totals += steps.totals(model(batch[processes.part(len(batch))], check=False))
    processes.sum_over_processes([totals])
    return _summary(totals, len(x))


def _summary(totals: Tensor, count: int) -> Summary:
    reconstruction, *rates = (totals / count).tolist()
    return Summary(reconstruction - sum(rates), reconstruction, tuple(rates))


def _schedule(value: Schedule) -> Callable[[float], float]:
    if callable(value):
        return value  # ty: ignore[invalid-explicit-return] - ty thinks of numbers that can be called
    constant = float(value)
    return lambda epoch: constant


def _check_objective(objective: Any, levels: int, samples: int) -> None:
    """Tried on terms of two examples, before any time is spent."""
    log_px, log_pz = torch.zeros(samples, 2), torch.zeros(levels, samples, 2)
    try:
        value = objective(Terms(log_px, log_pz, log_pz, log_pz, ()), 1.0)
    except Exception as error:
        what = f"objective is {objective!r}: expected a function of terms and beta; on a trial it said {error}"
        raise ValueError(what) from error
    if not isinstance(value, Tensor) or value.shape != (2,):
        got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
        raise ValueError(f"objective gave {got} for a batch of two: expected one number per example, (2,)")


def _enter(model: Hierarchy, data: Any, transform: Callable[[Tensor], Tensor] | None, name: str) -> Tensor:
    """The data as one tensor, checked once, here, so that the loop need not."""
    x = as_tensor(data, name=name)
    if transform in (binarise, torch.bernoulli) and len(x) and not in_unit_interval(x):
        low, high = (bound.item() for bound in x.aminmax())
        raise ValueError(f"{name} has values outside [0, 1] (min {low:.4g}, max {high:.4g}) or NaN: {SCALE}")
    for some in x.split(CHECKED) if len(x) else [x]:
        batch = some if transform is None or not len(x) else transform(some)
        if isinstance(batch, Tensor) and len(batch) != len(some):
            raise ValueError(f"transform changed the number of examples, {len(some)}: expected one for each it gets")
        model.check(batch)
    return x


def device_named(name: str | torch.device) -> torch.device:
    """The device of this name; "auto" is a GPU where there is one. Raises ValueError for one that is not here."""
    if str(name) == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ValueError(
            f'device is {name!r}: expected "auto", "cpu" or a device present here such as "cuda"'
        ) from error
    return device
