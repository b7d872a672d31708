"""When several GPUs pay: a cost model on paper for `vaelib.distributed`. Nothing here is measured.

    python benchmarks/scaling.py        writes results/scaling.md

A step on P processes, each with B / P examples of the batch, then one sum of all gradients:

    t(P) = max(launch, 6 N B / P / arithmetic) + 2 (P - 1) / P bytes / bandwidth + 2 (P - 1) latency     for P > 1

N weights cost 6 N operations per example, forwards and backwards. The sum is a ring all-reduce (Patarasu & Yuan 2009,
J. Parallel Distrib. Comput. 69, section 3; latencies: Thakur, Rabenseifner & Gropp 2005): every process sends and
receives 2 (P - 1) / P of the 4 N bytes, in 2 (P - 1) messages. Nothing overlaps, as in `vaelib.distributed`, which
sends one message after the backward pass.
"""

from pathlib import Path
from typing import NamedTuple

RESULTS = Path(__file__).parent / "results" / "scaling.md"

# Assumptions, not measurements. The peaks are those of NVIDIA's H100 SXM data sheet; half of them is what large matrix
# products commonly reach.
ARITHMETIC = 0.5 * 495e12  # TF32 without sparsity, operations per second
LAUNCH = 150e-6  # seconds per step below which a small network's step does not fall: kernels of a few microseconds each


class Links(NamedTuple):
    """P processes; bandwidth of the slowest link in bytes per second, each way; seconds per message."""

    processes: int
    bandwidth: float
    latency: float


MACHINE = Links(8, 450e9, 3e-6)  # NVLink 4, one machine
CLUSTER = Links(64, 50e9, 8e-6)  # InfiniBand NDR, 400 Gbit/s for each GPU, 8 machines

MODELS = {"W1": 0.43e6, "W2": 0.52e6, "10 M": 10e6, "100 M": 100e6, "1 G": 1e9}
BATCHES = (128, 1024, 8192, 65_536)


def compute(weights: float, examples: float) -> float:
    """Seconds of forward and backward pass of one process."""
    return max(LAUNCH, 6 * weights * examples / ARITHMETIC)


def all_reduce(weights: float, links: Links) -> float:
    """Seconds to sum float32 gradients over the processes, by a ring."""
    p, bandwidth, latency = links
    return 2 * (p - 1) / p * 4 * weights / bandwidth + 2 * (p - 1) * latency


def speedup(weights: float, batch: int, links: Links) -> float:
    """One process's time for a batch divided by that of all together for the same batch."""
    together = compute(weights, batch / links.processes) + all_reduce(weights, links)
    return compute(weights, batch) / together


def break_even(weights: float, links: Links) -> int:
    """The smallest power of two, as batch, at which all processes together are faster than one."""
    batch = links.processes
    while speedup(weights, batch, links) <= 1:
        batch *= 2
    return batch


def page() -> str:
    """results/scaling.md."""
    lines = [
        "# What several GPUs would bring\n",
        "A model on paper: **nothing on this page is measured**. Formula, sources and assumptions stand in",
        "`benchmarks/scaling.py`, which writes it.\n",
        "Speed-up of one step, on the same whole batch, over one GPU:\n",
        "| weights | GPUs | " + " | ".join(f"batch {batch:,}" for batch in BATCHES) + " | pays from batch |",
        "|---|---:|" + "---:|" * (len(BATCHES) + 1),
    ]
    for name, weights in MODELS.items():
        for links in (MACHINE, CLUSTER):
            cells = [f"{speedup(weights, batch, links):.2f}" for batch in BATCHES]
            lines.append(
                f"| {name} | {links.processes} | " + " | ".join(cells) + f" | {break_even(weights, links):,} |"
            )
    lines += [
        "\nThe networks of this course are so small that one GPU spends a step on launching kernels: more GPUs only",
        "add messages, unless batches grow to tens of thousands. To run several seeds, one on each GPU, is the better",
        "use of them. With a hundred million weights or more, eight GPUs of one machine pay from batches of about a",
        "thousand. Between machines the sum of the gradients takes longer; a larger batch makes up for it.\n",
        "What the model leaves out: each process of `vaelib.distributed` draws the noise of the whole batch (so that",
        "the result is that of one process), which costs all of them what it costs one, and holds all data. No sum of",
        "gradients overlaps with the backward pass; where that matters, `torch.nn.parallel` does better.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    RESULTS.write_text(page())
    print(page())
