r"""Equations of the page as formulas: found by their number, read, and evaluated in any arithmetic.

    statements = latex.read(on_page("2.7"))
    Values(numpy_namespace(), {"m1": 0.0, "s1": 1.0, "m2": 1.0, "s2": 2.0}).of(statements[0].sides[1])

A name means what it is said to be. In `names`, "m1" is the number, vector or matrix that \(m_1\) stands for. With
brackets in the key it is something that takes arguments: "g(t)" a function of t; "q(z)" or "p(x|z)" a function, or an
array with one axis for each of its arguments that an index runs over, or a distribution of scipy.stats in its first
argument. A whole term of the page can be a key as well, written without spaces, spacing and brackets' sizes.
"""

import functools
import inspect
import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .latex import heads, read
from .laws import Values
from .tokens import Node, Statement, Unreadable
from .values import Lazy, arguments_of, written
from .witnesses import Unsaid

_DISPLAY = re.compile(r"\$\$(.*?)\$\$", re.DOTALL)


def on_page(number: str, folder: Path | None = None) -> str:
    """The displayed equation with this number in the notebooks of a folder, the working directory unless given.

    Raises:
        LookupError: Where no notebook there shows it, or it is shown twice.
    """
    folder = Path.cwd() if folder is None else folder
    paths = sorted(folder.glob("*.ipynb"))
    found = [(path, text) for path in paths for tag, text in _displayed(path, path.stat().st_mtime_ns) if tag == number]
    if len(found) != 1:
        where = f"in {', '.join(path.name for path, _ in found)}" if found else f"in no notebook of {folder}"
        raise LookupError(f"equation ({number}) is displayed {where}: expected one place")
    return found[0][1]


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
        self.text, self.define = text, define
        self.functions = {key.partition("(")[0] for key in define if "(" in key}
        self.definitions: list[tuple[str, Statement, list[Statement]]] = []  # a key, what it is, where that holds
        for source in uses:
            known = self.functions | heads(source)
            statements, conditions = self.sorted(read(source, known))
            for statement in statements:
                self.learn(statement, conditions)
        claimed = []
        statements, self.conditions = self.sorted(read(text, self.functions))
        for statement in statements:
            others = [node for s in statements if s is not statement for side in s.sides for node in side.walk()]
            left = statement.sides[0]
            if statement.relations and left.kind == "name" and left in others and written(left) not in define:
                self.learn(statement, [])
            else:
                claimed.append(statement)
        self.claimed = tuple(claimed or statements)
        self.sides = max(len(s.sides) for s in self.claimed)
        # What had a value of its own: side and statement, where it is no mere name for it; -1 and a condition.
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
        """Keeps what a statement defines, and that it is a function where it is one."""
        if len(statement.sides) > 1:
            key = written(statement.sides[0])
            self.definitions.append((key, statement, conditions))
            self.functions |= {key.partition("(")[0]} if statement.sides[0].kind == "apply" else set()

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

        def value(values: "Values", number: int, nodes: list[Node], last: Node) -> Any:
            try:
                found = values.agreeing(nodes)
                self.valued.add((k, number))
                return found
            except Unsaid:
                if nodes[-1].kind in ("name", "apply") and nodes[-1] is not last:
                    return values.of(last)
                raise

        lasts = [statement.sides[-1] for statement in self.claimed]
        groups = self.groups(k, together)
        return self.formula(
            [
                functools.partial(value, number=number, nodes=g, last=last)
                for number, (g, last) in enumerate(zip(groups, lasts, strict=True))
            ]
        )

    def expression(self, text: str) -> Callable[..., Any]:
        """Another formula in the same names, such as a wrong twin: one side, or as many as there are statements."""
        nodes = [statement.sides[-1] for statement in read(text, self.functions)]
        return self.formula([functools.partial(Values.of, node=node) for node in nodes])

    def formula(self, parts: list[Callable[["Values"], Any]]) -> "Formula":
        """A function of a namespace and a case: the value of each part, stacked if there are several."""
        return Formula(self, parts)


class Formula:
    """Parts of an equation as a function of a namespace and a case, stacked if there are several."""

    def __init__(self, equation: Equation, parts: list[Callable[[Values], Any]]):
        self.equation, self.parts = equation, parts
        self.accuracy = 0.0  # to which the last value is known, if a quadrature gave it

    def __call__(self, f: Any, **case: Any) -> Any:
        """Its value."""
        values = Values(f, meanings(self.equation.define, f, case))
        for key, statement, conditions in self.equation.definitions:
            if key not in values.names:
                meaning = defined(values, statement, conditions)
                if meaning is not None:
                    values.names[key] = meaning
        self.equation.valued |= {(-1, asked) for asked in values.require(self.equation.conditions)}
        values.accuracy = 0.0
        found = [part(values) for part in self.parts]
        self.accuracy = values.accuracy
        return found[0] if len(found) == 1 else np.stack([np.asarray(v) for v in found])


def defined(values: Values, statement: Statement, conditions: list[Statement]) -> Any:
    """The value that a statement gives its left side, or the function that it defines, where its conditions hold.

    None where the left side has a value without it, which the page only repeats, and from which it must not differ.
    """
    left, *right = statement.sides
    if left.kind == "apply":
        return Defined(values, statement, conditions)
    if left.kind != "name":
        try:
            values.of(left)
        except Unsaid:
            pass
        else:
            values.agreeing(list(statement.sides), strict=True)
            return None
    try:
        return values.agreeing(right, strict=True)
    except Unsaid:  # it hangs on what a sum or a law runs over
        return Lazy(right)


class Defined:
    """A function that the page defines."""

    def __init__(self, values: Values, statement: Statement, conditions: list[Statement]):
        left, *self.right = statement.sides
        self.values, self.conditions = values, conditions
        self.formal = [written(argument) for group in left.parts[1] for argument in group]
        if len(set(self.formal)) < len(self.formal):
            raise ValueError(f"a function of {', '.join(self.formal)}: expected each argument once")

    def __call__(self, *arguments: Any) -> Any:
        with self.values.several(dict(zip(self.formal, arguments, strict=True))):
            self.values.require(self.conditions)
            return self.values.agreeing(self.right, strict=True)

    def law(self) -> Any:
        """With its variable left free: a table of probabilities."""
        large = [node for side in self.right for node in side.walk() if node.kind == "large"]
        if {written(variable) for node in large for variable, *_ in node.parts[1]} & {*self.formal}:
            raise ValueError(f"a sum runs over one of the arguments {', '.join(self.formal)}")
        return self.values.of(self.right[-1])


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
        fixed = {name: f if name == "f" else names[name] for name in takes if name not in formal}
        if formal and set(formal) <= set(takes):
            names[key] = _partial(value, fixed, formal)
        else:
            try:
                names[key] = value(**fixed)
            except TypeError:  # such as a distribution of scipy, of symbols
                if f.name == "numpy":
                    raise
    return names


def _partial(function: Callable[..., Any], fixed: dict[str, Any], formal: list[str]) -> Callable[..., Any]:
    return lambda *arguments: function(**fixed, **dict(zip(formal, arguments, strict=True)))
