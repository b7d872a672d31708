"""How a model was made, remembered by the model, so that a file can say it and a program make it again.

>>> from vaelib import VAE
>>> VAE.mlp(784, latent=8, hidden=(32,)).made_by
{'class': 'VAE', 'factory': 'mlp', 'arguments': [784], 'options': {'latent': 8, 'hidden': [32]}}
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from torch import nn

from .arguments import plain

P = ParamSpec("P")
M = TypeVar("M")

_FACTORIES: set[Any] = set()


def factory(make: Callable[P, M]) -> Callable[P, M]:
    """Decorates a classmethod such as `VAE.mlp`: the model it returns has the call, as plain JSON, in `made_by`.

    `made_by` is None where an argument is neither JSON, nor a number of NumPy or torch, nor a layer's class in
    `torch.nn`. An array or a tensor, such as the mean of the data, is forgotten: the weights hold it by now.
    """

    @functools.wraps(make)
    def remember(*args: P.args, **kwargs: P.kwargs) -> M:
        model: Any = make(*args, **kwargs)
        kind: Any = args[0]
        try:
            call = {"arguments": _json(args[1:]), "options": {name: _json(value) for name, value in kwargs.items()}}
            model.made_by = {"class": kind.__name__, "factory": remember.__name__, **call}
        except TypeError:
            model.made_by = None
        return model

    _FACTORIES.add(remember)
    return remember


def remake(made_by: Mapping[str, Any], classes: Mapping[str, type]) -> Any:
    """Calls a factory of one of `classes` once more, as `made_by` says: the same model with fresh weights.

    Raises:
        ValueError: The classes have no such factory, or torch no such layer.
    """
    make: Any = getattr(classes.get(made_by["class"]), str(made_by["factory"]), None)
    if getattr(make, "__func__", None) not in _FACTORIES:
        raise ValueError(f"vaelib has no factory {made_by['class']}.{made_by['factory']}")
    return make(*map(_value, made_by["arguments"]), **{name: _value(v) for name, v in made_by["options"].items()})


def _json(value: Any) -> Any:
    value = plain(value)
    if isinstance(value, list | tuple):
        return [_json(part) for part in value]
    if isinstance(value, type) and getattr(nn, value.__name__, None) is value:
        return {"torch.nn": value.__name__}
    if value is None or isinstance(value, int | float | str):
        return value
    raise TypeError(f"{value!r} is not plain")


def _value(json: Any) -> Any:
    if not isinstance(json, dict):
        return json
    layer = getattr(nn, str(json.get("torch.nn")), None)
    if not (isinstance(layer, type) and issubclass(layer, nn.Module)):
        raise ValueError(f"torch has no layer named {json.get('torch.nn')!r}")
    return layer
