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
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
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
        uses = list(uses)
        self.functions |= {head for source in uses for head in heads(source)}
        for source in uses:
            statements, conditions = self.sorted(read(source, self.functions))
            for statement in map(inverted, statements):
                self.learn(statement, conditions)
        claimed = []
        statements, self.conditions = self.sorted(read(text, self.functions))
        for statement in map(inverted, statements):
            others = [node for s in statements if s is not statement for side in s.sides for node in side.walk()]
            left = statement.sides[0]
            if statement.relations and left.kind == "name" and left in others and written(left) not in define:
                self.learn(statement, [])
            else:
                claimed.append(statement)
        self.claimed = tuple(claimed or statements)
        self.sides = max(len(s.sides) for s in self.claimed)
        # The sides that had a value of their own, and were no mere name for it; from -1 down, definitions that were used.
        self.valued: set[int] = set()

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
        left = statement.sides[0]
        left = left.parts[1] if left.kind == "call" and left.parts[0] == "log" else left
        if len(statement.sides) > 1 and left.kind in ("name", "apply"):
            key = written(left)
            self.definitions.append((key, statement, conditions))
            self.functions |= {key.partition("(")[0]} if "(" in key else set()

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

        def value(values: "Values", nodes: list[Node], last: Node) -> Any:
            try:
                found = values.agreeing(nodes)
                self.valued.add(k)
                return found
            except Unsaid:
                if nodes[-1].kind in ("name", "apply") and nodes[-1] is not last:
                    return values.of(last)
                raise

        lasts = [statement.sides[-1] for statement in self.claimed]
        groups = self.groups(k, together)
        return self.formula(
            [functools.partial(value, nodes=g, last=last) for g, last in zip(groups, lasts, strict=True)]
        )

    def expression(self, text: str) -> Callable[..., Any]:
        """Another formula in the same names, such as a wrong twin: one side, or as many as there are statements."""
        nodes = [statement.sides[-1] for statement in read(text, self.functions)]
        return self.formula([functools.partial(Values.of, node=node) for node in nodes], self.valued.copy())

    def formula(self, parts: list[Callable[["Values"], Any]], valued: set[int] | None = None) -> Callable[..., Any]:
        """A function of a namespace and a case: the value of each part, stacked if there are several."""

        def evaluate(f: Any, **case: Any) -> Any:
            values = Values(f, meanings(self.define, f, case))
            for number, (key, statement, conditions) in enumerate(self.definitions, start=1):
                note = functools.partial((self.valued if valued is None else valued).add, -number)
                define(values, key, statement, conditions, note)
            values.require(self.conditions)
            found = [part(values) for part in parts]
            return found[0] if len(found) == 1 else np.stack([np.asarray(v) for v in found])

        return evaluate


def inverted(statement: Statement) -> Statement:
    """v = 1 / (a + b) where 1 / v = a + b is printed."""
    left, *right = statement.sides
    one = Node("number", ("1",))
    if left.kind == "ratio" and left.parts[0] == one and left.parts[1].kind == "name" and right:
        sides = (left.parts[1], *(Node("ratio", (one, side), side.at) for side in right))
        return Statement(sides, statement.relations, statement.when)
    return statement


def define(
    values: Values, key: str, statement: Statement, conditions: list[Statement], note: Callable[[], None]
) -> None:
    """Adds what a statement defines to the names, unless it is there: a value, or a function of arguments or an index."""
    left, *right = statement.sides
    logged = left.kind == "call"
    left = left.parts[1] if logged else left
    if left.kind == "apply":
        meaning = Defined(values, left, right, conditions, logged, note)
        values.names.setdefault(meaning.key, meaning)
    elif key not in values.names:
        index = index_of(left, right)
        if not index and not logged:
            try:
                values.names[key] = values.agreeing(right, strict=True)
                return
            except Unsaid:  # it hangs on what is bound where it stands
                pass
        meaning = Defined(values, Node("apply", (left, ())), right, conditions, logged, note)
        values.names[left.parts[0] + "_" if index else key] = Lazy(meaning, meaning.logarithm, index)


def index_of(left: Node, right: list[Node]) -> str:
    """t where R_t is defined for every t, which stands among the indices on the right as well."""
    if not left.parts[1] or len(left.parts[1]) != 1 or left.parts[1][0].kind != "name":
        return ""
    t = left.parts[1][0]
    scripts = [part for side in right for node in side.walk() if node.kind == "name" for part in node.parts[1] or ()]
    return written(t) if any(t == node for part in scripts for node in part.walk()) else ""


class Defined:
    """A function or a law that the page defines."""

    def __init__(
        self,
        values: Values,
        left: Node,
        right: list[Node],
        conditions: list[Statement],
        logged: bool,
        note: Callable[[], None],
    ):
        self.values, self.right, self.conditions, self.logged, self.note = values, right, conditions, logged, note
        name, groups = left.parts
        groups = values.listed(groups)
        self.left = Node("apply", (name, groups))
        self.key = values.written(self.left)
        self.formal = [values.written(argument) for group in groups for argument in group]
        self.free = len(groups[0]) if groups else 0
        self.of_a_law = right[-1].kind == "normal" and len(right[-1].parts[0]) == 1

    @contextmanager
    def given(self, formal: list[str], arguments: tuple[Any, ...]) -> Generator[None]:
        """In this block the formal arguments have these values, as far as there are any."""
        pairs = zip(formal, arguments, strict=True)
        with self.values.several({name: value for name, value in pairs if value is not None}):
            self.values.require(self.conditions)
            self.note()
            yield

    def __call__(self, *arguments: Any) -> Any:
        if self.of_a_law:
            return self.law(*arguments[self.free :]).pdf(arguments[0])
        with self.given(self.formal, arguments):
            value = self.values.agreeing(self.right, strict=True)
        return self.values.f.exp(value) if self.logged else value

    def logarithm(self, *arguments: Any) -> Any:
        """Of its value, without the value itself where that is not needed."""
        if self.of_a_law:
            return self.law(*arguments[self.free :]).logpdf(arguments[0])
        with self.given(self.formal, arguments):
            if self.logged:
                return self.values.agreeing(self.right, strict=True)
            return self.values.agreeing([Node("call", ("log", side)) for side in self.right], strict=True)

    def law(self, *given: Any) -> Any:
        """With its variables left free: a distribution, or a table of probabilities."""
        with self.given(self.formal[self.free :], given or (None,) * len(self.formal[self.free :])):
            for name in self.formal[: self.free]:
                self.values.bound.pop(name, None)
            right = self.right[-1]
            return self.values._law(right) if self.of_a_law or right.kind == "apply" else self.values.of(right)


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
            names[key] = value(**fixed)
    return names


def _partial(function: Callable[..., Any], fixed: dict[str, Any], formal: list[str]) -> Callable[..., Any]:
    return lambda *arguments: function(**fixed, **dict(zip(formal, arguments, strict=True)))
