"""Whether `vaelib` computes on a GPU what it computes on a CPU, then how fast it trains there.

    python benchmarks/gpu.py                        all of it, on one NVIDIA GPU; writes results/gpu.md
    python benchmarks/gpu.py --device cpu --quick   a rehearsal in small, which writes nothing
    python benchmarks/gpu.py --empty                the tables with nothing in them, for want of a GPU

W1 and W2 are the networks of `speed.py`. Exit status 1 where the GPU's numbers are wrong: its speed is then no matter.
"""

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

import vaelib as vl
from vaelib import steps, train

RESULTS = Path(__file__).parent / "results" / "gpu.md"
WORKLOADS = {"W1": ((50,), ((200, 200),)), "W2": ((100, 50), ((200, 200), (100, 100)))}
TARGETS = {"W1": (90.0, 88.0, 86.8), "W2": (90.0, 88.0, 86.8, 85.3)}
PRECISIONS = ("float32", "tf32", "bfloat16")
WAYS: dict[str, bool | str] = {"plain": False, "recorded (auto)": "auto", "compiled": True}
HEADS = {
    "correct": ("quantity", "W1", "W2", "allowed"),
    "speed": ("steps per second", "W1, 128", "W1, 1024", "W2, 128", "W2, 1024"),
    "precision": ("test NLL after the same training (three seeds)", "W1", "W2"),
    "time": ("seconds of training to a test NLL", "W1", "W2"),
}
BOUNDS: dict[str, Callable[[vl.Terms], Tensor]] = {"elbo": vl.elbo, "iwae": vl.iwae}
Rows = list[tuple[str, ...]]


def build(workload: str, mean: Tensor | None = None) -> vl.MHVAE:
    torch.manual_seed(0)
    return vl.MHVAE.mlp((1, 28, 28), *WORKLOADS[workload], mean=mean)


def terms_at(model: vl.MHVAE, x: Tensor, latents: list[Tensor]) -> vl.Terms:
    log_px, log_pz = model.log_joint(x, latents)
    return vl.Terms(log_px, log_pz[None], model.log_posterior(x, latents)[None])


def correctness(device: torch.device) -> tuple[Rows, bool]:
    """Bounds and gradients at the same latents, CPU in float64 against the device: the largest relative differences."""
    rows, right = [], True
    limits = {torch.float64: 1e-10, torch.float32: 1e-4}
    for name in (*BOUNDS, "gradient of elbo"):
        for dtype, limit in limits.items():
            cells = []
            for workload in WORKLOADS:
                model = build(workload).double()
                x = torch.bernoulli(vl.load("mnist").test.images[:64].double())
                latents = model.encode(x, samples=5)
                values = []
                for place, kind in ((torch.device("cpu"), torch.float64), (device, dtype)):
                    model = model.to(place, kind)
                    terms = terms_at(model, x.to(place, kind), [z.to(place, kind) for z in latents])
                    if name in BOUNDS:
                        values.append(BOUNDS[name](terms).detach().cpu().double())
                    else:
                        gradients = torch.autograd.grad(BOUNDS["elbo"](terms).sum(), list(model.parameters()))
                        values.append(torch.cat([g.flatten() for g in gradients]).cpu().double())
                off = ((values[1] - values[0]).abs().max() / values[0].abs().max()).item()
                right = right and off <= limit
                cells.append(f"{off:.1e}")
            rows.append((f"{name}, {str(dtype).removeprefix('torch.')}", *cells, f"{limit:.0e}"))
    return rows, right


def replayed(device: torch.device, images: Tensor) -> Rows:
    """The largest difference of a weight after the same training, plain against recorded and replayed."""
    cells = []
    for workload in WORKLOADS:
        trained = []
        for way in (False, "auto"):
            epochs = math.ceil(steps.RECORD_FROM / (len(images) / 128))
            model = build(workload)
            options = {"transform": torch.bernoulli, "precision": "float32", "progress": False}
            vl.fit(model, images, epochs=epochs, device=device, compile=way, **options)
            trained.append(torch.cat([weight.detach().flatten() for weight in model.parameters()]))
        cells.append(f"{(trained[0] - trained[1]).abs().max().item():.1e}")
    return [("weights, recorded against plain", *cells, "-")]


def synchronised(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def by_hand(workload: str, images: Tensor, batch: int) -> Callable[[], None]:
    """A plain loop over the data on the device."""
    model = build(workload).to(images.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
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
    model = build(workload).to(images.device)
    training = train._Training(
        steps.Step(model, vl.elbo, 1, steps.RECORD_FROM, way, precision), torch.bernoulli, lambda _: 1e-3, lambda _: 1.0
    )

    def epoch() -> None:
        training.epoch(images, 0, batch)

    return epoch


def speeds(images: Tensor, rounds: int, precisions: tuple[str, ...]) -> Rows:
    """Steps per second: medians over `rounds` epochs, contenders taking turns."""
    columns: dict[str, list[str]] = {}
    for workload in WORKLOADS:
        for batch in (128, 1024):
            contenders = {"plain PyTorch loop": by_hand(workload, images, batch)}
            for name, way in WAYS.items():
                for precision in precisions:
                    contenders[f"fit, {name}, {precision}"] = by_fit(workload, images, batch, way, precision)
            seconds: dict[str, list[float]] = {name: [] for name in contenders}
            for turn in range(rounds + 2):
                for name, epoch in contenders.items():
                    start = synchronised(images.device)
                    epoch()
                    if turn > 1:  # the first record and compile
                        seconds[name].append(synchronised(images.device) - start)
            count = math.ceil(len(images) / batch)
            rates = {name: count / statistics.median(times) for name, times in seconds.items()}
            for name, rate in (rates | floors(workload, batch, images.device)).items():
                columns.setdefault(name, []).append(f"{rate:,.0f}")
    return [(name, *cells) for name, cells in columns.items()]


def floors(workload: str, batch: int, device: torch.device) -> dict[str, float]:
    """Steps per second if nothing but products, memory traffic or one launch took time, from rates measured here."""

    def rate(work: Callable[[], object], amount: float) -> float:
        work()
        start = synchronised(device)
        for _ in range(20):
            work()
        return 20 * amount / (synchronised(device) - start)

    weights = sum(weight.numel() for weight in build(workload).parameters())
    size = 8192 if device.type == "cuda" else 512
    a, b = torch.randn(size, size, device=device), torch.randn(size, size, device=device)
    products = rate(lambda: a @ b, 2 * size**3) / (6 * weights * batch)  # forwards once, backwards twice
    traffic = rate(lambda: b.copy_(a), 8 * size**2) / (4 * 7 * weights)  # Adam reads 4 and writes 3 numbers a weight
    results = {"floor: products, float32": products, "floor: Adam's memory traffic": traffic}
    if device.type == "cuda":
        graph, one = torch.cuda.CUDAGraph(), torch.zeros(1, device=device)
        one.add_(1)
        with torch.cuda.graph(graph):
            one.add_(1)
        results["floor: one launch of a graph"] = rate(graph.replay, 1)
    return results


def precisions_compared(data: vl.Dataset, device: torch.device, epochs: int, images: int, samples: int) -> Rows:
    """Test NLL by precision, mean and standard error over three seeds: does a faster precision cost anything?"""
    x = torch.bernoulli(data.test.images[:images], generator=torch.Generator().manual_seed(0)).to(device)
    rows: Rows = []
    for precision in PRECISIONS:
        cells = []
        for workload in WORKLOADS:
            found = []
            for seed in range(3):
                model = build(workload, data.full_train.images.mean(0))
                options = {"transform": torch.bernoulli, "lr": vl.cosine(2e-3, epochs), "progress": False}
                vl.fit(model, data.full_train.images[: images * 6], epochs=epochs, seed=seed, device=device,
                       precision=precision, **options)  # fmt: skip
                found.append(vl.nll(model, x, samples=samples).mean)
            cells.append(f"{statistics.mean(found):.2f} ± {statistics.stdev(found) / 3**0.5:.2f}")
        rows.append((precision, *cells))
    return rows


def time_to_nll(grey: Tensor, test: Tensor, epochs: dict[str, int], samples: int) -> Rows:
    """Seconds of training on grey, evaluations apart, until the NLL of the binarised test images has fallen so far."""
    device = grey.device
    x = torch.bernoulli(test, generator=torch.Generator().manual_seed(0)).to(device)
    columns = {}
    for workload, last in epochs.items():
        model = build(workload, grey.mean(0).cpu()).to(device)
        step = steps.Step(model, vl.elbo, 1, last * len(grey) // 128, "auto", "auto")
        training = train._Training(step, torch.bernoulli, vl.cosine(2e-3, last), vl.warmup(max(1, last / 20)))
        stops = {round(last * 2 ** (-i / 2)) for i in range(12)}
        seconds, reached = 0.0, {}
        for epoch in range(last):
            start = synchronised(device)
            training.epoch(grey, epoch, 128)
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
        "Last: dynamic MNIST, 60,000 training images, NLL by 5,000 importance samples on all 10,000 test images.\n"
        "Goals on one H100: W1 at 86.8 within 60 s, W2 at 85.3 within 120 s.\n"
    )
    return "\n".join(text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--empty", action="store_true")
    arguments = parser.parse_args()
    if arguments.empty:
        RESULTS.write_text(page({}, "No GPU has been at hand so far: nothing on this page is measured."))
        return 0
    if arguments.device == "cuda" and not torch.cuda.is_available():
        print("benchmarks/gpu.py: no GPU here; --device cpu --quick rehearses it", file=sys.stderr)
        return 2
    device, quick = torch.device(arguments.device), arguments.quick
    rows, right = correctness(device)
    if not right:
        print(page({"correct": rows}, "The numbers are wrong."))
        return 1
    data = vl.load("mnist")
    images = data.full_train.images[: 1024 if quick else 60_000].to(device)
    tables = {
        "correct": rows + replayed(device, images[:25_600]),
        "speed": speeds(images, 1 if quick else 7, ("float32",) if quick else PRECISIONS),
        "precision": precisions_compared(
            data, device, 1 if quick else 20, 20 if quick else 10_000, 5 if quick else 1000
        ),
    }
    epochs = {"W1": 1, "W2": 1} if quick else {"W1": 600, "W2": 1000}
    test = data.test.images[: 20 if quick else 10_000]
    tables["time"] = time_to_nll(images, test, epochs, 5 if quick else 5000)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "a rehearsal on a CPU"
    text = page(tables, f"Device: {name}. torch {torch.__version__}.")
    if not quick:
        RESULTS.write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
