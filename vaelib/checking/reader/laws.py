"""What runs over a law: means, variances, divergences."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from .arithmetics import Unsaid
from .densities import Bell, Density, Independent, density, divergence, mean_under
from .names import Each, Place, arguments_of, written
from .sums import Sums
from .tokens import Node


class Values(Sums):
    """Evaluates nodes over a namespace `f` (see `witnesses`), given what the names mean."""

    def _law(self, node: Node) -> Any:
        """A distribution of scipy, or a table of probabilities."""
        value: Any
        while node.kind == "group":
            (node,) = node.parts
        if node.kind == "normal":
            mean, variance = map(self.of, node.parts[0][-1])
            if np.ndim(variance) == 2:
                if not self.numbers:
                    raise Unsaid("a distribution of several variables, outside float64")
                from scipy import stats

                root = stats.Covariance.from_cholesky(np.linalg.cholesky(variance))  # of any condition
                return stats.multivariate_normal(np.broadcast_to(mean, len(variance)), root)
            return Bell(self.f, mean, self.f.sqrt(variance))
        if node.kind in ("name", "apply"):
            if node.kind == "apply":
                value, formal = self._meaning(*node.parts)
                arguments = [argument for group in node.parts[1] for argument in group]
                if hasattr(value, "law"):
                    value = value.law(*self._given(value, arguments))
                elif callable(value):
                    value = value(*map(self.of, arguments))
                elif np.ndim(value):
                    value = self._picked(value, arguments, formal, law=True)
            else:
                keys = [key for key in self.names if key.partition("(")[0] == written(node)]
                keys = [key for key in keys if not _each_a_law(self.names[key])]  # not q_i, for each i
                value = self.names[min(keys, key=lambda key: "(" not in key)] if keys else None
                value = value.law() if hasattr(value, "law") else value
                if not keys and node.parts[1]:  # q_i, a law for each i
                    value = self._readable(self.of(node))
            if hasattr(value, "shape") or hasattr(value, "logpdf"):
                return self._readable(value)
        elif node.kind == "large" and node.parts[0] == "prod" and (laws := self._factors(node)):
            if hasattr(laws[0], "logpdf"):
                return laws[0] if len(laws) == 1 else Independent(laws)
            return functools.reduce(np.multiply.outer, laws)
        elif node.kind in ("sum", "product", "ratio", "large"):
            return Density(lambda z: self._at(z, node))
        raise Unsaid(f"{written(node)} is no law that anybody has named")

    def _given(self, law: Any, arguments: list[Node]) -> list[Any]:
        """What a law is given; ValueError where that has no value and another name than in the definition."""
        formal = law.formal[law.free :]
        try:
            return self._arguments(arguments[law.free :], formal)
        except Unsaid as unsaid:
            raise ValueError(f"{unsaid}; the page has {', '.join(formal)} there") from unsaid

    def table(self, names: list[str], body: Node) -> Any:
        """The body's values with these names at every place of what they index."""
        if not names:
            return self.of(body)
        places = [Place(k + 1, k) for k in range(self._length(names[0], body))]
        rows = []
        for place in places:
            with self.binding(names[0], place):
                rows.append(self.table(names[1:], body))
        return np.array(rows)

    def _factors(self, node: Node) -> list[Any]:
        """The laws of which one of independent variables is the product; none if they are not laws of one variable."""
        _, ranges, body = node.parts
        laws = []
        try:
            for place in self._places(written(ranges[0][0]), *ranges[0][1:], body):
                with self.binding(written(ranges[0][0]), place):
                    laws.append(self._law(body))
        except Unsaid:
            return []
        return laws if all(hasattr(law, "logpdf") or np.ndim(law) == 1 for law in laws) else []

    def _meaning(self, name: Node, groups: tuple[tuple[Node, ...], ...]) -> tuple[Any, str]:
        value, key = super()._meaning(name, groups)
        return self._readable(value), key

    def _readable(self, law: Any) -> Any:
        """A normal distribution of scipy is one in any arithmetic; others are not."""
        if getattr(getattr(law, "dist", None), "name", "") == "norm" and len(getattr(law, "args", ())) == 2:
            return Bell(self.f, *(map(self.f.number, law.args) if self.f.name == "flint" else law.args))
        return law

    def _at(self, value: Any, node: Node) -> Any:
        """A mixture or product of densities, written without an argument, at this value."""
        before, self.here = self.here, value
        try:
            return self.of(node)
        finally:
            self.here = before

    def _of_a_variable(self, node: Node) -> bool:
        """Whether what a law is applied to is its variable, as in q(z), and no parameter of it, as in Bern(x)."""
        if node.kind != "apply":
            return False
        meaning = self._meaning(*node.parts)[0]
        return hasattr(meaning, "law") or not callable(meaning)

    def _of_divergence(self, first: Node, second: Node) -> Any:
        of = [list(map(written, law.parts[1][0])) for law in (first, second) if self._of_a_variable(law)]
        if len(of) == 2 and of[0] != of[1]:
            raise ValueError(f"a divergence of a law of {', '.join(of[0])} and one of {', '.join(of[1])}")
        q, p = self._law(first), self._law(second)
        if hasattr(q, "logpdf"):
            self.by_quadrature(nests=isinstance(q, Bell) and isinstance(p, Bell))
        return divergence(self.f, q, p)

    def _log(self, inner: Node) -> Any:
        if inner.kind == "normal" and len(inner.parts[0]) == 2:
            return self._law(inner).logpdf(self.of(inner.parts[0][0][0]))
        return super()._log(inner)

    def _of_normal(self, groups: tuple[tuple[Node, ...], ...]) -> Any:
        if len(groups) != 2:
            if self.here is None:
                raise Unsaid("a distribution, where a number was expected")
            return self._law(Node("normal", (groups,))).pdf(self.here)
        return self._law(Node("normal", (groups,))).pdf(self.of(groups[0][0]))

    def _of_mean(self, law: Node | None, body: Node, given: Node | None) -> Any:
        if given is not None:
            raise Unsaid("a conditional mean")
        return self._average(law, body)

    def _average(self, law: Node | None, body: Node, then: Callable[[Any], Any] = lambda value: value) -> Any:
        q, names = self._variables(law)
        if hasattr(q, "logpdf"):
            if len(names) != 1:
                raise Unsaid("a mean over several variables")

            def at(value: Any) -> Any:
                with self.binding(names[0], value):
                    return then(self.of(body))

            self.by_quadrature()
            return mean_under(self.f, at, q)
        if self.numbers and np.ndim(q) and not self.at_once and (mean := self._at_once(q, names, body)) is not None:
            return mean
        total = 0.0
        for where in np.ndindex(*np.shape(q)):
            if q[where]:
                with self.several(dict(zip(names, (Place(i + 1, i) for i in where), strict=True))):
                    total = total + q[where] * then(self.of(body))
        return total

    def _at_once(self, table: np.ndarray, names: list[str], body: Node) -> float | None:
        """The mean over a table from one look at the body, or nothing if its value is not one number for each cell."""
        cells = np.nonzero(table)
        places: dict[str, Any] = {
            name: Place(Each.of(axis + 1), Each.of(axis)) for name, axis in zip(names, cells, strict=True)
        }
        try:
            with self.several(places):
                value = self.of(body)
        except (TypeError, ValueError):
            return None
        alike = isinstance(value, Each) and value.shape == cells[0].shape
        return float(table[cells] @ np.asarray(value)) if alike else None

    def _variables(self, law: Node | None) -> tuple[Any, list[str]]:
        """A law and the names of what it is the law of: by its own text or by its key in `names`, "q(z)"."""
        if law is None:
            keys = [key for key in self.names if key.startswith("~")]
            if len(keys) != 1:
                raise Unsaid("a mean, and nothing says over what")
            return self._readable(self.names[keys[0]]), keys[0][1:].split(",")
        if law.kind == "drawn" and law.parts[0].kind in ("pair", "drawn"):
            names, tables = zip(*self._draws(law), strict=True)
            if not all(np.ndim(table) == 1 for table in tables):
                raise Unsaid("a mean over several variables")
            return functools.reduce(np.multiply.outer, tables), list(names)
        if law.kind == "drawn":
            return self._law(law.parts[1]), [written(law.parts[0])]
        if f"~{written(law)}" in self.names:
            return self._readable(self.names[f"~{written(law)}"]), [written(law)]
        found = self._law(law)
        if law.kind == "apply":
            return found, [written(a) for a in law.parts[1][0]]
        head = written(law)
        key = next((k for k in self.names if k.partition("(")[0] == head and "(" in k), None)
        if key is None:
            raise Unsaid(f"{head}: nothing says of what it is the law")
        return found, arguments_of(key.partition("|")[0].rstrip(")") + ")")

    def _draws(self, node: Node) -> list[tuple[Any, Any]]:
        r"""Of `z_1 \sim p, z_2, \dots, z_k \sim q` each variable with its law."""
        if node.kind not in ("pair", "drawn"):
            return [(node, None)]
        first, second = node.parts
        found = self._draws(first)
        if node.kind == "drawn":
            law = self._law(second)
            return [(written(name), law) if known is None else (name, known) for name, known in found]
        if found[-1][0] != Node("name", ("dots", None)):
            return [*found, (second, None)]
        (base, script), (other, end) = found[-2][0].parts, second.parts
        if base != other:
            raise Unsaid(f"{base} and so on up to {other}")
        numbers = range(int(self.of(script[0])), int(self.of(end[0])) + 1)
        return found[:-2] + [(Node("name", (base, (Node("number", (str(i),)),))), None) for i in numbers]

    def _of_variance(self, law: Node | None, body: Node, given: Node | None) -> Any:
        if given is not None:
            raise Unsaid("a conditional variance")
        mean = self._average(law, body)
        square = self._average(law, Node("power", (body, Node("number", ("2",)))))
        return square - mean**2

    def _of_covariance(self, law: Node | None, body: Node, given: Node | None) -> Any:
        if given is not None:
            raise Unsaid("a conditional covariance")
        mean = self._average(law, body)
        return self._average(law, body, lambda value: np.outer(value, value)) - np.outer(mean, mean)

    def _of_entropy(self, law: Node | None, body: Node, given: Node | None) -> Any:
        if given is not None:
            raise Unsaid("a conditional entropy")
        q = self._law(body)
        if hasattr(q, "logpdf"):
            self.by_quadrature()
            return -mean_under(self.f, lambda z: density(self.f, q, z, log=True), q, logs=True)
        from scipy import special

        return special.entr(q).sum() if self.numbers else -np.sum(q * self.f.log(q))


def _each_a_law(value: Any) -> bool:
    """Whether it is an array of laws, and not a table of probabilities, which may be symbols."""
    return isinstance(value, np.ndarray) and value.dtype == object and hasattr(value.flat[0], "logpdf")
