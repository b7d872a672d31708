"""Modules that know how they were built, so that a file can say it and a program build them again."""

import functools
import inspect
from typing import Any

import torch
from torch import Tensor, nn

_CLASSES: dict[str, type] = {}


class Described:
    """Mixed into a module's class, it keeps the arguments of `__init__` in `arguments`."""

    arguments: dict[str, Any]

    def __init_subclass__(cls, **options: Any):
        super().__init_subclass__(**options)
        if cls.__module__.partition(".")[0] == __package__:
            _CLASSES[cls.__name__] = cls
        original = cls.__dict__.get("__init__")
        if original is None:
            return
        signature = inspect.signature(original)

        @functools.wraps(original)
        def remember(self: Any, *args: Any, **kwargs: Any) -> None:
            if "arguments" not in self.__dict__:  # the outermost class is the first to get here
                bound = signature.bind(self, *args, **kwargs)
                arguments = dict(list(bound.arguments.items())[1:])
                arguments |= arguments.pop("options", {})
                self.__dict__["arguments"] = arguments  # past nn.Module, which is not yet initialised
            original(self, *args, **kwargs)

        cls.__init__ = remember


def describe(module: nn.Module) -> Any:
    """A module as plain JSON, or None where that would not give it back: a part is not vaelib's own or was changed."""
    try:
        description = _plain(module)
    except TypeError:
        return None
    with torch.device("meta"):
        again = build(description)
    shapes = [{name: weight.shape for name, weight in m.state_dict().items()} for m in (module, again)]
    return description if shapes[0] == shapes[1] else None


def build(description: Any) -> Any:
    """The module of a description, with fresh weights. Raises ValueError for classes that vaelib does not have."""
    if isinstance(description, list):
        return [build(part) for part in description]
    if not isinstance(description, dict):
        return description
    if "activation" in description:
        made = getattr(torch.nn.modules.activation, str(description["activation"]), None)
        if not (isinstance(made, type) and issubclass(made, nn.Module)):
            raise ValueError(f"torch has no activation named {description['activation']!r}")
        return made
    name = description.get("class")
    if name not in _CLASSES:
        raise ValueError(f"vaelib has no class named {name!r}: the file may be of a later version")
    return _CLASSES[name](**{key: build(part) for key, part in description["arguments"].items()})


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tensor):
        return None  # a value to start from, such as the data's mean: the weights hold it by now
    if isinstance(value, list | tuple | nn.ModuleList):
        return [_plain(part) for part in value]
    if isinstance(value, type) and value is getattr(torch.nn.modules.activation, value.__name__, None):
        return {"activation": value.__name__}
    if isinstance(value, Described) and _CLASSES.get(type(value).__name__) is type(value):
        return {"class": type(value).__name__, "arguments": {key: _plain(v) for key, v in value.arguments.items()}}
    raise TypeError(f"{value!r} cannot be described")
