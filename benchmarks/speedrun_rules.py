"""The rules of the speed-run that a program can see to, and its records. All rules: speedrun.md."""

import math
import os
import statistics
from typing import Any

import torch
from reporting import Row, over_seeds, rounded
from scipy.special import stdtr
from torch import Tensor

import vaelib as vl

CORES, QUIET = 2, 0.5  # cores at most; the load of the machine before a run, in processes
SEEDS, LEVEL = 3, 0.01  # at least so many seeds; of the t-test
TARGETS = (88.0, 86.8)  # nats per image


def same_network(model: torch.nn.Module) -> None:
    """Raises ValueError unless its parts and weights have the names and shapes of the network of the rules."""
    expected, got = _shapes(vl.VAE.mlp((1, 28, 28), latent=50, hidden=(200, 200))), _shapes(model)
    for name in {**expected, **got}:
        if expected.get(name) != got.get(name):
            other = f"{name} is {got.get(name, 'missing')}, expected {expected.get(name, 'none')}"
            raise ValueError(f"not the one-level network 784-200-200-50: {other}")


def _shapes(model: torch.nn.Module) -> dict[str, Any]:
    """The shape of each weight by its name; the parts without weights are there, too."""
    parts = {name: "a part" for name, _ in model.named_modules()}
    return {**{name: tuple(weight.shape) for name, weight in model.state_dict().items()}, **parts}


def only_training_images(train: Tensor, data: vl.Dataset) -> None:
    """Raises ValueError where an image is none of those for training."""
    if torch.equal(train, data.full_train.images[: len(train)]):
        return
    known, test = ({row.tobytes() for row in split.images.numpy()} for split in (data.full_train, data.test))
    others = [row.tobytes() for row in train.numpy() if row.tobytes() not in known]
    if others:
        seen = sum(row in test for row in others)
        raise ValueError(f"{len(others)} of {len(train)} images are not for training; {seen} of these are test images")


def two_quiet_cores() -> None:
    """Holds this process, and those that it starts, to two cores. Raises ValueError where others are at work."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > QUIET:
        raise ValueError(f"{load:.2f} processes were at work in the last minute: expected at most {QUIET}; try later")


def record(number: int, name: str, settings: Row, rows: list[Row], machine: Row) -> Row:
    """What an official run came to: its rows, one for each seed, taken together."""
    nll = [row["nll"] for row in rows]
    mean, stderr = over_seeds(nll)
    p = stdtr(len(nll) - 1, (mean - settings["target"]) / stderr)  # Student's t: a mean this low, were it the target
    means = {key: statistics.fmean(row[key] for row in rows) for key in ("nll", "seconds", "reference")}
    ratio = over_seeds([row["seconds"] / row["reference"] for row in rows])
    figures = {**means, "spread": statistics.stdev(nll), "ratio": ratio[0], "ratio_stderr": ratio[1], "runs": rows}
    head = {"number": number, "recipe": name, "target": settings["target"], "log": f"{number:02}-{name}.log"}
    return head | rounded(figures) | {"p": float(f"{p:.2g}"), "settings": settings, **machine}


def reached(one: Row) -> bool:
    """Whether the mean over seeds is below the target, beyond what the seeds leave open."""
    return len(one["runs"]) >= SEEDS and one["p"] < LEVEL


def holders(records: list[Row]) -> list[Row]:
    """Who holds the record of each target: a later run has to be faster by more than the errors of both ratios."""
    best: dict[float, Row] = {}
    for one in filter(reached, records):
        held = best.get(one["target"], {"ratio": math.inf, "ratio_stderr": 0.0})
        if one["ratio"] + 2 * math.hypot(one["ratio_stderr"], held["ratio_stderr"]) < held["ratio"]:
            best[one["target"]] = one
    return list(best.values())


def table(records: list[Row]) -> str:
    """All official runs, those of a target together, those that reached it first, the fastest at the top."""
    lines = ["| target | recipe | ratio | seconds | reference | test NLL, seeds | p | verdict | machine | date, by |"]
    lines += ["|---|---|---:|---:|---:|---:|---:|---|---|---|"]
    for one in sorted(records, key=lambda one: (-one["target"], not reached(one), one["ratio"])):
        cells = [
            f"{one['target']:.1f}",
            f"[`{one['recipe']}`](results/speedrun/{one['log']}): {one['settings']['title']}",
            f"{one['ratio']:.3f} ± {one['ratio_stderr']:.3f}",
            f"{one['seconds']:.1f}",
            f"{one['reference']:.1f}",
            f"{one['nll']:.2f} ± {one['spread']:.2f}, {len(one['runs'])}",
            f"{one['p']:.2g}",
            "**record**" if one in holders(records) else "reached" if reached(one) else "missed",
            f"{one['processor']}, threads: {one['settings']['threads']}, torch {one['torch']}",
            f"{one['date']}, {one['settings']['by']}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    missing = [f"{target}" for target in TARGETS if target not in [one["target"] for one in holders(records)]]
    lines += [f"\nNo record yet: {', '.join(missing)} nats."] if missing else []
    return "\n".join(lines if records else lines[2:]).strip() + "\n"
