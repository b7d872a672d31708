"""What the page defines: numbers, functions, laws, and names that hang on an index or on what a law runs over."""

import copy
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from .arithmetics import Unsaid
from .chains import Chains
from .names import written
from .tokens import Node, Statement


def stated(statement: Statement) -> Statement:
    r"""A definition with its left side alone: w = exp(a) for \log w = a; and q(z) = N(z; m, v) for q(z) = N(m, v)."""
    left, *right = inverted(statement).sides
    relations = statement.relations
    if left.kind == "call" and left.parts[0] == "log" and left.parts[1].kind in ("name", "apply"):
        left, right = left.parts[1], [Node("call", ("exp", side)) for side in right]
    if left.kind == "apply":
        right = [of_its_variable(side, left) for side in right]
    return Statement((left, *right), relations, statement.when)


def of_its_variable(side: Node, left: Node) -> Node:
    r"""N(z; m, v) where q(z | x) = N(m, v) is printed."""
    if side.kind == "normal" and len(side.parts[0]) == 1:
        return Node("normal", ((left.parts[1][0], *side.parts[0]),), side.at)
    return side


def inverted(statement: Statement) -> Statement:
    """v = 1 / (a + b) where 1 / v = a + b is printed."""
    left, *right = statement.sides
    one = Node("number", ("1",))
    if left.kind == "ratio" and left.parts[0] == one and left.parts[1].kind == "name" and right:
        sides = (left.parts[1], *(Node("ratio", (one, side), side.at) for side in right))
        return Statement(sides, statement.relations, statement.when)
    return statement


def family(statement: Statement) -> str:
    """A key, "R_", where R_t is said for every t, which is an index on the right as well; else nothing."""
    left, *right = statement.sides
    if left.kind != "name" or len(left.parts[1] or ()) != 1 or left.parts[1][0].kind != "name":
        return ""
    nodes = [node for side in right for node in side.walk() if node.kind == "name"]
    indices = [index for node in nodes for part in node.parts[1] or () for index in part.walk()]
    return f"{left.parts[0]}_" if left.parts[1][0] in indices else ""


def free(values: Chains, statement: Statement) -> bool:
    """Whether a function or law stands on the right with an argument that has no value yet."""
    applied = [node for side in statement.sides[1:] for node in side.walk() if node.kind == "apply"]
    return any(a.kind == "name" and not values.knows(a) for node in applied for group in node.parts[1] for a in group)


def defined(values: Chains, left: Node, statement: Statement, conditions: list[Statement]) -> Any:
    """The value that a statement gives its left side, or the function that it defines, where its conditions hold.

    None where the left side has a value without it, which the page only repeats, and from which it must not differ.
    """
    if left.kind == "apply":
        return Defined(values, left, statement, conditions)
    if left.kind not in ("name", "power") and values._quietly(left) is not None:
        values.agreeing(list(statement.sides), strict=True)
        return None
    if not family(statement) and not free(values, statement):
        values.require(conditions)
        try:
            return values.agreeing(list(statement.sides[1:]), strict=True)
        except Unsaid:
            pass
    return Hanging(values, left, statement, conditions)


class Defined:
    """A function that the page defines."""

    def __init__(self, values: Chains, left: Node, statement: Statement, conditions: list[Statement]):
        self.right = list(statement.sides[1:])
        self.values, self.conditions = values, conditions
        self.formal = [values.written(argument) for group in left.parts[1] for argument in group]
        base, script = left.parts[0].parts if left.parts[0].kind == "name" else ("", None)
        one = script and len(script) == 1 and script[0].kind == "name"
        self.indexed = (base, written(script[0]) if one else "", len(self.formal))
        self.head = {written(n) for n in left.walk() if n.kind == "name"}  # names in it, such as an index
        self.free = len(left.parts[1][0])  # so many arguments are variables, the others are given
        self.at: dict[str, Any] = {}  # its index
        self.otherwise: Defined | None = None  # what the page says of the same name after that

    def where(self, at: dict[str, Any]) -> "Defined":
        """The function with this index."""
        other = copy.copy(self)
        other.at = at
        return other

    @contextmanager
    def given(self, arguments: tuple[Any, ...]) -> Generator[None]:
        """In this block the last formal arguments have these values.

        From outside come those of the head's other names and of the case's variables, with respect to which the value
        may be differentiated, and none else: an index of the sum in which the function stands means nothing here.
        """
        formal = self.formal[len(self.formal) - len(arguments) :]
        values = {name: value for name, value in zip(formal, arguments, strict=True) if value is not None}
        known = {*self.head, *self.values.names}
        outside = {name: value for name, value in self.values.bound.items() if name in known}
        with self.values.within({**outside, **values, **self.at}):
            self.values.require(self.conditions)
            yield

    def __call__(self, *arguments: Any) -> Any:
        with self.given(arguments):
            try:
                return self.values.agreeing(self.right, strict=True)
            except Unsaid:
                if self.otherwise is None:
                    raise
        return self.otherwise(*arguments)

    def log(self, *arguments: Any) -> Any:
        """The logarithm of its value, which may be too small for a float itself."""
        if len(self.right) > 1 or self.otherwise:
            return self.values.f.log(self(*arguments))
        with self.given(arguments):
            return self.values._log(self.right[0])

    @property
    def is_normal(self) -> bool:
        """Whether it is the density of a normal distribution in its own variables."""
        right = self.right[-1]
        return right.kind == "normal" and [written(a) for a in right.parts[0][0]] == self.formal[: self.free]

    def law(self, *given: Any) -> Any:
        """With its variable left free and the others given: a table of probabilities, or a normal distribution."""
        right = self.right[-1]
        if right.kind == "large" and (factor := right.parts[2]).kind == "normal" and len(factor.parts[0]) == 2:
            entry = Node("name", (self.formal[0], (right.parts[1][0][0],)))  # z_j of z, with j the product's index
            if written(factor.parts[0][0][0]) != written(entry):
                raise ValueError(f"{written(factor)} is not of {written(entry)}")
        with self.given(given):
            if (right.kind == "large" and right.parts[0] == "prod") or self.is_normal:
                return self.values._law(right)
            return self.values.table(self.formal[: self.free], right)


class Hanging(Defined):
    """What the page says a name is, where that hangs on an index or on a variable that a law runs over."""

    hangs = True

    def __init__(self, values: Chains, left: Node, statement: Statement, conditions: list[Statement]):
        super().__init__(values, Node("apply", (left, ((),))), statement, conditions)
        self.index = written(left.parts[1][0]) if family(statement) else ""

    @contextmanager
    def given(self, arguments: tuple[Any, ...]) -> Generator[None]:
        """In this block all is bound that is bound where the name stands."""
        with self.values.several(self.at):
            self.values.require(self.conditions)
            yield
