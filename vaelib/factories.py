"""How a model was made, remembered by the model, so that a file can say it and a program make it again."""

import functools
from collections.abc import Callable
from typing import Any


def factory(make: Callable[..., Any]) -> Callable[..., Any]:
    """Decorates a classmethod such as `VAE.mlp`: the model it returns remembers the call in `made_by`."""

    @functools.wraps(make)
    def remember(cls: type, *args: Any, **kwargs: Any) -> Any:
        model = make(cls, *args, **kwargs)
        model.made_by = (cls.__name__, make.__name__, args, kwargs)
        return model

    return remember
