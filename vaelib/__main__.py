"""The command line: train, resume, evaluate, sample, reconstruct and describe models without writing a program.

    vaelib train --model mhvae --out runs/mhvae && vaelib evaluate runs/mhvae

Exit codes: 0 done; 1 something went wrong, with one line that says what; 2 no such command, option or value;
130 Ctrl-C.
"""

import argparse
import functools
import io
import json
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, NoReturn

import torch

import vaelib as vl
from vaelib import processes
from vaelib.config import COMPILE, OPTIMIZERS, Config, count, from_zero, not_negative, spelt
from vaelib.training import saving
from vaelib.training.device import device_named


def location(text: str) -> Path:
    """A path, in which ~ is the user's home."""
    return Path(text).expanduser()


def epochs_done(run: Path) -> list[dict[str, Any]]:
    """What the training in this folder has seen, epoch by epoch."""
    return saving.read(run / "last.safetensors")[1]["history"] if (run / "last.safetensors").exists() else []


def best(run: Path) -> tuple[Config, vl.Hierarchy]:
    """The configuration of a training and its best model."""
    config = Config.read(run / "run.json")
    if not (run / "best.safetensors").exists():
        raise ValueError(f"no epoch of {run} is done yet: vaelib resume {run}")
    return config, vl.load_model(run / "best.safetensors", into=config.build())


def train(options: Namespace) -> int:
    """Train a model.

    vaelib train --out runs/mhvae
    vaelib train --out runs/vae --model vae --objective iwae --samples 5
    vaelib train --out runs/mine --data scans.npy --likelihood gaussian --optimizer adamw --clip 5
    vaelib train --out runs/again --config runs/mhvae/run.json
    """
    given = {f.name: getattr(options, f.name) for f in fields(Config) if hasattr(options, f.name)}
    values = asdict(Config.read(options.config)) if options.config else {}
    if "epochs" in given:
        values["earlier"] = None
    if "data" in given:
        values["event"] = values["digest"] = None
    config = Config(**values | given)
    for name, used in (("components", config.prior != "standard"), ("free_bits", config.objective == "free_bits")):
        if name in given and not used:
            raise ValueError(f"--{name.replace('_', '-')} has no effect with this prior and objective: leave it out")
    if epochs_done(options.out):
        raise ValueError(
            f"{options.out} holds a training: continue it with vaelib resume {options.out}, or choose another --out"
        )
    return fit(config, options.out, options, resume=False)


def resume(options: Namespace) -> int:
    """Continue a training that was stopped, bit for bit.

    vaelib resume runs/mhvae
    vaelib resume runs/mhvae --epochs 500

    With another number of epochs, the learning rate follows from there on the cosine over that number, and `run.json`
    keeps both: it goes on repeating the training, bit for bit where the same steps are compiled (see --compile; auto
    compiles a training of 10,000 steps or more).
    """
    config, done, note = Config.read(options.run / "run.json"), len(epochs_done(options.run)), ""
    if options.epochs is not None and options.epochs < done:
        raise ValueError(f"{options.run} has done {done} epochs: expected --epochs {done} or more")
    if options.epochs not in (None, config.epochs):
        if options.epochs > done:
            note = f"from epoch {done + 1} on the learning rate follows a cosine over {options.epochs} epochs"
            note += f", no longer over {config.epochs}"
        earlier = config.earlier or []
        if done > (earlier[-1][0] if earlier else 0):
            earlier = [*earlier, [done, config.epochs]]
        config = replace(config, epochs=options.epochs, earlier=earlier or None)
    return fit(config, options.run, options, resume=True, note=note)


def fit(config: Config, folder: Path, options: Namespace, resume: bool, note: str = "") -> int:
    """Train what the configuration says, or what is left of it."""
    data, bound = config.load(), getattr(vl, config.objective)
    training = vl.Training(
        config.build(data.train.images),
        data.train.images[: config.images],
        data.valid.images,
        epochs=config.epochs,
        batch_size=config.batch_size,
        lr=config.lr_at,
        beta=vl.warmup(config.warmup) if config.warmup else 1.0,
        samples=config.samples,
        objective=functools.partial(bound, nats=config.free_bits) if config.objective == "free_bits" else bound,
        optimizer=OPTIMIZERS[config.optimizer],
        clip=config.clip,
        transform=config.transform,
        seed=config.seed,
        device=options.device,
        precision=config.precision,
        compile=COMPILE[config.compile],
        run=vl.Run(folder, resume=resume, tensorboard=options.tensorboard, config=asdict(config)),
    )
    if note and processes.rank() == 0:
        print(note)
    history = training.history
    try:
        for _ in training:
            pass
    except KeyboardInterrupt:  # between two epochs, where the training does not see it
        history.interrupted = True
    if history and processes.rank() == 0:
        highest = max(summary.elbo for summary in history.curve)
        print(f"{len(history)} epochs, best ELBO {highest:.2f} nats per example, kept in {folder}")
    return 130 if history.interrupted else 0


def evaluate(options: Namespace) -> None:
    """The test negative log-likelihood of the best model of a training, as one line of JSON.

    vaelib evaluate runs/mhvae --samples 5000
    """
    config, model = best(options.run)
    x = config.test_images(options.images, options.seed)
    result = vl.nll(model.to(device_named(options.device)), x, samples=options.samples, seed=options.seed)
    line = {"nll": result.mean, "stderr": result.stderr, "bits_per_dim": result.bits_per_dim}
    line = {"run": str(options.run), **line, "samples": options.samples, "images": len(x), "seed": options.seed}
    if processes.rank() == 0:
        print(json.dumps(line))


def sample(options: Namespace) -> None:
    """A picture of images drawn from the best model of a training (their means given the latents).

    vaelib sample runs/mhvae --out digits.png
    vaelib sample runs/mhvae --temperature 0.7 --level 2
    """
    _, model = best(options.run)
    if options.level is not None and options.level > model.levels:
        raise ValueError(f"level is {options.level}: expected 1 (next to the data) to {model.levels} (the top)")
    spread = [options.temperature if options.level in (None, t) else 1.0 for t in range(1, model.levels + 1)]
    torch.manual_seed(options.seed)
    images = model.sample(options.n, mean=True, temperature=spread)
    write(vl.plots.image_grid(images, title=f"{options.n} draws from {options.run.name}"), options.out)


def reconstruct(options: Namespace) -> None:
    """A picture of test images and what is left of them at each level: what is below it is drawn anew.

    vaelib reconstruct runs/mhvae --out reconstructions.png
    """
    config, model = best(options.run)
    levels = [options.level] if options.level else range(1, model.levels + 1)
    x = config.test_images(options.images, options.seed)
    torch.manual_seed(options.seed)
    rows = {"x": x} | {f"from z{level}": model.reconstruct(x, level) for level in levels}
    write(vl.plots.reconstructions(rows, title=options.run.name), options.out)


def write(axes: Any, path: Path) -> None:
    """The picture that was drawn."""
    axes.figure.savefig(path)
    print(f"written to {path}")


def info(options: Namespace) -> None:
    """What a training is and how far it has come.

    vaelib info runs/mhvae
    """
    config, epochs = Config.read(options.run / "run.json"), epochs_done(options.run)
    lines = {name: spelt(value) for name, value in asdict(config).items() if value is not None}
    lines["weights"] = f"{sum(weight.numel() for weight in config.build().parameters()):,}"
    lines["epochs done"] = str(len(epochs))
    if epochs:
        top = max((epoch.get("valid", epoch["train"]) for epoch in epochs), key=lambda summary: summary["elbo"])
        rates = " + ".join(f"{rate:.2f}" for rate in top["rates"])
        lines["best ELBO"] = f"{top['elbo']:.2f} = {top['reconstruction']:.2f} - ({rates}) nats per example"
    for name, value in lines.items():
        print(f"{name:<12} {value}")


SEED = ("seed", 0, "of the random numbers", from_zero)
DEVICE = ("device", "auto", "auto, cpu, cuda, cuda:1, mps, ...", str)
# Each command's options besides those of `Config`: name, default, help, kind.
OPTIONS: dict[Any, list[tuple[str, Any, str, Callable[[str], Any]]]] = {
    train: [("config", None, "run.json of a training to repeat; options that are given win", location), DEVICE],
    resume: [("epochs", None, "another total", count), DEVICE],
    evaluate: [
        ("samples", 500, "importance samples per image", count),
        ("images", None, "so many test images only, drawn at random", count),
        SEED,
        DEVICE,
    ],
    sample: [
        ("n", 64, "how many images", count),
        (
            "temperature",
            1.0,
            "factor on the spread of the latents, below 1 for what is nearer to the typical",
            not_negative,
        ),
        ("level", None, "the one level that the temperature is for, 1 next to the data; all unless given", count),
        SEED,
        ("out", Path("samples.png"), "the picture to write: .png, .svg or .pdf", location),
    ],
    reconstruct: [
        ("level", None, "keep z of this level and above, 1 next to the data; each in turn unless given", count),
        ("images", 8, "how many test images, drawn at random", count),
        SEED,
        ("out", Path("reconstructions.png"), "the picture to write: .png, .svg or .pdf", location),
    ],
    info: [],
}


class Parser(argparse.ArgumentParser):
    """One that says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")

    def add(self, name: str, shown: Any, help: str, kind: Callable[[str], Any], **more: Any) -> None:
        """An option whose help shows its default."""
        help += "" if shown is None else f" [{shown}]"
        self.add_argument(f"--{name.replace('_', '-')}", help=help, type=kind, **more)


def parser() -> Parser:
    """The commands and their options."""
    shape: Any = {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False}
    top = Parser(prog="vaelib", description=__doc__, **shape)
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    for do, options in OPTIONS.items():
        text = do.__doc__ or ""
        command = commands.add_parser(do.__name__, help=text.split("\n")[0], description=text, **shape)
        command.set_defaults(do=do)
        if do is train:
            command.add_argument("--out", required=True, help="the folder to keep the training in", type=location)
            for f in fields(Config):
                help, kind, choices = (f.metadata[key] for key in ("help", "kind", "choices"))
                if help:  # what is not given is no attribute of what is parsed
                    command.add(f.name, f.default, help, kind, choices=choices, default=argparse.SUPPRESS)
        else:
            command.add_argument("run", help="the folder of a training", type=location)
        for name, default, help, kind in options:
            command.add(name, default, help, kind, default=default)
        if do in (train, resume):
            command.add_argument("--tensorboard", help="write the metrics for TensorBoard, too", action="store_true")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """The program `vaelib`: its exit code. What can go wrong in use is one line on stderr."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal may lack the letters of a folder's name
            stream.reconfigure(errors="backslashreplace")
    options = parser().parse_args(arguments)
    try:
        return options.do(options) or 0
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        message, code = f"this command needs {package}: pip install {package}" if package else str(error), 1
    except (ValueError, OSError, FloatingPointError) as error:
        message, code = str(error), 1
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        message, code = "there is not enough memory for this: choose a smaller model, fewer samples or --batch-size", 1
    except KeyboardInterrupt:
        message, code = "stopped", 130
    print(f"vaelib: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
