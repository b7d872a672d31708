"""Why a hierarchy? Ten models of the same size on three data sets, five seeds: what `depth_plan.md` said would be done.

    python benchmarks/depth.py mnist cave   trains on these data sets what is missing; then the table
    python benchmarks/depth.py              the table alone, of what is there

What was trained is kept in build/depth, a file for each training, and from there goes into results/depth.json, so that
the program goes on where it was stopped, on another machine too; several may share the work, a data set each. On one
thread. Chapter 12 reads the table, which speaks of a model from three seeds on.
"""

import argparse
import itertools
import json
import os
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import scipy.stats
import torch
from reporting import Row, kept, machine, over_seeds, rounded
from torch import Tensor

import vaelib as vl

SEEDS = (0, 1, 2, 3, 4)
STEPS, BATCH, LR, WARM_UP = 8000, 128, 2e-3, 0.25  # the warm-up takes a quarter of the steps
SAMPLES, IMAGES = 500, 1000  # importance samples for each test image
WEIGHTS = 590_000  # of every model but the plain flat one, within one in a hundred
RESULTS = Path(__file__).parent / "results"
KEPT = Path(__file__).parent.parent / "build" / "depth"
DATA = ("mnist", "omniglot", "cave")
COMMAND = "python benchmarks/depth.py mnist omniglot cave"
EVENT = (1, 28, 28)


def halved(width: int, levels: int) -> list[tuple[int, int]]:
    """Two layers for each level, half as wide as those of the level below."""
    return [(width >> level, width >> level) for level in range(levels)]


def chain(latents: tuple[int, ...]) -> Callable[[int, Tensor], vl.Hierarchy]:
    return lambda width, images: vl.MHVAE.mlp(EVENT, latents, halved(width, len(latents)), mean=images.mean(0))


def top_down(latents: tuple[int, ...], markov: bool) -> Callable[[int, Tensor], vl.Hierarchy]:
    return lambda width, images: vl.HVAE.mlp(
        EVENT, latents, halved(width, len(latents)), mean=images.mean(0), markov=markov
    )


def flat(width: int, images: Tensor) -> vl.Hierarchy:
    return vl.VAE.mlp(EVENT, 60, (width, width), mean=images.mean(0))


def deep(width: int, images: Tensor) -> vl.Hierarchy:
    """As many layers as a chain of two levels, and one level of latents."""
    return vl.VAE.mlp(EVENT, 60, (width, width, width // 2, width // 2), mean=images.mean(0))


def vamp(width: int, images: Tensor) -> vl.Hierarchy:
    model = vl.VAE.mlp(EVENT, 60, (width, width), mean=images.mean(0))
    model.prior = vl.VampPrior(model.encoders[0], 200, images[:200])
    return model


# Each has 60 latents in all. A width is found for each, so that it has the weights that all have.
ARMS: dict[str, Callable[[int, Tensor], vl.Hierarchy]] = {
    "flat": flat,
    "flat, wider": flat,
    "flat, deeper": deep,
    "flat, VampPrior": vamp,
    "chain of 2": chain((40, 20)),
    "chain of 3": chain((30, 20, 10)),
    "chain of 5": chain((24, 14, 10, 7, 5)),
    "ladder of 2": top_down((40, 20), markov=True),
    "ladder of 3": top_down((30, 20, 10), markov=True),
    "HVAE of 2": top_down((40, 20), markov=False),
}


def weights(model: vl.Hierarchy) -> int:
    return sum(weight.numel() for weight in model.parameters())


def width_of(arm: str, images: Tensor) -> int:
    """The width with which this arm comes closest to `WEIGHTS`; 200 for the plain flat one."""
    if arm == "flat":
        return 200
    low, high = 16, 600
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if weights(ARMS[arm](middle, images)) <= WEIGHTS else (low, middle)
    return min(low, high, key=lambda width: abs(weights(ARMS[arm](width, images)) - WEIGHTS))


def train(arm: str, data: str, seed: int, small: int | None = None) -> Row:
    """One training and its test figures. small: so many images only."""
    splits = vl.load(data)
    images, test = splits.train.images[:small], splits.test
    generator = torch.Generator().manual_seed(2024)
    chosen = torch.randperm(len(test), generator=generator)[:IMAGES][:small]
    x = torch.bernoulli(test.images[chosen], generator=generator)
    width = width_of(arm, images)
    torch.manual_seed(seed)
    model = ARMS[arm](width, images)
    epochs = round(STEPS * BATCH / len(splits.train.images)) if small is None else 2
    options = {"beta": vl.warmup(WARM_UP * epochs), "lr": vl.cosine(LR, epochs), "batch_size": BATCH, "seed": seed}
    vl.fit(model, images, epochs=epochs, transform=vl.binarise, device="cpu", compile="auto", progress=False, **options)
    result = vl.nll(model, x, samples=SAMPLES if small is None else 5)
    with torch.no_grad():
        torch.manual_seed(0)
        terms = model(x, samples=20 if small is None else 2)
    return {
        "arm": arm,
        "data": data,
        "seed": seed,
        "weights": weights(model),
        "nll": result.mean,
        "stderr": result.stderr,
        "elbo": vl.elbo(terms).mean().item(),
        "rates": terms.rates.mean((1, 2)).tolist(),
        "active": [int(level.sum()) for level in vl.diagnostics.active_units(model, x)],
        "probes": probes(model, splits, chosen, small),
        **machine(),
    }


def probes(model: vl.Hierarchy, splits: vl.Dataset, chosen: Tensor, small: int | None) -> list[list[float]]:
    """What a linear map reads off each level's posterior means, of test images: a list for each level.

    First the share of digits, or of the Cave's solids, told right, by least squares to one indicator for each. Then, in
    the Cave, the share of variance explained (R^2) of its other latents. OMNIGLOT: nothing, as the characters of its
    test images do not occur in training.
    """
    if splits.train.labels is None or len(splits.train.labels.unique()) > 100:
        return []
    train, test = splits.train[: small or 10_000], splits.test[chosen]
    generator = torch.Generator().manual_seed(7)
    levels = [
        vl.diagnostics.posterior_means(model, torch.bernoulli(part.images, generator=generator))
        for part in (train, test)
    ]
    return [read_off(*means, train, test) for means in zip(*levels, strict=True)]


def read_off(means: Tensor, unseen: Tensor, train: vl.Split, test: vl.Split) -> list[float]:
    """For the posterior means of training and of test images: the accuracy, then R^2 of each true latent."""
    assert train.labels is not None
    assert test.labels is not None
    classes = torch.nn.functional.one_hot(train.labels).double()
    targets = classes if train.latents is None else torch.cat([classes, train.latents[:, 1:].double()], 1)
    design, other = (torch.cat([part.double(), torch.ones(len(part), 1)], 1) for part in (means, unseen))
    found = other @ torch.linalg.lstsq(design, targets, driver="gelsd").solution
    scores = [(found[:, : classes.shape[1]].argmax(1) == test.labels).double().mean().item()]
    if test.latents is not None:
        truth = test.latents[:, 1:].double()
        residual = (truth - found[:, classes.shape[1] :]).pow(2).sum(0)
        scores += (1 - residual / (truth - truth.mean(0)).pow(2).sum(0)).tolist()
    return scores


STATEMENTS = {  # better minus worse, as `depth_plan.md` has them
    "1 levels help": [("chain of 2", "flat, wider")],
    "2 more levels help more": [("chain of 3", "chain of 2"), ("chain of 5", "chain of 3")],
    "3 it is the levels": [
        ("chain of 2", "flat, deeper"),
        ("chain of 2", "flat, wider"),
        ("chain of 2", "flat, VampPrior"),
    ],
    "for comparison": [
        ("flat, wider", "flat"),
        ("flat, VampPrior", "flat, wider"),
        ("flat, VampPrior", "flat"),
        ("chain of 5", "chain of 2"),
        ("ladder of 2", "chain of 2"),
        ("ladder of 3", "chain of 3"),
        ("HVAE of 2", "ladder of 2"),
    ],
}


def key(row: Row) -> tuple[str, str, int]:
    return row["arm"], row["data"], row["seed"]


def seeds_of(rows: list[Row], data: str, *arms: str) -> list[int]:
    """The seeds of which all these models are there on a data set; none where there are fewer than three."""
    there = {key(row) for row in rows}
    found = [seed for seed in SEEDS if all((arm, data, seed) in there for arm in arms)]
    return found if len(found) > 2 else []


def compared(rows: list[Row]) -> list[Row]:
    """Each statement's differences on each data set: by seed, their mean, 95 % interval and what it says.

    Beside them, as `bound`, stand mean and half interval of the same differences of -ELBO, of which nothing is said.
    Two models of a seed are scored on the same test images, so that the difference of their means is the mean of the
    differences, image by image. Nothing is said before all seeds are there.
    """
    of = {key(row): row for row in rows}
    found = []
    for statement, pairs in STATEMENTS.items():
        for (better, worse), data in itertools.product(pairs, DATA):
            seeds = seeds_of(rows, data, better, worse)
            if not seeds:
                continue
            both = [(of[better, data, seed], of[worse, data, seed]) for seed in seeds]
            gaps = [first["nll"] - second["nll"] for first, second in both]
            mean, half = interval(gaps)
            bound = interval([second["elbo"] - first["elbo"] for first, second in both])
            says = "holds" if mean + half < 0 else "fails" if mean - half > 0 else "undecided"
            found.append(
                {"statement": statement, "of": better, "minus": worse, "data": data, "gaps": gaps, "mean": mean}
                | {"half": half, "says": says if len(seeds) == len(SEEDS) else "not yet", "bound": list(bound)}
            )
    return found


def interval(values: list[float]) -> tuple[float, float]:
    """The mean, and half of its 95 % interval by Student's t."""
    mean, error = over_seeds(values)
    return mean, float(scipy.stats.t.ppf(0.975, len(values) - 1)) * error


def document(rows: list[Row]) -> Row:
    """What is kept: each training, and the statements, to four decimals."""
    return {"command": COMMAND, "rows": rounded(rows), "compared": rounded(compared(rows))}


def span(mean: float, half: float) -> str:
    return f"{mean:+.2f} [{mean - half:+.2f}, {mean + half:+.2f}]"


def page(results: Row) -> str:
    """The tables, as Markdown."""
    lines = [
        "| model | data | seeds | weights | test NLL, mean ± standard error | -ELBO, likewise | rates, z1 first | "
        "told right, z1 first |"
    ]
    lines.append("|---|---|---:|---:|---:|---:|---|---|")
    for data, arm in itertools.product(DATA, ARMS):
        seeds = seeds_of(results["rows"], data, arm)
        if not seeds:
            continue
        mine = [row for row in results["rows"] if (row["arm"], row["data"]) == (arm, data)]
        rates, right = (
            [statistics.fmean(level) for level in zip(*values, strict=True)]
            for values in ([row["rates"] for row in mine], [[p[0] for p in row["probes"]] for row in mine])
        )
        cells = [
            arm,
            data,
            str(len(seeds)),
            f"{mine[0]['weights']:,}",
            "{:.2f} ± {:.2f}".format(*over_seeds([r["nll"] for r in mine])),
            "{:.2f} ± {:.2f}".format(*over_seeds([-r["elbo"] for r in mine])),
        ]
        cells += [" + ".join(f"{max(rate, 0):.1f}" for rate in rates), ", ".join(f"{share:.0%}" for share in right)]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "| statement | NLL of | minus that of | data | mean, 95 % interval | says | the same of -ELBO |",
        "|---|---|---|---|---:|---|---:|",
    ]
    for row in results["compared"]:
        says = "" if row["statement"] == "for comparison" else row["says"]
        ends = [span(row["mean"], row["half"]), says, span(*row["bound"])]
        cells = [row["statement"], row["of"], row["minus"], row["data"], *ends]
        lines.append(f"| {' | '.join(cells)} |")
    table = "\n".join(lines)
    planned = len(ARMS) * len(DATA) * len(SEEDS)
    processors = ", ".join(sorted({row["processor"] for row in results["rows"]}))
    torches = ", ".join(sorted({row["torch"] for row in results["rows"]}))
    return f"""# Why a hierarchy: the measurements

What was to be measured and how it is judged was written down before: `benchmarks/depth_plan.md`. Test NLL in nats per
image, {IMAGES:,} test images, {SAMPLES} importance samples. Standard errors and intervals are over the seeds, for these
images and no others. Statements are judged by the NLL; beside it stand the differences of -ELBO, of the same models.
What is there for comparison is not judged; of it, `flat, VampPrior` minus `flat` and `chain of 5` minus `chain of 2`
were added when the first results were known.
{len(results["rows"])} of {planned} trainings are done. A model is in the table from three seeds on; nothing is said
of a statement before all {len(SEEDS)} are there. A statement with several lines for a data set holds where all of them
hold, and fails where one fails (said when the results were known); an interval misses once in twenty. Statement 4 has
no rule: chapter 12 describes what was found. Told right: the share of digits, or of the Cave's solids, that a linear
map tells right from a level's posterior means (not on OMNIGLOT). The active units of `depth.json` were counted with the
noise of ten draws in them, which may make a unit or two too many where a level's posterior depends on another level.

{table}

Machine: one core of {processors}, torch {torches}. Command: `{results["command"]}`.
"""


def collected() -> list[Row]:
    """All trainings of results/depth.json and of build/depth."""
    results = RESULTS / "depth.json"
    rows = json.loads(results.read_text())["rows"] if results.exists() else []
    rows += [json.loads(path.read_text()) for path in sorted(KEPT.glob("*.json"))]
    order = [(arm, data, seed) for data in DATA for arm in ARMS for seed in SEEDS]
    return sorted({key(row): row for row in rows}.values(), key=lambda row: order.index(key(row)))


def main(arguments: list[str] | None = None, small: int | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", nargs="*", metavar="DATA", help=f"train on these data sets, of {', '.join(DATA)}")
    options = parser.parse_args(arguments)
    unknown = [data for data in options.data if data not in DATA]
    if unknown:
        parser.error(f"no data set is called {unknown[0]}: expected {', '.join(DATA)}")
    there = {key(row) for row in collected()}
    for data in options.data:
        for pairs in STATEMENTS.values():  # in this order, so that one after the other can be judged
            for seed, arm in itertools.product(SEEDS, dict.fromkeys(itertools.chain(*pairs))):
                if (arm, data, seed) not in there:
                    path = KEPT / f"{data}-{arm.replace(', ', '-').replace(' ', '-')}-{seed}.json"
                    row = kept(path, partial(train, arm, data, seed, small))
                    print(f"{data:9} {arm:16} seed {seed}: NLL {row['nll']:.2f}", flush=True)
    results = document(collected())
    (RESULTS / "depth.json").write_text(json.dumps(results, indent=1) + "\n")
    (RESULTS / "depth.md").write_text(page(results))


if __name__ == "__main__":
    main()
