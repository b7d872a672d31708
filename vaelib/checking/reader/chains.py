r"""What runs over several laws: joint tables, lists such as z_1, ..., z_T, and means over a chain of laws."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .arithmetics import INTEGER, Unsaid
from .densities import mean_under
from .laws import Values
from .names import Place, picked, written
from .tokens import Node, plain


class Joint:
    """A table of the joint law of several variables, one axis for each, which knows every marginal and conditional.

    As the meaning of "p()" it says what p(z_1), p(x | z_1, z_2) and all others are. A variable of a case is an entry,
    from 0 on.

    Args:
        table: the probabilities.
        axes: the names of the variables, "z2 z1 x".
        given: the names of what all is conditioned on, which has no axis.
    """

    def __init__(self, table: Any, axes: str, given: str = ""):
        self.table, self.axes, self.fixed = np.asarray(table), axes.split(), given.split()

    def part(self, groups: list[list[str]]) -> "Part":
        """A marginal law, or a conditional one if there are two groups; ValueError for one it does not have."""
        unknown = {name for group in groups for name in group} - {*self.axes, *self.fixed}
        if unknown or len(groups) > 2:
            raise ValueError(f"{', '.join(sorted(unknown))}: not in this joint law")
        of, given = ([name for name in group if name in self.axes] for group in ([*groups, []])[:2])
        table = self.marginal(of + given)
        return Part(table / self.marginal(given) if len(groups) == 2 else table, [*of, *given], groups)

    def marginal(self, names: list[str]) -> np.ndarray:
        """Summed over the other axes; these in this order."""
        kept = [self.axes.index(name) for name in names]
        summed = self.table.sum(axis=tuple(set(range(len(self.axes))) - set(kept)))
        return np.transpose(summed, [sorted(kept).index(k) for k in kept])


class Part:
    """A marginal or conditional law: a number where its variables have entries, or the table of what is left free."""

    def __init__(self, table: np.ndarray, axes: list[str], groups: list[list[str]]):
        self.table, self.axes, self.groups = table, axes, groups
        self.formal = [name for group in groups for name in group]
        self.free = len(groups[0])
        self.lengths = dict(zip(axes, table.shape, strict=True))

    def __call__(self, *entries: Any) -> Any:
        return picked(self.table, self._where(self.formal, entries))

    def law(self, *given: Any) -> np.ndarray:
        """The probabilities of its variables."""
        return self.table[(..., *self._where([name for group in self.groups[1:] for name in group], given))]

    def _where(self, names: list[str], entries: tuple[Any, ...]) -> tuple[Any, ...]:
        found = {name: entry for name, entry in zip(names, entries, strict=True) if name in self.axes}
        if any(entry is None for entry in found.values()):
            raise Unsaid("a variable without an entry")
        where = {name: entry.entry if isinstance(entry, Place) else int(entry) for name, entry in found.items()}
        return tuple(where[name] for name in self.axes if name in where)


class Chains(Values):
    """Evaluates nodes over a namespace `f`, given what the names mean: all that `Values` does, over several laws."""

    # --- Lists of variables, and names that hang on something ---------------------------------------------------------

    def listed(self, node: Node) -> Node:
        """A name with its arguments, z_1, ..., z_3 among them written out."""
        if node.kind != "apply" or not any(a.kind == "dots" for group in node.parts[1] for a in group):
            return node
        return Node("apply", (node.parts[0], tuple(map(self._list, node.parts[1]))), node.at)

    def _list(self, group: tuple[Node, ...]) -> tuple[Node, ...]:
        found: list[Node] = []
        for before, node in zip((None, *group), group, strict=False):
            if before is not None and before.kind == "dots":
                first, base = found.pop(), node.parts[0]
                if first.parts[0] != base:
                    raise Unsaid(f"from {written(first)} to {written(node)}")
                low, high = (int(self.of(n.parts[1][0])) for n in (first, node))
                numbers = range(low, high + 1) if found or low <= high else range(low, high - 1, -1)
                found += [Node("name", (base, (Node("number", (str(k),)),))) for k in numbers]
            elif node.kind != "dots":
                found.append(node)
        return tuple(found)

    def _place(self, node: Node) -> Place | None:
        if node.kind == "name" and not plain(node):  # z_{t+1} with t = 1 is z2
            value = self.bound.get(self.written(node))
            return value if isinstance(value, Place) else None
        return super()._place(node)

    def _index(self, node: Node) -> int | None:
        value = self.names.get(written(node))
        return int(value) if written(node) not in self.bound and isinstance(value, INTEGER) else super()._index(node)

    def _of_name(self, base: str, script: tuple[Node, ...] | None) -> Any:
        if script and len(script) == 1 and (family := self.names.get(f"{base}_")) is not None:  # R_1, where R_t is said
            at = int(self.of(script[0]))
            return family.where({family.index: Place(at, at - 1)})()
        found = super()._of_name(base, script)
        return found() if hasattr(found, "hangs") else found

    def _of_apply(self, name: Node, groups: tuple[tuple[Node, ...], ...]) -> Any:
        return super()._of_apply(*self.listed(Node("apply", (name, groups))).parts)

    def _log(self, inner: Node) -> Any:
        if inner.kind == "name" and hasattr(found := self.names.get(written(inner)), "hangs"):
            return found.log()
        return super()._log(self.listed(inner))

    def _meaning(self, name: Node, groups: tuple[tuple[Node, ...], ...]) -> tuple[Any, str]:
        node = self.listed(Node("apply", (name, groups)))
        joint = self.names.get(f"{written(name)}()")
        if isinstance(joint, Joint) and (key := self.written(node)) not in self.names:
            return joint.part([[self.written(a) for a in group] for group in node.parts[1]]), key
        return super()._meaning(*node.parts)

    # --- Means --------------------------------------------------------------------------------------------------------

    def _law(self, node: Node) -> Any:
        while node.kind == "group":
            (node,) = node.parts
        if node.kind == "name" and isinstance(joint := self.names.get(f"{written(node)}()"), Joint):
            return joint.table
        if node.kind == "apply":
            with self._free(node):
                return super()._law(self.listed(node))
        return super()._law(node)

    @contextmanager
    def _free(self, node: Node) -> Generator[None]:
        """In this block the variables of a law have no values, even inside a mean over them: all of it is asked for."""
        with self.several({}):
            for argument in self.listed(node).parts[1][0]:
                self.bound.pop(self.written(argument), None)
            yield

    def _variables(self, law: Node | None) -> tuple[Any, list[str]]:
        if law is None or law.kind not in ("name", "apply") or f"~{written(law)}" in self.names:
            return super()._variables(law)
        law = self.listed(law)
        head = law if law.kind == "name" else law.parts[0]
        joint = self.names.get(f"{written(head)}()")
        if isinstance(joint, Joint) and law.kind == "name":
            return joint.table, joint.axes
        if law.kind == "name":
            return super()._variables(law)
        names = [self.written(argument) for argument in law.parts[1][0]]
        return self._law(law), [name for name in names if name in joint.axes] if isinstance(joint, Joint) else names

    def _of_mean(self, law: Node | None, body: Node, given: Node | None) -> Any:
        return self._average(law, body) if given is None else self._conditional("E", body, given)

    def _of_variance(self, law: Node | None, body: Node, given: Node | None) -> Any:
        return super()._of_variance(law, body, None) if given is None else self._conditional("Var", body, given)

    def _conditional(self, kind: str, body: Node, given: Node) -> Any:
        """What is said of a mean or variance given an index: "E[x|z]" in `names` has one entry for each z."""
        key = f"{kind}[{written(body)}|{written(given)}]"
        if key not in self.names:
            raise Unsaid(f"{key}: nobody has said what it means")
        return self._picked(self.names[key], [given], key)

    def _average(self, law: Node | None, body: Node, then: Any = lambda value: value) -> Any:
        chain = self._chain(law)
        return self._along(chain, body, then) if chain else super()._average(law, body, then)

    def _chain(self, law: Node | None) -> dict[str, Any]:
        """The laws q(z_1 | x), q(z_2 | z_1), ... that the page gives, where E_q runs over the variables of all.

        Of each variable the first; in the order of the page, so that what a law is conditioned on is drawn before it.
        """
        if law is None or law.kind not in ("name", "apply") or f"~{written(law)}" in self.names:
            return {}
        law = self.listed(law)
        if law.kind == "apply" and (len(law.parts[1][0]) == 1 or self.knows(law)):
            return {}
        head = written(law if law.kind == "name" else law.parts[0])
        found: dict[str, Any] = {}
        for key, value in self.names.items():
            if key.partition("(")[0] == head and getattr(value, "is_normal", False):
                found.setdefault(value.formal[0], value)
        return found if len(found) > 1 else {}

    def _along(self, chain: dict[str, Any], body: Node, then: Any) -> Any:
        if not chain:
            return then(self.of(body))
        (name, meaning), *rest = chain.items()

        def at(value: Any) -> Any:
            with self.binding(name, value):
                return self._along(dict(rest), body, then)

        self.by_quadrature()
        return mean_under(self.f, at, meaning.law())

    # --- Sums over tables ---------------------------------------------------------------------------------------------

    def _axis(self, name: str, body: Node) -> int | None:
        found = super()._axis(name, body)
        for node in body.walk() if found is None else ():
            if node.kind != "apply":
                continue
            meaning, text = self._said(node), [self.written(a) for group in self.listed(node).parts[1] for a in group]
            if isinstance(meaning, Part):
                found = meaning.lengths.get(name)
            elif hasattr(meaning, "right") and name in text:  # the page defines it
                inside = (self._axis(meaning.formal[text.index(name)], side) for side in meaning.right)
                found = next((length for length in inside if length is not None), None)
            if found is not None:
                break
        return found

    def _said(self, node: Node) -> Any:
        try:
            return self._meaning(*node.parts)[0]
        except Unsaid:
            return None

    def _of_integral(self, variable: Node, low: Node | None, high: Node | None, body: Node) -> Any:
        """Of tables, their sum."""
        if low is None and high is None and self._axis(self.written(variable), body) is not None:
            return self._of_large("sum", ((variable, None, None, ""),), body)
        return super()._of_integral(variable, low, high, body)
