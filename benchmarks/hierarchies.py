"""Four models of the same digits, trained alike: flat VAE, MHVAE, ladder and HVAE, with the warm-up and without.

    python benchmarks/hierarchies.py                what is missing is trained; writes results/hierarchies.json and .md
    python benchmarks/hierarchies.py --only flat    of these models, no table: to share the work among processes

What was trained is kept in build/hierarchies, a file for each training, so that the program goes on where it was
stopped. Notebook 10 reads the table and trains one of its rows once more.

All see the 50,000 training images six times, binarised anew each time, in batches of 128 and, for a seed, in the same
order. The test images are those of notebooks 07 and 10. On one thread, as the notebooks.
"""

import argparse
import json
import os
import statistics
from collections.abc import Callable
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import torch
from reporting import Row, kept, machine, over_seeds, rounded

import vaelib as vl

EPOCHS, SEEDS, WARM_UP = 6, (0, 1, 2), 2.0
SAMPLES, IMAGES = 500, 1000  # importance samples for each test image
RESULTS = Path(__file__).parent / "results"
KEPT = Path(__file__).parent.parent / "build" / "hierarchies"
COMMAND = "python benchmarks/hierarchies.py"


def flat(mean: torch.Tensor) -> vl.Hierarchy:
    return vl.VAE(vl.Gaussian(784, 50, hidden=(200, 200)), vl.Bernoulli(50, (1, 28, 28), hidden=(200, 200), mean=mean))


def mhvae(mean: torch.Tensor) -> vl.Hierarchy:
    return vl.MHVAE(
        encoders=[vl.Gaussian(784, 100, hidden=(200, 200)), vl.Gaussian(100, 50, hidden=(100, 100))],
        decoders=[
            vl.Bernoulli(100, (1, 28, 28), hidden=(200, 200), mean=mean),
            vl.Gaussian(50, 100, hidden=(100, 100)),
        ],
    )


def top_down(mean: torch.Tensor, markov: bool) -> vl.Hierarchy:
    """The ladder, whose p(x | z_1) sees z_1 only, or the HVAE, whose p(x | z_1, z_2) sees both levels."""
    return vl.HVAE(
        encoder=vl.Ladder(784, (100, 50), hidden=((200, 200), (100, 100))),
        decoders=[
            vl.Bernoulli(100 if markov else 150, (1, 28, 28), hidden=(200, 200), mean=mean),
            vl.Gaussian(50, 100, hidden=(100, 100)),
        ],
        prior=vl.StandardNormal(50),
        markov=markov,
    )


MODELS: dict[str, Callable[[torch.Tensor], vl.Hierarchy]] = {
    "flat": flat,
    "mhvae": mhvae,
    "ladder": lambda mean: top_down(mean, markov=True),
    "hvae": lambda mean: top_down(mean, markov=False),
}


def train(name: str, seed: int, warm: bool, small: int | None = None) -> Row:
    """One training and its test figures; `per_example` has the NLL of each test image. small: so many images only."""
    digits = vl.load("mnist")
    generator = torch.Generator().manual_seed(2024)
    chosen = torch.randperm(len(digits.test.images), generator=generator)[:IMAGES]
    x = torch.bernoulli(digits.test.images[chosen], generator=generator)[:small]
    torch.manual_seed(seed)
    model = MODELS[name](digits.train.images.mean(0))
    options = {"beta": vl.warmup(WARM_UP)} if warm else {}
    options |= {"transform": torch.bernoulli, "lr": vl.cosine(5e-3, EPOCHS), "seed": seed, "device": "cpu"}
    vl.fit(model, digits.train.images[:small], epochs=EPOCHS, progress=False, **options)
    result = vl.nll(model, x, samples=SAMPLES if small is None else 5)
    rates = [level.sum().item() for level in vl.diagnostics.unit_rates(model, x)]
    return {
        "model": name,
        "warm_up": warm,
        "seed": seed,
        "weights": sum(weight.numel() for weight in model.parameters()),
        "nll": result.mean,
        "stderr": result.stderr,
        "rates": rates,
        "per_example": result.per_example.tolist(),
    }


def paired(row: Row, other: Row) -> Row:
    """The NLL of a row minus that of another: mean over the test images, and its standard error over them."""
    gaps = [a - b for a, b in zip(row["per_example"], other["per_example"], strict=True)]
    arms = {"of": arm(row), "minus": arm(other), "seed": row["seed"]}
    return arms | {"gap": statistics.fmean(gaps), "stderr": statistics.stdev(gaps) / len(gaps) ** 0.5}


def arm(row: Row) -> str:
    return row["model"] + ("" if row["warm_up"] else ", no warm-up")


def gaps(rows: list[Row]) -> list[Row]:
    """Paired differences of the same seed: any two models with the warm-up, and each model without minus with."""
    found = []
    for seed in SEEDS:
        of = {arm(row): row for row in rows if row["seed"] == seed}
        pairs = [(b, a) for a, b in combinations(MODELS, 2)]
        pairs += [(f"{name}, no warm-up", name) for name in MODELS]
        found += [paired(of[a], of[b]) for a, b in pairs]
    return found


def document(rows: list[Row], machine: str) -> dict[str, Any]:
    """What is kept: no NLL of a single image, of all else four decimals."""
    shortened = [{name: value for name, value in row.items() if name != "per_example"} for row in rows]
    return {"machine": machine, "command": COMMAND, "rows": rounded(shortened), "gaps": rounded(gaps(rows))}


def page(results: dict[str, Any]) -> str:
    """The tables, as Markdown."""
    rows, pairs = results["rows"], results["gaps"]
    lines = ["| model | warm-up | weights | test NLL, seeds 0, 1, 2 | mean | rate of z1 | rate of z2 |"]
    lines.append("|---|---|---:|---|---:|---:|---:|")
    for warm in (True, False):
        for name in MODELS:
            mine = [row for row in rows if (row["model"], row["warm_up"]) == (name, warm)]
            levels = zip(*(row["rates"] for row in mine), strict=True)
            rates = [f"{statistics.fmean(level):.1f}" for level in levels]
            figures = ", ".join(f"{row['nll']:.2f}" for row in mine)
            mean = "{:.2f} ± {:.2f}".format(*over_seeds([row["nll"] for row in mine]))
            cells = [name, "yes" if warm else "no", f"{mine[0]['weights']:,}", figures, mean, *[*rates, ""][:2]]
            lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "| NLL of | minus that of | seeds 0, 1, 2 (standard error over images) | mean ± over seeds |"]
    lines.append("|---|---|---|---:|")
    for of, minus in dict.fromkeys((pair["of"], pair["minus"]) for pair in pairs):
        mine = [pair for pair in pairs if (pair["of"], pair["minus"]) == (of, minus)]
        figures = ", ".join(f"{pair['gap']:+.2f} ({pair['stderr']:.2f})" for pair in mine)
        mean = "{:+.2f} ± {:.2f}".format(*over_seeds([pair["gap"] for pair in mine]))
        lines.append(f"| {of} | {minus} | {figures} | {mean} |")
    table = "\n".join(lines)
    return f"""# Hierarchies, trained alike

Test NLL in nats per image: dynamic MNIST, {EPOCHS} epochs of 50,000 images, {IMAGES:,} test images binarised once,
{SAMPLES} importance samples. `flat` is a VAE of 50 latents; the others have 100 and 50. `mhvae` infers bottom-up;
`ladder` and `hvae` infer top-down; p(x | ...) sees z1 alone in `mhvae` and `ladder`, both levels in `hvae`. The
warm-up takes {WARM_UP:.0f} epochs. Behind ± stands the standard error over the three seeds, which has two degrees of
freedom; in brackets that over the images.

{table}

Machine: {results["machine"]}. Command: `{results["command"]}`.
"""


def main(arguments: list[str] | None = None, small: int | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(MODELS), help="train these models, and write no table")
    options = parser.parse_args(arguments)
    rows = []
    for warm in (True, False):
        for seed in SEEDS:
            for name in options.only or MODELS:
                path = KEPT / f"{name}-{'warm' if warm else 'cold'}-{seed}.json"
                rows.append(kept(path, partial(train, name, seed, warm, small)))
                print(f"{arm(rows[-1]):20} seed {seed}: NLL {rows[-1]['nll']:.2f}", flush=True)
    if options.only is None:
        results = document(rows, "one core of {processor}, torch {torch}".format(**machine()))
        (RESULTS / "hierarchies.json").write_text(json.dumps(results, indent=1) + "\n")
        (RESULTS / "hierarchies.md").write_text(page(results))


if __name__ == "__main__":
    main()
