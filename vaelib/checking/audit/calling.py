"""How `audit` calls a function: what its parameters are, what is drawn for them, and which of its results is judged.

Sizes: B examples, J latent dimensions, D pixels, K samples. Inputs are drawn in float64 with seeds that are fixed.
"""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

SIZES = {"B": 6, "J": 3, "D": 10, "K": 4}
SPREADS = ("logvar", "log_sigma", "sigma", "var")
AXES = {"mu": "BJ", "logvar": "BJ", "log_sigma": "BJ", "sigma": "BJ", "var": "BJ", "z": "BJ"}
AXES |= {"prior_mu": "BJ", "prior_logvar": "BJ"}
AXES |= {"x": "BD", "logits": "BD", "x_hat": "BD", "x_logvar": "BD", "log_w": "KB", "log_px": "KB", "rate": "B"}
ALIASES = {"mean": "mu", "means": "mu", "z_mean": "mu", "mu_z": "mu", "log_var": "logvar", "z_log_var": "logvar"}
ALIASES |= {"variance": "var", "log_std": "log_sigma", "logstd": "log_sigma", "std": "sigma", "target": "x"}
ALIASES |= {"recon_x": "x_hat", "x_recon": "x_hat", "recon": "x_hat", "probs": "x_hat", "log_weights": "log_w"}
ALIASES |= {"mu_p": "prior_mu", "logvar_p": "prior_logvar", "mean2": "prior_mu", "logvar2": "prior_logvar"}
ALIASES |= {"mean1": "mu", "logvar1": "logvar", "mu_q": "mu", "logvar_q": "logvar", "mu1": "mu", "mu2": "prior_mu"}
ALIASES |= {"kl": "rate", "kld": "rate", "log_variance": "logvar", "recons": "x_hat", "inputs": "x", "input": "x"}
ALIASES |= {"images": "x"}
LEVELS = range(1, 6)  # of a hierarchy, from the bottom
AXES |= {f"rate_{level}": "B" for level in LEVELS}
ALIASES |= {f"{name}_{level}": f"rate_{level}" for level in LEVELS for name in ("kl", "kld")}
LOSSES = ("loss", "total_loss")  # what the result to be judged may be called


@dataclass
class Candidate:
    """The function under audit, the names that it gives our inputs, and the shapes that it is for.

    Args:
        function: what is called.
        names: its parameters, each with the input of ours that it takes.
        fixed: what else it is given.
        sizes: B, J, D, K as the user has them.
        events: the shapes of one x, and of what the decoder says of it where that is another.
        grey: whether the user's x has other values than 0 and 1; `real`: whether some lie outside [0, 1].
        several: of how many results without names the first is judged; 0 where there is one, or one called loss.
        kept: whether its result was a tensor: a Python number has no gradient, and does not say its precision.
    """

    function: Callable[..., Any]
    names: dict[str, str]
    fixed: dict[str, Any] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=lambda: dict(SIZES))
    events: dict[str, tuple[int, ...]] = field(default_factory=dict)
    grey: bool = False
    real: bool = False
    several: int = 0
    kept: bool = True

    @property
    def takes(self) -> set[str]:
        """Our inputs that it takes."""
        return set(self.names.values())

    @property
    def moved(self) -> set[str]:
        """Our inputs in which it has a gradient."""
        return self.takes - {"x"}

    @property
    def called(self) -> str:
        """Its name."""
        return getattr(self.function, "__name__", "")

    def __call__(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Its value, the first if there are several, or the one called loss."""
        # It gets copies, as it may change them in place.
        given = {own: inputs[name].clone() for own, name in self.names.items()}
        value, self.several = chosen(attempted(self.function, given | self.fixed))
        self.kept = isinstance(value, Tensor)
        return as_number(value)

    def draw(self, seed: int, **sizes: int) -> dict[str, Tensor]:
        """All inputs at these sizes: means and log-variances around 0, x binary unless the user's is not."""
        n = self.sizes | sizes
        rng = np.random.default_rng(seed)
        near = 0.1 if seed % 3 == 2 else 1.0  # some posteriors close to the prior, where a clamp shows
        mu, logvar = (near * rng.normal(mean, 1, (n["B"], n["J"])) for mean in (0.3, -0.3))
        logits, noise = rng.normal(size=(n["B"], n["D"])), rng.random((n["B"], n["D"]))
        x = rng.normal(size=noise.shape) if self.real else noise if self.grey else (noise < 0.4).astype(float)
        arrays = {"mu": mu, "logvar": logvar, "log_sigma": logvar / 2, "sigma": np.exp(logvar / 2)}
        arrays |= {"var": np.exp(logvar), "z": mu + np.exp(logvar / 2) * rng.normal(size=mu.shape), "x": x}
        arrays |= {"logits": logits, "x_hat": logits if self.real else 1 / (1 + np.exp(-logits))}
        arrays |= {"x_logvar": rng.normal(size=logits.shape), "rate": np.exp(rng.normal(size=n["B"]))}
        arrays["rate"] *= 10.0 ** (seed % 4)  # small and large ones, so that a threshold shows
        arrays |= {f"rate_{level}": np.exp(rng.normal(size=n["B"])) for level in LEVELS}
        arrays |= {name: rng.normal(-9, 2, (n["K"], n["B"])) for name in ("log_w", "log_px")}
        arrays |= {"prior_mu": rng.normal(size=mu.shape), "prior_logvar": rng.normal(size=mu.shape)}
        shaped = {
            name: array.reshape(n["B"], *self.event(name, n["D"]))
            for name, array in arrays.items()
            if AXES[name] == "BD"
        }
        return {name: torch.from_numpy(array) for name, array in (arrays | shaped).items()}

    def event(self, name: str, pixels: int) -> tuple[int, ...]:
        """The shape of one x, or of what is said of it, with so many pixels."""
        shape = self.events.get(name) or self.events.get("x") or next(iter(self.events.values()), ())
        return (*shape[:-1], pixels // math.prod(shape[:-1]))

    def other(self, size: str) -> int:
        """Another value of a size: twice as much."""
        return 2 * self.sizes[size]


# --- One call ---------------------------------------------------------------------------------------------------------


def attempted(function: Callable[..., Any], given: Mapping[str, Any]) -> Any:
    """What a function returns for its parameters by name.

    Raises:
        ValueError: Where it fails: with its own error, and what may help.
    """
    try:
        return function(**given)
    except Exception as error:  # the function is another's: it may raise anything
        shapes = ", ".join(f"{own} {tuple(value.shape)}" for own, value in given.items() if isinstance(value, Tensor))
        said = f"the function fails on {shapes or 'what it is given'}: {type(error).__name__}: {error}"
        raise ValueError(said + advice(error)) from error


def advice(error: Exception) -> str:
    """What may help against an error in another's function."""
    if "dtype" in str(error) or "Double" in str(error):
        return "; what is drawn is float64: convert the function's own tensors and layers, such as layer.double()"
    if isinstance(error, KeyError):
        return "; what it looks up in its keywords can be given, such as weight=1.0"
    if isinstance(error, RuntimeError | IndexError | ValueError | AssertionError):
        return "; say the shapes that it is for, such as x=(128, 784), mu=(128, 20)"
    return ""


def chosen(value: Any) -> tuple[Any, int]:
    """The result that is judged, and of how many it is the first, where none is called loss."""
    fields = value._asdict() if hasattr(value, "_asdict") else value
    if isinstance(fields, Mapping):
        known = {str(key).lower(): result for key, result in fields.items()}
        several = list(fields.values())
    elif isinstance(fields, tuple | list):
        known, several = {}, list(fields)
    else:
        known = {name: getattr(value, name) for name in LOSSES if hasattr(value, name)}
        several = [value]
    for name in LOSSES:
        if name in known:
            return known[name], 0
    if not several:
        raise ValueError(f"the function returned {value!r}: expected a number or a tensor, in nats")
    first = several[0]
    if isinstance(first, tuple | list | Mapping):
        first, _ = chosen(first)
    return first, len(several) if len(several) > 1 else 0


def as_number(value: Any) -> Tensor:
    """A result as a tensor; a Python number keeps its double precision."""
    try:
        value = torch.as_tensor(value, dtype=torch.float64 if isinstance(value, float) else None)
    except (TypeError, ValueError, RuntimeError) as error:
        said = f"the function returned {type(value).__name__}: expected a number or a tensor, in nats"
        raise ValueError(said) from error
    if not value.is_floating_point():
        raise ValueError(f"the function returned {value.dtype} values: expected floating-point numbers, in nats")
    return value


def probed(candidate: Candidate) -> Tensor:
    """The value for the first inputs; what goes wrong there is said."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        value = candidate(candidate.draw(0))
    if not bool(torch.isfinite(value).all()):
        raise ValueError(
            "the function gives values that are not finite on drawn inputs: expected finite numbers, in nats"
        )
    return value


# --- What its parameters are ------------------------------------------------------------------------------------------


def signature(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """All parameters of a function, or of a module's forward.

    Raises:
        ValueError: For a class, and where Python does not know them.
    """
    if inspect.isclass(function):
        raise ValueError(f"{function.__name__} is a class: give an instance of it, or a function")
    try:
        return inspect.signature(function.forward if isinstance(function, nn.Module) else function).parameters
    except (TypeError, ValueError) as error:
        raise ValueError(f"{function!r} does not say its parameters: wrap it in a lambda that names them") from error


def parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The named parameters of a function."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {name: p for name, p in signature(function).items() if p.kind in kinds}


def needs(function: Callable[..., Any], name: str, inputs: Mapping[str, Any]) -> bool:
    """Whether a function has a parameter that has no value yet."""
    wanted = parameters(function)
    return name in wanted and name not in inputs and wanted[name].default is inspect.Parameter.empty


def meanings(function: Callable[..., Any], inputs: Mapping[str, Any]) -> dict[str, str]:
    """Which input of ours each parameter takes, by its name or as the user says; those of the others are left out."""
    own = {given: name for name, given in inputs.items() if isinstance(given, str) and name in AXES}
    wanted, known = parameters(function), {}
    for name in wanted:
        meant = own.get(name) or (name if name in AXES else ALIASES.get(name))
        if name == "input" and name not in own and "target" in wanted and own.get("target", "x") == "x":
            meant = "x_hat"  # as in torch: what is compared with the target
        if meant:
            known[name] = meant
    for name in [name for name in known if name not in own]:
        default = wanted[name].default
        posterior = known[name] in SPREADS and lone(name, known)
        if isinstance(default, bool | int | float | str) and not posterior:
            del known[name]  # an option, as its default shows
    return known


def lone(name: str, known: Mapping[str, str]) -> bool:
    """Whether a parameter called sigma, say, must be the posterior's: there is a mean, and no other spread."""
    return "mu" in known.values() and not any(known[other] in SPREADS for other in known if other != name)


def with_stated(
    function: Callable[..., Any], inputs: dict[str, Any], beta: float | None, sigma: float | str | None
) -> dict[str, Any]:
    """The inputs, and beta and sigma where the function has such a parameter of its own."""
    if isinstance(sigma, str):
        return with_stated(function, inputs | {"sigma": sigma}, beta, None)
    wanted, known = parameters(function), meanings(function, inputs)
    named = [given for given in inputs.values() if isinstance(given, str)]
    stated: dict[str, Any] = {"beta": beta} if "beta" in wanted and beta is not None and "beta" not in named else {}
    if sigma is not None and "sigma" in wanted and "sigma" not in named and not lone("sigma", known):
        stated["sigma"] = float(sigma)
    return inputs | stated


def prepared(function: Callable[..., Any], inputs: dict[str, Any]) -> Candidate:
    """The function with its names, and the sizes that the inputs have.

    Raises:
        ValueError: Where it takes what nobody has said, or does not take what was said, or takes one input twice.
    """
    wanted, known = parameters(function), meanings(function, inputs)
    names, fixed = {}, {}
    for name, parameter in wanted.items():
        given = inputs.get(name)
        # A float is never a shape. A whole number may be meant as one: for an input of ours it is a mistake.
        value = name in inputs and (name not in known or isinstance(given, bool | float))
        if value or (isinstance(given, int) and name not in AXES):
            fixed[name] = given
        elif name in known:
            names[name] = known[name]
        elif parameter.default is inspect.Parameter.empty:
            raise ValueError(
                f"the function takes {name!r}: expected one of {', '.join(AXES)}; say which it is, such as "
                f"mu={name!r}, or give its value, {name}=..."
            )
    fixed |= unused(function, inputs)
    taken: dict[str, str] = {}
    for own, name in names.items():
        if name in taken:
            said = f"the function takes {taken[name]!r} and {own!r}, which are both read as {name}"
            raise ValueError(f"{said}: say which is which, such as {'x_hat' if name == 'x' else 'z'}={own!r}")
        taken[name] = own
    candidate = Candidate(function, names, fixed)
    for name, given in inputs.items():
        if ALIASES.get(name, name) in AXES and name not in fixed and not isinstance(given, str):
            sized(candidate, ALIASES.get(name, name), given)
    return candidate


def unused(function: Callable[..., Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What is given and is no named parameter: values for the function's `**keywords`.

    Sizes of inputs that it does not take are passed over.

    Raises:
        ValueError: For a value that no parameter takes, or a name that none has.
    """
    wanted, kinds = parameters(function), {p.kind for p in signature(function).values()}
    if not wanted and inspect.Parameter.VAR_POSITIONAL in kinds:
        raise ValueError("the function takes *args: wrap it in a lambda that names what it takes")
    rest = {}
    for name, given in inputs.items():
        ours = ALIASES.get(name, name) in AXES
        taken = given in wanted if name in AXES and isinstance(given, str) else name in wanted
        if taken:
            continue
        if inspect.Parameter.VAR_KEYWORD in kinds and not ours:
            rest[name] = given
        elif not ours or isinstance(given, str | bool | float | int):
            said = f"{name}={given!r}" if isinstance(given, str | bool | float | int) else name
            raise ValueError(f"{said}: the function does not take it; it takes {', '.join(wanted)}")
    return rest


def sized(candidate: Candidate, name: str, given: Any) -> None:
    """Takes the sizes of what the user has: a tensor, or its shape."""
    axes = AXES[name]
    shape = tuple(getattr(given, "shape", given if isinstance(given, tuple | list) else ("?",)))
    if not all(isinstance(size, int | np.integer) and size > 0 for size in shape):
        raise ValueError(f"{name} is {given!r}: expected a tensor or its shape, ({', '.join(axes)})")
    if len(shape) < len(axes) or (len(shape) > len(axes) and axes != "BD"):
        raise ValueError(f"{name} has shape {shape}: expected ({', '.join(axes)})")
    for axis, size in zip(axes, (*shape[: len(axes) - 1], math.prod(shape[len(axes) - 1 :])), strict=True):
        candidate.sizes[axis] = int(size)
    if axes == "BD":
        candidate.events[name] = shape[1:]
    if name == "x" and isinstance(given, Tensor):
        candidate.grey = bool(((given != 0) & (given != 1)).any())
        candidate.real = bool(((given < 0) | (given > 1)).any())
