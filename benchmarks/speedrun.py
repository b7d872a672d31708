"""A speed-run: the least training time on two cores of a CPU to a test NLL. The rules and the records: speedrun.md.

    python benchmarks/speedrun.py NAME           an official run of a recipe: trained, timed, scored, written down
    python benchmarks/speedrun.py NAME --valid   to choose by: 50,000 images, scored on the 10,000 kept for validation
    python benchmarks/speedrun.py NAME --quick   a rehearsal on a few images
    python benchmarks/speedrun.py                the table alone, of the official runs so far

The recipes are in speedrun.toml. Each training is a process of its own, and starts with nothing compiled. An official
run takes turns with the recipe called "reference", seed by seed, and is written once all of it is done: in
results/speedrun.json, in speedrun.md, and in results/speedrun a line for each epoch. Where it is stopped while it
scores, the same command goes on with the scoring. The other two write nothing.
"""

import argparse
import dataclasses
import json
import multiprocessing
import os
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import speedrun_rules as rules
import torch
from reporting import Row, machine
from reproduce import BINARISED, OBJECTIVES, SAMPLES
from torch import Tensor

import vaelib as vl
from vaelib.training.step import PlainAdam

HERE = Path(__file__).parent
RESULTS = HERE / "results"
KEPT = HERE.parent / "build" / "speedrun"
PAGE = HERE / "speedrun.md"
MARKS = "<!-- records, written by make speedrun -->\n", "<!-- end of records -->\n"


@dataclasses.dataclass(frozen=True)
class Recipe:
    """All that decides a training, and what it is to reach; see the head of `speedrun.toml`."""

    title: str
    by: str
    target: float
    epochs: int
    lr: float
    rise: float = 0.0
    warmup: float = 0.0
    batch_size: int = 128
    betas: tuple[float, float] = (0.9, 0.999)
    activation: str = "Tanh"
    objective: str = "elbo"
    samples: int = 1
    averaged: int = 0
    compile: bool | str = "auto"
    threads: int = rules.CORES
    seeds: int = rules.SEEDS

    def build(self, seed: int, images: Tensor) -> vl.VAE:
        """The network, its weights drawn from the seed; its pixels start from the mean of the training images."""
        torch.manual_seed(seed)
        activation = getattr(torch.nn, self.activation)
        return vl.VAE.mlp((1, 28, 28), 50, (200, 200), mean=images.mean(0), activation=activation)

    def rate(self, epoch: float) -> float:
        """The learning rate: up along a straight line, then down to 0 along half a cosine."""
        if epoch < self.rise:
            return self.lr * epoch / self.rise
        return vl.cosine(self.lr, self.epochs - self.rise)(epoch - self.rise)

    def optimizer(self, weights: list[Tensor]) -> torch.optim.Optimizer:
        """Adam."""
        adam = PlainAdam(weights)
        for group in adam.param_groups:
            group["betas"] = tuple(self.betas)
        return adam


def images(kind: str) -> tuple[Tensor, Tensor, int]:
    """What a run of this kind trains on, what it scores, already binary, and by how many importance samples."""
    data = vl.load("mnist")
    train, grey, samples = {
        "official": (data.full_train.images, data.test.images, SAMPLES),
        "valid": (data.train.images, data.valid.images, 500),
        "quick": (data.train.images[:256], data.valid.images[:64], 5),
    }[kind]
    rules.only_training_images(train, data)
    return train, torch.bernoulli(grey, generator=torch.Generator().manual_seed(BINARISED)), samples


def train(recipe: Recipe, seed: int, kind: str) -> tuple[dict[str, Tensor], float, list[Row]]:
    """The trained weights, the seconds on the clock, and those at the end of each epoch, with its ELBO."""
    torch.set_num_threads(recipe.threads)
    x, _, _ = images(kind)
    began = time.perf_counter()  # the images are in memory, and nothing has been made of them
    model, mean, log = recipe.build(seed, x), {}, []
    training = vl.Training(
        model,
        x,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        lr=recipe.rate,
        beta=vl.warmup(recipe.warmup) if recipe.warmup else 1.0,
        samples=recipe.samples,
        objective=OBJECTIVES[recipe.objective],
        optimizer=recipe.optimizer,
        transform=vl.binarise,
        seed=seed,
        device="cpu",
        compile=recipe.compile,
        progress=False,
    )
    for epoch in training:
        number = epoch.number - (recipe.epochs - recipe.averaged)  # among those whose weights are averaged
        for name, weight in model.state_dict().items() if number > 0 else ():
            mean[name] = weight.clone() if number == 1 else mean[name].lerp(weight, 1 / number)
        log.append({"epoch": epoch.number, "seconds": time.perf_counter() - began, "elbo": epoch.train.elbo})
    if training.history.interrupted:
        raise KeyboardInterrupt
    if mean:
        model.load_state_dict(mean)
    seconds = time.perf_counter() - began
    rules.same_network(model)
    return model.state_dict(), seconds, log


def apart(recipe: Recipe, seed: int, kind: str) -> tuple[dict[str, Tensor], float, list[Row]]:
    """`train` in a process of its own, in which nothing is compiled yet."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            weights, seconds, log = process.submit(train, recipe, seed, kind).result()
    print(f"{recipe.title}, seed {seed}: {seconds:.1f} s, ELBO in training {log[-1]['elbo']:.2f}", flush=True)
    return weights, seconds, log


def trained(recipe: Recipe, reference: Recipe, kind: str) -> list[tuple]:
    """For each seed what `train` returns, and the seconds of the reference beside it, with which it takes turns."""
    turns = []
    for seed in range(recipe.seeds):
        beside = apart(reference, seed, kind)[1] if kind == "official" and recipe != reference else None
        turns.append((*apart(recipe, seed, kind), beside))
    return turns


def scored(recipe: Recipe, turns: list[tuple], kind: str) -> tuple[list[Row], list[str]]:
    """A row for each seed, and the lines of the log."""
    rows, lines = [], []
    x, test, samples = images(kind)
    for seed, (weights, seconds, log, beside) in enumerate(turns):
        model = recipe.build(seed, x)
        model.load_state_dict(weights)
        nll = vl.nll(model, test, samples=samples)
        print(f"seed {seed}: NLL {nll.mean:.3f} (standard error over the images {nll.stderr:.3f})", flush=True)
        rows.append({"seed": seed, "nll": nll.mean, "stderr": nll.stderr, "seconds": seconds})
        rows[-1]["reference"] = seconds if beside is None else beside
        lines += [f"{seed:4} {row['epoch']:6} {row['seconds']:9.2f} {row['elbo']:9.3f}" for row in log]
    return rows, lines


def official(recipe: Recipe, reference: Recipe, path: Path) -> list[tuple]:
    """`trained` on two quiet cores; what was trained by these settings and not scored yet is in the file at path."""
    settings = [dataclasses.asdict(recipe), dataclasses.asdict(reference)]
    if not path.exists() or torch.load(path)[0] != settings:
        rules.two_quiet_cores()
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        torch.save((settings, trained(recipe, reference, "official")), part)
        part.replace(path)
    return torch.load(path)[1]


def write(records: list[Row]) -> None:
    """The records, and the table on the page; each file as a whole."""
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(MARKS[0])
    page = head + MARKS[0] + rules.table(records) + MARKS[1] + rest.partition(MARKS[1])[2]
    for path, text in ((RESULTS / "speedrun.json", json.dumps(records, indent=1) + "\n"), (PAGE, page)):
        part = path.with_suffix(".part")
        part.write_text(text, encoding="utf-8")
        part.replace(path)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("recipe", nargs="?", metavar="NAME", help="a recipe of speedrun.toml")
    for kind in ("valid", "quick"):
        parser.add_argument(f"--{kind}", dest="kind", action="store_const", const=kind, default="official")
    options = parser.parse_args(arguments)
    tables: dict[str, Any] = tomllib.loads((HERE / "speedrun.toml").read_text(encoding="utf-8"))
    recipes = {name: Recipe(**values) for name, values in tables.items()}
    if options.recipe not in (None, *recipes):
        print(f"no recipe is called {options.recipe}: expected one of {', '.join(recipes)}", file=sys.stderr)
        return 2
    path = RESULTS / "speedrun.json"
    records = json.loads(path.read_text()) if path.exists() else []
    if options.recipe:
        recipe, reference = recipes[options.recipe], recipes["reference"]
        if options.kind != "official":
            scored(recipe, trained(recipe, reference, options.kind), options.kind)
            return 0
        kept = KEPT / f"{options.recipe}.pt"
        rows, lines = scored(recipe, official(recipe, reference, kept), "official")
        made = machine() | {"date": time.strftime("%Y-%m-%d"), "command": f"make speedrun recipe={options.recipe}"}
        records.append(rules.record(len(records) + 1, options.recipe, dataclasses.asdict(recipe), rows, made))
        log = RESULTS / "speedrun" / records[-1]["log"]
        log.parent.mkdir(exist_ok=True)
        log.write_text("\n".join(["seed  epoch   seconds      ELBO", *lines]) + "\n", encoding="utf-8")
        write(records)
        kept.unlink()
        return 0
    write(records)
    return 0


if __name__ == "__main__":
    sys.exit(main())
