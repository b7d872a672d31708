"""When several GPUs pay: a cost model on paper for `vaelib.processes`. Nothing here is measured.

    python benchmarks/scaling.py        writes results/scaling.md

A step on P processes, each with B / P examples of the batch, then one sum of all gradients:

    t(P) = max(floor, 6 N B / P / arithmetic + 7 * 4 N / memory)
           + 4 * 4 N / memory + 2 (P - 1) / P 4 N / bandwidth + messages * latency

N weights cost 6 N operations per example, forwards and backwards; each process has Adam read four numbers per weight
and write three. The second line is the communication, which P = 1 does not have. The sum of the 4 N bytes is a ring
all-reduce: every process sends and receives 2 (P - 1) / P of them in 2 (P - 1) messages (Patarasuk & Yuan 2009,
J. Parallel Distrib. Comput. 69(2), 117-124: no algorithm moves fewer bytes). Recursive halving and doubling moves as
many in 2 log2 P messages (Thakur et al. 2005, Int. J. High Perform. Comput. Appl. 19(1), 49-66), which
is better for small gradients. `vaelib.processes` flattens the gradients into one message and back, which reads and
writes them twice, and sends it after the backward pass: nothing overlaps.
"""

import math
from pathlib import Path
from typing import NamedTuple

RESULTS = Path(__file__).parent / "results" / "scaling.md"

# Assumptions, none of them measured here. Peaks: NVIDIA's data sheet "H100 Tensor Core GPU", SXM: TF32 989 TFLOP/s with
# sparsity, half of it without; FP32 67 TFLOP/s; memory 3.35 TB/s; NVLink 900 GB/s, both ways together.
REACHED = 0.5  # of the peak by matrix products, a guess; links and memory are taken at their peaks
ARITHMETIC = REACHED * 989e12 / 2  # operations per second, TF32
SLOWER = REACHED * 67e12  # operations per second, float32, which is vaelib's default
MEMORY = 3.35e12  # bytes per second
LAUNCH = 150e-6  # seconds per step at least, however small the network: some 50 kernels of a few microseconds, a guess


class Links(NamedTuple):
    """P processes; bandwidth of the slowest link in bytes per second, each way; seconds per message."""

    processes: int
    bandwidth: float
    latency: float


# The latencies are guesses: what a message takes from one GPU's kernel to another's, not on the wire. The 8 machines
# have InfiniBand NDR, 400 Gbit/s for each GPU; a ring crosses from machine to machine once, so that eight rings, one
# for each GPU's adapter, carry 8 * 50 GB/s. A library that finds one adapter only has an eighth of that.
MACHINE = Links(8, 450e9, 3e-6)  # NVLink 4
CLUSTER = Links(64, 8 * 50e9, 8e-6)
ONE_ADAPTER = CLUSTER._replace(bandwidth=50e9)

MODELS = {"W1": 0.43e6, "W2": 0.52e6, "10 M": 10e6, "100 M": 100e6, "1 G": 1e9}
BATCHES = (128, 1024, 8192, 65_536)
CONCLUSIONS = """
The networks of this course are so small that one GPU spends a step on launching kernels: more GPUs only add messages,
unless batches grow to thousands (float32) or tens of thousands (TF32), which trains another way. Several seeds, one on
each GPU, are the better use of them. From ten million weights on, eight GPUs of one machine pay at batches of one to
two thousand in TF32 and of a few hundred in float32; 64 GPUs want several times as much, and fast links everywhere.

What to change first, should larger models come: overlap the sum with the backward pass, as
`torch.nn.parallel.DistributedDataParallel` does; and let each process draw its own part of a batch, at the price that
the numbers then depend on how many processes there are.
"""


def compute(weights: float, examples: float, arithmetic: float = ARITHMETIC, floor: float = LAUNCH) -> float:
    """Seconds of one process's forward and backward pass and its Adam update, which is not divided."""
    return max(floor, 6 * weights * examples / arithmetic + 7 * 4 * weights / MEMORY)


def all_reduce(weights: float, links: Links, halving: bool = False) -> float:
    """Seconds to sum float32 gradients over the processes: by a ring, or by recursive halving and doubling."""
    p, bandwidth, latency = links
    messages = 2 * math.log2(p) if halving else 2 * (p - 1)
    return 2 * (p - 1) / p * 4 * weights / bandwidth + messages * latency


def flattening(weights: float, processes: int) -> float:
    """Seconds to copy the gradients into one message and the sums back: 4 N bytes are read and written, twice."""
    return 4 * 4 * weights / MEMORY if processes > 1 else 0.0


def undivided(batch: float) -> float:
    """Seconds of what each process does for a whole batch: gather and binarise 784 pixels, draw 50 latents' noise."""
    return (4 * 784 + 50) * 4 * batch / MEMORY


def speedup(weights: float, batch: float, links: Links, halving: bool = False, **assumed: float) -> float:
    """One process's time for a batch over that of all together; assumed: other `arithmetic` or `floor`."""
    p = links.processes
    together = compute(weights, batch / p, **assumed) + flattening(weights, p) + all_reduce(weights, links, halving)
    return compute(weights, batch, **assumed) / together


def break_even(weights: float, links: Links, halving: bool = False, **assumed: float) -> int:
    """The smallest power of two, as batch, at which all processes together are faster than one."""
    batch = links.processes
    while speedup(weights, batch, links, halving, **assumed) <= 1:
        batch *= 2
    return batch


def page() -> str:
    lines = [
        "# What several GPUs would bring\n",
        "A model on paper: **nothing on this page is measured**. Formula, sources and assumptions stand in",
        "`benchmarks/scaling.py`, which writes it. 8 GPUs: one machine with NVLink. 64: eight such machines with",
        f"InfiniBand. Assumed: {ARITHMETIC / 1e12:.0f} TFLOP/s (half of the H100's TF32 peak), no step of one GPU",
        f"below {LAUNCH * 1e6:.0f} µs. The real floor is not measured yet; `benchmarks/gpu.py` would measure it.\n",
        "Speed-up of one step, on the same whole batch, over one GPU (W1, W2: see [the speeds](speed.md)):\n",
        "| weights | GPUs | " + " | ".join(f"batch {batch:,}" for batch in BATCHES) + " |",
        "|---|---:|" + "---:|" * len(BATCHES),
    ]
    pairs = [(name, weights, links) for name, weights in MODELS.items() for links in (MACHINE, CLUSTER)]
    for name, weights, links in pairs:
        cells = [f"{speedup(weights, batch, links):.2f}" for batch in BATCHES]
        lines.append(f"| {name} | {links.processes} | " + " | ".join(cells) + " |")
    lines += [
        "\nBreak-even: the smallest batch, of the powers of two, at which more GPUs are faster than one. The further",
        "columns change one assumption each, to show what it weighs: arithmetic in float32, vaelib's default",
        f"({SLOWER / 1e12:.1f} TFLOP/s); a floor of 30 µs; sums with 2 log2 P messages, not the ring's 2 (P - 1); one",
        "adapter per machine, not eight.\n",
        "| weights | GPUs | break-even | float32 | floor 30 µs | fewer messages | one adapter |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, weights, links in pairs:
        batches = [break_even(weights, links), break_even(weights, links, arithmetic=SLOWER)]
        batches += [break_even(weights, links, floor=30e-6), break_even(weights, links, halving=True)]
        cells = [f"{batch:,}" for batch in batches]
        cells.append(f"{break_even(weights, ONE_ADAPTER):,}" if links is CLUSTER else "")
        lines.append(f"| {name} | {links.processes} | " + " | ".join(cells) + " |")
    lines += [
        "\nWhat the design of `vaelib.processes` costs. The sum waits for the whole backward pass, and flattening",
        "copies the gradients twice: both are in the tables above, and not in the last column, where the sum overlaps",
        "with the backward pass as far as it goes. Each process also gathers and binarises the whole batch and draws",
        f"all of its noise, so as to have one process's numbers: {undivided(65_536) * 1e6:,.0f} µs at batch 65,536,",
        "whatever P (the last column but one). And it holds all data: 188 MB for MNIST's 60,000 images.\n",
        "| weights | GPUs | one sum | flattening | speed-up, batch 65,536 | whole batch drawn | all overlapped |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, weights, links in pairs:
        sums, copies, batch = all_reduce(weights, links), flattening(weights, links.processes), BATCHES[-1]
        one, each, drawn = compute(weights, batch), compute(weights, batch / links.processes), undivided(batch)
        gains = (one / (each + copies + sums), (one + drawn) / (each + copies + sums + drawn), one / max(each, sums))
        costs = f"{sums * 1e6:,.0f} µs | {copies * 1e6:,.0f} µs | "
        lines.append(f"| {name} | {links.processes} | {costs}" + " | ".join(f"{gain:.2f}" for gain in gains) + " |")
    return "\n".join(lines) + "\n" + CONCLUSIONS


if __name__ == "__main__":
    RESULTS.write_text(page())
    print(page())
