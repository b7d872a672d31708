"""What runs over an index or a variable: sums, products, integrals, derivatives, limits."""

import functools
import itertools
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np

from .arithmetics import Unsaid
from .densities import integral
from .functions import Functions
from .names import Each, Place, written
from .tokens import Node, identifier

ACCURACY = 1e-8  # what is asked of a quadrature


class Sums(Functions):
    """Evaluates what runs over an index or a variable."""

    @contextmanager
    def binding(self, name: str, value: Any) -> Generator[None]:
        """In this block a name has this value."""
        before = self.bound.get(name)
        self.bound[name] = value
        try:
            yield
        finally:
            if before is None:
                del self.bound[name]
            else:
                self.bound[name] = before

    def several(self, values: dict[str, Any]) -> AbstractContextManager[None]:
        """In a block these names have these values as well."""
        return self.within({**self.bound, **values})

    @contextmanager
    def within(self, values: dict[str, Any]) -> Generator[None]:
        """In this block these names alone have values beside those of the case."""
        before, self.bound = self.bound, values
        try:
            yield
        finally:
            self.bound = before

    def _of_large(self, kind: str, ranges: tuple[Any, ...], body: Node) -> Any:
        if kind in ("sum", "prod") and self.numbers and len(ranges) == 1:
            value = self._over_at_once(kind, ranges[0], body)
            if value is not None:
                return value
        values = list(self._over(ranges, body))
        if not values:
            return self.f.number("1" if kind == "prod" else "0")
        if kind in ("max", "min"):
            return getattr(self.f, kind)(*values)
        if kind == "logsumexp":
            return self.f.log(functools.reduce(lambda a, b: a + b, map(self.f.exp, values)))
        return functools.reduce((lambda a, b: a * b) if kind == "prod" else (lambda a, b: a + b), values)

    def _over_at_once(self, kind: str, one: tuple[Any, ...], body: Node) -> float | None:
        """The sum or product from one look at the body, or nothing if its value is not one number for each index."""
        if self.at_once:
            return None
        variable, *limits = one
        places = self._places(written(variable), *limits, body)
        try:
            each = Place(Each.of([p.value for p in places]), Each.of([p.entry for p in places]))
            with self.binding(written(variable), each):
                value = self.of(body)
        except (TypeError, ValueError, RuntimeWarning):
            return None
        if not isinstance(value, Each) or value.shape != (len(places),):
            return None
        return float(np.asarray(value).sum() if kind == "sum" else np.asarray(value).prod())

    def _over(self, ranges: tuple[Any, ...], body: Node) -> Iterator[Any]:
        if not ranges:
            yield self.of(body)
            return
        (variable, bound, last, how), *others = ranges
        name = written(variable)
        for place in self._places(name, bound, last, how, body):
            with self.binding(name, place):
                yield from self._over(tuple(others), body)

    def _places(self, name: str, bound: Node | None, last: Node | None, how: str, body: Node) -> list[Place]:
        """What an index runs over: from 1 or from its bound on, to what is written or to the end of what it indexes."""
        first = int(self.of(bound)) if how == "=" and bound is not None else 1
        base = min(first, 1)  # entries count from one, or from zero where the sum does
        if how in ("<", "\\le") and bound is not None:
            end = int(self.of(bound)) - (how == "<")
        elif last is not None:
            end = int(self.of(last))
        else:
            end = base - 1 + self._length(name, body)
        if base == 0:
            self._refuse_a_number_beside(name, body)
        first = int(self.of(bound)) + (how == ">") if how in (">", "\\ge") and bound is not None else first
        return [Place(value, value - base) for value in range(first, end + 1)]

    def _refuse_a_number_beside(self, name: str, body: Node) -> None:
        """Unsaid where x_i, i from 0 on, and x_1 are entries of one array: it would be the second here, but is not."""
        indexed = [n for n in body.walk() if n.kind == "name" and n.parts[1] and written(n) not in self.names]
        running = {n.parts[0] for n in indexed if any(name == written(i) for part in n.parts[1] for i in part.walk())}
        for node in indexed:
            if node.parts[0] in running & set(self.names) and all(part.kind == "number" for part in node.parts[1]):
                raise Unsaid(f"{written(node)} beside an index that counts from zero")

    def _length(self, name: str, body: Node) -> int:
        """The length of the first axis that this index runs over in the body."""
        found = self._axis(name, body)
        if found is None:
            raise Unsaid(f"{name}: nothing says how far it runs")
        return found

    def _axis(self, name: str, body: Node) -> int | None:
        for node in body.walk():
            if node.kind in ("name", "index") and node.parts[1]:
                array: Any = (
                    self.bound.get(node.parts[0], self.names.get(node.parts[0]))
                    if node.kind == "name"
                    else self._quietly(node.parts[0])
                )
                for place, part in enumerate(node.parts[1]):
                    if any(n.kind == "name" and written(n) == name for n in part.walk()) and np.ndim(array) > place:
                        return np.shape(array)[place]
            if node.kind == "apply":
                arguments = [a for group in node.parts[1] for a in group]
                text = [
                    t
                    for a in arguments
                    for t in (
                        [written(a)]
                        if not (a.kind == "name" and a.parts[1]) or written(a) in (name, *self.bound)
                        else map(written, a.parts[1])
                    )
                ]
                if name not in text:
                    continue
                try:
                    meaning, _ = self._meaning(*node.parts)
                except Unsaid:
                    continue
                if callable(meaning) or hasattr(meaning, "logpdf"):
                    continue
                indices = [
                    t
                    for t in text
                    if t == name or isinstance(self.bound.get(t), Place) or np.ndim(meaning) == len(text)
                ]
                return np.shape(meaning)[indices.index(name)]
        return None

    def _quietly(self, node: Node) -> Any:
        """Its place or value, or nothing where it has none."""
        try:
            return self._place(node) or self.of(node)
        except Unsaid:
            return None

    def _of_integral(self, variable: Node, low: Node | None, high: Node | None, body: Node) -> Any:
        name = identifier(variable)
        ends = [self.f.number(e) if n is None else self.of(n) for n, e in ((low, "-inf"), (high, "inf"))]
        if isinstance(ends[0], tuple):  # over a set, which is an interval
            ends = list(ends[0])

        def integrand(value: Any) -> Any:
            with self.binding(name, value):
                return self.of(body)

        self.by_quadrature()
        if self.numbers and np.isfinite(ends).all():
            at_once = integral(integrand, np.linspace(*ends, 9))
            if at_once is not None:
                return at_once
        return self.f.integral(integrand, *ends)

    @property
    def at_once(self) -> bool:
        """Whether a name stands for many numbers now."""
        return any(isinstance(getattr(value, "entry", value), Each) for value in self.bound.values())

    def by_quadrature(self, nests: bool = False) -> None:
        """Notes that what is computed now is known to an accuracy only; TypeError if it cannot stand within another."""
        if self.at_once and not nests:
            raise TypeError("a quadrature within what is computed at once")
        self.accuracy = ACCURACY if self.numbers else 0.0

    def _of_derivative(self, variables: tuple[Node, ...], body: Node) -> Any:
        found = []
        self.by_quadrature(nests=True)
        for variable in variables:
            name = identifier(variable)

            def slope(value: Any, name: str = name) -> Any:
                with self.binding(name, value):
                    return self.of(body)

            found.append(self.f.derivative(slope, self.of(variable)))
        return found[0] if len(found) == 1 else np.stack(found)

    def _of_limit(self, variable: Node, point: Node, body: Node) -> Any:
        """As something grows: from four large values, as if there were a power series in one over it."""
        if point.kind != "infinity" or not self.numbers:
            raise Unsaid("a limit at a finite point, or outside float64")
        self.by_quadrature()
        row = [self.anew(**{identifier(variable): n}).of(body) for n in (500, 1000, 2000, 4000)]
        for power in (2, 4, 8):
            row = [(power * b - a) / (power - 1) for a, b in itertools.pairwise(row)]
        return row[0]
