"""What runs over an index, a variable or a law: sums, integrals, means, divergences."""

import functools
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np

from .tokens import Node, identifier
from .values import Arithmetic, Place, arguments_of, written
from .witnesses import Unsaid


class Values(Arithmetic):
    """Evaluates nodes over a namespace `f` (see `witnesses`), given what the names mean."""

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

    def _of_large(self, kind: str, ranges: tuple[Any, ...], body: Node) -> Any:
        values = list(self._over(ranges, body))
        if not values:
            return self.f.number("1" if kind == "prod" else "0")
        if kind in ("max", "min"):
            return getattr(self.f, kind)(*values)
        if kind == "logsumexp":
            return self.f.log(functools.reduce(lambda a, b: a + b, map(self.f.exp, values)))
        return functools.reduce((lambda a, b: a * b) if kind == "prod" else (lambda a, b: a + b), values)

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
        if how in ("<", "\\le") and bound is not None:
            end = int(self.of(bound)) - (how == "<")
        elif last is not None:
            end = int(self.of(last))
        else:
            end = first - 1 + self._length(name, body)
        first = int(self.of(bound)) + (how == ">") if how in (">", "\\ge") and bound is not None else first
        base = min(first, 1) if how == "=" else 1  # entries count from one, or from zero where the sum does
        return [Place(value, value - base) for value in range(first, end + 1)]

    def _length(self, name: str, body: Node) -> int:
        """The length of the first axis that this index runs over in the body."""
        found = self._axis(name, body)
        if found is None:
            raise Unsaid(f"{name}: nothing says how far it runs")
        return found

    def _axis(self, name: str, body: Node) -> int | None:
        for node in body.walk():
            if node.kind in ("name", "index") and node.parts[1]:
                array: Any = self.names.get(node.parts[0]) if node.kind == "name" else self._quietly(node.parts[0])
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
                        if not (a.kind == "name" and a.parts[1]) or written(a) in self.bound
                        else map(written, a.parts[1])
                    )
                ]
                if name not in text:
                    continue
                try:
                    meaning, _ = self._meaning(*node.parts)
                except Unsaid:
                    continue
                if callable(meaning):
                    continue
                indices = [
                    t
                    for t in text
                    if t == name or isinstance(self.bound.get(t), Place) or np.ndim(meaning) == len(text)
                ]
                return np.shape(meaning)[indices.index(name)]
        return None

    def _quietly(self, node: Node) -> Any:
        try:
            return self.of(node)
        except Unsaid:
            return None

    def _of_integral(self, variable: Node, low: Node | None, high: Node | None, body: Node) -> Any:
        name = identifier(variable)
        ends = [self.f.number(e) if n is None else self.of(n) for n, e in ((low, "-inf"), (high, "inf"))]

        def integrand(value: Any) -> Any:
            with self.binding(name, value):
                return self.of(body)

        return self.f.integral(integrand, *ends)

    def _of_derivative(self, variables: tuple[Node, ...], body: Node) -> Any:
        found = []
        for variable in variables:
            name = identifier(variable)

            def slope(value: Any, name: str = name) -> Any:
                with self.binding(name, value):
                    return self.of(body)

            found.append(self.f.derivative(slope, self.of(variable)))
        return found[0] if len(found) == 1 else np.stack(found)

    def _of_limit(self, variable: Node, point: Node, body: Node) -> Any:
        raise Unsaid("a limit")

    # --- Under a law --------------------------------------------------------------------------------------------------

    def _law(self, node: Node) -> Any:
        """A distribution of scipy, or a table of probabilities."""
        value: Any
        while node.kind == "group":
            (node,) = node.parts
        if self.f.name == "flint":
            raise Unsaid("a distribution, in balls")
        if node.kind == "normal":
            mean, variance = map(self.of, node.parts[0][-1])
            if np.ndim(variance) == 2:
                if not self.numbers:
                    raise Unsaid("a distribution of several variables, outside float64")
                from scipy import stats

                return stats.multivariate_normal(np.broadcast_to(mean, len(variance)), variance)
            return Bell(self.f, mean, self.f.sqrt(variance))
        if node.kind in ("name", "apply"):
            if node.kind == "apply":
                value, formal = self._meaning(*node.parts)
                arguments = [argument for group in node.parts[1] for argument in group]
                if hasattr(value, "law"):
                    value = value.law()
                elif callable(value) and not hasattr(value, "logpdf"):
                    value = value(*map(self.of, arguments))
                elif np.ndim(value):
                    value = self._picked(value, arguments, formal)
            else:
                keys = [key for key in self.names if key.partition("(")[0] == written(node)]
                value = self.names[min(keys, key=lambda key: "(" not in key)] if keys else None
                value = value.law() if hasattr(value, "law") else value
                if not keys and node.parts[1]:  # q_i, a law for each i
                    value = self._readable(self.of(node))
            if hasattr(value, "shape") or hasattr(value, "logpdf"):
                return self._readable(value)
        elif node.kind == "large" and node.parts[0] == "prod" and (laws := self._factors(node)):
            return Independent(laws) if hasattr(laws[0], "logpdf") else functools.reduce(np.multiply.outer, laws)
        elif node.kind in ("sum", "product", "ratio", "large"):
            return Density(lambda z: self._at(z, node))
        raise Unsaid(f"{written(node)} is no law that anybody has named")

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
            return Bell(self.f, *law.args)
        if hasattr(law, "logpdf") and self.f.name == "flint":
            raise Unsaid("a distribution, in balls")
        return law

    def _at(self, value: Any, node: Node) -> Any:
        """A mixture or product of densities, written without an argument, at this value."""
        before, self.here = self.here, value
        try:
            return self.of(node)
        finally:
            self.here = before

    def _of_divergence(self, first: Node, second: Node) -> Any:
        q, p = self._law(first), self._law(second)
        if hasattr(q, "cov") and hasattr(p, "cov"):
            if not self.numbers:
                raise Unsaid("distributions of several variables, outside float64")
            points = _sigma_points(q)  # a logarithm of a ratio of two is of degree two, for which these are exact
            return np.mean(q.logpdf(points) - p.logpdf(points))
        if isinstance(q, Bell) and isinstance(p, Bell):  # likewise, in any arithmetic
            points = (q.mean() - q.std(), q.mean() + q.std())
            return sum(q.logpdf(z) - p.logpdf(z) for z in points) / 2
        if not hasattr(q, "logpdf"):
            from scipy import special

            return special.rel_entr(q, p).sum() if self.numbers else np.sum(q * self.f.log(q / p))
        return self.f.mean(lambda z: q.logpdf(z) - p.logpdf(z), q)

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

            return self.f.mean(at, q)
        total = 0.0
        for where in np.ndindex(*np.shape(q)):
            if q[where]:
                with self.several(dict(zip(names, (Place(i + 1, i) for i in where), strict=True))):
                    total = total + q[where] * then(self.of(body))
        return total

    @contextmanager
    def several(self, values: dict[str, Any]) -> Generator[None]:
        """In this block these names have these values."""
        before = dict(self.bound)
        self.bound.update(values)
        try:
            yield
        finally:
            self.bound = before

    def _variables(self, law: Node | None) -> tuple[Any, list[str]]:
        """A law and the names of what it is the law of: by its own text or by its key in `names`, "q(z)"."""
        if law is None:
            keys = [key for key in self.names if key.startswith("~")]
            if len(keys) != 1:
                raise Unsaid("a mean, and nothing says over what")
            return self._readable(self.names[keys[0]]), keys[0][1:].split(",")
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
        q = self._law(body)
        if hasattr(q, "logpdf"):
            return -self.f.mean(q.logpdf, q)
        from scipy import special

        return special.entr(q).sum() if self.numbers else -np.sum(q * self.f.log(q))


class Bell:
    """A normal distribution in any arithmetic, with the methods of scipy's."""

    dist = SimpleNamespace(name="norm")

    def __init__(self, f: Any, mean: Any, deviation: Any):
        self.f, self.args = f, (mean, deviation)

    def mean(self) -> Any:
        """Its mean."""
        return self.args[0]

    def std(self) -> Any:
        """Its standard deviation."""
        return self.args[1]

    def logpdf(self, value: Any) -> Any:
        """The logarithm of its density."""
        mean, deviation = self.args
        return -(((value - mean) / deviation) ** 2) / 2 - self.f.log(deviation) - self.f.log(2 * self.f.pi) / 2

    def pdf(self, value: Any) -> Any:
        """Its density."""
        return self.f.exp(self.logpdf(value))


class Independent:
    """Independent variables, each with its law."""

    def __init__(self, laws: list[Any]):
        self.laws = laws
        if all(isinstance(law, Bell) for law in laws):
            self.mean, self.cov = np.array([law.mean() for law in laws]), np.diag([law.std() ** 2 for law in laws])

    def logpdf(self, value: Any) -> Any:
        """The logarithm of the joint density; the variables are on the last axis."""
        return functools.reduce(lambda a, b: a + b, (law.logpdf(value[..., i]) for i, law in enumerate(self.laws)))


class Density:
    """A law of one variable on the whole line, known by its density."""

    def __init__(self, pdf: Callable[[float], float]):
        self.pdf = pdf

    def logpdf(self, value: float) -> float:
        """Its logarithm, as scipy's laws have it."""
        return np.log(self.pdf(value))


def _sigma_points(law: Any) -> np.ndarray:
    """2 J points, (2 J, J), whose means of polynomials of degree three are those of a normal distribution."""
    root = np.linalg.cholesky(law.cov) * np.sqrt(len(law.mean))
    return law.mean + np.concatenate([root.T, -root.T])
