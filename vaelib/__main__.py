"""The command line: train, evaluate, sample from, resume and describe models without writing a program.

    vaelib train --model mhvae --out runs/mhvae && vaelib evaluate runs/mhvae

Exit codes: 0 done; 1 something went wrong, with one line that says what; 2 no such command or option; 130 Ctrl-C.
"""

import functools
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

import vaelib as vl
from vaelib import processes
from vaelib.models import LIKELIHOODS
from vaelib.training import saving as checkpoint
from vaelib.training.device import PRECISIONS, device_named

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
console = Console()

Data = Enum("Data", {name: name for name in ("mnist", "binarized_mnist", "omniglot", "cave")}, type=str)
Family = Enum("Family", {name: name for name in ("vae", "mhvae", "hvae")}, type=str)
Likelihood = Enum("Likelihood", {name: name for name in LIKELIHOODS}, type=str)
Objective = Enum("Objective", {name: name for name in ("elbo", "iwae", "dreg", "free_bits")}, type=str)
Precision = Enum("Precision", {name: name for name in PRECISIONS}, type=str)
Compile = Enum("Compile", {"auto": "auto", "yes": "yes", "no": "no"}, type=str)
RunFolder = Annotated[Path, typer.Argument(help="The folder of a training.", exists=True, file_okay=False)]


@dataclass
class Config:
    """Everything that decides how a training comes out; kept as `run.json` in its folder."""

    data: str
    model: str
    latents: list[int]
    hidden: list[list[int]]
    likelihood: str
    objective: str
    free_bits: float
    samples: int
    epochs: int
    batch_size: int
    lr: float
    warmup: float
    images: int | None
    seed: int
    precision: str
    compile: str

    @classmethod
    def read(cls, path: Path) -> "Config":
        """From a `run.json`. Raises ValueError where a name is missing or unknown."""
        values = json.loads(path.read_text())
        names = {field.name for field in fields(cls)}
        if not isinstance(values, dict) or set(values) != names:
            wrong = set(values) ^ names if isinstance(values, dict) else "no JSON object"
            raise ValueError(f"{path} is no configuration of a training: missing or unknown are {sorted(wrong)}")
        return cls(**values)

    def build(self, images: torch.Tensor) -> vl.Hierarchy:
        """The untrained model for these training images, its weights drawn from the seed."""
        torch.manual_seed(self.seed)
        event, mean = images.shape[1:], images.mean(0) if self.likelihood == "bernoulli" else None
        if self.model == "vae":
            if len(self.latents) != 1:
                raise ValueError(f"a vae has one level, not {len(self.latents)}: give one number of latents, or mhvae")
            return vl.VAE.mlp(event, self.latents[0], self.hidden[0], self.likelihood, mean)
        family = vl.MHVAE if self.model == "mhvae" else vl.HVAE
        return family.mlp(event, self.latents, self.hidden, self.likelihood, mean)

    def fit(self, model: vl.Hierarchy, data: vl.Dataset, out: Path, device: str, **options: bool) -> vl.History:
        """Train the model in the folder `out`."""
        bound: Callable[..., Any] = getattr(vl, self.objective)
        return vl.fit(
            model,
            data.train.images[: self.images],
            data.valid.images,
            transform=self.transform,
            epochs=self.epochs,
            batch_size=self.batch_size,
            lr=vl.cosine(self.lr, self.epochs),
            beta=vl.warmup(self.warmup) if self.warmup else 1.0,
            samples=self.samples,
            objective=functools.partial(bound, nats=self.free_bits) if self.objective == "free_bits" else bound,
            seed=self.seed,
            device=device,
            precision=self.precision,
            compile={"auto": "auto", "yes": True, "no": False}[self.compile],
            folder=out,
            **options,
        )

    @property
    def transform(self) -> Callable[..., Any] | None:
        """Grey levels become binary anew in every batch for a Bernoulli likelihood, and stay grey for the others."""
        return vl.binarise if self.likelihood == "bernoulli" and self.data != "binarized_mnist" else None


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise typer.BadParameter(f"{text!r}: expected whole numbers with commas, such as 200,200") from error


@app.command()
def train(
    out: Annotated[Path, typer.Option(help="Folder to keep the training in.")],
    config: Annotated[Path | None, typer.Option(help="run.json of a training to repeat, in place of options.")] = None,
    data: Data = Data["mnist"],
    model: Family = Family["mhvae"],
    latents: Annotated[str, typer.Option(help="Latents of each level, z_1 first.")] = "100,50",
    hidden: Annotated[str, typer.Option(help="Hidden layers; a slash parts levels.")] = "200,200/100,100",
    likelihood: Likelihood = Likelihood["bernoulli"],
    objective: Objective = Objective["elbo"],
    free_bits: Annotated[float, typer.Option(help="Nats that each level has free, for that objective.")] = 0.5,
    samples: Annotated[int, typer.Option(help="Draws from the posterior per example and step.")] = 1,
    epochs: int = 20,
    batch_size: int = 128,
    lr: Annotated[float, typer.Option(help="Learning rate at the start; it falls to 0 along a cosine.")] = 1e-3,
    warmup: Annotated[float, typer.Option(help="Epochs over which the rate is switched on; 0 for none.")] = 5.0,
    images: Annotated[int | None, typer.Option(help="Use the first so many training images only.")] = None,
    seed: int = 0,
    precision: Annotated[Precision, typer.Option(help="Of matrix products.")] = Precision["auto"],
    compile: Annotated[Compile, typer.Option(help="yes: a slow start, then fast.")] = Compile["auto"],
    device: Annotated[str, typer.Option(help='"auto", "cpu", "cuda", ...')] = "auto",
    tensorboard: Annotated[bool, typer.Option(help="Write the metrics for TensorBoard, too.")] = False,
) -> None:
    """Train a model.

    vaelib train --out runs/mhvae
    vaelib train --out runs/vae --model vae --latents 50 --hidden 200,200 --objective iwae --samples 5
    vaelib train --out runs/long --epochs 500 --compile yes --tensorboard
    vaelib train --out runs/again --config runs/mhvae/run.json
    """
    levels = [_numbers(level) for level in hidden.split("/")]
    chosen = (
        Config.read(config)
        if config
        else Config(
            data=data.value,
            model=model.value,
            latents=_numbers(latents),
            hidden=levels,
            likelihood=likelihood.value,
            objective=objective.value,
            free_bits=free_bits,
            samples=samples,
            epochs=epochs,
            batch_size=batch_size,
            lr=lr,
            warmup=warmup,
            images=images,
            seed=seed,
            precision=precision.value,
            compile=compile.value,
        )
    )
    _train(chosen, out, device, resume=False, tensorboard=tensorboard)


@app.command()
def resume(
    run: RunFolder,
    epochs: Annotated[int | None, typer.Option(help="A new total; without it, what was asked for at first.")] = None,
    device: str = "auto",
    tensorboard: Annotated[bool, typer.Option(help="Write the metrics for TensorBoard, too.")] = False,
) -> None:
    """Continue a training that was stopped, bit for bit.

    vaelib resume runs/mhvae
    """
    chosen = Config.read(run / "run.json")
    chosen.epochs = chosen.epochs if epochs is None else epochs
    _train(chosen, run, device, resume=True, tensorboard=tensorboard)


def _train(config: Config, out: Path, device: str, resume: bool, tensorboard: bool) -> None:
    data = vl.load(config.data)
    model = config.build(data.train.images)  # what cannot be meant is said before anything is written
    if processes.rank() == 0 and (resume or not (out / "last.safetensors").exists()):
        out.mkdir(parents=True, exist_ok=True)
        (out / "run.json").write_text(json.dumps(asdict(config), indent=2) + "\n")
    history = config.fit(model, data, out, device, resume=resume, tensorboard=tensorboard)
    if processes.rank() == 0 and history.curve:
        best = max(summary.elbo for summary in history.curve)
        console.print(f"{len(history.curve)} epochs, best ELBO {best:.2f} nats per image, kept in {out}")
    if history.interrupted:
        raise typer.Exit(130)


@app.command()
def evaluate(
    run: RunFolder,
    samples: Annotated[int, typer.Option(help="Importance samples per image.")] = 500,
    images: Annotated[int | None, typer.Option(help="Use the first so many test images only.")] = None,
    seed: Annotated[int, typer.Option(help="Of the binarisation and of the importance samples.")] = 0,
    device: str = "auto",
) -> None:
    """The test negative log-likelihood of the best model of a training, as one line of JSON.

    vaelib evaluate runs/mhvae --samples 5000
    """
    config = Config.read(run / "run.json")
    model = vl.load_model(run / "best.safetensors").to(device_named(device))
    x = vl.load(config.data).test.images[:images]
    if config.transform is not None:
        x = torch.bernoulli(x, generator=torch.Generator().manual_seed(seed))
    result = vl.nll(model, x, samples=samples, seed=seed)
    line = {"nll": result.mean, "stderr": result.stderr, "bits_per_dim": result.bits_per_dim, "samples": samples}
    if processes.rank() == 0:
        print(json.dumps({"run": str(run), **line, "images": len(x), "seed": seed}))


@app.command()
def sample(
    run: RunFolder,
    out: Annotated[Path, typer.Option(help="The picture to write: .png, .svg or .pdf.")] = Path("samples.png"),
    n: Annotated[int, typer.Option(help="How many images.", min=1)] = 64,
    seed: int = 0,
) -> None:
    """A picture of images drawn from the best model of a training (their means given the latents).

    vaelib sample runs/mhvae --out digits.png
    """
    torch.manual_seed(seed)
    images = vl.load_model(run / "best.safetensors").sample(n, mean=True)
    vl.plots.image_grid(images, title=f"{n} draws from {run.name}")
    vl.plots.plt.savefig(out)
    console.print(f"{n} images in {out}")


@app.command()
def info(run: RunFolder) -> None:
    """What a training is and how far it has come.

    vaelib info runs/mhvae
    """
    _, stored = checkpoint.read(run / "last.safetensors")
    model, history = vl.load_model(run / "last.safetensors"), stored["history"]
    elbo, reconstruction, rates = max(history["valid"] or history["train"])
    table = Table("", "", title=str(run), show_header=False)
    for name, value in asdict(Config.read(run / "run.json")).items():
        table.add_row(name, str(value))
    table.add_row("weights", f"{sum(weight.numel() for weight in model.parameters()):,}")
    table.add_row("epochs done", str(len(history["train"])))
    table.add_row(
        "best ELBO", f"{elbo:.2f} = {reconstruction:.2f} - ({' + '.join(f'{rate:.2f}' for rate in rates)}) nats"
    )
    console.print(table)


def main() -> None:
    """The program `vaelib`: what can go wrong in use is one line on stderr and exit code 1."""
    try:
        app()
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"vaelib: {error}", file=sys.stderr)
        raise SystemExit(1) from error
    except ModuleNotFoundError as error:
        print(f"vaelib: this command needs {error.name}: pip install {error.name}", file=sys.stderr)
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
