"""A training's record: what it saw, and the folder in which it is kept.

`last.safetensors` continues a training bit for bit (on the same kind of processor), `best.safetensors` is the model
with the highest ELBO so far; `vaelib.load_model` reads both. `metrics.jsonl` has one line per epoch, `run.json` the
configuration that was given, the folder `tensorboard` the metrics for TensorBoard where that was asked for.
"""

import json
import os
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from .. import processes
from ..hierarchy import Hierarchy
from ..randomness import RandomStream
from . import saving
from .step import laid_out


class Summary(NamedTuple):
    """Means over a data set, nats per example: elbo = reconstruction - sum(rates), always at beta = 1."""

    elbo: float
    reconstruction: float
    rates: tuple[float, ...]

    @classmethod
    def read(cls, line: Mapping[str, Any]) -> "Summary":
        """From what `_asdict` gave, by way of JSON."""
        return cls(line["elbo"], line["reconstruction"], tuple(line["rates"]))


@dataclass(frozen=True)
class Epoch:
    """What one epoch, counted from 1, showed.

    Attributes:
        train: running means over the epoch's batches, while the weights moved.
        valid: means at the epoch's end; None where no validation data were given.
        lr, beta: the values at the last step.
        seconds: since the training began.
    """

    number: int
    train: Summary
    valid: Summary | None
    lr: float
    beta: float
    seconds: float

    @property
    def metrics(self) -> dict[str, float]:
        """The numbers by name, such as train/elbo, valid/rates/1 and lr: for a logger of your own."""
        numbers = {"lr": self.lr, "beta": self.beta, "seconds": self.seconds}
        for name, summary in self._summaries().items():
            numbers |= {f"{name}/elbo": summary.elbo, f"{name}/reconstruction": summary.reconstruction}
            numbers |= {f"{name}/rates/{level}": rate for level, rate in enumerate(summary.rates, start=1)}
        return numbers

    def plain(self) -> dict[str, Any]:
        """The same as plain JSON."""
        summaries = {name: summary._asdict() for name, summary in self._summaries().items()}
        return {"epoch": self.number, **summaries, "lr": self.lr, "beta": self.beta, "seconds": self.seconds}

    @classmethod
    def read(cls, line: Mapping[str, Any]) -> "Epoch":
        """From what `plain` gave."""
        valid = Summary.read(line["valid"]) if "valid" in line else None
        return cls(line["epoch"], Summary.read(line["train"]), valid, line["lr"], line["beta"], line["seconds"])

    def _summaries(self) -> dict[str, Summary]:
        return {"train": self.train} | ({} if self.valid is None else {"valid": self.valid})


class History(list[Epoch]):
    """The epochs of a training, in order, and each of their numbers as a list: `train`, `valid` and so on.

    Attributes:
        interrupted: whether Ctrl-C ended the training before its last epoch.
    """

    interrupted = False

    def __getitem__(self, index: Any) -> Any:
        """An epoch; of a slice, the history of these epochs."""
        found = super().__getitem__(index)
        return History(found) if isinstance(index, slice) else found

    @property
    def train(self) -> list[Summary]:
        """The training data's means."""
        return [epoch.train for epoch in self]

    @property
    def valid(self) -> list[Summary]:
        """The validation data's; empty where there are none."""
        return [epoch.valid for epoch in self if epoch.valid is not None]

    @property
    def curve(self) -> list[Summary]:
        """`valid` where there is one, else `train`."""
        return self.valid or self.train

    @property
    def lr(self) -> list[float]:
        """At each epoch's last step."""
        return [epoch.lr for epoch in self]

    @property
    def beta(self) -> list[float]:
        """At each epoch's last step."""
        return [epoch.beta for epoch in self]

    @property
    def seconds(self) -> list[float]:
        """Since the training began."""
        return [epoch.seconds for epoch in self]


def _json(config: Mapping[str, Any]) -> str:
    try:
        return json.dumps({**config}, indent=2, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise ValueError(f"config cannot be kept as a JSON object: {error}") from error


class Run:
    """The folder of one training. Under torchrun the first process alone writes.

    Args:
        folder: made where it is missing, and locked while a training writes to it.
        resume: continue what lies there, with the same model, data and arguments, as if it had never stopped; where
            nothing lies there, the training starts. (Workers of a DataLoader that persist begin anew, and so do the
            numbers that they draw.)
        tensorboard: write the metrics to `folder`/tensorboard as well; needs the package tensorboard.
        config: a JSON object of your own, kept as `run.json`.
    Raises:
        ValueError: where the configuration is no JSON object; as the training begins, where the folder holds a
            training and `resume` is False, holds one that does not agree, or is being written to by another training.
        OSError: where the folder cannot be written.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        resume: bool = False,
        tensorboard: bool = False,
        config: Mapping[str, Any] | None = None,
    ):
        self.folder = Path(folder).expanduser()
        self.last = self.folder / "last.safetensors"
        self.resume, self.tensorboard = resume, tensorboard
        self.config = None if config is None else _json(config)
        self._board: Any = None

    @contextmanager
    def opened(self, state: "State") -> Generator[None]:
        """The folder is ours alone in this block; what lies in it has been put into `state`."""
        folder, first = self.folder, processes.rank() == 0
        with ExitStack() as stack:
            if first:
                folder.mkdir(parents=True, exist_ok=True)
                try:
                    stack.enter_context(FileLock(folder / ".lock").acquire(timeout=0))
                except Timeout as error:
                    why = f"another training is writing to {folder}: choose another folder, or wait"
                    raise ValueError(why) from error
                saving.sweep(folder)
            if self.last.exists():
                if not self.resume:
                    raise ValueError(f"{folder} holds a training: pass resume=True to continue it, or another folder")
                state.restore(*saving.read(self.last), self.last)
            elif (folder / "metrics.jsonl").exists() and len((folder / "metrics.jsonl").read_text().splitlines()) > 1:
                lost = f"{folder} holds a training whose last.safetensors is gone, so that it cannot be continued"
                raise ValueError(f"{lost}: choose another folder")
            if first and self.config is not None:
                saving.put(folder / "run.json", self.config.encode())
            if first and self.tensorboard:
                from torch.utils.tensorboard import SummaryWriter  # a package of its own, for those who use it

                self._board = SummaryWriter(folder / "tensorboard", purge_step=len(state.history) + 1)
                stack.callback(self._board.close)
            yield

    def keep(self, state: "State") -> None:
        """Write the state at the end of an epoch. `last` comes last: what it says has happened."""
        if processes.rank() > 0:
            return
        epochs = state.history
        lines = "".join(json.dumps(epoch.plain()) + "\n" for epoch in epochs)
        saving.put(self.folder / "metrics.jsonl", lines.encode())
        if self._board is not None:
            for name, value in epochs[-1].metrics.items():
                self._board.add_scalar(name, value, len(epochs))
            self._board.flush()
        curve = [summary.elbo for summary in epochs.curve]
        if curve[-1] == max(curve):
            saving.save(state.model, self.folder / "best.safetensors")
        saving.write(self.last, *state.kept())


def _numbers(group: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of a group of weights, in which some optimisers count; lr is set at each step."""
    return {name: value for name, value in group.items() if type(value) in (int, float) and name != "lr"}


@dataclass
class State:
    """All that a training is at the end of an epoch, and what must agree for it to be continued."""

    model: Hierarchy
    optimizer: torch.optim.Optimizer
    random: RandomStream
    history: History
    same: dict[str, Any]
    orders: list[torch.Generator]  # of a DataLoader that has some of its own
    steps: int | None = None  # in an epoch

    def kept(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and a JSON object, for `saving.write`."""
        tensors, info = saving.state_of(self.model)
        tensors = {f"model.{name}": value for name, value in tensors.items()}
        numbers: dict[str, dict[str, Any]] = {}
        for i, entries in self.optimizer.state_dict()["state"].items():
            for name, value in entries.items():
                if isinstance(value, Tensor):
                    tensors[f"optimizer.{i}.{name}"] = value
                else:
                    numbers.setdefault(str(i), {})[name] = value
        tensors |= {f"random.{place}": value for place, value in enumerate(self.random.state)}
        tensors |= {f"order.{place}": generator.get_state() for place, generator in enumerate(self.orders)}
        groups = [_numbers(group) for group in self.optimizer.param_groups]
        history = [epoch.plain() for epoch in self.history]
        info = {"kind": "training", "model": info, "same": self.same, "steps": self.steps, "history": history}
        return tensors, info | {"optimizer": numbers, "groups": groups}

    def restore(self, tensors: dict[str, Tensor], info: dict[str, Any], path: Path) -> None:
        """Put what `kept` gave back. Raises ValueError, before anything is changed, where it is of another training."""
        if info["kind"] != "training":
            raise ValueError(f"{path} holds a model, not a training: it cannot be continued")
        for name in dict.fromkeys([*info["same"], *self.same]):
            there, here = info["same"].get(name), self.same.get(name)
            if there != here:
                if isinstance(there, str) and isinstance(here, str):
                    there, here = saving.first_difference(there, here)
                differ = f"{there!r} there, {here!r} here; use another folder"
                raise ValueError(f"{path} is of a training with another {name}: {differ}")
        saving.fill(self.model, saving.below("model.", tensors), info["model"])
        entries: dict[int, dict[str, Any]] = {int(i): dict(values) for i, values in info["optimizer"].items()}
        weights = [weight for group in self.optimizer.param_groups for weight in group["params"]]
        for name, value in saving.below("optimizer.", tensors).items():
            i, key = name.split(".", 1)
            entries.setdefault(int(i), {})[key] = laid_out(value, weights[int(i)])
        groups = self.optimizer.state_dict()["param_groups"]
        groups = [group | numbers for group, numbers in zip(groups, info["groups"], strict=True)]
        self.optimizer.load_state_dict({"state": entries, "param_groups": groups})
        for place in range(len(self.random.state)):  # a training that moves to a GPU begins a stream there
            self.random.state[place] = tensors.get(f"random.{place}", self.random.state[place])
        for place, generator in enumerate(self.orders):
            if f"order.{place}" in tensors:
                generator.set_state(tensors[f"order.{place}"])
        self.steps = info["steps"]
        self.history[:] = [Epoch.read(line) for line in info["history"]]
