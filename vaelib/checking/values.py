r"""What a node of an equation is worth, in any arithmetic, given what its names mean.

A name means what it is said to be. In `names`, "m1" is the number, vector or matrix that \(m_1\) stands for. With
brackets in the key it is something that takes arguments: "g(t)" a function of t; "q(z)" or "p(x|z)" a function, or an
array with one axis for each of its arguments that an index runs over, or a distribution of scipy.stats in its first
argument. A whole term of the page can be a key as well, as `written` writes it.
"""

import functools
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from .tokens import Node, Statement, identifier, plain
from .witnesses import INTEGER, Unsaid


@dataclass(frozen=True)
class Place:
    """Where an index stands: its value, as printed, and which entry of an array it picks."""

    value: Any
    entry: int


class Lazy:
    """What the page defines a name as, where that hangs on an index or on a variable that a law runs over."""

    def __init__(self, value: Callable[[], Any], logarithm: Callable[[], Any], index: str = ""):
        self.value, self.logarithm, self.index = value, logarithm, index


class Joint:
    """A table of the joint law of several variables, one axis for each, which knows every marginal and conditional.

    As the meaning of "p()" it says what p(z_1), p(x | z_1, z_2) and all others are. A variable of a case is an entry,
    from 0 on. `given` names what all is conditioned on, which has no axis.
    """

    def __init__(self, table: Any, axes: str, given: str = ""):
        self.table, self.axes, self.fixed = np.asarray(table), axes.split(), given.split()

    def part(self, groups: list[list[str]]) -> "Part":
        """The table of a marginal or conditional law, one axis for each argument that has one."""
        unknown = {name for group in groups for name in group} - {*self.axes, *self.fixed}
        if unknown or len(groups) > 2:
            raise Unsaid(f"{', '.join(sorted(unknown))}: not in this joint law")
        of, given = ([name for name in group if name in self.axes] for group in (groups + [[]])[:2])
        table = self.marginal(of + given)
        table = table / self.marginal(given) if len(groups) == 2 else table
        return Part(table, [[name in self.axes for name in group] for group in groups])

    def marginal(self, names: list[str]) -> np.ndarray:
        """Summed over the other axes; these in this order, the last ones last."""
        kept = [self.axes.index(name) for name in names]
        summed = self.table.sum(axis=tuple(set(range(len(self.axes))) - set(kept)))
        return np.transpose(summed, [sorted(kept).index(k) for k in kept])


class Part:
    """A marginal or conditional law: entries at indices, or the table of a law with what it is conditioned on given."""

    def __init__(self, table: np.ndarray, axes: list[list[bool]]):
        self.table, self.axes = table, axes
        self.shape, self.ndim = table.shape, table.ndim

    def __call__(self, *places: Any) -> Any:
        kept = [place for place, axis in zip(places, [a for group in self.axes for a in group], strict=True) if axis]
        if any(place is None for place in kept):
            raise Unsaid("an index without a value")
        return self.table[tuple(place.entry if isinstance(place, Place) else int(place) for place in kept)]

    def logarithm(self, *places: Any) -> Any:
        """Of an entry."""
        return np.log(self(*places))

    def law(self, *given: Any) -> np.ndarray:
        """The probabilities of its variables."""
        kept = [place for place, axis in zip(given, self.axes[-1], strict=True) if axis] if given else []
        return self.table[(..., *(place.entry if isinstance(place, Place) else int(place) for place in kept))]


def label(value: Any) -> str:
    """An index as it is printed: 2, also where arithmetic made it 2.0."""
    return str(int(value)) if float(value).is_integer() else str(value)


def written(node: Node) -> str:
    """A node as a key of `names`: no spaces, one-letter fonts and accents as `identifier` has them."""
    known = vars(node)  # kept with the node, as it is asked for at every evaluation
    if "written" not in known:
        known["written"] = _written(node)
    return known["written"]


def _written(node: Node) -> str:
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


class Arithmetic:
    """Names, arithmetic and tables; `Values` adds what runs over an index or a law."""

    def __init__(self, f: Any, names: Mapping[str, Any]):
        self.f, self.names = f, dict(names)
        self.bound: dict[str, Place | Any] = {}  # indices and variables of integration, innermost last
        self.numbers = f.name == "numpy"
        self.here: Any = None  # where a density without an argument is evaluated

    def of(self, node: Node) -> Any:
        """The node's value. Raises Unsaid where a name has no meaning here."""
        if node.kind not in ("name", "apply"):
            key = written(node)
            if key in self.names and not callable(self.names[key]):
                return self.names[key]
        return getattr(self, f"_of_{node.kind}")(*node.parts)

    # --- Names --------------------------------------------------------------------------------------------------------

    def _of_name(self, base: str, script: tuple[Node, ...] | None) -> Any:
        node = Node("name", (base, script))
        whole = base if script is None else identifier(node) if plain(node) else None
        for key in (whole, base):
            if key in self.bound:
                value = self.bound[key]
                value = value.value if isinstance(value, Place) else value
                return value if key == whole else self._entry(value, script)
        if whole in self.names:
            found = self.names[whole]
            return found.value() if isinstance(found, Lazy) else found
        if script and base in self.names:
            return self._entry(self.names[base], script)
        if script:  # z_t with t = 1 is z1
            try:
                numbers = [label(self.of(part)) for part in script]
                whole = base + "".join(numbers)
            except (Unsaid, TypeError, ValueError):
                numbers, whole = [], None
            if whole in self.bound or whole in self.names:
                found = self.bound.get(whole, self.names.get(whole))
                return found.value() if isinstance(found, Lazy) else found.value if isinstance(found, Place) else found
            if len(numbers) == 1 and base + "_" in self.names:  # R_1, where the page says what R_t is
                family = self.names[base + "_"]
                with self.several({family.index: Place(int(numbers[0]), int(numbers[0]) - 1)}):
                    return family.value()
        constants = {"e": lambda: self.f.exp(1), "pi": lambda: self.f.pi}
        if base in constants and not script:
            return constants[base]()
        raise Unsaid(f"{whole or base}: nobody has said what it means")

    def _entry(self, array: Any, script: tuple[Node, ...] | None) -> Any:
        where = tuple(self._position(part) for part in script or ())
        if not hasattr(array, "shape"):
            raise Unsaid("an index, but no array")
        try:
            return array[where]
        except IndexError as error:
            raise Unsaid(str(error)) from error

    def _position(self, node: Node) -> int:
        place = self._place(node)
        return int(self.of(node)) - 1 if place is None else place.entry

    def _of_number(self, digits: str) -> Any:
        return self.f.number(digits)

    def _of_word(self, text: str) -> Any:
        raise Unsaid(f"the words {text!r}")

    def _of_infinity(self) -> Any:
        return self.f.number("inf")

    @contextmanager
    def several(self, values: dict[str, Any]) -> Generator[None]:
        """In this block these names have these values."""
        before = dict(self.bound)
        self.bound.update(values)
        try:
            yield
        finally:
            self.bound = before

    def listed(self, groups: tuple[tuple[Node, ...], ...]) -> tuple[tuple[Node, ...], ...]:
        """The arguments with z_1, ..., z_3 written out."""
        found = []
        for group in groups:
            nodes: list[Node] = []
            for before, node in zip((None, *group), group, strict=False):
                if before is not None and before.kind == "dots":
                    base = node.parts[0]
                    if nodes[-1].parts[0] != base:
                        raise Unsaid(f"from {written(nodes[-1])} to {written(node)}")
                    first, last = (int(self.of(n.parts[1][0])) for n in (nodes.pop(), node))
                    nodes += [Node("name", (base, (Node("number", (str(k),)),))) for k in range(first, last + 1)]
                elif node.kind != "dots":
                    nodes.append(node)
            found.append(tuple(nodes))
        return tuple(found)

    def arguments(self, groups: tuple[tuple[Node, ...], ...]) -> list[Any]:
        """Their values, and nothing for one that has none, such as an x of which only the name is known."""
        found = []
        for argument in (argument for group in groups for argument in group):
            try:
                found.append(self._place(argument) or self.of(argument))
            except Unsaid:
                found.append(None)
        return found

    def _of_apply(self, name: Node, groups: tuple[tuple[Node, ...], ...]) -> Any:
        groups = self.listed(groups)
        meaning, formal = self._meaning(name, groups)
        if hasattr(meaning, "logarithm"):
            return meaning(*self.arguments(groups))
        arguments = [argument for group in groups for argument in group]
        if hasattr(meaning, "logpdf"):
            return meaning.pdf(self.of(arguments[0]))
        if callable(meaning):
            return meaning(*(self._place(argument) or self.of(argument) for argument in arguments))
        return self._picked(meaning, arguments, formal)

    def _picked(self, table: Any, arguments: list[Node], formal: str) -> Any:
        """The entry where the indices stand. A table has an axis for each index, or for each argument."""
        where: list[Any] = [place.entry for argument in arguments for place in self._indices(argument)]
        if np.ndim(table) == len(arguments) > len(where):
            where = [found[0].entry if (found := self._indices(argument)) else slice(None) for argument in arguments]
        if not where:  # all of it, where its variable is free
            return table
        if np.ndim(table) != len(where):
            raise Unsaid(f"{formal} has {np.ndim(table)} axes and {len(where)} indices")
        return table[tuple(where)]

    def _place(self, node: Node) -> Place | None:
        """Where an index stands, if that is what the node is."""
        if node.kind != "name":
            return None
        value = self.bound.get(written(node)) or (self.bound.get(self.written(node)) if node.parts[1] else None)
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
        if isinstance(joint := self.names.get(written(name) + "()"), Joint):
            return joint.part([[self.written(argument) for argument in group] for group in groups]), key
        head, given = self.written(name), [[self.written(argument) for argument in group] for group in groups]
        text = [[written(argument).replace("'", "") for argument in group] for group in groups]
        for other, value in self.names.items():
            start, _, rest = other.partition("(")
            formal = [group.split(",") for group in rest[:-1].split("|")]
            alike = start == head and rest and list(map(len, formal)) == list(map(len, given))
            if getattr(value, "of_a_law", False) and formal[0] != given[0]:  # of another variable
                continue
            if alike and (callable(value) or formal in (given, text)):
                return value, other
        raise Unsaid(f"{key}: nobody has said what it means")

    def written(self, node: Node) -> str:
        """As `written`, without primes, and with the indices' values: z_{t+1} is z2 where t is 1."""
        text = written(node)
        if node.kind == "apply":
            head = self.written(node.parts[0])
            return head + "(" + "|".join(",".join(map(self.written, g)) for g in node.parts[1]) + ")"
        if node.kind == "name" and node.parts[1] and text not in self.bound:
            indices = [self._index(p) for p in node.parts[1]] if plain(node) else [self.of(p) for p in node.parts[1]]
            if all(index is not None for index in indices):
                text = node.parts[0] + "".join(map(label, indices))
        return text.replace("'", "") if node.kind == "name" and text not in self.names else text

    def _index(self, node: Node) -> int | None:
        """The value of an index that a sum or a law binds, or that is a whole number among the names."""
        key = written(node)
        value = self.bound.get(key, self.names.get(key))
        value = value.value if isinstance(value, Place) else value
        return value if isinstance(value, INTEGER) else None

    # --- Arithmetic ---------------------------------------------------------------------------------------------------

    def _of_group(self, inner: Node) -> Any:
        return self.of(inner)

    def _of_braced(self, inner: Node, label: Node) -> Any:
        """What is above a brace; what is below has to have the same value, if it has one."""
        return self.agreeing([label, inner])

    def _of_negative(self, inner: Node) -> Any:
        return -self.of(inner)

    def _of_sum(self, *terms: Node) -> Any:
        return functools.reduce(lambda a, b: a + b, map(self.of, terms))

    def _of_product(self, *factors: Node) -> Any:
        value, shape = self.of(factors[0]), factors[0].kind
        for factor in factors[1:]:
            other = self.of(factor)
            if np.ndim(value) and np.ndim(other):
                outer = factor.kind == "transpose" and np.ndim(value) == np.ndim(other) == 1 and shape != "transpose"
                value = np.outer(value, other) if outer else value @ other
            else:
                value = value * other
            shape = factor.kind
        return value

    def _of_ratio(self, above: Node, below: Node) -> Any:
        return self.of(above) / self.of(below)

    def _of_power(self, base: Node, exponent: Node) -> Any:
        value, by = self.of(base), _integer(exponent)
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

    def _of_call(self, function: str, *arguments: Node) -> Any:
        if function == "log":
            return self._log(arguments[0])
        values = [self.of(argument) for argument in arguments]
        if function in ("max", "min"):
            return getattr(self.f, function)(*values)
        own = f"_call_{function}"
        return (getattr(self, own) if hasattr(self, own) else getattr(self.f, function))(*values)

    def _log(self, inner: Node) -> Any:
        """Of Gamma, B, a factorial, a determinant or a density without the number itself, which may overflow."""
        while inner.kind == "group":
            (inner,) = inner.parts
        if inner.kind == "call" and inner.parts[0] == "gamma":
            return self.f.lgamma(self.of(inner.parts[1]))
        if inner.kind == "call" and inner.parts[0] == "beta":
            return self._log_beta(*map(self.of, inner.parts[1:]))
        if inner.kind == "call" and inner.parts[0] == "det":
            return self.f.logdet(self.of(inner.parts[1]))
        if inner.kind == "factorial":
            return self.f.lgamma(self.of(inner.parts[0]) + 1)
        if inner.kind == "ratio" and any(self._huge(part) for part in inner.parts):
            return self._log(inner.parts[0]) - self._log(inner.parts[1])
        if inner.kind == "product" and any(self._huge(part) for part in inner.parts):
            return functools.reduce(lambda a, b: a + b, map(self._log, inner.parts))
        if inner.kind == "name" and isinstance(found := self.names.get(written(inner)), Lazy):
            return found.logarithm()
        if inner.kind == "apply":
            groups = self.listed(inner.parts[1])
            meaning, _ = self._meaning(inner.parts[0], groups)
            if hasattr(meaning, "logarithm"):
                return meaning.logarithm(*self.arguments(groups))
            if hasattr(meaning, "logpdf"):
                return meaning.logpdf(self.of(inner.parts[1][0][0]))
        return self.f.log(self.of(inner))

    def _huge(self, node: Node) -> bool:
        """Whether its logarithm is better taken of it than of its value."""
        while node.kind == "group":
            (node,) = node.parts
        if node.kind in ("ratio", "product"):
            return any(self._huge(part) for part in node.parts)
        if node.kind == "apply":
            try:
                meaning = self._meaning(node.parts[0], self.listed(node.parts[1]))[0]
                return hasattr(meaning, "logpdf") or hasattr(meaning, "logarithm")
            except Unsaid:
                return False
        return node.kind in ("factorial", "normal") or (
            node.kind == "call" and node.parts[0] in ("gamma", "beta", "det")
        )

    def _log_beta(self, a: Any, b: Any) -> Any:
        return self.f.lgamma(a) + self.f.lgamma(b) - self.f.lgamma(a + b)

    def _call_gamma(self, x: Any) -> Any:
        return self.f.exp(self.f.lgamma(x))

    def _call_beta(self, a: Any, b: Any) -> Any:
        return self.f.exp(self._log_beta(a, b))

    def _call_det(self, matrix: Any) -> Any:
        return self.f.exp(self.f.logdet(matrix))

    def _call_tr(self, matrix: Any) -> Any:
        return np.trace(matrix)

    def _call_diag(self, vector: Any) -> Any:
        return np.diag(vector)

    def _call_norm(self, vector: Any) -> Any:
        return self.f.sqrt(self.f.sum(vector * vector))

    def _call_phi(self, x: Any) -> Any:
        return self.f.exp(-(x**2) / 2) / self.f.sqrt(2 * self.f.pi)

    # --- Tables of formulas -------------------------------------------------------------------------------------------

    def _of_cases(self, *rows: tuple[Any, ...]) -> Any:
        for value, *condition in rows:
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
            except Unsaid:  # a condition in words or on what has no number
                continue
            if not np.all(holds):
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
        return np.array([row for row in numbers if row])


def _integer(node: Node) -> int | None:
    """The whole number that is written there, if one is: a ball is not raised to a ball if it need not."""
    if node.kind == "negative":
        inside = _integer(node.parts[0])
        return None if inside is None else -inside
    return int(node.parts[0]) if node.kind == "number" and node.parts[0].isdigit() else None


def arguments_of(key: str) -> list[str]:
    """x and z of "p(x|z)"."""
    inside = key.partition("(")[2][:-1]
    return [a for group in inside.split("|") for a in group.split(",")]
