"""Published likelihoods, measured again: trains the rows of `rows.toml`, and writes the table.

    python benchmarks/reproduce.py vae-1 chain     these rows, or what is missing of them; then the table
    python benchmarks/reproduce.py                 the table alone, of what is there
    python benchmarks/reproduce.py --list          the rows

A training is kept after each epoch in build/reproduce/ROW-SEED and goes on from there when the command is given again;
so does the scoring of the test images, after each thousand of them. What has been measured is kept in
results/reproduction.json, a record for each row, and shown in results/reproduction.md.

-ELBO and NLL are in nats per image, of all test images, binarised once from the seed 0. The NLL is that of 5,000
importance samples. Nothing is selected: a row is trained on all training images, the weights of its last epoch are
taken, and the test images are looked at once, after it.
"""

import argparse
import json
import math
import statistics
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from reporting import Row as Record
from reporting import kept, machine, rounded
from torch import Tensor

import vaelib as vl

RESULTS = Path(__file__).parent / "results"
KEPT = Path(__file__).parent.parent / "build" / "reproduce"
SAMPLES, BLOCK = 5000, 1000  # importance samples; test images scored at once
BINARISED = 0  # the seed of the test images' binarisation
AGAIN = 10  # binarisations by which its part in the figure is told
OBJECTIVES = {"elbo": vl.elbo, "iwae": vl.iwae, "dreg": vl.dreg}


@dataclass(frozen=True)
class Stage:
    """A training that goes on from the weights of the one before."""

    epochs: int
    lr: float
    schedule: str = "cosine"
    warmup: float = 0.0
    objective: str = "elbo"
    samples: int = 1


@dataclass(frozen=True)
class Row:
    """What is trained, and the published figure; see the head of `rows.toml`."""

    title: str
    stages: list[Stage]
    latents: list[int]
    hidden: list[list[int]]
    family: str = "MHVAE"
    data: str = "mnist"
    options: dict[str, Any] = field(default_factory=dict)
    prior: str = "normal"
    components: int = 0
    batch_size: int = 128
    seeds: tuple[int, ...] = (0,)
    reference: float | None = None
    source: str = ""

    @classmethod
    def read(cls, values: dict[str, Any]) -> "Row":
        """From its table in `rows.toml`."""
        return cls(**values | {"stages": [Stage(**stage) for stage in values["stages"]]})

    def build(self, seed: int, images: Tensor) -> vl.Hierarchy:
        """The model, its weights drawn from the seed; its pixels start from the mean of the training images."""
        torch.manual_seed(seed)
        family = {"MHVAE": vl.MHVAE.mlp, "HVAE": vl.HVAE.mlp, "ladder": partial(vl.HVAE.mlp, markov=True)}[self.family]
        options = dict(self.options)
        if "activation" in options:
            options["activation"] = getattr(torch.nn, options["activation"])
        model: Any = family((1, 28, 28), self.latents, self.hidden, mean=images.mean(0), **options)
        if self.prior == "mixture":
            model.prior = vl.MixturePrior(self.latents[-1], self.components)
        elif self.prior == "vamp":
            model.prior = vl.VampPrior(model.encoders[-1], self.components, images[: self.components])
        return model


def stairs(lr: float, epochs: int) -> Callable[[float], float]:
    """The learning rates of Burda et al. 2016: lr 10^(-i/7) for 3^i parts of the 3,280 in all, i = 0 ... 7."""

    def at(epoch: float) -> float:
        part = 3280 * min(epoch / epochs, 1.0)  # the stair i begins after (3^i - 1) / 2 parts
        return lr * 10 ** (-min(math.floor(math.log(2 * part + 1, 3) + 1e-9), 7) / 7)

    return at


SCHEDULES: dict[str, Callable[[float, int], Any]] = {
    "cosine": vl.cosine,
    "burda": stairs,
    "constant": lambda lr, _: lr,
}


def train(row: Row, seed: int, folder: Path, images: Tensor) -> tuple[vl.Hierarchy, float]:
    """The trained model, and the seconds that its epochs took."""
    model, seconds = row.build(seed, images), 0.0
    for number, stage in enumerate(row.stages, start=1):
        training = vl.Training(
            model,
            images,
            epochs=stage.epochs,
            batch_size=row.batch_size,
            lr=SCHEDULES[stage.schedule](stage.lr, stage.epochs),
            beta=vl.warmup(stage.warmup) if stage.warmup else 1.0,
            samples=stage.samples,
            objective=OBJECTIVES[stage.objective],
            transform=None if row.data == "binarized_mnist" else vl.binarise,
            seed=seed,
            run=vl.Run(folder / f"stage-{number}", resume=True),
            progress=False,
        )
        for epoch in training:
            if epoch.number % 10 == 0 or epoch.number == stage.epochs:
                print(f"  stage {number}, epoch {epoch.number} of {stage.epochs}: {epoch.train.elbo:.2f}", flush=True)
        seconds += training.history.seconds[-1]
    return model, seconds


@torch.no_grad()
def negative_elbo(model: vl.Hierarchy, x: Tensor, draws: int = 20) -> Tensor:
    """-ELBO of each image, (N,), the mean over so many draws from the posterior."""
    model.eval()
    torch.manual_seed(0)
    return torch.cat([-vl.elbo(model(part, samples=draws)) for part in x.split(500)])


def nll_of_each(model: vl.Hierarchy, x: Tensor, samples: int, seed: int) -> list[float]:
    """The NLL of each image."""
    return vl.nll(model, x, samples=samples, seed=seed).per_example.tolist()


def score(model: vl.Hierarchy, grey: Tensor, fixed: bool, folder: Path, samples: int = SAMPLES) -> Record:
    """The figures of a trained model on the test images; `fixed` where these are binary already."""
    x = grey if fixed else torch.bernoulli(grey, generator=torch.Generator().manual_seed(BINARISED))
    per_image = []
    for number, block in enumerate(x.split(BLOCK)):
        per_image += kept(folder / f"nll-{number}.json", partial(nll_of_each, model, block, samples, number))
    again = []
    for draw in range(0 if fixed else AGAIN):
        other = torch.bernoulli(grey, generator=torch.Generator().manual_seed(1000 + draw))
        again.append(negative_elbo(model, other, draws=1).mean().item())
    return {
        "nll": statistics.fmean(per_image),
        "stderr": statistics.stdev(per_image) / math.sqrt(len(per_image)),
        "elbo": -negative_elbo(model, x).mean().item(),
        "binarisation": statistics.stdev(again) if again else 0.0,
        "active": [int(level.sum()) for level in vl.diagnostics.active_units(model, x)],
        "rates": rates(model, x),
    }


def rates(model: vl.Hierarchy, x: Tensor) -> list[float]:
    """Each level's mean rate."""
    torch.manual_seed(0)
    with torch.no_grad():
        return (
            torch.stack([model(part, samples=10).rates.mean(1).sum(1) for part in x.split(500)])
            .sum(0)
            .div(len(x))
            .tolist()
        )


def measure(name: str, row: Row, seed: int) -> Record:
    """One training and its figures."""
    folder = KEPT / f"{name}-{seed}"
    data = vl.load(row.data)
    print(f"{name}, seed {seed}: {row.title}", flush=True)
    model, seconds = train(row, seed, folder, data.full_train.images)
    grey = data.test.images
    return {
        "seed": seed,
        **score(model, grey, row.data == "binarized_mnist", folder),
        "images": len(grey),
        "weights": sum(weight.numel() for weight in model.parameters()),
        "seconds": seconds,
        **machine(),
    }


def rows() -> dict[str, Row]:
    """Those of `rows.toml`, by name."""
    tables = tomllib.loads((Path(__file__).parent / "rows.toml").read_text(encoding="utf-8"))
    return {name: Row.read(values) for name, values in tables.items()}


# --- Linear models, whose best likelihood is known --------------------------------------------------------------------

LINEAR = {"linear-vae": [10], "linear-chain": [10, 5]}  # latents of the levels
LINEAR_EPOCHS, LINEAR_LR = 150, 1e-2


def linear(name: str, seed: int = 0, images: int | None = None, epochs: int = LINEAR_EPOCHS) -> Record:
    """A linear model of the grey training images, against probabilistic PCA, the best that it can be.

    The NLL here is exact, by the marginal of the trained decoders. images, epochs: fewer, for a test.
    """
    x = vl.load("mnist").full_train.images[:images].flatten(1)
    sizes = [784, *LINEAR[name]]
    torch.manual_seed(seed)
    levels = list(pairwise(sizes))
    model = vl.MHVAE(
        [vl.Gaussian(below, above, ()) for below, above in levels],
        [vl.Gaussian(above, below, (), scale="shared") for below, above in levels],
    )
    with torch.no_grad():
        model.decoders[0].get_parameter("heads.0.bias").copy_(x.mean(0))
    history = vl.fit(
        model, x, epochs=epochs, batch_size=500, lr=vl.cosine(LINEAR_LR, epochs), seed=seed, progress=False
    )
    exact = -vl.exact.LinearGaussianChain.of(model).log_px(x.double())
    return {
        "seed": seed,
        "nll": exact.mean().item(),
        "stderr": exact.std().item() / math.sqrt(len(x)),
        "elbo": -negative_elbo(model, x).mean().item(),
        "binarisation": 0.0,
        "active": [int(level.sum()) for level in vl.diagnostics.active_units(model, x[:10_000])],
        "rates": rates(model, x[:10_000]),
        "reference": -vl.exact.ppca(x, sizes[1]).log_px,
        "images": len(x),
        "weights": sum(weight.numel() for weight in model.parameters()),
        "seconds": history.seconds[-1],
        **machine(),
    }


# --- The table --------------------------------------------------------------------------------------------------------


def merged(record: Record | None, run: Record, name: str, title: str, data: str, reference: Any, source: str) -> Record:
    """A row's record with this run in it, in the place of an earlier one of the same seed."""
    runs = [old for old in (record or {}).get("runs", ()) if old["seed"] != run["seed"]]
    runs = sorted([*runs, run], key=lambda run: run["seed"])

    def over(key: str) -> float:
        return round(statistics.fmean(run[key] for run in runs), 4)

    return {
        "row": name,
        "model": title,
        "data": data,
        "nll": over("nll"),
        "stderr": over("stderr"),
        "elbo": over("elbo"),
        "k": None if name in LINEAR else SAMPLES,
        "images": run["images"],
        "bits_per_dim": round(over("nll") / (784 * math.log(2)), 4),
        "reference": reference if reference is None else round(reference, 4),
        "source": source,
        "seeds": [run["seed"] for run in runs],
        "seconds": round(over("seconds")),
        "processor": run["processor"],
        "command": f"make reproduce row={name}",
        "runs": [rounded(run) for run in runs],
    }


def margin(record: Record) -> float:
    """How far the figure may be off without any fault of the model: twice the standard error of what was drawn.

    What was drawn is the binarisation of the test images and, where there are several, the seed of the training. The
    images themselves are those of the published figure.
    """
    runs = record["runs"]
    error = statistics.fmean(run["binarisation"] for run in runs)
    if len(runs) > 1:
        error = math.hypot(error, statistics.stdev(run["nll"] for run in runs) / math.sqrt(len(runs)))
    return 2 * error


def verdict(record: Record) -> str:
    """Whether the row is reproduced: the interval of `margin` covers the published figure, or lies below it."""
    if record["reference"] is None:
        return "own baseline"
    gap = record["nll"] - record["reference"]
    if record["row"] in LINEAR:
        return "reproduced" if abs(gap) < 0.02 and abs(record["elbo"] + record["nll"]) < 0.02 else f"{gap:+.3f}"
    return "reproduced" if gap <= margin(record) else f"{gap:+.2f}"


def page(records: list[Record]) -> str:
    """The table, as Markdown."""
    lines = [
        "| row | model | test NLL | -ELBO | published | verdict | active units | rates | bits/dim | seeds | training |"
    ]
    lines.append("|---|---|---:|---:|---:|---|---|---|---:|---|---|")
    for record in records:
        first, published = record["runs"][0], record["reference"]
        interval = f" ± {margin(record):.2f}" if margin(record) else ""
        cells = [
            f"`{record['row']}`",
            f"{record['model']}, {record['data']}",
            f"**{record['nll']:.2f}**{interval} ({record['stderr']:.2f})",
            f"{-record['elbo']:.2f}",
            "" if published is None else f"{published:.2f}",
            verdict(record),
            "+".join(map(str, first["active"])),
            " + ".join(f"{rate:.1f}" for rate in first["rates"]),
            "" if record["row"] in LINEAR else f"{record['bits_per_dim']:.4f}",
            ", ".join(map(str, record["seeds"])),
            f"{record['seconds'] / 60:.0f} min, {record['processor']}, threads: {first['threads']}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    spreads = [statistics.stdev(run["nll"] for run in record["runs"]) for record in records if len(record["runs"]) > 2]
    spread = statistics.fmean(spreads) if spreads else 0.0
    another = f", by one standard deviation about {spread:.2f} nats where three are trained" if spreads else ""
    sources = "\n".join(f"- `{record['row']}`: {record['source']}" for record in records if record["source"])
    return f"""# Published likelihoods, measured again

Nats per image, lower is better; all test images (MNIST has 10,000), binarised once from the seed {BINARISED}; NLL by
{SAMPLES:,} importance samples: on average too high, and much too high where an encoder misses the posterior of an
image, as that of `vae-2d` does of some. ± does not cover this. Behind ± stands twice the standard error that
the binarisation and, where there are several, the seeds leave (nothing of it where the images are binary or
grey and there is one seed); in brackets the standard error over the images, which the published figures share.
Nothing is selected: trained on all images that are not for the test (60,000 of MNIST), weights of the last
epoch. **Reproduced**: the interval covers the published figure or lies below it; with one seed it leaves out what
another would change{another}. Active units and
rates of each level, z1 first, of the first seed; where a level's posterior depends on drawn latents, a unit or two may
be counted as active that moves with those draws alone. The linear rows have no importance samples: their NLL is exact,
of the grey training images, against probabilistic PCA, and they are reproduced within 0.02 nats.

{chr(10).join(lines)}

{sources}

Each row by its command, such as `make reproduce row=vae-1`; the settings are in `benchmarks/rows.toml`. The minutes are
of a machine that did other work at the same time. Rows of that file that are not in the table are not measured yet.
"""


def plot(records: list[Record], path: Path) -> None:
    """Measured against published, a line for each row."""
    import matplotlib.pyplot as plt

    shown = [record for record in records if record["reference"] is not None and record["row"] not in LINEAR][::-1]
    with plt.style.context("vaelib.course"):
        figure, axes = plt.subplots(figsize=(8, 1.2 + 0.4 * len(shown)), layout="constrained")
        for height, record in enumerate(shown):
            axes.plot([record["reference"], record["nll"]], [height, height], color="0.7", zorder=1)
            axes.errorbar(record["nll"], height, xerr=margin(record), fmt="o", color="C0", capsize=3)
            axes.plot(record["reference"], height, "D", color="C1", markerfacecolor="none")
        axes.set_yticks(range(len(shown)), [record["model"] for record in shown])
        axes.plot([], [], "o", color="C0", label="measured here")
        axes.plot([], [], "D", color="C1", markerfacecolor="none", label="published")
        axes.set(xlabel="test NLL (nats per image)", title="Published likelihoods, measured again")
        axes.legend(loc="best")
        figure.savefig(path)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help="names of rows")
    parser.add_argument("--seeds", nargs="+", type=int, help="these, in place of the row's own")
    parser.add_argument("--list", action="store_true", help="show the rows and end")
    options = parser.parse_args(arguments)
    known = rows()
    if options.list:
        print(
            "\n".join(
                [
                    *(f"{name:18} linear, against probabilistic PCA" for name in LINEAR),
                    *(f"{name:18} {row.title}" for name, row in known.items()),
                ]
            )
        )
        return 0
    unknown = [name for name in options.rows if name not in known and name not in LINEAR]
    if unknown:
        print(f"no row is called {unknown[0]}: expected one of {', '.join([*LINEAR, *known])}", file=sys.stderr)
        return 2
    path = RESULTS / "reproduction.json"
    for name in options.rows:
        row = known.get(name)
        for seed in options.seeds or (row.seeds if row else (0,)):
            run = measure(name, row, seed) if row else linear(name, seed)
            there = {record["row"]: record for record in json.loads(path.read_text())} if path.exists() else {}
            title, data = (row.title, row.data) if row else (f"linear, latents {LINEAR[name]}", "grey mnist")
            reference, source = (
                (row.reference, row.source)
                if row
                else (run["reference"], "probabilistic PCA, exact; Lucas et al. 2019")
            )
            there[name] = merged(there.get(name), run, name, title, data, reference, source)
            order = [*LINEAR, *known]
            records = sorted(there.values(), key=lambda record: order.index(record["row"]))
            path.write_text(json.dumps(records, indent=1) + "\n")
    if path.exists():
        records = json.loads(path.read_text())
        (RESULTS / "reproduction.md").write_text(page(records))
        plot(records, RESULTS / "reproduction.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
