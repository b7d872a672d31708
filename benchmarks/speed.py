"""How fast `vaelib.fit` trains on this machine's CPU, next to loops written by hand.

    python benchmarks/speed.py                 one and two threads; writes benchmarks/results/speed.md
    python benchmarks/speed.py --threads 1     one thread, prints JSON

Workloads: W1 is the one-layer network of Burda et al. (2016), 784-200-200-50 and its mirror image; W2 their two-layer
one, z_1 of 100 and z_2 of 50 latents. float32, batches of 128, Adam 1e-3, binarised anew in every step.

Contenders take turns, one epoch each, many times over; what counts is the ratio of medians, as other work on a machine
slows all of them alike. `fit` is called as a user calls it; the epoch that is timed is its second, so that looking
through the data at the start is left out. The floor is the matrix products of a step alone, forwards and backwards.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

IMAGES, BATCH = 6400, 128
RESULTS = Path(__file__).parent / "results" / "speed.md"


def measure(rounds: int) -> dict[str, dict[str, list[float]]]:
    """Seconds per epoch of each contender on each workload, one entry per round."""
    import torch
    from torch.nn import functional

    import vaelib as vl

    images = vl.load("mnist").train.images[:IMAGES]

    def build(levels: int) -> vl.MHVAE:
        torch.manual_seed(0)
        return vl.MHVAE.mlp((1, 28, 28), (50,) if levels == 1 else (100, 50), ((200, 200), (100, 100))[:levels])

    def by_hand(levels: int, fused: bool) -> Callable[[], float]:
        """A loop over the same layers with no distributions, checks or records."""
        model = build(levels)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, **({"fused": True} if fused else {}))
        flat = images.flatten(1)

        def epoch() -> float:
            start = time.perf_counter()
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
            return time.perf_counter() - start

        return epoch

    def by_fit(levels: int) -> Callable[[], float]:
        model = build(levels)

        def epoch() -> float:
            options = {"transform": torch.bernoulli, "epochs": 2, "batch_size": BATCH, "progress": False}
            seconds = vl.fit(model, images, device="cpu", **options).seconds
            return seconds[1] - seconds[0]

        return epoch

    def floor(levels: int) -> Callable[[], float]:
        """For each layer x W, and for its gradients g^T x and, but at the image, g W."""
        layers = [module for module in build(levels).modules() if isinstance(module, torch.nn.Linear)]
        shapes = [(layer.in_features, layer.out_features) for layer in layers]
        work = [(torch.randn(BATCH, a), torch.randn(a, b), torch.randn(BATCH, b)) for a, b in shapes]

        def epoch() -> float:
            start = time.perf_counter()
            for _ in range(IMAGES // BATCH):
                for x, weight, gradient in work:
                    x @ weight
                    x.T @ gradient
                    if weight.shape[0] != 784:
                        gradient @ weight.T
            return time.perf_counter() - start

        return epoch

    results: dict[str, dict[str, list[float]]] = {}
    for levels in (1, 2):
        contenders = {
            "bare loop": by_hand(levels, fused=False),
            "bare loop, fused Adam": by_hand(levels, fused=True),
            "vaelib.fit": by_fit(levels),
            "matrix products alone": floor(levels),
        }
        times: dict[str, list[float]] = {name: [] for name in contenders}
        for turn in range(rounds + 1):
            for name, epoch in contenders.items():
                seconds = epoch()
                if turn:  # the first warms up
                    times[name].append(seconds)
        results[f"W{levels}"] = times
    return results


def table(runs: dict[int, dict[str, dict[str, list[float]]]], rounds: int) -> str:
    """Images per second relative to the bare loop, as Markdown."""
    lines = ["| | " + " | ".join(f"{w}, {t} thread{'s' * (t > 1)}" for t in runs for w in runs[t]) + " |"]
    lines.append("|---|" + "---:|" * sum(len(run) for run in runs.values()))
    for name in next(iter(runs.values()))["W1"]:
        row = []
        for run in runs.values():
            for times in run.values():
                base = statistics.median(times["bare loop"])
                ratios = sorted(base / seconds for seconds in times[name])
                low, high = ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]
                row.append(f"{base / statistics.median(times[name]):.2f} ({low:.2f} to {high:.2f})")
        lines.append(f"| {name} | " + " | ".join(row) + " |")
    version = importlib.metadata.version("torch").partition("+")[0]
    machine = f"{os.cpu_count()} cores of {platform.machine()}, Python {platform.python_version()}, torch {version}"
    return "\n".join(
        [
            "# Speed on a CPU\n",
            "Images per second relative to the bare loop in the same run: ratio of medians, and in brackets the middle",
            f"half of {rounds} epochs of {IMAGES:,} images.\n",
            *lines,
            f"\nMachine: {machine}. Command: `python benchmarks/speed.py`.\n",
            "Pyro, NumPyro, JAX, pythae and a GPU: not measured.\n",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, help="measure with so many threads and print JSON")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    if arguments.threads:
        print(json.dumps(measure(arguments.rounds)))
        return
    runs = {}
    for threads in (1, 2):  # a process each: OpenMP reads its variables once
        command = [sys.executable, __file__, "--threads", str(threads), "--rounds", str(arguments.rounds)]
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        runs[threads] = json.loads(done.stdout)
    RESULTS.write_text(table(runs, arguments.rounds))
    print(RESULTS.read_text())


if __name__ == "__main__":
    main()
