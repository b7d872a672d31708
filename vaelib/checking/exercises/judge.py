"""What an answer is: right, one of the mistakes that are known, or neither; never what it should have been.

An answer is compared, by evaluation on drawn cases, with the right one, with the wrong ones of the exercise, and with
every entry of `vaelib.checking.mistakes` that speaks of the same quantity.
"""

import functools
import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np

from ..mistakes import MISTAKES
from ..mistakes.twins import evaluated, mentioned, symbols

KINDS = ("by hand", "read off", "predict", "spot the bug", "derive", "program", "project")
CASES = 20
RIGHT, WRONG, EMPTY = "right", "not yet", "not attempted"


@dataclass(frozen=True)
class Slip:
    """A wrong answer that is to be expected.

    Args:
        answer: what the student gives: a value, a function like the right one, the letter of a choice, or LaTeX in the
            notation of `mistakes`.
        says: which mistake that is, in one or two sentences that do not give the answer away.
        see: where to look: an equation, a section, a notebook.
    """

    answer: Any
    says: str
    see: str


@dataclass(frozen=True, eq=False)
class Exercise:
    """One exercise: how an answer is judged, and what is said about it.

    Args:
        number: "3.2", as in the title of the exercise.
        kind: one of KINDS.
        minutes: what it takes.
        checks: what an answer that passes has passed: "the rate of each example, on 20 drawn batches".
        right: the right answer: a number or an array; a function of `takes`; LaTeX in the notation of `mistakes`; of a
            choice, the letter. A function without arguments, where it takes none, computes it when it is asked for.
        slips: wrong answers by name. Those of `mistakes` about the same quantity are added.
        hints: in the order in which they are given.
        solution: worked, in Markdown.
        takes: the names of what a function is called with; none for a value.
        draw: a function that makes a case, {name: value}, of a random generator, or the cases themselves; cases in the
            notation of `mistakes` unless given.
        choices: of a multiple choice, the letter and the text of each.
        tol: the largest error, relative to max(1, |right|).
    """

    number: str
    kind: str
    minutes: int
    checks: str
    right: Any
    slips: Mapping[str, Slip]
    hints: tuple[str, ...]
    solution: str
    takes: tuple[str, ...] = ()
    draw: Callable[[np.random.Generator], Mapping[str, Any]] | Sequence[Mapping[str, Any]] | None = None
    choices: Mapping[str, str] = field(default_factory=dict)
    tol: float = 1e-6

    def cases(self) -> list[dict[str, Any]]:
        """What a function is tried on; one empty case for a value."""
        if not self.takes:
            return [{}]
        if isinstance(self.draw, Sequence):
            return [dict(case) for case in self.draw]
        rng = np.random.default_rng(len(self.checks))
        return [dict((self.draw or symbols)(rng)) for _ in range(CASES)]

    def values(self, answer: Any) -> list[Any]:
        """The answer of this exercise's own making in every case: the right one, or a slip's."""
        return [_own(answer, case, self.takes) for case in self.cases()]


@dataclass(frozen=True)
class Feedback:
    """What is said to an answer.

    Args:
        number: of the exercise.
        verdict: "right", "not yet" or "not attempted".
        text: in words.
        slip: the name of the mistake that it is, "" where it is none that is known.
    """

    number: str
    verdict: str
    text: str
    slip: str = ""

    @property
    def right(self) -> bool:
        """Whether the answer passed."""
        return self.verdict == RIGHT

    def __repr__(self) -> str:
        return f"{self.number}, {self.verdict}: {self.text}"

    def _ipython_display_(self) -> None:
        print(self)  # no result of the cell: nbgrader would take that for a number of points


class Unusable(ValueError):
    """What was given cannot be compared; the message says why."""


def judge(exercise: Exercise, answer: Any) -> Feedback:
    """Right, not yet or not attempted, and in words which mistake it is."""
    try:
        given = list(_given(exercise, answer))
    except NotImplementedError:
        return Feedback(exercise.number, EMPTY, "write your answer where NotImplementedError stands.")
    except Unusable as unusable:
        return Feedback(exercise.number, WRONG, str(unusable))
    right = exercise.values(exercise.right)
    if _same(given, right, exercise.tol):
        return Feedback(exercise.number, RIGHT, f"checked was {exercise.checks}.")
    for name, slip in slips(exercise).items():
        if _same(given, exercise.values(slip.answer), exercise.tol):
            return Feedback(exercise.number, WRONG, f"{slip.says} See {slip.see}.", name)
    if exercise.choices:
        raise ValueError(f"exercise {exercise.number} says nothing about the choice {given[0]!r}")
    if np.shape(given[0]) != np.shape(right[0]):
        text = f"your answer has the shape {np.shape(given[0])}: expected {np.shape(right[0])}."
        return Feedback(exercise.number, WRONG, text)
    return Feedback(exercise.number, WRONG, f"it is none of the mistakes that are known here. {_where(given, right)}")


@functools.cache
def _sizes() -> dict[str, str]:
    """Which size counts the entries of a vector of the notation: J those of mu, D those of x."""
    counts = dict(zip("JDNKL", range(11, 16), strict=True))
    case = symbols(np.random.default_rng(0), **counts)
    lengths = {name: len(value) for name, value in case.items() if np.ndim(value) == 1}
    return {name: size for name, length in lengths.items() for size, count in counts.items() if length == count}


def _in_the_museum(latex: str, **given: Any) -> np.ndarray:
    """A formula of the museum for a case, or for each row of one whose vectors are the rows of a batch."""
    batch = next((len(value) for value in given.values() if np.ndim(value) == 2), None)
    values = []
    for row in range(batch or 1):
        case = {name: value[row] if np.ndim(value) == 2 else value for name, value in given.items()}
        sizes = {_sizes()[name]: len(value) for name, value in case.items() if np.ndim(value) == 1 and name in _sizes()}
        case |= sizes | {"j": 1, "n": 1}
        values.append(float(evaluated(latex, {name: case[name] for name in mentioned(latex)})))
    return np.asarray(values if batch else values[0])


@functools.cache
def slips(exercise: Exercise) -> Mapping[str, Slip]:
    """The wrong answers that are recognised: the exercise's own, and the mistakes that are about the same quantity."""
    found = dict(exercise.slips)
    if not exercise.takes:
        return found
    right = exercise.values(exercise.right)
    for number, mistake in MISTAKES.items():
        try:
            same = _same(exercise.values(functools.partial(_in_the_museum, mistake.right)), right, exercise.tol)
            wrong = functools.partial(_in_the_museum, mistake.wrong)
            values = exercise.values(wrong) if same else right
        except (KeyError, ValueError, IndexError, TypeError):  # it speaks of other names
            continue
        known = [exercise.values(slip.answer) for slip in found.values()]
        if not any(_same(values, others, exercise.tol) for others in (right, *known)):
            found[number] = Slip(wrong, f"This is {number}: {mistake.name}.", f"{mistake.row} in appendix A2")
    return found


def _own(answer: Any, case: Mapping[str, Any], takes: tuple[str, ...]) -> Any:
    if isinstance(answer, str) and len(answer) > 1:
        return float(evaluated(answer, {name: case[name] for name in mentioned(answer)}))
    if callable(answer):
        answer = answer(**{name: case[name] for name in takes})
    return answer if isinstance(answer, str) else _number(answer)


def _given(exercise: Exercise, answer: Any) -> Iterator[Any]:
    """The student's values, case by case."""
    if answer is NotImplemented or answer is NotImplementedError or answer is Ellipsis:
        raise NotImplementedError
    if exercise.choices:
        answer = _called(answer) if callable(answer) else answer
        letters = ", ".join(exercise.choices)
        if not isinstance(answer, str) or answer.strip().lower() not in exercise.choices:
            raise Unusable(f"your answer is {answer!r}: expected one of the letters {letters}.")
        yield answer.strip().lower()
        return
    if exercise.takes:
        function = _function(exercise, answer)
        for case in exercise.cases():
            yield _value(function({name: case[name] for name in exercise.takes}))
        return
    yield _value(_called(answer) if callable(answer) else answer)


def _function(exercise: Exercise, answer: Any) -> Callable[[Mapping[str, Any]], Any]:
    """The answer as a function of a case: a function of the student's, or an expression of sympy's."""
    wanted = ", ".join(exercise.takes)
    if hasattr(answer, "free_symbols"):
        import sympy

        names = {str(symbol) for symbol in answer.free_symbols}
        if not names <= set(exercise.takes):
            raise Unusable(f"your expression has {', '.join(sorted(names))} in it: expected {wanted} alone.")
        compiled = sympy.lambdify(exercise.takes, answer, "numpy")
        return lambda case: _called(compiled, *case.values())
    if not callable(answer):
        raise Unusable(f"your answer is a {type(answer).__name__}: expected a function of {wanted}.")
    try:
        parameters = inspect.signature(answer).parameters.values()
    except (TypeError, ValueError):  # some of numpy's and torch's own
        parameters = ()
    named = {p.name for p in parameters} >= set(exercise.takes)

    def call(case: Mapping[str, Any]) -> Any:
        import torch

        tensors = {
            k: torch.as_tensor(v, dtype=torch.float64) if isinstance(v, float | np.ndarray) else v
            for k, v in case.items()
        }
        try:
            return _called(answer, **tensors) if named else _called(answer, *tensors.values())
        except Unusable:  # math.log takes no tensor of several numbers, and numpy's functions no tensor at times
            return _called(answer, **case) if named else _called(answer, *case.values())

    return call


def _called(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    try:
        return function(*arguments, **named)
    except NotImplementedError:
        raise
    except Exception as error:  # whatever went wrong, the student is told
        raise Unusable(f"your code raises {type(error).__name__}: {error}") from None


def _value(value: Any) -> np.ndarray:
    """What was given as float64, or why it is none."""
    if value is None:
        raise Unusable("your answer is None: is a `return` missing?")
    if isinstance(value, str | bytes | bool | dict | set):
        raise Unusable(
            f"your answer is the {type(value).__name__} {value!r}: expected a number or an array of numbers."
        )
    try:
        number = _number(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise Unusable(f"your answer is no number and no array of numbers: {error}") from None
    if not np.isfinite(number).all():
        raise Unusable("your answer is not finite: is there a logarithm of zero, or a division by it?")
    return number


def _number(value: Any) -> np.ndarray:
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    if isinstance(value, Fraction | Decimal) or hasattr(value, "evalf"):
        value = float(value)
    elif isinstance(value, list | tuple):
        value = [_number(each) for each in value]
    return np.asarray(value, dtype=np.float64)


def _same(given: list[Any], wanted: list[Any], tol: float) -> bool:
    return all(
        (a == b)
        if isinstance(b, str)
        else np.shape(a) == np.shape(b) and bool((np.abs(a - b) <= tol * np.maximum(1, np.abs(b))).all())
        for a, b in zip(given, wanted, strict=True)
    )


def _where(given: list[Any], right: list[Any]) -> str:
    """Something true about the difference that does not give the answer away."""
    if len(given) == 1:
        return "A hint may help."
    signs = [float(np.sign(np.sum(g - r))) for g, r in zip(given, right, strict=True)]
    agree = sum(math.isclose(float(np.abs(g - r).max()), 0, abs_tol=1e-9) for g, r in zip(given, right, strict=True))
    high, low = sum(s > 0 for s in signs), sum(s < 0 for s in signs)
    return f"Of {len(given)} cases it agrees in {agree}; in {high} it is too large, in {low} too small."
