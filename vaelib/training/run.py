"""A training's record: what `fit` saw, and the folder in which it is kept.

`last.safetensors` continues a training bit for bit (on the same kind of processor), `best.safetensors` is the model
with the highest ELBO so far; `vaelib.load_model` reads both. `metrics.jsonl` has one line per epoch, the folder
`tensorboard` the same for TensorBoard where that was asked for.
"""

import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from .. import processes
from ..hierarchy import Hierarchy
from . import saving as checkpoint


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
    interrupted: whether Ctrl-C ended the training before its last epoch.
    """

    train: list[Summary] = field(default_factory=list)
    valid: list[Summary] = field(default_factory=list)
    beta: list[float] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    interrupted: bool = False

    @property
    def curve(self) -> list[Summary]:
        """valid where there is one, else train."""
        return self.valid or self.train

    def lists(self) -> dict[str, list[Any]]:
        """The entries by name."""
        return {name: values for name, values in vars(self).items() if isinstance(values, list)}

    def cut(self, epochs: int) -> None:
        """Keep the first `epochs` entries."""
        for values in self.lists().values():
            del values[epochs:]


class Run:
    """The folder of one training; `keep` after each epoch. Under torchrun the first process alone writes.

    optimizer: what it holds, a list with one tensor per weight for each of its names; restored in place.
    same: what must agree for a training to be continued. Raises ValueError where the folder holds a training and
    `resume` is False, or one that does not agree.
    """

    def __init__(
        self,
        folder: Path,
        model: Hierarchy,
        optimizer: dict[str, list[Tensor]],
        history: History,
        same: dict[str, Any],
        resume: bool,
        tensorboard: bool,
    ):
        self.folder, self.last = folder, folder / "last.safetensors"
        self.model, self.optimizer, self.history, self.same = model, optimizer, history, same
        if self.last.exists():
            if not resume:
                raise ValueError(f"{folder} holds a training: pass resume=True to continue it, or another folder")
            self._restore()
        self.board = None
        if tensorboard and processes.rank() == 0:
            from torch.utils.tensorboard import SummaryWriter  # a package of its own, for those who use it

            self.board = SummaryWriter(folder / "tensorboard", purge_step=len(history.train) + 1)

    def keep(self) -> None:
        """Write the state at the end of an epoch. `last` comes last: what it says has happened."""
        if processes.rank() > 0:
            return
        names = {name: values for name, values in self.history.lists().items() if values}
        epochs = range(len(self.history.train))
        lines = [{"epoch": epoch + 1, **{name: values[epoch] for name, values in names.items()}} for epoch in epochs]
        (self.folder / "metrics.jsonl").write_text("".join(json.dumps(_named(line)) + "\n" for line in lines))
        if self.board is not None:
            for name, value in _flat(_named(lines[-1])).items():
                self.board.add_scalar(name, value, len(lines))
            self.board.flush()
        curve = [summary.elbo for summary in self.history.curve]
        if curve[-1] == max(curve):
            checkpoint.save(self.model, self.folder / "best.safetensors")
        state, model = checkpoint.state_of(self.model)
        tensors = {f"model.{name}": value for name, value in state.items()}
        tensors |= {f"optimizer.{name}": value for name, value in self._moments.items()}
        tensors["random.cpu"] = torch.get_rng_state()
        if self._device.type == "cuda":
            tensors["random.cuda"] = torch.cuda.get_rng_state(self._device)
        info = {"kind": "training", "model": model, "same": self.same, "history": asdict(self.history)}
        checkpoint.write(self.last, tensors, info)

    def _restore(self) -> None:
        tensors, info = checkpoint.read(self.last)
        if info["kind"] != "training":
            raise ValueError(f"{self.last} holds a model, not a training: it cannot be continued")
        if info["same"] != self.same:
            raise ValueError(f"{self.last} is of a training with {info['same']}, not {self.same}: use another folder")
        state, moments = _below("model.", tensors), _below("optimizer.", tensors)
        for here, there, what in (
            (checkpoint.state_of(self.model)[0], state, "another model"),
            (self._moments, moments, "other weights: expected the same ones to be frozen"),
        ):
            if {name: of.shape for name, of in here.items()} != {name: of.shape for name, of in there.items()}:
                raise ValueError(f"{self.last} is of a training of {what}")
        checkpoint.fill(self.model, state, info["model"])
        for name, value in self._moments.items():
            value.copy_(moments[name])
        torch.set_rng_state(tensors["random.cpu"])
        if "random.cuda" in tensors and self._device.type == "cuda":
            torch.cuda.set_rng_state(tensors["random.cuda"], self._device)
        for name in ("train", "valid"):
            info["history"][name] = [Summary(e, r, tuple(rates)) for e, r, rates in info["history"][name]]
        vars(self.history).update(info["history"], interrupted=False)

    @property
    def _moments(self) -> dict[str, Tensor]:
        """What the optimiser holds, by the number of the weight and its name."""
        return {f"{i}.{key}": value for key, of in self.optimizer.items() for i, value in enumerate(of)}

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device


@contextmanager
def locked(folder: Path | None) -> Generator[None]:
    """The folder, made where it is missing, is ours alone until the block ends or the process dies."""
    if folder is None or processes.rank() > 0:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ValueError(f"another training is writing to {folder}: choose another folder, or wait") from error
    try:
        yield
    finally:
        lock.release()


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _named(line: dict[str, Any]) -> dict[str, Any]:
    return {name: value._asdict() if isinstance(value, Summary) else value for name, value in line.items()}


def _flat(line: dict[str, Any]) -> dict[str, float]:
    """The numbers of an epoch by name, such as train/elbo and train/rates/1."""
    numbers: dict[str, float] = {}
    for name, value in line.items():
        if isinstance(value, list | tuple):
            value = {str(level): rate for level, rate in enumerate(value, start=1)}
        if isinstance(value, dict):
            numbers |= {f"{name}/{inner}": number for inner, number in _flat(value).items()}
        elif name != "epoch":
            numbers[name] = value
    return numbers
