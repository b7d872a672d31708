"""The command line: train, resume, evaluate, sample, reconstruct and describe models without writing a program.

    vaelib train --model mhvae --out runs/mhvae && vaelib evaluate runs/mhvae

Exit codes: 0 done; 1 something went wrong, with one line that says what; 2 no such command, option or value; 3 `audit`
found the function wrong or unknown; 130 Ctrl-C.
"""

import functools
import io
import json
import math
import sys
from argparse import SUPPRESS, ArgumentParser, Namespace, RawDescriptionHelpFormatter
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
    last = run / "last.safetensors"
    info = saving.read(last)[1] if last.exists() else {"history": []}
    if "history" not in info:
        raise ValueError(f"{last} holds a model, not a training: it cannot be continued")
    return info["history"]


def best(run: Path) -> tuple[Config, vl.Hierarchy]:
    """The configuration of a training and its best model."""
    config = Config.read(run / "run.json")
    if not (run / "best.safetensors").exists():
        if epochs_done(run):
            raise ValueError(f"{run}/best.safetensors is gone; vaelib.load_model reads {run}/last.safetensors")
        raise ValueError(f"no epoch of {run} is done yet: vaelib resume {run}")
    return config, vl.load_model(run / "best.safetensors", into=config.build())


def say(text: str) -> None:
    """One line, once, however many processes there are."""
    if processes.rank() == 0:
        print(text)


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
    if options.config and given.get("model", values["model"]) != values["model"]:
        values["latents"] = values["hidden"] = None  # those of the other model unless told
    if "prior" in given:
        values["components"] = None  # as many as that prior has unless told
    config = Config(**values | given)
    for name, used in (("components", config.prior != "standard"), ("free_bits", config.objective == "free_bits")):
        if name in given and not used:
            raise ValueError(f"--{name.replace('_', '-')} has no effect with this prior and objective: leave it out")
    out = options.out
    if epochs_done(out):
        raise ValueError(f"{out} holds a training: continue it with vaelib resume {out}, or choose another --out")
    return fit(config, out, options, resume=False)


def resume(options: Namespace) -> int:
    """Continue a training that was stopped, bit for bit.

    vaelib resume runs/mhvae
    vaelib resume runs/mhvae --epochs 500

    With another number of epochs, the learning rate follows from there on the cosine over that number, and `run.json`
    keeps both: it goes on repeating the training, bit for bit where the same steps are compiled (see --compile; auto
    compiles a training of 10,000 steps or more).
    """
    config, done = Config.read(options.run / "run.json"), len(epochs_done(options.run))
    total, earlier = options.epochs or config.epochs, config.earlier or []
    if total < done:
        raise ValueError(f"{options.run} has done {done} epochs: expected --epochs {done} or more")
    if total != config.epochs and done > (earlier[-1][0] if earlier else 0):
        earlier = [*earlier, [done, config.epochs]]
    return fit(replace(config, epochs=total, earlier=earlier or None), options.run, options, resume=True)


def fit(config: Config, folder: Path, options: Namespace, resume: bool) -> int:
    """Train what the configuration says, or what is left of it."""
    data, bound, device = config.load(), getattr(vl, config.objective), device_named(options.device)
    images = data.train.images[: config.images]
    processes.start(device)
    if config.earlier and config.epochs > (done := config.earlier[-1][0]):
        plan = f"from epoch {done + 1} on the learning rate follows a cosine over {config.epochs} epochs"
        say(f"{plan}, no longer over {config.earlier[-1][1]}")
    history = vl.fit(
        config.build(images),
        images,
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
        device=device,
        precision=config.precision,
        compile=COMPILE[config.compile],
        run=vl.Run(folder, resume=resume, tensorboard=options.tensorboard, config=asdict(config)),
    )
    if history:
        highest = max(summary.elbo for summary in history.curve)
        say(f"{len(history)} epochs, best ELBO {highest:.2f} nats per example, kept in {folder}")
    return 130 if history.interrupted else 0


def evaluate(options: Namespace) -> None:
    """The test negative log-likelihood of the best model of a training, as one line of JSON.

    vaelib evaluate runs/mhvae --samples 5000

    A figure that is no finite number, as the standard error of one image, is null.
    """
    (config, model), device = best(options.run), device_named(options.device)
    x = config.test_images(options.images, options.seed)
    processes.start(device)
    result = vl.nll(model.to(device), x, samples=options.samples, seed=options.seed)
    figures = {"nll": result.mean, "stderr": result.stderr, "bits_per_dim": result.bits_per_dim}
    line: dict[str, Any] = {"run": str(options.run)}
    line |= {name: value if math.isfinite(value) else None for name, value in figures.items()}  # JSON has no NaN
    say(json.dumps(line | {"samples": options.samples, "images": len(x), "seed": options.seed}))


def sample(options: Namespace) -> None:
    """A picture of images drawn from the best model of a training (their means given the latents).

    vaelib sample runs/mhvae --out digits.png
    vaelib sample runs/mhvae --temperature 0.7 --level 2
    """
    _, model = best(options.run)
    if options.level is not None and options.level > model.levels:
        raise ValueError(f"level is {options.level}: expected 1 (next to the data) to {model.levels} (the top)")
    if options.level is not None and options.temperature == 1:
        raise ValueError("--level has no effect without a --temperature for it: leave it out")
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
    if path.is_dir() or not path.suffix:  # matplotlib would write another file
        raise ValueError(f"{path} is no name of a picture: expected one such as {path / 'picture.png'}")
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


def audit(options: Namespace) -> int:
    """What a loss, a divergence, a bound or a sampler of your own is, by its values: right, or which known mistake.

    vaelib audit losses.py:vae_loss --pixels 784 --latents 20
    vaelib audit losses.py:nll --called nll

    The function's parameters say what it takes: x, logits or x_hat (B, D); mu and logvar, log_sigma or sigma (B, J);
    z (B, J); log_w (K, B); rate (B,). The file is executed.
    """
    from vaelib.checking.audit import audit as judge
    from vaelib.checking.audit import from_file

    given: dict[str, Any] = {"x": (options.examples, options.pixels), "mu": (options.examples, options.latents)}
    given |= {"log_w": (options.samples, options.examples), "called": options.called or ""}
    found = judge(from_file(options.function), beta=options.beta, sigma=options.sigma, **given)
    say(str(found))
    return 0 if found.right else 3


SEED = ("seed", 0, "of the random numbers", from_zero)
DEVICE = ("device", "auto", "auto, cpu, cuda, cuda:1, mps, ...", str)
PICTURE = "the picture to write: .png, .svg or .pdf"
# Each command's options besides those of `Config`: name, default, help, kind.
OPTIONS: dict[Any, list[tuple[str, Any, str, Callable[[str], Any]]]] = {
    train: [("config", None, "run.json of a training to repeat; options that are given win", location), DEVICE],
    resume: [("epochs", None, "another total", count), DEVICE],
    evaluate: [
        ("samples", 500, "importance samples per image", count),
        ("images", None, "so many test images only, drawn at random", count),
        *(SEED, DEVICE),
    ],
    sample: [
        ("n", 64, "how many images", count),
        ("temperature", 1.0, "factor on the spread of the latents; below 1: more typical ones", not_negative),
        ("level", None, "the one level that the temperature is for, 1 next to the data; all unless given", count),
        *(SEED, ("out", Path("samples.png"), PICTURE, location)),
    ],
    reconstruct: [
        ("level", None, "keep z of this level and above, 1 next to the data; each in turn unless given", count),
        ("images", 8, "how many test images, drawn at random", count),
        *(SEED, ("out", Path("reconstructions.png"), PICTURE, location)),
    ],
    info: [],
    audit: [
        ("examples", 6, "B, the examples of a batch", count),
        ("latents", 3, "J, the latent dimensions", count),
        ("pixels", 10, "D, the pixels of an example", count),
        ("samples", 4, "K, the samples of an example", count),
        ("beta", None, "the weight of the rate that is meant, 1 unless given", not_negative),
        ("sigma", None, "the standard deviation of a Gaussian decoder, where one is stated", not_negative),
        ("called", None, "what it is meant to be, such as iwae or nll; its own name unless given", str),
    ],
}


class Parser(ArgumentParser):
    """One that says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")

    def add(self, name: str, shown: Any, help: str, kind: Callable[[str], Any], **more: Any) -> None:
        """An option whose help shows its default."""
        help += "" if shown is None else f" [{shown}]"
        self.add_argument(f"--{name.replace('_', '-')}", help=help, type=kind, **more)


def parser() -> Parser:
    """The commands and their options."""
    shape: Any = {"formatter_class": RawDescriptionHelpFormatter, "allow_abbrev": False}
    top = Parser(prog="vaelib", description=__doc__, **shape)
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    for do, options in OPTIONS.items():
        text = do.__doc__ or ""
        command = commands.add_parser(do.__name__, help=text.split("\n")[0], description=text, **shape)
        command.set_defaults(do=do)
        if do is train:
            command.add_argument("--out", required=True, help="the folder to keep the training in", type=location)
            for f in fields(Config):
                if f.metadata["help"]:  # what is not given is no attribute of what is parsed
                    command.add(f.name, f.default, **f.metadata, default=SUPPRESS)
        elif do is audit:
            command.add_argument("function", help="FILE.py:name")
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
    options, code = parser().parse_args(arguments), 1
    try:
        return options.do(options) or 0
    except KeyboardInterrupt:
        message, code = "stopped", 130
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        message = f"this command needs {package}: pip install {package}" if package else error
    except (ValueError, OSError, FloatingPointError) as error:
        message = error
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        message = "there is not enough memory for this: choose a smaller model, fewer samples or --batch-size"
    print(f"vaelib: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
