"""How fast `vaelib.fit` trains on this machine, next to other libraries, loops written by hand and the floor.

    python benchmarks/speed.py                 one and two threads, each in its own process; writes results/speed.md
    python benchmarks/speed.py --name speed_intel   another file, for another processor
    python benchmarks/speed.py --threads 1     one thread, prints JSON

NumPyro, JAX, Pyro and pythae take part where they are installed, in any folder on PYTHONPATH: pip install --no-deps -r
benchmarks/requirements.txt. (Without --no-deps they may bring along another torch.)

Workloads: W1 is the one-layer network of Burda et al. (2016), 784-200-200-50 and its mirror image; W2 their two-layer
one, z_1 of 100 and z_2 of 50 latents. float32, batches of 128, Adam 1e-3, binarised anew in every step, by
`torch.bernoulli` but for vaelib, which takes its own `binarise`, and NumPyro and JAX, which take JAX's.

Contenders take turns, one epoch each, many times over; what counts is the ratio of medians, as other work on a machine
slows all of them alike. The epochs of vaelib are those of `fit`, without its first look through the data and without
recording and compiling; how it trains depends on how many steps there will be. The floor is the matrix products of a
step alone, forwards and backwards, each by the faster one of MKL and oneDNN, tried out beforehand. One thread means one
core, for all contenders.
"""

import argparse
import importlib.metadata
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

IMAGES, BATCH = 6400, 128
RESULTS = Path(__file__).parent / "results"
SHORT, LONG = "vaelib.fit, fewer than 10,000 steps", "vaelib.fit, 10,000 steps or more"
PEERS = ("NumPyro, jitted epoch", "JAX by hand, jitted epoch", "Pyro", "pythae")
Epoch = Callable[[], tuple[float, float]]  # seconds and mean loss of one more epoch


def measure(rounds: int, quick: bool) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Seconds and losses of each contender's epochs on each workload. quick: without peers and compilation."""
    import peers
    import torch
    from torch.nn import functional

    import vaelib as vl
    from vaelib.training import fast, products

    images = vl.load("mnist").train.images[:IMAGES]

    def build(levels: int) -> vl.MHVAE:
        torch.manual_seed(0)
        return vl.MHVAE.mlp((1, 28, 28), (50,) if levels == 1 else (100, 50), ((200, 200), (100, 100))[:levels])

    def by_hand(levels: int, fused: bool) -> Epoch:
        """A loop over the same layers with no distributions, checks or records."""
        model = build(levels)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, **({"fused": True} if fused else {}))
        flat = images.flatten(1)

        def epoch() -> tuple[float, float]:
            start, total = time.perf_counter(), torch.zeros(())
            for index in torch.randperm(IMAGES).split(BATCH):
                x = torch.bernoulli(flat[index])
                h, latents, loss = x, [], 0.0
                for encoder in model.encoders:
                    features = encoder.body(h)
                    mean, log_scale = (head(features) for head in encoder.heads)
                    noise = torch.randn_like(mean)
                    h = mean + log_scale.exp() * noise
                    latents.append((mean, log_scale, noise, h))
                for level, decoder in enumerate(model.decoders[1:]):
                    features = decoder.body(latents[level + 1][3])
                    mean, log_scale = (head(features) for head in decoder.heads)
                    _, own_scale, noise, z = latents[level]
                    loss = loss + (0.5 * ((z - mean) / log_scale.exp()) ** 2 + log_scale).sum()
                    loss = loss - (0.5 * noise**2 + own_scale).sum()
                mean, log_scale, _, _ = latents[-1]
                loss = loss + 0.5 * (mean**2 + (2 * log_scale).exp() - 1 - 2 * log_scale).sum()
                decoder = model.decoders[0]
                logits = decoder.heads[0](decoder.body(latents[0][3]))
                loss = loss + functional.binary_cross_entropy_with_logits(logits, x, reduction="sum")
                optimizer.zero_grad()
                (loss / len(x)).backward()
                optimizer.step()
                total += loss.detach()
            return time.perf_counter() - start, total.item() / IMAGES

        return epoch

    def by_fit(levels: int, in_all: int) -> Epoch:
        epochs = math.ceil(in_all / (IMAGES / BATCH))
        options = {"batch_size": BATCH, "transform": vl.binarise, "device": "cpu", "progress": False}
        training = iter(vl.Training(build(levels), images, epochs=epochs, **options))

        def epoch() -> tuple[float, float]:
            start = time.perf_counter()
            loss = -next(training).train.elbo
            return time.perf_counter() - start, loss

        return epoch

    def floor(levels: int) -> Epoch:
        """For each layer x W, and for its gradients g^T x and, but at the image, g W."""
        layers = [module for module in build(levels).modules() if isinstance(module, torch.nn.Linear)]
        pairs = []
        for a, b in ((layer.in_features, layer.out_features) for layer in layers):
            x, weight, gradient = torch.randn(BATCH, a), torch.randn(a, b), torch.randn(BATCH, b)
            pairs += [(x, weight), (gradient.T, x), *([(gradient, weight.T)] if a != 784 else [])]
        work = [(a, b, min((torch.mm, onednn), key=lambda multiply: duration(multiply, a, b))) for a, b in pairs]

        def epoch() -> tuple[float, float]:
            start = time.perf_counter()
            for _ in range(IMAGES // BATCH):
                for a, b, multiply in work:
                    multiply(a, b)
            return time.perf_counter() - start, math.nan

        return epoch

    def onednn(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return products.multiplied(a, b, None)

    def duration(multiply: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], *factors: torch.Tensor) -> float:
        times = []
        for _ in range(50):
            start = time.perf_counter()
            multiply(*factors)
            times.append(time.perf_counter() - start)
        return statistics.median(times)

    results: dict[str, dict[str, dict[str, list[float]]]] = {}
    for levels in (1, 2):
        contenders = {
            "bare loop": by_hand(levels, fused=False),
            "bare loop, fused Adam": by_hand(levels, fused=True),
            SHORT: by_fit(levels, fast.COMPILE_FROM // 2),
            "matrix products alone": floor(levels),
        }
        if not quick:
            contenders[LONG] = by_fit(levels, fast.COMPILE_FROM)
            others = {name: make(images.flatten(1), BATCH, levels) for name, make in peers.available().items()}
            contenders |= {name: epoch for name, epoch in others.items() if epoch is not None}
        record: dict[str, dict[str, list[float]]] = {name: {"seconds": [], "loss": []} for name in contenders}
        for turn in range(rounds + 1):
            for name, epoch in contenders.items():
                seconds, loss = epoch()
                if turn:  # the first warms up
                    record[name]["seconds"].append(seconds)
                    record[name]["loss"].append(loss)
        results[f"W{levels}"] = record
    return results


def costs() -> dict[str, list[tuple[int, float]]]:
    """Milliseconds per step of `vaelib.fit`, on one thread, against depth, width, batch size and samples."""
    import torch

    import vaelib as vl

    images = vl.load("mnist").train.images

    def epochs(depth: int = 2, width: int = 100, batch: int = 128, samples: int = 1) -> Callable[[], float]:
        torch.manual_seed(0)
        model = vl.MHVAE.mlp((1, 28, 28), (20,) * depth, ((width,),) * depth)
        options = {
            "batch_size": batch,
            "samples": samples,
            "transform": vl.binarise,
            "device": "cpu",
            "progress": False,
        }
        training = iter(vl.Training(model, images[: 10 * batch], epochs=100, **options))  # recorded, not compiled

        def epoch() -> float:
            start = time.perf_counter()
            next(training)
            return (time.perf_counter() - start) / 10 * 1e3

        return epoch

    ranges = {
        "depth": (1, 2, 3, 4, 6, 8),
        "width": (50, 100, 200, 400, 800, 1600),
        "batch": (16, 128, 256, 512, 768, 1024),
        "samples": (1, 2, 4, 8, 16, 32),
    }
    results = {}
    for name, values in ranges.items():
        contenders = {value: epochs(**{name: value}) for value in values}
        turns = [{value: epoch() for value, epoch in contenders.items()} for _ in range(9)][2:]
        results[name] = [(value, statistics.median(turn[value] for turn in turns)) for value in values]
    return results


CHILD = """
import sys, torch, vaelib as vl
images = vl.load("mnist").train.images
images = images.repeat(-(-int(sys.argv[2]) // len(images)), 1, 1, 1)[:int(sys.argv[2])].clone()
def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) / 1e3
open("/proc/self/clear_refs", "w").write("5")  # the peak so far is forgotten
before = peak()
model = vl.VAE.mlp((1, 28, 28))
if sys.argv[1] != "bare":
    compile = True if sys.argv[1] == "compiled" else "auto"
    vl.fit(model, images, transform=vl.binarise, epochs=1, compile=compile, device="cpu", progress=False)
else:
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for index in torch.randperm(len(images)).split(128):
        loss = -vl.elbo(model(torch.bernoulli(images[index]), check=False)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
print(peak() - before)
"""


def in_a_process(*arguments: str) -> tuple[float, float]:
    """Seconds of a whole process that trains, and the megabytes (1e6) that the training added to its peak memory."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", CHILD, *arguments], stdout=subprocess.PIPE, text=True, check=True)
    return time.perf_counter() - start, float(done.stdout)


def ratios(record: dict[str, dict[str, list[float]]], name: str) -> tuple[float, float, float]:
    """Images per second relative to the bare loop: the ratio of medians, and the middle half of the ratios."""
    base = statistics.median(record["bare loop"]["seconds"])
    each = sorted(base / seconds for seconds in record[name]["seconds"])
    return base / statistics.median(record[name]["seconds"]), each[len(each) // 4], each[-1 - len(each) // 4]


def table(runs: dict[int, dict[str, dict[str, dict[str, list[float]]]]]) -> str:
    """Images per second relative to the bare loop, and the losses that were reached, as Markdown."""
    columns = [(f"{w}, {t} thread{'s' * (t > 1)}", runs[t][w]) for t in runs for w in runs[t]]
    lines = ["| | " + " | ".join(title for title, _ in columns) + " | -ELBO, " + " | -ELBO, ".join(runs[1]) + " |"]
    lines.append("|---|" + "---:|" * (len(columns) + 2))
    for name in dict.fromkeys([*runs[1]["W1"], LONG, *PEERS]):
        row = [
            "{:.2f} ({:.2f} to {:.2f})".format(*ratios(r, name)) if name in r else "not measured" for _, r in columns
        ]
        for record in runs[1].values():
            loss = record[name]["loss"][-1] if name in record else math.nan
            row.append("" if math.isnan(loss) else f"{loss:.1f}")
        lines.append(f"| {name} | " + " | ".join(row) + " |")
    return "\n".join(lines)


def absolute(runs: dict[int, dict[str, dict[str, dict[str, list[float]]]]]) -> str:
    """Images per second, by the median epoch, as Markdown."""
    records = {f"{w}, {t} thread{'s' * (t > 1)}": runs[t][w] for t in runs for w in runs[t]}
    lines = ["| images per second | " + " | ".join(records) + " |", "|---|" + "---:|" * len(records)]
    for name in dict.fromkeys([*runs[1]["W1"], LONG, *PEERS]):
        speeds = [
            f"{IMAGES / statistics.median(r[name]['seconds']):,.0f}" if name in r else "not measured"
            for r in records.values()
        ]
        lines.append(f"| {name} | " + " | ".join(speeds) + " |")
    return "\n".join(lines)


def draw(
    runs: dict[int, dict[str, dict[str, dict[str, list[float]]]]], cost: dict[str, list[tuple[int, float]]], name: str
) -> str:
    """NAME.png and NAME_cost.png; the slopes of the latter as Markdown."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 4, figsize=(12, 4.2), sharey=True, layout="constrained")
    for axis, (w, t) in zip(axes, [(w, t) for t, run in runs.items() for w in run], strict=True):
        names = sorted(runs[t][w], key=lambda contender: ratios(runs[t][w], contender)[0])
        for place, contender in enumerate(names):
            middle, low, high = ratios(runs[t][w], contender)
            color = "#0072B2" if contender.startswith("vaelib") else "#999999"
            axis.bar(place, middle, color=color, yerr=[[max(0, middle - low)], [max(0, high - middle)]], capsize=3)
        axis.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=8)
        axis.axhline(1, color="black", linewidth=0.8)
        axis.set_title(f"{w}, {t} thread{'s' * (t > 1)}")
    axes[0].set_ylabel("images per second,\nrelative to the bare loop")
    figure.savefig(RESULTS / f"{name}.png", dpi=110)
    plt.close(figure)
    figure, axes = plt.subplots(2, 2, figsize=(9, 7), layout="constrained")
    lines = ["| | from | to | least-squares line | largest distance from it |", "|---|---:|---:|---|---:|"]
    labels = {"depth": "depth T (levels)", "width": "width (units per hidden layer)"}
    labels |= {"batch": "batch size (examples)", "samples": "samples per example, K"}
    for axis, (quantity, points) in zip(axes.flat, cost.items(), strict=True):
        at, ms = zip(*points, strict=True)
        slope, fixed = statistics.linear_regression(at, ms)
        off = max(abs(y - fixed - slope * x) for x, y in points) / max(ms)
        axis.plot(at, [fixed + slope * x for x in at], color="#999999", label="least squares")
        axis.plot(at, ms, "o", color="#0072B2", label="median of 7")
        line = f"{fixed:.1f} ms + {slope:.3g} ms per unit"
        axis.set(xlabel=labels[quantity], ylabel="ms per step", title=f"{quantity}: {line}", ylim=(0, None))
        ends = f"{ms[0]:.1f} ms at {at[0]} | {ms[-1]:.1f} ms at {at[-1]}"
        lines.append(f"| {quantity} | {ends} | {line} | {off:.0%} of the last |")
    axes[0, 0].legend()
    figure.savefig(RESULTS / f"{name}_cost.png", dpi=110)
    plt.close(figure)
    return "\n".join(lines)


def report(runs: dict[int, dict[str, dict[str, dict[str, list[float]]]]], rounds: int, name: str) -> str:
    """All results as Markdown; measures costs, memory and the first step on the way."""
    cost = json.loads(_child("--costs", threads=1))
    memory = {how: in_a_process(how, "60000")[1] for how in ("bare", "fit", "compiled")}
    first = statistics.median(in_a_process("fit", "128")[0] for _ in range(5))
    version = importlib.metadata.version("torch").partition("+")[0]
    machine = f"{os.cpu_count()} cores of {processor()}, Python {platform.python_version()}, torch {version}"
    from vaelib.training import products

    slopes = draw(runs, cost, name)
    command = "python benchmarks/speed.py" + (f" --name {name}" if name != "speed" else "")
    return f"""# Speed on a CPU: {processor().partition(" (")[0]}

W1 is the one-level network of Burda et al. 2016, 784-200-200-50 and its mirror image; W2 their two-level one, with
100 and 50 latents. The bare loop is a plain PyTorch loop written by hand.

Images per second relative to the bare loop in the same run: ratio of medians, and in brackets the middle half of
{rounds} epochs of {IMAGES:,} images. The last columns are the losses of each contender's last epoch, in nats per image,
on one thread: who trains the same model sees the same, but for the seed, which after so few epochs is worth some nats
on W2. Both rows of `vaelib.fit` are calls with nothing but defaults:
trainings of 500 steps or more are recorded and replayed, of 10,000 or more compiled as well, which takes 15 to 30 s
when nothing is cached, else 4 to 5 s (not in the table; `compile=True` asks for it at once).

{table(runs)}

{absolute(runs)}

![Bars of the first table: images per second of each contender relative to the bare loop]({name}.png)

Peak memory that one epoch over 60,000 images adds: {memory["fit"]:.0f} MB by `vaelib.fit`,
{memory["compiled"]:.0f} MB where it compiles, {memory["bare"]:.0f} MB by a bare loop. From the start of a process
to the end of its first step by `vaelib.fit`, not compiled: {first:.1f} s (median of 5).

Cost of a step by `vaelib.fit` on one thread, where one quantity is changed at a time (otherwise depth 2, width 100,
batch 128, one sample; one hidden layer in each network) and the values take turns. Beyond a fixed part all four should
be linear; with two hidden layers or more the width would not be.

{slopes}

![Milliseconds per step against depth, width, batch size and samples, with straight lines fitted]({name}_cost.png)

Machine: {machine}. Command: `{command}`. Library of `fit` for large matrix products here:
{products.library()} (see `vaelib/training/products.py`). What was tried and gave little: [tried](speed_tried.md).
"""


def processor() -> str:
    """The processor's name, where the system tells it: products are as fast as its libraries suit it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    told = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if "model name" not in told:
        return platform.machine()
    return f"{told['model name']} (family {told.get('cpu family')}, model {told.get('model')})"


def _child(*arguments: str, threads: int) -> str:
    """What this program prints in a process of its own: OpenMP reads its variables once."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, __file__, *arguments]
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, help="measure with so many threads and print JSON")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--name", default="speed", help="of the files in results/, without its ending (speed)")
    parser.add_argument("--quick", action="store_true", help="without peers and compilation")
    parser.add_argument("--costs", action="store_true", help="measure the costs of a step alone and print JSON")
    arguments = parser.parse_args()
    if (arguments.threads == 1 or arguments.costs) and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [max(os.sched_getaffinity(0))])  # NumPyro does not heed OMP_NUM_THREADS
    if arguments.costs:
        print(json.dumps(costs()))
    elif arguments.threads:
        print(json.dumps(measure(arguments.rounds, arguments.quick)))
    else:
        options = ["--rounds", str(arguments.rounds), *["--quick"] * arguments.quick]
        runs = {threads: json.loads(_child("--threads", str(threads), *options, threads=threads)) for threads in (1, 2)}
        page = report(runs, arguments.rounds, arguments.name)
        (RESULTS / f"{arguments.name}.md").write_text(page)
        print(page)


if __name__ == "__main__":
    main()
