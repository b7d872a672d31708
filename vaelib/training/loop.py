"""Training: a loop one can see, over data that stay on the device or come batch by batch.

>>> import torch, vaelib as vl
>>> images = torch.full((64, 1, 4, 4), 0.5)  # grey levels, binarised anew in each step
>>> model = vl.VAE.mlp((1, 4, 4), latent=2, hidden=(8,))
>>> training = Training(model, images, epochs=2, transform=vl.binarise, beta=vl.warmup(2), device="cpu", progress=False)
>>> for epoch in training:
...     print(epoch.number, epoch.beta, sorted(epoch.metrics)[-2:])
1 0.0 ['train/rates/1', 'train/reconstruction']
2 0.5 ['train/rates/1', 'train/reconstruction']
>>> len(training.history.train)
2
"""

import copy
import functools
import math
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from .. import processes
from ..arguments import integers, number
from ..bounds import Terms, elbo
from ..data import SCALE, binarise, in_unit_interval
from ..data.inputs import Streamed, as_tensor, is_streamed
from ..hierarchy import Hierarchy
from ..randomness import RandomStream
from ..trials import dtype_of
from . import checks, saving
from .device import available, device_named, placed, products, taken
from .fast import faster
from .run import Epoch, History, Run, State, Summary
from .step import PlainAdam, Step, totals

Schedule = float | Callable[[float], float]


class Training:
    """Maximises the mean ELBO, or another bound, epoch by epoch: iterate over it. The model is trained in place.

        for epoch in Training(model, train, valid, epochs=20):
            print(epoch.number, epoch.valid.elbo)  # `break` ends it in good order

    Args:
        model: stays on `device` afterwards, in evaluation mode.
        train: images (N, *event), whatever `vaelib.data.inputs.as_tensor` takes, or a DataLoader or iterable dataset,
            which is read batch by batch in each epoch.
        valid: likewise, held in memory. It changes nothing in the training: its random numbers are a stream of its own,
            the same in every epoch, so that its curve is not jittered by them.
        epochs: from the very beginning, also for a training that is resumed.
        batch_size: of all but streamed data, whose batches are taken as they come.
        lr, beta: a number, or a schedule from the (fractional) epoch to a number, such as `cosine(2e-3, 20)`,
            `warmup(5)`. beta multiplies the rates in the objective; the history reports the ELBO at beta = 1.
        samples: K, draws from the posterior per example and step.
        objective: a function of `Terms` and beta that returns (B,), to be maximised: `elbo`, `iwae`, `dreg`, or
            `functools.partial(free_bits, nats=0.5)`.
        optimizer: a function of the list of weights, such as `torch.optim.AdamW`; its learning rate follows `lr`.
        clip: the largest norm of the gradient; a longer one is scaled down to it.
        transform: applied to every batch anew, such as `binarise` (a pixel is a probability); to `valid` once.
        key: the name of x where the items of a data set are dicts.
        seed: of the order of the data, the transform and the latents. The weights were drawn when the model was built.
        device: "auto" takes a GPU where there is one; else "cpu", "cuda", "cuda:1", "mps".
        precision: of matrix products: "float32", which "auto" is too; "tf32", on NVIDIA GPUs; "bfloat16", for the
            networks, never for the densities. The latter two blur the gradients.
        compile: "auto", on a CPU, records the step of a training of 500 steps or more and replays it: the same numbers,
            sooner. From 10,000 steps on it also compiles it: the numbers then agree to rounding, not bit for bit. True
            compiles in any case, which needs a C++ compiler and costs up to a minute and a half. False runs each step
            as it stands. See `vaelib.training.fast`.
        run: where to keep the training after each epoch, see `Run`.
        progress: show a bar.
    Raises:
        ValueError: for arguments or data that cannot be meant; as it begins, see `Run`.
        FloatingPointError: where the loss, a weight or the validation ELBO stops being finite; the model then has its
            weights from the end of the epoch before, the optimiser no memory, and nothing of it is kept.

    Ctrl-C ends the training early: the model keeps its weights of that moment, and `history` its whole epochs. Under
    torchrun the processes share each batch, and the result is that of one process; see `vaelib.processes`. An epoch has
    PyTorch's random numbers to itself, so trainings in threads take turns, and give what they give one after the other.
    Source: Kingma & Welling 2014 (arXiv 1312.6114), algorithm 1; warm-up: Sønderby et al. 2016 (arXiv 1602.02282).
    """

    def __init__(
        self,
        model: Hierarchy,
        train: Any,
        valid: Any = None,
        *,
        epochs: int,
        batch_size: int = 128,
        lr: Schedule = 1e-3,
        beta: Schedule = 1.0,
        samples: int = 1,
        objective: Callable[[Terms, float], Tensor] = elbo,
        optimizer: Callable[[list[Tensor]], torch.optim.Optimizer] | None = None,
        clip: float | None = None,
        transform: Callable[[Tensor], Tensor] | None = None,
        key: str | None = None,
        seed: int = 0,
        device: str | torch.device = "auto",
        precision: str = "auto",
        compile: bool | str = "auto",
        run: Run | None = None,
        progress: bool = True,
    ):
        epochs, batch_size, samples = integers(epochs=epochs, batch_size=batch_size, samples=samples)
        (seed,) = integers(0, seed=seed)
        checks.arguments(model, transform, optimizer, compile, clip)
        if run is not None and not isinstance(run, Run):
            raise ValueError(f'run is {run!r}: expected vaelib.Run("a folder")')
        checks.trial(objective, model.levels, samples)
        self.model, self.run, self.progress = model, run, progress
        self.epochs, self.batch_size, self.seed = epochs, batch_size, seed
        self.lr, self.beta = _schedule("lr", lr), _schedule("beta", beta)
        self.device, self.transform = device_named(device), transform
        self.precision = available(precision, self.device)
        processes.start(self.device)
        self.random = RandomStream(seed, self.device)
        dtype = dtype_of(model) or torch.get_default_dtype()
        with self.random:
            self.train = self._entered(train, key, dtype)
        self.valid = None
        if valid is not None:
            with RandomStream(seed, self.device):
                x = as_tensor(valid, key=key, name="valid", dtype=dtype)
                self.valid = torch.cat([*self._looked_at(x, "valid")]).to(self.device)
        model.to(self.device)
        weights: list[Tensor] = [weight for weight in model.parameters() if weight.requires_grad]
        if not weights:
            raise ValueError("every weight of the model is frozen: expected one or more with requires_grad=True")
        self.optimizer = (optimizer or PlainAdam)(weights)
        checks.of_these(self.optimizer, weights)
        self.settings = checks.settings(self.optimizer, model)  # now: some count in them
        self.steps: int | None = None  # in an epoch; a stream may not know them before its end
        with suppress(TypeError):
            batches = len(self.train) / (1 if isinstance(self.train, Streamed) else batch_size)
            self.steps = math.ceil(batches)
        step = Step(model, objective, samples, self.optimizer, clip, self.precision)
        self.step = faster(step, epochs * (self.steps or 0), compile)
        self.history = History()

    def __iter__(self) -> Iterator[Epoch]:
        """Trains, and gives one `Epoch` at a time, from where `history` ends; none where all epochs are done."""
        same = {} if self.run is None else self._same()
        state = State(self.model, self.optimizer, self.random, self.history, same, _orders(self.train))
        with nullcontext() if self.run is None else self.run.opened(state), self._bar() as bar:
            self.steps, self.history.interrupted = state.steps or self.steps, False
            began = time.perf_counter() - (self.history.seconds[-1] if self.history else 0.0)
            while len(self.history) < self.epochs:
                try:
                    before = copy.deepcopy(self.model.state_dict())
                    train, lr, beta = self._epoch(len(self.history))
                    valid = None if self.valid is None else validate(self.model, self.valid, self.batch_size, self.seed)
                    self._check_finite(valid, before)
                    seconds = time.perf_counter() - began
                    self.history.append(Epoch(len(self.history) + 1, train, valid, lr, beta, seconds))
                    if self.run is not None:
                        state.steps = self.steps
                        self.run.keep(state)
                    bar.update()
                    bar.set_postfix(elbo=f"{self.history.curve[-1].elbo:.2f}")
                except FloatingPointError:
                    self.model.load_state_dict(before)
                    self.optimizer.state.clear()  # what made such weights is no memory to go on with
                    raise
                except KeyboardInterrupt:
                    self.history.interrupted, done = True, len(self.history)
                    print(f"Stopped in epoch {done + 1}: {done} whole epochs are in the history.", file=sys.stderr)
                    return
                yield self.history[-1]

    def _epoch(self, done: int) -> tuple[Summary, float, float]:
        """One pass over the data in a new order, after so many: its means, and lr and beta of the last step."""
        self.model.train()
        sums = _no_totals(self.model, self.device)  # over the examples; read once per epoch
        losses, examples, lr, beta = [], 0, math.nan, math.nan
        with self.random, products(self.precision, self.device):
            for step, x in enumerate(self._batches()):
                now = done + step / (self.steps or math.inf)
                lr, beta = self.lr(now), self.beta(now)
                loss, more = self.step(x, lr, beta)
                sums += more
                losses.append(loss)
                examples += len(x)
        self.steps, losses = len(losses), torch.stack(losses)
        processes.sum_over_processes([sums, losses])
        processes.average_over_processes(self.model.buffers())
        self._check_losses(losses, done)
        return _summary(sums, examples), lr, beta

    def _batches(self) -> Iterator[Tensor]:
        """The batches of an epoch, (B, *event), transformed."""
        if isinstance(self.train, Streamed):
            for x in self.train:  # checked as they come, as nobody has seen them before
                yield self._transformed(x, "train").to(self.device)
            return
        transform = functools.partial(binarise, check=False) if self.transform is binarise else self.transform
        for index in torch.randperm(len(self.train), device=self.train.device).split(self.batch_size):
            x = taken(self.train, index, self.device)
            yield x if transform is None else transform(x)

    def _entered(self, data: Any, key: str | None, dtype: torch.dtype) -> "Tensor | Streamed":
        """The training data, all looked at once, here, so that the loop need not."""
        if is_streamed(data):
            return Streamed(data, self.batch_size, key=key, name="train", dtype=dtype)
        x = as_tensor(data, key=key, name="train", dtype=dtype)
        for _ in self._looked_at(x, "train"):
            pass
        checks.normalisation(self.model, len(x), self.batch_size)
        return placed(x, self.device)

    def _looked_at(self, x: Tensor, name: str) -> Iterator[Tensor]:
        """The data as the model will see them, in slices, so that looking takes no memory."""
        return (self._transformed(some, name) for some in x.split(checks.CHECKED))

    def _transformed(self, x: Tensor, name: str) -> Tensor:
        """What the model will see of these examples. Raises ValueError unless it can."""
        if self.transform in (binarise, torch.bernoulli) and len(x) and not in_unit_interval(x):
            low, high = (bound.item() for bound in x.aminmax())
            raise ValueError(f"{name} has values outside [0, 1] (min {low:.4g}, max {high:.4g}) or NaN: {SCALE}")
        # A copy, as x may be the user's memory, and the transform may work in place.
        batch = x if self.transform is None or not len(x) else self.transform(x.clone())
        if isinstance(batch, Tensor) and len(batch) != len(x):
            raise ValueError(f"transform changed the number of examples, {len(x)}: expected one for each it gets")
        self.model.check(batch)
        return batch

    def _check_losses(self, losses: Tensor, done: int) -> None:
        if losses.isfinite().all():
            return
        step = int((~losses.isfinite()).nonzero()[0])
        advice = "lower lr, or clip the gradients"
        if done == step == 0 and isinstance(self.train, Tensor):  # no lr has had a part in it
            low, high = (bound.item() for bound in self.train.aminmax())
            advice = f"scale the data, which lie between {low:.4g} and {high:.4g}"
        raise FloatingPointError(
            f"training diverged in epoch {done + 1}, step {step + 1} of {len(losses)}: the loss is "
            f"{losses[step].item()}; the model has its weights from before this epoch; {advice}"
        )

    def _check_finite(self, valid: Summary | None, before: Mapping[str, Any]) -> None:
        """A loss can be finite, and what the last step made of the weights not. A mask, left alone, may hold inf."""
        moments = [value for entries in self.optimizer.state.values() for value in entries.values()]
        now = {name: value for name, value in self.model.state_dict().items() if isinstance(value, Tensor)}
        broken = [name for name, value in now.items() if not _finite(value) and not torch.equal(value, before[name])]
        bad = ["weights"] if broken else []
        if not all(_finite(value) for value in moments if isinstance(value, Tensor)):
            bad.append("optimiser's moments")
        if valid is not None and not math.isfinite(valid.elbo):
            bad.append("validation ELBO")
        if bad:
            raise FloatingPointError(
                f"training diverged in epoch {len(self.history) + 1}: {bad[0]} not finite at its end; the model has "
                "its weights from before this epoch; lower lr, clip the gradients, or look for outliers in the data"
            )

    def _same(self) -> dict[str, Any]:
        """What must agree for a training to be continued: all that decides its numbers but lr, beta and epochs."""
        step = self.step if isinstance(self.step, Step) else self.step.step
        return {
            "model": saving.describe(self.model),
            "trained weights": [name for name, weight in self.model.named_parameters() if weight.requires_grad],
            "train": checks.digest(self.train),
            "valid": checks.digest(self.valid),
            "batch_size": self.batch_size,
            "samples": step.samples,
            "seed": self.seed,
            "objective": checks.named(step.objective),
            "transform": checks.named(self.transform),
            "optimizer": self.settings,
            "clip": step.clip,
            "precision": self.precision,
        }

    @contextmanager
    def _bar(self) -> Generator[Any]:
        # Not `disable=not progress`: that would overrule the variable TQDM_DISABLE.
        quiet = {} if self.progress and processes.rank() == 0 else {"disable": True}
        with tqdm(total=self.epochs, initial=len(self.history), unit="epoch", **quiet) as bar:
            try:
                yield bar
            finally:
                self.model.eval()


def fit(model: Hierarchy, train: Any, valid: Any = None, *, epochs: int, **options: Any) -> History:
    """Train to the end: the `history` of `Training(model, train, valid, epochs=epochs, **options)`, which see.

    It is a list of one `Epoch` each, with the lists `train`, `valid`, `lr`, `beta` and `seconds`.
    """
    training = Training(model, train, valid, epochs=epochs, **options)
    try:
        for _ in training:
            pass
    except KeyboardInterrupt:  # between two epochs
        training.history.interrupted = True
    return training.history


@torch.no_grad()
def validate(model: Hierarchy, x: Tensor, batch_size: int = 1000, seed: int = 0) -> Summary:
    """The mean ELBO of x, (N, *event), its reconstruction term and the rate of each level, by one draw per example."""
    model.eval()
    sums = _no_totals(model, x.device)
    with RandomStream(seed, x.device):
        for batch in x.split(batch_size):
            rows, weight = processes.part(len(batch))
            with processes.noise_of(len(batch)):
                sums += weight * totals(model(batch[rows], check=False))
    processes.sum_over_processes([sums])
    return _summary(sums, len(x))


def _orders(data: "Tensor | Streamed") -> list[torch.Generator]:
    """What a DataLoader and its samplers draw from, where these are not torch's global random numbers."""
    loader = data.data if isinstance(data, Streamed) else None
    if not isinstance(loader, DataLoader):
        return []
    owners = (loader, loader.sampler, getattr(loader.batch_sampler, "sampler", None))
    found = [getattr(owner, "generator", None) for owner in owners]
    return list({id(each): each for each in found if isinstance(each, torch.Generator)}.values())


def _no_totals(model: Hierarchy, device: torch.device) -> Tensor:
    """To add `totals` to, whatever torch's default type is."""
    dtype = torch.float64 if dtype_of(model) == torch.float64 else torch.float32
    return torch.zeros(1 + model.levels, dtype=dtype, device=device)


def _finite(value: Tensor) -> bool:
    """The sum of what is not finite is not; the sum of what is may be too large: then each entry is looked at."""
    return bool(value.sum().isfinite() or value.isfinite().all())


def _summary(sums: Tensor, count: int) -> Summary:
    reconstruction, *rates = (sums / count).tolist()
    return Summary(reconstruction - sum(rates), reconstruction, tuple(rates))


def _schedule(name: str, value: Schedule) -> Callable[[float], float]:
    """The number at each epoch, as one of Python's own; a constant is looked at here, before any time is spent."""

    def checked(given: Any, where: str = "") -> float:
        if not 0 <= number(given) < math.inf:
            raise ValueError(
                f"{name} is {given!r}{where}: expected a finite number of at least 0, or a schedule of such"
            )
        return number(given)

    if callable(value):
        return lambda epoch: checked(value(epoch), f" at epoch {epoch:.3f}")
    constant = checked(value)
    return lambda epoch: constant
