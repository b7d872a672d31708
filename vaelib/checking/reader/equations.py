r"""Equations of the page as formulas: found by their number, read, and evaluated in any arithmetic.

    statements = latex.read(on_page("2.7"))
    Chains(numpy_namespace(), {"m1": 0.0, "s1": 1.0, "m2": 1.0, "s2": 2.0}).of(statements[0].sides[1])

A name means what it is said to be. In `names`, "m1" is the number, vector or matrix that \(m_1\) stands for. With
brackets in the key it is something that takes arguments: "g(t)" a function of t; "q(z)" or "p(x|z)" a function, or an
array with one axis for each of its arguments that an index runs over, or a distribution of scipy.stats in its first
argument. A whole term of the page can be a key as well, written without spaces, spacing and brackets' sizes.
"""

import functools
import inspect
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .arithmetics import Unsaid
from .chains import Chains
from .definitions import Defined, defined, family, inverted, stated
from .latex import heads, read
from .names import arguments_of, written
from .tokens import KNOWN, Node, Statement, Unreadable

_DISPLAY = re.compile(r"\$\$(.*?)\$\$", re.DOTALL)


def on_page(number: str, folder: Path | None = None) -> str:
    """The displayed equation with this number in the notebooks of a folder, the working directory unless given.

    Raises:
        LookupError: Where no notebook there shows it, or it is shown twice.
    """
    folder = Path.cwd() if folder is None else folder
    found = [(path, text) for path, tag, text in _all_displayed(folder) if tag == number]
    if len(found) != 1:
        where = f"in {', '.join(path.name for path, _ in found)}" if found else f"in no notebook of {folder}"
        raise LookupError(f"equation ({number}) is displayed {where}: expected one place")
    return found[0][1]


def numbered(folder: Path) -> dict[str, str]:
    """All displayed equations with a number in the notebooks of a folder, in reading order."""
    return {tag: text for _, tag, text in _all_displayed(folder)}


def _all_displayed(folder: Path) -> Iterator[tuple[Path, str, str]]:
    for path in sorted(folder.glob("*.ipynb")):
        for tag, text in _displayed(path, path.stat().st_mtime_ns):
            yield path, tag, text


@functools.lru_cache(maxsize=64)
def _displayed(path: Path, changed: int) -> list[tuple[str, str]]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    equations = [match for text in texts for match in _DISPLAY.findall(text)]
    return [(tag, text) for text in equations for tag in re.findall(r"\\tag\{([^}]*)\}", text)]


CONDITIONS = ("for ", "if", "where")  # words before a statement that say when another holds
REMARKS = ("with", "likewise", "the ", "and infinite")  # words before what is not checked


class Equation:
    """A displayed equation: what it claims, side by side, and what it only defines.

    Args:
        text: LaTeX.
        define: what its names mean, see `meanings`.
        uses: displayed equations whose definitions it uses.

    Raises:
        Unreadable: see `latex.read`.
    """

    def __init__(self, text: str, define: Mapping[str, Any], uses: Iterable[str] = ()):
        self.text, self.define, self.uses = text, define, tuple(uses)
        self.functions = {key.partition("(")[0] for key in define if "(" in key}
        self.definitions: list[tuple[Statement, list[Statement]]] = []  # what is said, and where it holds
        self.functions |= {head for source in self.uses for head in heads(source)}
        for source in self.uses:
            statements, conditions = self.sorted(read(source, self.functions))
            for statement in statements:
                self.learn(statement, conditions)
            idle = [c for c in conditions if not _mentioned([c]) & _mentioned(statements)]
            if idle:
                raise Unreadable(f"a condition on {written(idle[0].sides[0])}, which nothing else mentions")
        claimed = []
        self.functions |= heads(text) - KNOWN
        statements, self.conditions = self.sorted(read(text, self.functions))
        for statement in map(inverted, statements):
            others = [node for s in statements if s is not statement for side in s.sides for node in side.walk()]
            left = statement.sides[0]
            known = written(left) in define or not statement.relations
            if left.kind in ("name", "power") and left in others and not known:
                self.learn(statement, [])
                continue
            if left.kind == "apply" and any(n.kind == "apply" and n.parts[0] == left.parts[0] for n in others):
                self.learn(statement, [])  # claimed as well
            claimed.append(statement)
        self.claimed = tuple(claimed or statements)
        self.sides = max(len(s.sides) for s in self.claimed)
        # What had a value of its own, side and statement: where it is no mere name for it.
        self.valued: set[tuple[int, int]] = set()

    @staticmethod
    def sorted(statements: Iterable[Statement]) -> tuple[list[Statement], list[Statement]]:
        """What is said, and under which conditions: comparisons after the first statement, or after words for one."""
        said: list[Statement] = []
        conditions = []
        for statement in statements:
            relations = set(statement.relations)
            if {"~", "in"} & relations or statement.when.startswith(REMARKS):
                continue
            bound = said and relations and relations <= {"<", ">", "<=", ">="} and statement.sides[0].kind == "name"
            (conditions if bound or statement.when.startswith(CONDITIONS) else said).append(statement)
        return said, conditions

    def learn(self, statement: Statement, conditions: list[Statement]) -> None:
        """Keeps what a statement defines, under those of the conditions that concern it."""
        statement = stated(statement)
        conditions = [c for c in conditions if _mentioned([c]) & _mentioned([statement])]
        left = statement.sides[0]
        if len(statement.sides) > 1:
            if twice := sorted(_ambiguous(statement)):
                raise Unreadable(f"{twice[0]} has two meanings in what is said of {written(left)}")
            self.definitions.append((statement, conditions))
            if left.kind == "apply":  # f_k(x) says that f_{k+1} is a function as well
                self.functions |= {written(left).partition("(")[0], left.parts[0].parts[0]}

    def relation(self, k: int, truth: int | None) -> str:
        """What side k should be to the side that a witness knows, which is the last that is no number, by the print."""
        statement = self.claimed[0]
        if truth is None:
            truth = max((n for n, side in enumerate(statement.sides) if side.kind != "number"), default=0)
        k = min(k, len(statement.sides) - 1)
        low, high = sorted((k, truth))
        between = {{"<": "<=", ">": ">="}.get(r, r) for r in statement.relations[low:high]} - {"=="}
        if not between:
            return "=="
        if len(between) > 1:
            raise Unreadable(f"the relations between sides {low + 1} and {high + 1} point both ways")
        (one,) = between
        return one if k < truth else {"<=": ">=", ">=": "<="}[one]

    def groups(self, k: int, together: bool) -> list[list[Node]]:
        """For each statement its side k or its last, together with the sides before it that are equal."""
        found = []
        for statement in self.claimed:
            first = last = min(k, len(statement.sides) - 1)
            while together and first and statement.relations[first - 1] == "==":
                first -= 1
            found.append(list(statement.sides[first : last + 1]))
        return found

    def side(self, k: int, together: bool) -> Callable[..., Any]:
        """Side k as a function of a namespace and a case; a mere name for the value says nothing, and has it."""

        def value(values: "Chains", number: int, nodes: list[Node], last: Node) -> Any:
            try:
                found = values.agreeing(nodes)
                self.valued.add((k, number))
                return found
            except Unsaid:
                if mere(nodes[-1]) and nodes[-1] is not last and not values.knows(nodes[-1]):
                    return values.of(last)
                raise

        lasts = [statement.sides[-1] for statement in self.claimed]
        pairs = enumerate(zip(self.groups(k, together), lasts, strict=True))
        return Parts(self, [functools.partial(value, number=n, nodes=g, last=last) for n, (g, last) in pairs])

    def expression(self, text: str) -> Callable[..., Any]:
        """Another formula in the same names, such as a wrong twin: one side, or as many as there are statements."""
        nodes = [statement.sides[-1] for statement in read(text, self.functions)]
        return Parts(self, [functools.partial(Chains.of, node=node) for node in nodes])

    def twin(self, change: str | Mapping[str, str]) -> Callable[..., Any]:
        """Another formula, or this one with some of its text replaced: of each statement the last side that differs.

        Raises:
            ValueError: where the page does not say what is to be replaced.
        """
        if isinstance(change, str):
            return self.expression(change)
        text = self.text
        for right, wrong in change.items():
            if right not in text:
                raise ValueError(f"the page does not say {right!r}: {' '.join(self.text.split())}")
            text = text.replace(right, wrong)
        twin = Equation(text, self.define, self.uses)
        nodes = []
        for ours, theirs in zip(self.claimed, twin.claimed, strict=True):
            changed = [new for old, new in zip(ours.sides, theirs.sides, strict=True) if old != new]
            nodes.append((changed or theirs.sides)[-1])
        return Parts(twin, [functools.partial(Chains.of, node=node) for node in nodes])

    def values(self, f: Any, case: Mapping[str, Any]) -> Chains:
        """What the names mean in a case: as they are said to, and as the page defines them."""
        values = Chains(f, meanings(self.define, f, case))
        values.anew = lambda **changed: self.values(f, {**case, **changed})
        for statement, conditions in self.definitions:
            left = values.listed(statement.sides[0])
            key = values.written(left) if left.kind == "apply" else family(statement) or written(left)
            known = values.names.get(key)
            if known is None and written(left) in self.define:
                continue  # it is said for every index, as it is printed: IWAE_K(x), whatever K is
            if known is None:
                meaning = defined(values, left, statement, conditions)
                if meaning is not None:
                    values.names[key] = meaning
            elif isinstance(known, Defined):  # sum_z p(x, z) or, where z is continuous, an integral
                known.otherwise = known.otherwise or Defined(values, left, statement, conditions)
        return values


class Parts:
    """Parts of an equation as a function of a namespace and a case: their values, stacked if there are several."""

    def __init__(self, equation: Equation, parts: list[Callable[[Chains], Any]]):
        self.equation, self.parts = equation, parts
        self.accuracy = 0.0  # to which the last value is known, if a quadrature gave it
        self.known: dict[Any, tuple[Any, float]] = {}  # several witnesses look at the same cases

    def __call__(self, f: Any, **case: Any) -> Any:
        """Their values; in floating point they are computed once for a case."""
        arrays = {name: np.asarray(value) for name, value in case.items()} if f.name == "numpy" else {}
        key = tuple((name, a.dtype.str, a.shape, a.tobytes()) for name, a in arrays.items() if not a.dtype.hasobject)
        if len(key) < len(arrays) or not key:
            return self._computed(f, case)
        if key not in self.known:
            self.known[key] = self._computed(f, case), self.accuracy
        value, self.accuracy = self.known[key]
        return value

    def _computed(self, f: Any, case: Mapping[str, Any]) -> Any:
        values = self.equation.values(f, case)
        values.require(self.equation.conditions)
        values.accuracy = 0.0
        found = [part(values) for part in self.parts]
        self.accuracy = values.accuracy
        if len(found) == 1:
            return found[0]
        arrays = [np.asarray(v) for v in found]  # a vector and a matrix: one above the other
        return np.stack(arrays) if len({a.ndim for a in arrays}) == 1 else np.vstack(arrays)


def _mentioned(statements: Iterable[Statement]) -> set[str]:
    """The names in some statements."""
    return {written(n) for s in statements for side in s.sides for n in side.walk() if n.kind == "name"}


def _ambiguous(statement: Statement) -> set[str]:
    """Letters with two meanings in a definition: for two arguments, argument and running index, index and indexed."""
    nodes = [node for side in statement.sides for node in side.walk()]
    names = [n for n in nodes if n.kind == "name" and n.parts[1]]
    indices = {written(i) for n in names for i in n.parts[1] if i.kind == "name"}
    formal = arguments_of(written(statement.sides[0])) if statement.sides[0].kind == "apply" else []
    running = {written(r[0]) for n in nodes if n.kind == "large" for r in n.parts[1] if isinstance(r, tuple)}
    twice = {name for name in formal if formal.count(name) > 1}
    return twice | (running & set(formal)) | (indices & {n.parts[0] for n in names})


def mere(node: Node) -> bool:
    """Whether it only names the value: R, f(x), theta^2."""
    return node.kind in ("name", "apply") or (node.kind in ("power", "index") and mere(node.parts[0]))


def meanings(define: Mapping[str, Any], f: Any, case: Mapping[str, Any]) -> dict[str, Any]:
    """The names of a case with those that are defined: a function of `f` and of the case's variables gives a value.

    Where a key has arguments and the function takes them too, "g(t)": lambda f, t: ..., it stays a function of them.
    """
    names = dict(case)
    for key, value in define.items():
        if not inspect.isfunction(value):
            names[key] = value
            continue
        takes = list(inspect.signature(value).parameters)
        formal = arguments_of(key) if "(" in key else []
        free = formal if set(formal) <= set(takes) else []
        fixed = {name: f if name == "f" else names.get(name) for name in takes if name not in free}
        if any(name != "f" and name not in names for name in fixed):
            continue  # it has no meaning where a witness leaves out a variable
        if free:
            names[key] = _partial(value, fixed, formal)
        else:
            try:
                names[key] = value(**fixed)
            except Exception:
                if f.name == "numpy":
                    raise  # elsewhere what numpy, scipy or torch are needed for has no meaning
    return names


def _partial(function: Callable[..., Any], fixed: dict[str, Any], formal: list[str]) -> Callable[..., Any]:
    return lambda *arguments: function(**fixed, **dict(zip(formal, arguments, strict=True)))
