"""What runs over an index, a variable or a law: sums, integrals, means, divergences."""

import functools
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .tokens import Node, identifier
from .values import Arithmetic, Joint, Place, arguments_of, written
from .witnesses import Normal, Unsaid


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
        base = 1 if how != "=" else first
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
                try:
                    text = [t for a in arguments for t in self._indexing(a, name)]
                    if name not in text:
                        continue
                    meaning, _ = self._meaning(*node.parts)
                except Unsaid:
                    continue
                if hasattr(meaning, "right"):  # the page defines it
                    formal = meaning.formal[text.index(name)]
                    inside = (self._axis(formal, side) for side in meaning.right)
                    found = next((length for length in inside if length is not None), None)
                    if found is not None:
                        return found
                if callable(meaning) and not hasattr(meaning, "shape"):
                    continue
                indices = [
                    t
                    for t in text
                    if t == name or isinstance(self.bound.get(t), Place) or np.ndim(meaning) == len(text)
                ]
                return np.shape(meaning)[indices.index(name)]
        return None

    def _indexing(self, argument: Node, name: str) -> list[str]:
        """The indices in an argument: itself, or what stands below it."""
        whole = self.written(argument)
        if argument.kind != "name" or not argument.parts[1] or whole == name or whole in self.bound:
            return [whole]
        return list(map(written, argument.parts[1]))

    def _quietly(self, node: Node) -> Any:
        try:
            return self.of(node)
        except Unsaid:
            return None

    def _of_integral(self, variable: Node, low: Node | None, high: Node | None, body: Node) -> Any:
        name = identifier(variable)
        if low is None and high is None and self._axis(name, body) is not None:  # of tables: their sum
            return self._of_large("sum", ((variable, None, None, ""),), body)
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
        if node.kind == "normal":
            mean, variance = map(self.of, node.parts[0][-1])
            if not np.ndim(mean) and not np.ndim(variance):
                return Normal(self.f, mean, variance)
            if not self.numbers:
                raise Unsaid("a distribution of several variables, outside float64")
            from scipy import stats

            if np.ndim(variance) == 2:
                return stats.multivariate_normal(np.broadcast_to(mean, len(variance)), variance)
            return stats.norm(mean, np.sqrt(variance))
        if node.kind in ("name", "apply"):
            if node.kind == "apply":
                groups = self.listed(node.parts[1])
                value, formal = self._meaning(node.parts[0], groups)
                arguments = [argument for group in groups for argument in group]
                if hasattr(value, "law"):
                    value = value.law(*self.arguments(groups[1:]))
                elif callable(value) and not hasattr(value, "logpdf"):
                    value = value(*map(self.of, arguments))
                elif np.ndim(value):
                    with self.free(groups[0]):
                        value = self._picked(value, arguments, formal)
            else:
                keys = [key for key in self.names if key.partition("(")[0] == written(node)]
                value = self.names[min(keys, key=lambda key: "(" not in key)] if keys else None
            value = value.table if isinstance(value, Joint) else value
            if isinstance(value, Normal) or (self.numbers and (hasattr(value, "shape") or hasattr(value, "logpdf"))):
                return value
        elif node.kind in ("sum", "product", "ratio", "large"):
            return Density(lambda z: self._at(z, node))
        raise Unsaid(f"{written(node)} is no law that anybody has named")

    @contextmanager
    def free(self, arguments: tuple[Node, ...]) -> Generator[None]:
        """In this block these have no values: a law is asked for all of its probabilities."""
        with self.several({}):
            for argument in arguments:
                self.bound.pop(self.written(argument), None)
            yield

    def _at(self, value: Any, node: Node) -> Any:
        """A mixture or product of densities, written without an argument, at this value."""
        before, self.here = self.here, value
        try:
            return self.of(node)
        finally:
            self.here = before

    def _of_divergence(self, first: Node, second: Node) -> Any:
        q, p = self._law(first), self._law(second)
        if type(q).__name__ == type(p).__name__ == "multivariate_normal_frozen":
            points = _sigma_points(q)  # a logarithm of a ratio of two is of degree two, for which these are exact
            return np.mean(q.logpdf(points) - p.logpdf(points))
        if not hasattr(q, "logpdf"):
            from scipy import special

            return special.rel_entr(q, p).sum()
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
            return self._conditional("E", body, given)
        return self._average(law, body)

    def _average(self, law: Node | None, body: Node) -> Any:
        chain = self._chain(law)
        if chain:
            return self._over_chain(chain, body)
        table = next((m for k, m in self.names.items() if law and k.partition("(")[0] == written(law) and "(" in k), None)
        if hasattr(table, "right") and not table.of_a_law:  # the page defines it: a sum over its variables
            ranges = tuple((Node("name", (name, None)), None, None, "") for name in table.formal[: table.free])
            return self._of_large("sum", ranges, Node("product", (table.left, Node("group", (body,)))))
        q, names = self._variables(law)
        if hasattr(q, "logpdf"):
            if len(names) != 1:
                raise Unsaid("a mean over several variables")

            def at(value: Any) -> Any:
                with self.binding(names[0], value):
                    return self.of(body)

            return self.f.mean(at, q)
        total = 0.0
        for where in np.ndindex(*np.shape(q)):
            if q[where]:
                with self.several(dict(zip(names, (Place(i + 1, i) for i in where), strict=True))):
                    total = total + q[where] * self.of(body)
        return total

    def _chain(self, law: Node | None) -> list[tuple[str, Any]]:
        """The laws q(z_1 | x), q(z_2 | z_1), ... that the page defines, where E_q runs over the variables of all."""
        if law is None or law.kind not in ("name", "apply") or f"~{written(law)}" in self.names:
            return []
        head = law if law.kind == "name" else law.parts[0]
        if law.kind == "apply" and len(law.parts[1][0]) == 1 and self._known(law):
            return []
        found: dict[str, Any] = {}
        for key, value in self.names.items():
            if key.partition("(")[0] == written(head) and getattr(value, "of_a_law", False):
                found.setdefault(value.formal[0], value)
        return list(found.items())

    def _known(self, law: Node) -> bool:
        try:
            return bool(self._meaning(*law.parts))
        except Unsaid:
            return False

    def _over_chain(self, chain: list[tuple[str, Any]], body: Node) -> Any:
        if not chain:
            return self.of(body)
        (name, meaning), *rest = chain

        def at(value: Any) -> Any:
            with self.binding(name, value):
                return self._over_chain(rest, body)

        return self.f.mean(at, meaning.law())

    def _variables(self, law: Node | None) -> tuple[Any, list[str]]:
        """A law and the names of what it is the law of: by its own text or by its key in `names`, "q(z)"."""
        if law is None:
            keys = [key for key in self.names if key.startswith("~")]
            if len(keys) != 1:
                raise Unsaid("a mean, and nothing says over what")
            return self.names[keys[0]], keys[0][1:].split(",")
        if law.kind == "drawn":
            return self._law(law.parts[1]), [written(law.parts[0])]
        if f"~{written(law)}" in self.names:
            return self.names[f"~{written(law)}"], [written(law)]
        found = self._law(law)
        if law.kind == "apply":
            names = [self.written(a) for a in self.listed(law.parts[1])[0]]
            joint = self.names.get(written(law.parts[0]) + "()")
            return found, [n for n in names if n in joint.axes] if isinstance(joint, Joint) else names
        head = written(law)
        if isinstance(joint := self.names.get(head + "()"), Joint):
            return found, joint.axes
        key = next((k for k in self.names if k.partition("(")[0] == head and "(" in k), None)
        if key is None:
            raise Unsaid(f"{head}: nothing says of what it is the law")
        return found, arguments_of(key.partition("|")[0].rstrip(")") + ")")

    def _of_variance(self, law: Node | None, body: Node, given: Node | None) -> Any:
        if given is not None:
            return self._conditional("Var", body, given)
        mean = self._average(law, body)
        square = self._average(law, Node("power", (body, Node("number", ("2",)))))
        return square - mean**2

    def _conditional(self, kind: str, body: Node, given: Node) -> Any:
        """What is said of a mean or variance given an index: "E[x|z]" in `names`, one entry for each z."""
        key = f"{kind}[{written(body)}|{written(given)}]"
        if key not in self.names:
            raise Unsaid(f"{key}: nobody has said what it means")
        return self._picked(self.names[key], [given], key)

    def _of_covariance(self, law: Node | None, body: Node, given: Node | None) -> Any:
        raise Unsaid("a covariance")

    def _of_entropy(self, law: Node | None, body: Node, given: Node | None) -> Any:
        q = self._law(body)
        if hasattr(q, "logpdf"):
            return -self.f.mean(q.logpdf, q)
        from scipy import special

        return special.entr(q).sum()


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
