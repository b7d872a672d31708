"""Every exercise of the course, both ways: what is right passes in every form, and each mistake is told apart."""

import re
import runpy
from collections import Counter
from fractions import Fraction
from pathlib import Path

import nbformat
import numpy as np
import pytest
import run  # tools/run.py
import sympy
import torch

from vaelib.checking import Claim, cases, loguniform, normal
from vaelib.checking.exercises import KINDS, Exercise, Slip, check, exercises, find, hint, judge, slips, solution
from vaelib.checking.mistakes import MISTAKES

ALL = exercises().values()
each_exercise = pytest.mark.parametrize("exercise", ALL, ids=lambda e: e.number)
# What students hand in, {number: {slip: answer}}, written from the messages alone: a second witness of each slip.
STUDENTS = {
    exercise: answers
    for path in sorted(Path(__file__).parent.glob("students/chapter_*.py"))
    for exercise, answers in runpy.run_path(str(path))["WRONG"].items()
}
SHEETS = {path.stem.partition("x_")[0]: path for path in run.NOTEBOOKS.glob("*x_exercises.ipynb")}


def as_given(exercise: Exercise, answer):
    """An answer of the bank in the form in which a student would write it."""
    values = iter(exercise.values(answer) * 10)
    if exercise.takes:

        def function(*arguments, **named):
            return torch.from_numpy(np.array(next(values)))

        return function
    return lambda: next(values)


# --- The banks --------------------------------------------------------------------------------------------------------


@each_exercise
def test_exercise_is_complete(exercise):
    assert re.fullmatch(r"\w+\.\d+", exercise.number)
    assert exercise.kind in KINDS
    assert exercise.minutes > 0
    assert exercise.checks
    assert len(exercise.hints) == 3
    assert all(text.strip().endswith((".", "?", "!")) for text in exercise.hints)
    assert len(exercise.solution.split()) >= 8
    assert len(slips(exercise)) >= 2, "two typical mistakes"
    for slip in exercise.slips.values():
        assert len(slip.says.split()) >= 5, slip
        assert slip.says.endswith("."), slip
        assert slip.see.strip(), slip
        assert not slip.see.endswith("."), slip


@pytest.mark.slow
@each_exercise
def test_right_answer_passes_in_the_forms_a_student_would_give(exercise):
    assert judge(exercise, as_given(exercise, exercise.right)).right
    if exercise.takes:
        return
    (value,) = exercise.values(exercise.right)
    forms = [value, value.tolist(), torch.as_tensor(value)] if not exercise.choices else [value, value.upper()]
    if np.shape(value) == () and not exercise.choices:
        forms += [float(value), Fraction(float(value)), sympy.Float(float(value), 17), np.float64(value)]
    for form in forms:
        assert judge(exercise, form).right, repr(form)


@pytest.mark.slow
@each_exercise
def test_each_slip_gets_its_own_message_and_no_other(exercise):
    said = {}
    for name, slip in slips(exercise).items():
        feedback = judge(exercise, as_given(exercise, slip.answer))
        assert (feedback.slip, feedback.verdict) == (name, "not yet")
        assert slip.says in feedback.text
        said[name] = feedback.text
    assert len({*said.values()}) == len(said)


def test_every_mistake_but_a_letter_has_its_student():
    assert {e.number: {*e.slips} for e in ALL if not e.choices} == {n: {*made} for n, made in STUDENTS.items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "slip"), [(number, slip) for number, answers in STUDENTS.items() for slip in answers]
)
def test_a_student_who_makes_the_mistake_hears_of_it(number, slip):
    answer = STUDENTS[number][slip]
    assert judge(find(number), answer if callable(answer) else lambda: answer).slip == slip


@each_exercise
def test_no_message_and_no_hint_gives_the_value_away(exercise):
    if exercise.takes or exercise.choices:
        return
    (value,) = exercise.values(exercise.right)
    shown = {f"{v:.{digits}f}" for v in np.ravel(value) for digits in (3, 4)}
    texts = [text for slip in exercise.slips.values() for text in (slip.says, slip.see)] + list(exercise.hints)
    assert not [text for text in texts for number in shown if re.search(rf"(?<![\d.]){re.escape(number)}", text)]


@each_exercise
def test_a_stub_is_not_attempted_and_what_is_unusable_is_answered_in_words(exercise):
    def stub(*arguments, **named):
        raise NotImplementedError

    def broken(*arguments, **named):
        raise KeyError("mu")

    def nothing(*arguments, **named):
        return None

    assert judge(exercise, stub).verdict == "not attempted"
    assert judge(exercise, NotImplementedError).verdict == "not attempted"
    for answer in (None, nothing, broken, "an answer", object(), {}, float("nan"), np.zeros((3, 5, 7))):
        feedback = judge(exercise, answer)
        assert feedback.verdict == "not yet", answer
        assert len(feedback.text.split()) >= 5, answer
        assert not feedback.slip, answer


def test_every_choice_has_a_message_of_its_own():
    for exercise in ALL:
        if exercise.choices:
            (right,) = exercise.values(exercise.right)
            assert {slip.answer for slip in exercise.slips.values()} == {*exercise.choices} - {right}, exercise.number


def test_every_chapter_has_five_to_seven_graded_exercises():
    for chapter, number in Counter(exercise.number.partition(".")[0] for exercise in ALL).items():
        of_it = [exercise for exercise in ALL if exercise.number.partition(".")[0] == chapter]
        assert 5 <= number <= 7, chapter
        assert {"spot the bug", "project"} <= {exercise.kind for exercise in of_it}, chapter
        assert len({exercise.kind for exercise in of_it}) >= 4, chapter


# --- The sheets -------------------------------------------------------------------------------------------------------


def test_every_exercise_is_on_a_sheet_and_every_sheet_is_in_a_bank():
    there = {}
    for chapter, path in SHEETS.items():
        ids = [cell.id for cell in nbformat.read(path, as_version=4).cells]
        of_it = [id for id in ids if id.startswith("exercise-")]
        there |= {id.removeprefix("exercise-").replace("-", ".", 1): chapter for id in of_it}
        assert [id.replace("exercise", "answer") for id in of_it] == [id for id in ids if id.startswith("answer-")]
        assert [id.replace("exercise", "grade") for id in of_it] == [id for id in ids if id.startswith("grade-")]
    assert there.keys() == exercises().keys()


@pytest.mark.parametrize("path", SHEETS.values(), ids=lambda path: path.stem)
def test_sheet_says_what_is_asked_and_how_long_it_takes(path):
    cells = {cell.id: cell for cell in nbformat.read(path, as_version=4).cells}
    minutes = 0
    for id, cell in cells.items():
        if not id.startswith("exercise-"):
            continue
        exercise = find(id.removeprefix("exercise-").replace("-", ".", 1))
        minutes += exercise.minutes
        assert re.match(rf"## {re.escape(exercise.number)} · .+ \({exercise.minutes} minutes\)\n", cell.source), id
        assert all(f"{letter}" in cell.source and text in cell.source for letter, text in exercise.choices.items()), id
        (judged,) = cells[id.replace("exercise", "grade")].outputs
        assert judged.get("text", "").startswith(f"{exercise.number}, right: "), id
        answer = cells[id.replace("exercise", "answer")].source
        assert re.search(
            r"^def .*\n    \"\"\"(.|\n)+?\"\"\"\n    ### BEGIN SOLUTION\n(.|\n)+    ### END SOLUTION$", answer
        ), id
    assert f"**Time:** about {minutes} minutes" in cells["title"].source


# --- The judge --------------------------------------------------------------------------------------------------------

RATE = Exercise(
    "0.1",
    "spot the bug",
    1,
    checks="the rate of one example, on 20 drawn ones",
    right=lambda mu, sigma: ((mu**2 + sigma**2 - 1) / 2 - np.log(sigma)).sum(),
    slips={"sign": Slip(lambda mu, sigma: -((mu**2 + sigma**2 - 1) / 2 - np.log(sigma)).sum(), "The sign.", "(2.8)")},
    hints=(),
    solution="",
    takes=("mu", "sigma"),
)


@pytest.mark.parametrize(
    ("wrong", "slip"),
    [
        (lambda mu, sigma: ((mu**2 + sigma**2 - 1) / 2 - torch.log(sigma)).mean(), "E1"),
        (lambda mu, sigma: ((mu**2 + sigma**2 - 1) / 2 - torch.log(sigma**2)).sum(), "E5a"),
        (lambda mu, sigma: ((mu**2 + sigma - 1) / 2 - torch.log(sigma) / 2).sum(), "E6"),
        (lambda m, s: -((m**2 + s**2 - 1) / 2 - torch.log(s)).sum(), "sign"),
        (lambda mu, sigma: ((mu**2 + sigma**2 + 1) / 2 - torch.log(sigma)).sum(), ""),
    ],
)
def test_mistakes_of_the_museum_are_recognised_where_they_are_about_the_same_quantity(wrong, slip):
    assert judge(RATE, wrong).slip == slip


def test_mistakes_about_pixels_are_recognised():
    loss = Exercise("0.5", "spot the bug", 1, "it", MISTAKES["E9"].right, {}, (), "", ("x", "x_hat"))
    assert judge(loss, as_given(loss, MISTAKES["E9"].right)).right
    assert judge(loss, as_given(loss, MISTAKES["E9"].wrong)).slip == "E9"


@pytest.mark.parametrize(
    "right",
    [
        lambda mu, sigma: ((mu**2 + sigma**2 - 1) / 2 - torch.log(sigma)).sum(),
        lambda mu, sigma: ((mu**2 + sigma**2 - 1) / 2 - np.log(sigma)).sum(),
        lambda means, scales: sum(
            (float(m) ** 2 + float(s) ** 2 - 1) / 2 - np.log(s) for m, s in zip(means, scales, strict=True)
        ),
    ],
)
def test_right_is_right_with_torch_numpy_and_other_names(right):
    assert judge(RATE, right).right


def test_an_expression_of_sympy_is_a_function():
    m, s, other = sympy.symbols("m s other")
    one = Exercise(
        "0.2",
        "derive",
        1,
        "it",
        lambda m, s: m**2 + s,
        {},
        (),
        "",
        ("m", "s"),
        lambda rng: {"m": rng.normal(), "s": 2.0},
    )
    assert judge(one, m**2 + s).right
    assert judge(one, s + m * m).right
    assert judge(one, m**2 - s).verdict == "not yet"
    assert "other in it: expected m, s alone" in judge(one, m + other).text


@pytest.mark.parametrize("exercise", [e for e in ALL if "to three digits" in e.checks], ids=lambda e: e.number)
def test_three_digits_are_enough_where_three_are_asked_for(exercise):
    digits = np.vectorize(lambda value: float(f"{value:.3g}"))
    given = iter([digits(value) for value in exercise.values(exercise.right)])
    assert judge(exercise, lambda *arguments, **named: next(given)).right


def test_what_is_close_is_not_right():
    number = Exercise("0.3", "by hand", 1, "it", 2.5, {}, (), "", tol=1e-3)
    assert judge(number, 2.502).right
    assert not judge(number, 2.503).right
    assert "shape (1,): expected ()" in judge(number, [2.5]).text


def test_a_function_that_is_wrong_hears_in_which_direction():
    text = judge(RATE, lambda mu, sigma: ((mu**2 + sigma**2) / 2 - torch.log(sigma)).sum()).text
    assert text.endswith("Of 20 cases it agrees in 0; in 20 it is too large, in 0 too small.")


def test_a_choice_without_a_message_is_an_error_of_ours():
    choice = Exercise("0.4", "predict", 1, "it", "a", {}, (), "", choices={"a": "up", "b": "down"})
    assert judge(choice, "A ").right
    assert judge(choice, "c").text == "your answer is 'c': expected one of the letters a, b."
    with pytest.raises(ValueError, match="says nothing about the choice 'b'"):
        judge(choice, "b")


def test_unknown_numbers_are_named():
    with pytest.raises(LookupError, match=r"there is no exercise '3\.99': expected one of 3\.1, 3\.2"):
        check("3.99", 1)
    with pytest.raises(LookupError, match=r"exercise 3\.1 has hints 1 to 3: stage 4 is none of them"):
        hint("3.1", 4)


def test_hints_come_one_at_a_time_and_the_solution_when_it_is_asked_for(capsys):
    hint("3.1")
    assert capsys.readouterr().out == f"3.1, hint 1 of 3: {find('3.1').hints[0]}\n"
    assert find("3.1").solution in solution("3.1").data


def test_under_nbgrader_what_is_not_right_fails(monkeypatch):
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    right = find("3.1").values(find("3.1").right)[0]
    assert check("3.1", right).right
    with pytest.raises(AssertionError, match=r"3\.1, not yet: "):
        check("3.1", right + 1)


def test_a_claim_judges_a_formula_beside_its_twins():
    claim = Claim("2.8", "a rate", source="here", formula=lambda f, m, s: (m**2 + s**2 - 1) / 2 - f.log(s))
    claim.twin("E5: no 1/2", lambda f, m, s: (m**2 + s**2 - 1) / 2 - 2 * f.log(s))
    claim.numeric(
        "by hand", lambda m, s: (m**2 + s**2 - 1 - 2 * np.log(s)) / 2, cases(7, m=normal(0, 1), s=loguniform(1, 2))
    )
    assert (
        check(claim, lambda m, s: (m**2 + s**2 - 1) / 2 - torch.log(s)).text == "checked was equation (2.8) in 7 cases."
    )
    assert check(claim, lambda m, s: (m**2 + s**2 - 1) / 2 - torch.log(s**2)).slip == "E5: no 1/2"
    assert check(claim, lambda m, s: m).verdict == "not yet"
