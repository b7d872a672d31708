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

import torch
from torch import Tensor, nn

from . import probes, verdicts, whole_loss
from .calling import SPREADS, Candidate, parameters, probed, sized, unused
from .gradients import NUMBERS, of_draws, with_followed
from .samplers import judge_draws
from .verdicts import Audit, noted

Network = Callable[..., Any]


@dataclass
class Whole(Candidate):
    """A loss of x, which calls the two networks; `spread` is what the encoder's second output is."""

    encode: Network = field(kw_only=True)
    decode: Network = field(kw_only=True)
    spread: str = "logvar"
    decoded: str = "logits"
    latents: list[Tensor] = field(default_factory=list)

    @property
    def moved(self) -> set[str]:
        """What the networks return: the loss has a gradient in it."""
        return {"mu", self.spread, self.decoded}

    def draw(self, seed: int, **sizes: int) -> dict[str, Tensor]:
        """As ever, and where the decoder's output is no probability, it is a mean of x as it is."""
        inputs = super().draw(seed, **sizes)
        return inputs if self.decoded == "x_hat" else inputs | {"x_hat": inputs["logits"]}

    def __call__(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """The loss, with these values in the place of what the networks return; z is added to the inputs."""
        self.latents.clear()

        def fake_decode(z: Tensor, *_: Any, **__: Any) -> Tensor:
            self.latents.append(z)
            return inputs[self.decoded].clone()

        def fake_encode(*_: Any, **__: Any) -> tuple[Tensor, Tensor]:
            return inputs["mu"].clone(), inputs[self.spread].clone()

        fakes = {"encode": fake_encode, "decode": fake_decode}
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
            if role in parameters(whole.function):
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


def audit_model(
    function: Network,
    encode: Network,
    decode: Network,
    inputs: Mapping[str, Any],
    beta: float | None,
    sigma: float | None,
) -> Audit:
    """The verdict on a whole model: first on how it draws z, then on the loss.

    Args:
        function: takes x, and returns a loss.
        encode: x to (mu, log-variance), or log sigma or sigma: what fits is found.
        decode: z to logits, probabilities or means.
        inputs: x, some data, (B, *event), and other parameters of `function`.
        beta: as in `audit`.
        sigma: likewise.
    Raises:
        ValueError: Where x is no tensor, or a network cannot be replaced, fails, or returns something else.
    """
    x, options = inputs.get("x"), {name: given for name, given in inputs.items() if name != "x"}
    if not isinstance(x, Tensor):
        raise ValueError(f"x is {type(x).__name__}: a model is audited with a tensor of data, (B, *event)")
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        encoded = network("encode", encode, x)
        pair = isinstance(encoded, tuple | list) and len(encoded) >= 2
        if not pair or not all(isinstance(value, Tensor) and value.ndim == 2 for value in encoded[:2]):
            raise ValueError(
                "encode returned no pair of tensors (B, J): wrap it so that it returns mean and log-variance"
            )
        decoded = network("decode", decode, encoded[0])
    if not isinstance(decoded, Tensor):
        said = f"decode returned {type(decoded).__name__}"
        raise ValueError(f"{said}: wrap it so that it returns one tensor, logits, probabilities or means")
    probability = bool(((decoded >= 0) & (decoded <= 1)).all())
    own = [name for name in parameters(function) if name not in ("encode", "decode", *options)]
    if not own:
        raise ValueError("the loss takes nothing: expected a function of x")
    unused(function, options)
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
        found = verdicts.of_several(whole, judged(whole, beta, sigma))
        if found.right or found.verdict.startswith("value right"):
            return noted(found, f"the encoder's second output is read as {spread} by sampler and loss")
        best = best or found
    assert best is not None
    return best


def network(role: str, call: Network, value: Tensor) -> Any:
    """What a network returns.

    Raises:
        ValueError: Where it fails.
    """
    try:
        return call(value)
    except Exception as error:  # it is another's, and may raise anything
        got = f"{role} fails on {tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
        raise ValueError(f"{got}: {type(error).__name__}: {error}") from error


def judged(whole: Whole, beta: float | None, sigma: float | None) -> Audit:
    """One reading of the encoder's second output."""
    probed(whole)
    draws = sampled(whole)
    loss = whole_loss(whole, probes.losses(whole, drawn=True), beta, sigma, whole.called.lower())
    if draws.right is not False:
        why = followed(whole) if draws.right else ""
        return with_followed(noted(loss, f"z: {draws.verdict}"), f"in z {why}" if why else "")
    number, verdict = draws.number, draws.verdict
    if number == "E11a" and not training(whole):
        number, verdict = "E11b", "this is E11b: in evaluation the mean is decoded"
    said = f"{verdict}; the loss beside it: {loss.verdict}"
    return Audit(False, said, number, (*draws.evidence, *loss.evidence))


def followed(whole: Whole) -> str:
    """Why no gradient goes through z to what the encoder returned, or nothing."""
    given = whole.draw(0)

    def z(inputs: dict[str, Tensor]) -> Tensor:
        whole(given | inputs)
        return whole.latents[0]

    why = of_draws(z, given["mu"], given["logvar"] / 2)
    return "" if why == NUMBERS else why


def training(whole: Whole) -> bool:
    """Whether the encoder is set to train."""
    owner = getattr(whole.encode, "__self__", whole.encode)
    return bool(getattr(owner, "training", True))


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
            except ValueError:  # its batch size is written into it
                inputs = whole.draw(seed)
                whole(inputs)
            rest.append(inputs)
            if sum(seen["z"].numel() for seen in rest) > 100_000:
                break
    z, mu, logvar = (torch.cat([inputs[name] for inputs in rest]).numpy() for name in ("z", "mu", "logvar"))
    return judge_draws(z, mu, logvar / 2)
