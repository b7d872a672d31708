"""A whole model under audit: its encoder and decoder are replaced by drawn values, and what it makes of them is judged.

The user's loss is called as it is. While it runs, `encode` returns a mean and a spread that we drew, and `decode` notes
the z that it is given and returns logits that we drew. So the networks' weights do not matter, the loss is known as a
function of what they return, and z shows the noise that was added.
"""

import contextlib
import inspect
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from . import SPREADS, Audit, noted, probes, sized, whole_loss
from .probes import Arrays, Candidate, Form
from .samplers import judge_draws

Network = Callable[..., Any]


@dataclass
class Whole(Candidate):
    """A loss of x, which calls the two networks; `spread` is what the encoder's second output is."""

    encode: Network = field(kw_only=True)
    decode: Network = field(kw_only=True)
    spread: str = "logvar"
    decoded: str = "logits"
    latents: list[Tensor] = field(default_factory=list)

    def draw(self, seed: int, **sizes: int) -> dict[str, Tensor]:
        """As ever, and where the decoder's output is no probability, it is a mean of x as it is."""
        inputs = super().draw(seed, **sizes)
        return inputs if self.decoded == "x_hat" else inputs | {"x_hat": inputs["logits"]}

    def __call__(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """The loss, with these values in the place of what the networks return; z is added to the inputs."""
        self.latents.clear()

        def fake_decode(z: Tensor, *_: Any, **__: Any) -> Tensor:
            self.latents.append(z)
            return inputs[self.decoded]

        fakes = {"encode": lambda *_, **__: (inputs["mu"], inputs[self.spread]), "decode": fake_decode}
        with replaced(self, fakes):
            value = super().__call__(inputs)
        if len(self.latents) != 1 or self.latents[0].shape != inputs["mu"].shape:
            got = [tuple(z.shape) for z in self.latents]
            raise ValueError(f"the loss called decode with {got}: expected one call, with z of shape (B, J)")
        if isinstance(inputs, dict):
            inputs["z"] = self.latents[0].detach().double()
        return value


@contextlib.contextmanager
def replaced(whole: Whole, fakes: Mapping[str, Network]) -> Generator[None]:
    """In this block the two networks are these functions."""
    fixed, undo = dict(whole.fixed), contextlib.ExitStack()
    with undo:
        for role, fake in fakes.items():
            real = getattr(whole, role)
            if role in probes.parameters(whole.function):
                whole.fixed[role] = fake
                continue
            owner, name = owned(real, role)
            before = owner.__dict__.get(name)
            object.__setattr__(owner, name, fake)
            undo.callback(_restore, owner, name, before)
        try:
            yield
        finally:
            whole.fixed = fixed


def _restore(owner: Any, name: str, before: Any) -> None:
    object.__delattr__(owner, name)
    if before is not None:
        object.__setattr__(owner, name, before)


def owned(real: Network, role: str) -> tuple[Any, str]:
    """Where a network can be replaced: the module's forward, or the method of its object.

    Raises:
        ValueError: For a function that belongs to nothing.
    """
    if isinstance(real, nn.Module):
        return real, "forward"
    if inspect.ismethod(real):
        return real.__self__, real.__name__
    raise ValueError(f"{role} is a plain function: expected a method or a module, or a loss with a parameter {role!r}")


def audit_model(function: Network, encode: Network, decode: Network, x: Any = None, **options: Any) -> Audit:
    """The verdict on a whole model: first on how it draws z, then on the loss.

    Args:
        function: takes x, and returns a loss.
        encode: x to (mu, log-variance), or log sigma or sigma: what fits is found.
        decode: z to logits, probabilities or means.
        x: some data, (B, *event).
        options: beta and sigma of `audit`, and other parameters of `function`.
    Raises:
        ValueError: Where x is no tensor, or a network cannot be replaced or returns something else.
    """
    if not isinstance(x, Tensor):
        raise ValueError(f"x is {type(x).__name__}: a model is audited with a tensor of data, (B, *event)")
    beta, sigma = options.pop("beta", None), options.pop("sigma", None)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        encoded = encode(x)
        if not isinstance(encoded, tuple | list) or len(encoded) < 2 or encoded[0].ndim != 2:
            raise ValueError(
                "encode returned no pair of tensors (B, J): wrap it so that it returns mean and log-variance"
            )
        decoded = decode(encoded[0])
    probability = bool(((decoded >= 0) & (decoded <= 1)).all())
    own = [name for name in probes.parameters(function) if name not in ("encode", "decode", *options)]
    if not own:
        raise ValueError("the loss takes nothing: expected a function of x")
    best = None
    for spread in SPREADS[:3]:
        whole = Whole(
            function,
            {own[0]: "x"},
            dict(options),
            encode=encode,
            decode=decode,
            spread=spread,
            decoded="x_hat" if probability else "logits",
        )
        sized(whole, "x", x)
        sized(whole, "mu", encoded[0])
        found = judged(whole, beta, sigma)
        if found.right:
            return noted(found, f"the encoder's second output is read as {spread} by sampler and loss")
        best = best or found
    assert best is not None
    return best


def judged(whole: Whole, beta: float | None, sigma: float | None) -> Audit:
    """One reading of the encoder's second output."""
    probes.probed(whole)
    draws = sampled(whole)
    forms = probes.losses(whole)
    sampled_rate = {"reconstruction": probes.reconstructions(whole)[0][2], "rate": one_draw}
    forms.insert(len(probes.reconstructions(whole)), Form(sampled_rate, "", "the rate by its one draw of z"))
    loss = whole_loss(whole, forms, beta, sigma, whole.called.lower())
    if draws.right is not False:
        return noted(loss, f"z: {draws.verdict}")
    number, verdict = draws.number, draws.verdict
    if number == "E11a" and not training(whole):
        number, verdict = "E11b", "this is E11b: in evaluation the mean is decoded"
    said = f"{verdict}; the loss beside it: {loss.verdict}"
    return Audit(False, said, number, (*draws.evidence, *loss.evidence))


def training(whole: Whole) -> bool:
    """Whether the encoder is set to train."""
    owner = getattr(whole.encode, "__self__", whole.encode)
    return bool(getattr(owner, "training", True))


def one_draw(a: Arrays) -> np.ndarray:
    """log q(z|x) - log p(z) at the z that was drawn: (B,)."""
    noise = (a["z"] - a["mu"]) ** 2 / np.exp(a["logvar"])
    return (a["z"] ** 2 - noise - a["logvar"]).sum(1) / 2


def sampled(whole: Whole) -> Audit:
    """How z is drawn."""
    rest = []
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        for seed in range(50):
            sizes = {"B": max(2, 20_000 // whole.sizes["J"] // 10)}
            try:
                inputs = whole.draw(seed, **sizes)
                whole(inputs)
            except (RuntimeError, IndexError):  # its batch size is written into it
                inputs = whole.draw(seed)
                whole(inputs)
            rest.append(inputs)
            if sum(seen["z"].numel() for seen in rest) > 100_000:
                break
    z, mu, logvar = (torch.cat([inputs[name] for inputs in rest]).numpy() for name in ("z", "mu", "logvar"))
    return judge_draws(z, mu, logvar / 2)
