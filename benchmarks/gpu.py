"""Whether `vaelib` computes on a GPU what it computes on a CPU, then how fast it trains there.

    python benchmarks/gpu.py                        all of it, on one NVIDIA GPU; writes results/gpu.md
    python benchmarks/gpu.py --only speed           that table alone (after the first), the others stay as they are
    python benchmarks/gpu.py --device cpu --quick   a rehearsal in small, which writes nothing
    python benchmarks/gpu.py --empty                the tables with nothing in them, for want of a GPU

W1 and W2 are the networks of `speed.py`. Each table is written as soon as it is there. Exit status 1 where the GPU's
numbers are wrong: its speed is then no matter, and nothing is written; 2 where there is no GPU.
"""

import argparse
import contextlib
import io
import math
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

import vaelib as vl
from vaelib import evaluate
from vaelib.training.device import products

RESULTS = Path(__file__).parent / "results" / "gpu.md"
WORKLOADS = {"W1": ((50,), ((200, 200),)), "W2": ((100, 50), ((200, 200), (100, 100)))}
TARGETS = {"W1": (90.0, 88.0, 86.8), "W2": (90.0, 88.0, 86.8, 85.3)}
PRECISIONS = ("float32", "tf32", "bfloat16")
WAYS: dict[str, bool | str] = {"plain": False, "compiled": True}
HEADS = {
    "correct": ("quantity", "W1", "W2", "allowed"),
    "speed": ("steps per second", "W1, 128", "W1, 1024", "W2, 128", "W2, 1024"),
    "precision": ("test NLL after the same training (three seeds)", "W1", "W2"),
    "time": ("seconds of training to a test NLL", "W1", "W2"),
}
BOUNDS: dict[str, Callable[[vl.Terms], Tensor]] = {"elbo": vl.elbo, "iwae": vl.iwae}
Rows = list[tuple[str, ...]]


def build(workload: str, mean: Tensor | None = None, seed: int = 0) -> vl.MHVAE:
    torch.manual_seed(seed)
    return vl.MHVAE.mlp((1, 28, 28), *WORKLOADS[workload], mean=mean)


def terms_at(model: vl.MHVAE, x: Tensor, latents: list[Tensor]) -> vl.Terms:
    log_px, log_pz = model.log_joint(x, latents)
    return vl.Terms(log_px, log_pz[None], model.log_posterior(x, latents)[None])


def correctness(device: torch.device, images: Tensor) -> tuple[Rows, bool]:
    """Bounds and gradients at the same latents, CPU in float64 against the device: the largest relative differences.

    Relative to the largest value; for gradients to that of the same weight, so that no layer hides behind another.
    """
    rows, right = [], True
    x = torch.bernoulli(images[:64].double(), generator=torch.Generator().manual_seed(0))
    for name, bound in BOUNDS.items():
        for dtype in (torch.float64, torch.float32):
            limit = 1e-10 if dtype == torch.float64 else 1e-4
            # iwae weighs gradients by the exponential of log-weights near -550, in float32 known to 6e-5 at best.
            loose = 1e-3 if name == "iwae" and dtype == torch.float32 else limit
            bounds, gradients = [], []
            for workload in WORKLOADS:
                model = build(workload).double()
                latents, found = model.encode(x, samples=5), []
                for place, kind in ((torch.device("cpu"), torch.float64), (device, dtype)):
                    model = model.to(place, kind)
                    with products("float32", place):  # whatever the environment says of tf32
                        values = bound(terms_at(model, x.to(place, kind), [z.to(place, kind) for z in latents]))
                        slopes = torch.autograd.grad(-values.mean(), list(model.parameters()))
                    found.append([part.detach().cpu().double() for part in (values, *slopes)])
                offs = [((b - a).abs().max() / a.abs().max()).item() for a, b in zip(*found, strict=True)]
                bounds.append(offs[0])
                gradients.append(torch.tensor(offs[1:]).max().item())  # NaN is the largest
            for what, cells, allowed in ((name, bounds, limit), (f"gradient of {name}", gradients, loose)):
                right = right and all(off <= allowed for off in cells)  # NaN is not
                title = f"{what}, {str(dtype).removeprefix('torch.')}"
                rows.append((title, *(f"{off:.1e}" for off in cells), f"{allowed:.0e}"))
    return rows, right


def faster(device: torch.device, images: Tensor) -> Rows:
    """The largest difference of a weight after the same training, plain against compiled, which agree to rounding."""
    rows = []
    for name, way in WAYS.items():
        cells = []
        for workload in WORKLOADS if way else ():
            trained = []
            for compile in (False, way):
                model = build(workload)
                vl.fit(model, images, transform=torch.bernoulli, epochs=2, device=device, precision="float32",
                       compile=compile, progress=False)  # fmt: skip
                trained.append(torch.cat([weight.detach().flatten() for weight in model.parameters()]))
            cells.append(f"{(trained[0] - trained[1]).abs().max().item():.1e}")
        if cells:
            rows.append((f"weights, {name} against plain", *cells, "-"))
    return rows


def synchronised(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def by_hand(workload: str, images: Tensor, batch: int, fused: bool) -> Callable[[], None]:
    """A plain loop over the data on the device, in float32."""
    model: Any = build(workload).to(images.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True if fused else None)
    flat = images.flatten(1)

    def epoch() -> None:
        for index in torch.randperm(len(flat), device=flat.device).split(batch):
            x = torch.bernoulli(flat[index])
            mean, log_scale = (head(model.encoders[0].body(x)) for head in model.encoders[0].heads)
            noise = torch.randn_like(mean)
            z = below = mean + log_scale.exp() * noise
            loss = torch.zeros((), device=flat.device)
            for encoder, decoder in zip(model.encoders[1:], model.decoders[1:], strict=True):
                loss = loss - (0.5 * noise**2 + log_scale).sum()
                mean, log_scale = (head(encoder.body(below)) for head in encoder.heads)
                noise = torch.randn_like(mean)
                above = mean + log_scale.exp() * noise
                centre, width = (head(decoder.body(above)) for head in decoder.heads)
                loss = loss + (0.5 * ((below - centre) / width.exp()) ** 2 + width).sum()
                below = above
            loss = loss + 0.5 * (mean**2 + (2 * log_scale).exp() - 1 - 2 * log_scale).sum()
            logits = model.decoders[0].heads[0](model.decoders[0].body(z))
            loss = loss + functional.binary_cross_entropy_with_logits(logits, x, reduction="sum")
            optimizer.zero_grad()
            (loss / len(x)).backward()
            optimizer.step()

    return epoch


def by_fit(workload: str, images: Tensor, batch: int, way: bool | str, precision: str) -> Callable[[], None]:
    options = {"batch_size": batch, "compile": way, "precision": precision, "device": images.device}
    epochs = iter(
        vl.Training(build(workload), images, epochs=10**6, transform=torch.bernoulli, progress=False, **options)
    )

    def epoch() -> None:
        next(epochs)

    return epoch


def speeds(images: Tensor, rounds: int, precisions: tuple[str, ...]) -> Rows:
    """Steps per second, of the epochs of `fit` without its first look at the data: medians, contenders taking turns.

    Where a step could not be recorded or compiled, `fit` says so and goes on in a plainer way; so does the table.
    """
    columns: dict[str, list[str]] = {}
    for workload in WORKLOADS:
        for batch in (128, 1024):
            contenders = {
                "plain PyTorch loop": by_hand(workload, images, batch, fused=False),
                "plain PyTorch loop, fused Adam": by_hand(workload, images, batch, fused=True),
            }
            for name, way in WAYS.items():
                for precision in precisions:
                    contenders[f"fit, {name}, {precision}"] = by_fit(workload, images, batch, way, precision)
            seconds: dict[str, list[float]] = {name: [] for name in contenders}
            fell_back: dict[str, str] = {}
            for turn in range(rounds + 2):
                for name, epoch in contenders.items():
                    said = io.StringIO()
                    start = synchronised(images.device)
                    with contextlib.redirect_stderr(said):
                        epoch()
                    if turn > 1:  # the first compile
                        seconds[name].append(synchronised(images.device) - start)
                    if "compile: " in said.getvalue():
                        fell_back[name] = " (fell back)"
                    sys.stderr.write(said.getvalue())
            count = math.ceil(len(images) / batch)
            rates = {name: count / statistics.median(times) for name, times in seconds.items()}
            for name, rate in (rates | floors(workload, batch, images.device, precisions)).items():
                columns.setdefault(name, []).append(f"{rate:,.0f}{fell_back.get(name, '')}")
    return [(name, *cells) for name, cells in columns.items()]


def operations(workload: str, batch: int) -> int:
    """Of the matrix products of a step: x W, and for the gradients g^T x and, but at the image, g W."""
    layers = [module for module in build(workload).modules() if isinstance(module, torch.nn.Linear)]
    return sum(2 * batch * a * b * (2 if a == 784 else 3) for a, b in ((m.in_features, m.out_features) for m in layers))


def floors(workload: str, batch: int, device: torch.device, precisions: tuple[str, ...]) -> dict[str, float]:
    """Steps per second if nothing but products or memory traffic took time, from rates measured here."""

    def rate(work: Callable[[], object], amount: float, times: int = 20) -> float:
        work()
        start = synchronised(device)
        for _ in range(times):
            work()
        return times * amount / (synchronised(device) - start)

    weights = sum(weight.numel() for weight in build(workload).parameters())
    size, results = 8192 if device.type == "cuda" else 512, {}
    a, b = torch.randn(size, size, device=device), torch.randn(size, size, device=device)
    for precision in precisions:
        kind = torch.bfloat16 if precision == "bfloat16" else torch.float32
        left, right = a.to(kind), b.to(kind)
        with products("float32" if precision == "bfloat16" else precision, device):
            flops = rate(lambda left=left, right=right: left @ right, 2 * size**3)
        results[f"floor: products, {precision}"] = flops / operations(workload, batch)
    # A gradient is written; Adam reads four numbers a weight and writes three. A copy reads and writes.
    results["floor: weights' memory traffic"] = rate(lambda: b.copy_(a), 8 * size**2) / (8 * 4 * weights)
    return results


def averaged(values: list[float]) -> str:
    return f"{statistics.mean(values):.2f} ± {statistics.stdev(values) / len(values) ** 0.5:.2f}"


def precisions_compared(data: vl.Dataset, device: torch.device, epochs: int, images: int, samples: int) -> Rows:
    """Test NLL by precision over three seeds, and how far above float32 with the same seeds it is: means and errors."""
    x = torch.bernoulli(data.test.images[:images], generator=torch.Generator().manual_seed(0)).to(device)
    grey = data.full_train.images[: images * 6].to(device)
    found: dict[str, dict[str, list[float]]] = {precision: {} for precision in PRECISIONS}
    for precision in PRECISIONS:
        for workload in WORKLOADS:
            nlls = found[precision].setdefault(workload, [])
            for seed in range(3):
                model = build(workload, data.full_train.images.mean(0), seed)
                vl.fit(model, grey, transform=torch.bernoulli, epochs=epochs, lr=vl.cosine(2e-3, epochs), seed=seed,
                       device=device, precision=precision, progress=False)  # fmt: skip
                nlls.append(vl.nll(model, x, samples=samples).mean)
    rows: Rows = [(precision, *map(averaged, columns.values())) for precision, columns in found.items()]
    for precision in PRECISIONS[1:]:
        pairs = [zip(found[precision][w], found["float32"][w], strict=True) for w in WORKLOADS]
        rows.append((f"{precision} above float32", *(averaged([a - b for a, b in each]) for each in pairs)))
    return rows


def time_to_nll(grey: Tensor, test: Tensor, epochs: dict[str, int], samples: int) -> Rows:
    """Seconds of training on grey, evaluations apart, until the NLL of the binarised test images has fallen so far."""
    device = grey.device
    x = torch.bernoulli(test, generator=torch.Generator().manual_seed(0)).to(device)
    columns = {}
    for workload, last in epochs.items():
        model = build(workload, grey.mean(0).cpu()).to(device)
        schedules = {"lr": vl.cosine(2e-3, last), "beta": vl.warmup(max(1, last / 20))}
        options = {"transform": torch.bernoulli, "device": device, "compile": "auto", "progress": False}
        training = iter(vl.Training(model, grey, epochs=last, **schedules, **options))
        stops = {round(last * 2 ** (-i / 4)) for i in range(28)}
        seconds, reached = 0.0, {}
        for epoch in range(last):
            start = synchronised(device)
            next(training)
            seconds += synchronised(device) - start
            if epoch + 1 in stops:
                found = vl.nll(model, x, samples=samples).mean
                for target in TARGETS[workload]:
                    if found <= target:
                        reached.setdefault(target, f"{seconds:.1f}")
        columns[workload] = reached | {"end": f"{found:.2f} after {seconds:.1f} s"}
    targets = sorted({target for workload in TARGETS.values() for target in workload}, reverse=True)
    rows = [(f"{t} nats", *(columns[w].get(t, "not reached") for w in columns)) for t in targets]
    return [*rows, (f"at the end ({', '.join(f'{w}: {n} epochs' for w, n in epochs.items())})",
                    *(column["end"] for column in columns.values()))]  # fmt: skip


def page(rows: dict[str, Rows], where: str) -> str:
    """results/gpu.md."""
    text = [f"# On a GPU\n\n{where} Command: `python benchmarks/gpu.py`.\n"]
    for name, head in HEADS.items():
        body = rows.get(name) or [("all", *["not measured"] * (len(head) - 1))]
        lines = ["| " + " | ".join(cells) + " |" for cells in (head, *body)]
        text.append("\n".join([lines[0], "|---|" + "---:|" * (len(head) - 1), *lines[1:]]) + "\n")
    text.append(
        "First table: largest differences from a CPU in float64 at the same latents, relative to the largest value.\n"
        "Second: the floors are steps per second if nothing else took time, from rates of large products and copies;\n"
        "the weights of W1 and W2, the networks of [the table of speeds](speed.md), fit into a large cache, which may\n"
        "be faster than that of memory traffic.\n"
        "Last: dynamic MNIST, 60,000 training images (the whole training set, train and valid), NLL by 5,000\n"
        "importance samples on all 10,000 test images, binarised once. Each training has one schedule, made for its\n"
        "end, and is looked at after 1, 2, ... epochs, ever 19% later. Evaluations do not count.\n"
        "Goals on one H100: W1 at 86.8 within 60 s, W2 at 85.3 within 120 s.\n"
    )
    return "\n".join(text)


def kept(text: str, where: str) -> dict[str, Rows]:
    """The rows that were measured on an earlier page of the same device and version; none of another's."""
    rows: dict[str, Rows] = {}
    for block in text.split("\n\n") if text.startswith(f"# On a GPU\n\n{where} Command") else []:
        cells = [tuple(line.strip("| ").split(" | ")) for line in block.splitlines()]
        for name, head in HEADS.items():
            if cells[0] == head and "not measured" not in block:
                rows[name] = cells[2:]
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--empty", action="store_true")
    parser.add_argument("--only", nargs="+", choices=list(HEADS), default=list(HEADS), help="tables to measure")
    parser.add_argument("--epochs", nargs=2, type=int, default=(600, 1000), help="of W1 and W2 in the last table")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the page to write, and to continue")
    arguments = parser.parse_args()
    quick, out = arguments.quick, arguments.out
    if arguments.empty:
        out.write_text(page({}, "No GPU has been at hand so far: nothing on this page is measured."))
        return 0
    device = torch.device(arguments.device)
    if not (torch.cuda.is_available() if device.type == "cuda" else quick):
        print("benchmarks/gpu.py: no GPU here, or none asked for; --device cpu --quick rehearses it", file=sys.stderr)
        return 2
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "a rehearsal on a CPU"
    where = f"Device: {name}. torch {torch.__version__}."
    data = vl.load("mnist")
    rows, right = correctness(device, data.test.images)
    if not right:
        print(page({"correct": rows}, "The numbers are wrong."))
        return 1
    if device.type == "cuda":
        # What suits a CPU's cache leaves a GPU idle. The estimate is as good, by other random numbers.
        evaluate._BUDGET = 2**26  # ty: ignore[invalid-assignment]
    images = data.full_train.images[: 1024 if quick else 60_000].to(device)
    test = data.test.images[: 20 if quick else 10_000]
    epochs = dict(zip(WORKLOADS, (1, 1) if quick else arguments.epochs, strict=True))
    measure: dict[str, Callable[[], Rows]] = {
        "correct": lambda: rows + faster(device, images[:25_600]),
        "speed": lambda: speeds(images[:30_000], 1 if quick else 5, ("float32",) if quick else PRECISIONS),
        "precision": lambda: precisions_compared(data, device, *((1, 20, 5) if quick else (20, 10_000, 1000))),
        "time": lambda: time_to_nll(images, test, epochs, 5 if quick else 5000),
    }
    tables = kept(out.read_text(), where) if out.exists() and not quick else {}
    for part in arguments.only:
        tables[part] = measure[part]()
        if not quick:
            out.write_text(page(tables, where))
    print(page(tables, where))
    return 0


if __name__ == "__main__":
    sys.exit(main())
