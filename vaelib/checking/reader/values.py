r"""What a node of an equation is worth, in any arithmetic, given what its names mean.

A name means what it is said to be. In `names`, "m1" is the number, vector or matrix that \(m_1\) stands for. With
brackets in the key it is something that takes arguments: "g(t)" a function of t; "q(z)" or "p(x|z)" a function, or an
array with one axis for each of its arguments that an index runs over, or a distribution of scipy.stats in its first
argument. A whole term of the page can be a key as well, as `written` writes it.
"""

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .arithmetics import INTEGER, Unsaid
from .densities import density
from .names import Each, Place, groups_of, integer, label, picked, written
from .tokens import Node, Statement, identifier, plain


class Arithmetic:
    """Names, arithmetic and tables; `Values` adds what runs over an index or a law."""

    def __init__(self, f: Any, names: Mapping[str, Any]):
        self.f, self.names = f, dict(names)
        self.bound: dict[str, Place | Any] = {}  # indices and variables of integration, innermost last
        self.numbers = f.name == "numpy"
        self.accuracy = 0.0  # of what has been computed: a quadrature is not as good as a sum
        self.anew: Callable[..., Any] = self._bound_anew  # the same names with some values of the case changed
        self.here: Any = None  # where a density without an argument is evaluated

    def _bound_anew(self, **values: Any) -> Any:
        return type(self)(self.f, {**self.names, **values})

    def of(self, node: Node) -> Any:
        """The node's value. Raises Unsaid where a name has no meaning here."""
        if node.kind not in ("name", "apply"):
            key = written(node)
            if key in self.names:
                found = self.names[key]
                if hasattr(found, "hangs"):
                    return found()
                if not callable(found):
                    return found
        return getattr(self, f"_of_{node.kind}")(*node.parts)

    # --- Names --------------------------------------------------------------------------------------------------------

    def knows(self, node: Node) -> bool:
        """Whether somebody has said what a name means, alone, with arguments, raised or with an index."""
        while node.kind in ("power", "index"):
            node = node.parts[0]
        if node.kind == "name":
            return any(key in self.names for key in (written(node), node.parts[0]))
        try:
            return bool(self._meaning(*node.parts))
        except Unsaid:
            return False

    def _of_name(self, base: str, script: tuple[Node, ...] | None) -> Any:
        node = Node("name", (base, script))
        whole = identifier(node) if plain(node) else None
        for key in (whole, base):
            if key in self.bound:
                value = self.bound[key]
                value = value.value if isinstance(value, Place) else value
                return value if key == whole else self._entry(value, script)
        if whole in self.names:
            return self.names[whole]
        if script and base in self.names:
            return self._entry(self.names[base], script)
        if script:  # z_t with t = 1 is z1
            try:
                whole = base + "".join(label(self.of(part)) for part in script)
            except (Unsaid, TypeError, ValueError):
                whole = None
            if whole in self.bound or whole in self.names:
                return self.bound.get(whole, self.names.get(whole))
        constants = {"e": lambda: self.f.exp(1), "pi": lambda: self.f.pi}
        if base in constants and not script:
            return constants[base]()
        raise Unsaid(f"{whole or base}: nobody has said what it means")

    def _entry(self, array: Any, script: tuple[Node, ...] | None) -> Any:
        where = tuple(self._position(part) for part in script or ())
        if not hasattr(array, "shape") or isinstance(array, Each):
            raise Unsaid("an index, but no array")
        return picked(array, where)

    def _position(self, node: Node) -> Any:
        place = self._place(node)
        if place is not None:
            return place.entry
        value, base = self.of(node), self._base(node)
        if value != int(value) or value < base:  # -1 would be the last
            raise Unsaid(f"{written(node)} is {value}, and no index")
        return int(value) - base

    def _base(self, node: Node) -> int:
        """What the first entry is called: one, or zero in terms of an index that counts from zero, as i + 1 may."""
        places = [place for part in node.walk() if (place := self._place(part)) is not None]
        found = {place.value - place.entry for place in places} or {1}
        if len(found) > 1:
            raise Unsaid(f"{written(node)}: one of its indices counts from zero, the other from one")
        return found.pop()

    def _of_number(self, digits: str) -> Any:
        return self.f.number(digits)

    def _of_word(self, text: str) -> Any:
        raise Unsaid(f"the words {text!r}")

    def _of_infinity(self) -> Any:
        return self.f.number("inf")

    def _of_apply(self, name: Node, groups: tuple[tuple[Node, ...], ...]) -> Any:
        try:
            meaning, formal = self._meaning(name, groups)
        except Unsaid:
            if not name.parts[1] or not any(key.startswith(f"{name.parts[0]}(") for key in self.names):
                raise
            return self._entry(self._of_apply(Node("name", (name.parts[0], None)), groups), name.parts[1])  # of f(x)
        arguments = [argument for group in groups for argument in group]
        if hasattr(meaning, "logpdf"):
            return density(self.f, meaning, self.of(arguments[0]))
        if callable(meaning):
            return meaning(*self._arguments(arguments, getattr(meaning, "formal", ())))
        return self._picked(meaning, arguments, formal)

    def _arguments(self, arguments: list[Node], names: Sequence[str]) -> list[Any]:
        """Their values; None for one that has none, where a function of the page is given the name it is told in."""
        values: list[Any] = []
        for argument, formal in itertools.zip_longest(arguments, names):
            try:
                values.append(self._place(argument) or self.of(argument))
            except Unsaid:
                if formal not in (written(argument), self.written(argument)):
                    raise
                values.append(None)
        return values

    def _picked(self, table: Any, arguments: list[Node], formal: str, law: bool = False) -> Any:
        """The entry where the indices stand. A table has an axis for each index, or for each argument.

        Where a law is asked for, what is left of it: q(z_j) is row j of a table that has a law for each j.
        """
        places = [place for argument in arguments for place in self._indices(argument)]
        if np.ndim(table) < len(places):  # p(x_b | z_b) has one index
            places = [place for n, place in enumerate(places) if not any(place is other for other in places[:n])]
        where: list[Any] = [place.entry for place in places]
        if np.ndim(table) == len(arguments) > len(where):
            where = [found[0].entry if (found := self._indices(a)) else self._entry_of(a) for a in arguments]
        if not where:  # all of it, where its variable is free
            return table
        if np.ndim(table) != len(where) and not law:
            raise Unsaid(f"{formal} has {np.ndim(table)} axes and {len(where)} indices")
        return picked(table, tuple(where))

    def _entry_of(self, argument: Node) -> Any:
        """The entry of an argument that is a whole number in this case, else all entries."""
        key = written(argument)
        value = self.bound.get(key, self.names.get(key))
        return value - 1 if isinstance(value, INTEGER) else slice(None)

    def _place(self, node: Node) -> Place | None:
        """Where an index stands, if that is what the node is."""
        if node.kind != "name" or not plain(node):
            return None
        value = self.bound.get(written(node))
        if value is None and node.parts[1]:  # z_i with i = 1 is z1, if that is bound
            value = self.bound.get(self.written(node))
        return value if isinstance(value, Place) else None

    def _indices(self, argument: Node) -> list[Place]:
        """An argument that is an index, or has indices: z, or x_n."""
        here = self._place(argument)
        if here is not None:
            return [here]
        below = argument.parts[1] or () if argument.kind == "name" else ()
        return [place for part in below if (place := self._place(part)) is not None]

    def _meaning(self, name: Node, groups: tuple[tuple[Node, ...], ...]) -> tuple[Any, str]:
        """What a name with arguments is: by its text, else by the numbers of its arguments."""
        key = self.written(Node("apply", (name, groups)))
        if key in self.names:
            return self.names[key], key
        given = [[self.written(argument) for argument in group] for group in groups]
        text = [[written(argument).replace("'", "") for argument in group] for group in groups]
        for head in (written(name), self._labelled(name)):
            found: list[tuple[Any, str]] = []
            for other, value in self.names.items():
                start, formal = groups_of(other)
                if start != head or list(map(len, formal)) != list(map(len, given)):
                    continue
                first = int(hasattr(value, "logpdf"))  # a law's own variable may have any name
                if formal[first:] in (given[first:], text[first:]) or (callable(value) and not first):
                    if formal[0] in (given[0], text[0]):
                        return value, other
                    found.append((value, other))
            if found:
                return found[0]
        laws = self.names.get(name.parts[0])
        if name.parts[1] and isinstance(laws, np.ndarray) and laws.dtype == object:  # q_i(z_i), a law for each i
            return self._entry(laws, name.parts[1]), key
        for other, value in self.names.items():  # f_{k+1}(x), where the page defines f_k(x)
            base, index, number = getattr(value, "indexed", ("", "", 0))
            if index and base == name.parts[0] and len(name.parts[1] or ()) == 1 and number == sum(map(len, groups)):
                at = self.of(name.parts[1][0])
                if np.ndim(at) == 0 and at == int(at):
                    return value.where({index: Place(int(at), int(at) - 1)}), other
        raise Unsaid(f"{key}: nobody has said what it means")

    def written(self, node: Node) -> str:
        """As `written`, without primes, and with the indices' values: z_{t+1} is z2 where t is 1."""
        if node.kind == "apply":  # where x' is another x, but f' is another function
            head = self._labelled(node.parts[0])
            return head + "(" + "|".join(",".join(map(self.written, g)) for g in node.parts[1]) + ")"
        text = self._labelled(node)
        if node.kind != "name" or "'" not in text or any(key.partition("(")[0] == text for key in self.names):
            return text
        return text.replace("'", "")

    def _labelled(self, node: Node) -> str:
        """As `written`, with the indices' values."""
        text = written(node)
        if node.kind == "name" and node.parts[1] and text not in self.bound:
            indices = [self._index(p) for p in node.parts[1]] if plain(node) else [self.of(p) for p in node.parts[1]]
            if all(index is not None for index in indices):
                return node.parts[0] + "".join(map(label, indices))
        return text

    def _index(self, node: Node) -> int | None:
        """The value of an index, where it has one."""
        place = self.bound.get(written(node))
        return place.value if isinstance(place, Place) else None

    # --- Arithmetic ---------------------------------------------------------------------------------------------------

    def _of_group(self, inner: Node) -> Any:
        return self.of(inner)

    def _of_braced(self, inner: Node, label: Node) -> Any:
        """What is above a brace; what is below has to have the same value, unless it is a name that is said nowhere."""
        return self.agreeing([label, inner], strict=label.kind not in ("name", "apply") or self.knows(label))

    def _of_negative(self, inner: Node) -> Any:
        return -self.of(inner)

    def _of_sum(self, *terms: Node) -> Any:
        return functools.reduce(lambda a, b: a + b, map(self.of, terms))

    def _of_product(self, *factors: Node) -> Any:
        value, shape = self.of(factors[0]), factors[0].kind
        for factor in factors[1:]:
            other = self.of(factor)
            if np.ndim(value) and np.ndim(other) and not isinstance(value, Each) and not isinstance(other, Each):
                outer = factor.kind == "transpose" and np.ndim(value) == np.ndim(other) == 1 and shape != "transpose"
                value = np.outer(value, other) if outer else value @ other
            else:
                value = value * other
            shape = factor.kind
        return value

    def _of_ratio(self, above: Node, below: Node) -> Any:
        return self.of(above) / self.of(below)

    def _of_power(self, base: Node, exponent: Node) -> Any:
        value, by = self.of(base), integer(exponent)
        if np.ndim(value) == 2:
            if by != -1:
                raise Unsaid("a power of a matrix")
            return self.f.inv(value)
        return value ** (self.of(exponent) if by is None else by)

    def _of_transpose(self, inner: Node) -> Any:
        value = self.of(inner)
        return value.T if np.ndim(value) == 2 else value

    def _of_index(self, inner: Node, script: tuple[Node, ...]) -> Any:
        return self._entry(self.of(inner), script)

    def _of_factorial(self, inner: Node) -> Any:
        return self.f.exp(self.f.lgamma(self.of(inner) + 1))

    def _of_event(self, left: Node, relation: str, right: Node) -> Any:
        raise Unsaid("an event")

    # --- Tables of formulas -------------------------------------------------------------------------------------------

    def _of_cases(self, *rows: tuple[Any, ...]) -> Any:
        for value, *condition in rows:
            if condition and isinstance(condition[0], Node):  # words
                self.of(condition[0])
            if not condition or self._holds(condition[0]):
                return self.of(value)
        raise Unsaid("no case applies")

    def agreeing(self, nodes: list[Node], strict: bool = False) -> Any:
        """The value of the last node; ValueError where one before it has another, or, if strict, none."""
        value = self.of(nodes[-1])
        for node in nodes[:-1] if self.numbers else ():
            try:
                other = self.of(node)
            except Unsaid as unsaid:
                if strict:
                    raise ValueError(str(unsaid)) from unsaid
                continue
            if np.shape(other) != np.shape(value) or not np.allclose(other, value, rtol=1e-6, atol=1e-8):
                raise ValueError(f"two sides of the page differ: {other} and {value}")
        return value

    def require(self, conditions: list[Statement]) -> None:
        """Raises ValueError where the page says that it does not speak of these values."""
        for condition in conditions if self.numbers else ():
            try:
                holds = self._holds(condition)
            except Unsaid as unsaid:
                raise ValueError(f"nobody can tell whether it is as the page requires: {unsaid}") from unsaid
            if not holds:
                raise ValueError(f"{written(condition.sides[0])} is not as the page requires")

    def _holds(self, condition: Statement) -> bool:
        values = [self.of(side) for side in condition.sides]
        test = {
            "==": lambda a, b: a == b,
            "<": lambda a, b: a < b,
            "<=": lambda a, b: a <= b,
            ">": lambda a, b: a > b,
            ">=": lambda a, b: a >= b,
        }
        return all(np.all(test[r](a, b)) for r, a, b in zip(condition.relations, values, values[1:], strict=False))

    def _of_table(self, *rows: tuple[Node, ...]) -> Any:
        numbers = [[self.of(cell) for cell in row if cell.kind != "word"] for row in rows]
        table = np.array([row for row in numbers if row])
        return table[:, 0] if table.shape[1] == 1 else table  # a column is a vector
