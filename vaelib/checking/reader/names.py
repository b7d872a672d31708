"""How the names of an equation are written as keys, and where an index stands."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .arithmetics import Unsaid
from .tokens import Node, identifier, plain


class Each(np.ndarray):
    """Numbers, one for each of many draws: what is done to them is done one by one, no product is a scalar product."""

    @classmethod
    def of(cls, value: Any) -> "Each":
        """The array, seen so."""
        return np.asarray(value).view(cls)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        """One by one, which a plain array beside it would not be."""
        if any(np.ndim(other) and not isinstance(other, Each) for other in inputs):
            raise TypeError("an array beside numbers for each of many draws")
        plain = [np.asarray(other) if isinstance(other, Each) else other for other in inputs]
        return Each.of(getattr(ufunc, method)(*plain, **options))

    def sum(self, *_: Any, **options: Any) -> Any:
        """Refused: the draws are no vector."""
        raise TypeError("a sum over the draws")


@dataclass(frozen=True)
class Place:
    """Where an index stands: its value, as printed, and which entry of an array it picks; of many draws, `Each`."""

    value: Any
    entry: Any


def written(node: Node) -> str:
    """A node as a key of `names`: no spaces, one-letter fonts and accents as `identifier` has them."""
    known = node.__dict__  # where it is kept: it is asked for often
    if "written" not in known:
        known["written"] = _write(node)
    return known["written"]


def _write(node: Node) -> str:
    kind, parts = node.kind, node.parts
    if kind in ("number", "word"):
        return parts[0]
    if kind == "name":
        return identifier(node) if plain(node) else parts[0] + "_{" + ",".join(map(written, parts[1])) + "}"
    if kind == "apply":
        return written(parts[0]) + "(" + "|".join(",".join(map(written, group)) for group in parts[1]) + ")"
    inner = ",".join(written(p) for p in _nodes(parts))
    return f"{kind}({inner})" if kind != "call" else f"{parts[0]}({inner})"


def _nodes(parts: tuple[Any, ...]) -> Iterator[Node]:
    for part in parts:
        if isinstance(part, Node):
            yield part
        elif isinstance(part, tuple):
            yield from _nodes(part)


def label(value: Any) -> str:
    """An index as it is printed: 2, also where arithmetic made it 2.0."""
    return str(int(value)) if float(value).is_integer() else str(value)


@functools.cache
def groups_of(key: str) -> tuple[str, list[list[str]]]:
    """The name and the groups of arguments of "p(x|z)": p, x and z. Of a name alone there are none."""
    name, _, inside = key.partition("(")
    return name, [group.split(",") for group in inside[:-1].split("|")] if inside else []


def arguments_of(key: str) -> list[str]:
    """x and z of "p(x|z)"."""
    return [argument for group in groups_of(key)[1] for argument in group]


def picked(array: Any, where: tuple[Any, ...]) -> Any:
    """The entries of an array where indices stand."""
    try:
        found = array[where]
    except IndexError as error:
        raise Unsaid(str(error)) from error
    return Each.of(found) if any(isinstance(place, Each) for place in where) else found


def integer(node: Node) -> int | None:
    """The whole number that is written there, if one is: a ball is not raised to a ball if it need not."""
    if node.kind == "negative":
        inside = integer(node.parts[0])
        return None if inside is None else -inside
    return int(node.parts[0]) if node.kind == "number" and node.parts[0].isdigit() else None
