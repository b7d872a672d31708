"""Exercises: `check` says whether an answer is right and, if not, which mistake it is; `hint`, `solution`.

    check("3.2", rate)     a number, an expression, an array or a function, as the exercise asks
    hint("3.2"), hint("3.2", 2)
    solution("3.2")

An answer is compared by evaluation, so any form of it that is right passes. `check(claim, formula)` asks the same of a
claim of one's own: whether a formula of its variables is what its witnesses say, or one of its twins.
"""

import functools
import importlib
import os
import pkgutil
from typing import Any

from ..claims import Claim
from ..witnesses import float_value
from .judge import KINDS, Exercise, Feedback, Slip, judge, slips

__all__ = ["KINDS", "Exercise", "Feedback", "Slip", "check", "exercises", "hint", "judge", "slips", "solution"]


@functools.cache
def exercises() -> dict[str, Exercise]:
    """Every exercise of the course by its number, from the modules `chapter_*` beside this one."""
    names = sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name.startswith("chapter_"))
    chapters = [importlib.import_module(f"{__name__}.{name}") for name in names]
    return {exercise.number: exercise for chapter in chapters for exercise in chapter.EXERCISES}


def find(number: str) -> Exercise:
    """The exercise with this number.

    Raises:
        LookupError: Where there is none.
    """
    if number not in exercises():
        chapter = number.partition(".")[0]
        near = [n for n in exercises() if n.partition(".")[0] == chapter] or list(exercises())
        raise LookupError(f"there is no exercise {number!r}: expected one of {', '.join(near)}")
    return exercises()[number]


def check(number: str | Claim, answer: Any) -> Feedback:
    """Whether an answer is right; if it is not, which mistake it is, as far as that is known.

    Args:
        number: of the exercise, "3.2"; or a claim, whose formula the answer is taken to be.
        answer: what the exercise asks for: a number of any kind, an expression of sympy's, an array, a tensor, a
            function, or the letter of a choice. A function that raises NotImplementedError is not attempted.

    Raises:
        LookupError: Where there is no such exercise.
        AssertionError: When nbgrader grades and the answer is not right, with what is said to the student.
    """
    if isinstance(number, Claim):
        return _beside(number, answer)
    feedback = judge(find(number), answer)
    if "NBGRADER_EXECUTION" in os.environ and not feedback.right:
        raise AssertionError(repr(feedback))
    return feedback


def hint(number: str, stage: int = 1) -> None:
    """Prints the hint of this stage, counted from one, and how many there are.

    Raises:
        LookupError: Where there is no such exercise or no such stage.
    """
    hints = find(number).hints
    if not 1 <= stage <= len(hints):
        raise LookupError(f"exercise {number} has hints 1 to {len(hints)}: stage {stage} is none of them")
    print(f"{number}, hint {stage} of {len(hints)}: {hints[stage - 1]}")


def solution(number: str) -> Any:
    """The worked solution, as Markdown."""
    from IPython.display import Markdown

    exercise = find(number)
    return Markdown(f"**{number}, worked.** {exercise.solution}")


def _beside(claim: Claim, answer: Any) -> Feedback:
    """What a formula is to a claim: on the cases of its first witness that computes numbers."""
    if claim.relation != "==":
        raise ValueError(f"claim {claim.id} says {claim.relation}: expected an equation")
    witness = next(w for w in claim.witnesses.values() if w.kind in ("numeric", "code (float64)"))
    twins = {
        name: Slip(
            lambda formula=twin.formula, **case: float_value(formula, case), f"This is the twin {name!r}.", claim.id
        )
        for name, twin in claim.twins.items()
        if twin.by is None or witness.name in twin.by
    }
    return judge(
        Exercise(
            claim.id,
            "derive",
            minutes=1,
            checks=f"equation ({claim.id}) in {len(witness.cases)} cases",
            right=witness.truth,
            slips=twins,
            hints=(),
            solution="",
            takes=tuple(witness.cases[0]),
            draw=witness.cases,
        ),
        answer,
    )
