"""A twin that is named after an error is held against it, by evaluation."""

import itertools
import math

import numpy as np
import pytest
import run  # tools/run.py
from scipy import stats

from vaelib.checking import Claim, cases, kinship, ledger, loguniform, normal, settings
from vaelib.checking.mistakes import MISTAKES
from vaelib.checking.reader.arithmetics import numpy_namespace


def rate(f, m, s):
    return (m**2 + s**2 - 1) / 2 - f.log(s)


def claim(name, twin, formula=rate, **drawn):
    def truth(**case):
        return formula(numpy_namespace(), **{k: np.asarray(v) for k, v in case.items()})

    made = Claim("2.4", "a rate", source="none", formula=formula)
    made.twin(name, twin)
    some = cases(8, **(drawn or {"m": normal(0, 1), "s": loguniform(0.3, 3)}))
    made.numeric("by itself", truth, some)
    made.code("once more", truth, some)
    return made


E5 = "E5: no 1/2 on the log-variance"


def test_a_twin_named_e5_has_to_be_e5(capsys):
    claim(E5, lambda f, m, s: rate(f, m, s) - f.log(s)).check()
    wrong = claim(E5, lambda f, m, s: rate(f, m, s) - f.log(s) / 3)
    with pytest.raises(AssertionError, match=r"twin 'E5: no 1/2 .*' is not E5: expected its formula, its letters in"):
        wrong.check()
    assert wrong.report().passed  # the witnesses refute it, as they do any wrong formula


@pytest.mark.parametrize(
    ("name", "twin", "number"),
    [
        ("E5a: one", lambda f, m, s: rate(f, m, s) - f.log(s), "E5a"),
        ("E5b: another", lambda f, m, s: rate(f, m, s) - f.log(s), ""),
        ("E5b: another", lambda f, m, s: m**2 + s**2 - f.log(s) - 0.5, "E5b"),
        ("E6: half of the logarithm", lambda f, m, s: rate(f, m, s) + f.log(s) / 2, "E6c"),
        ("E24: the variance", lambda f, m, s: rate(f, m, s**2), "E24"),
        ("E24: of the mean, too", lambda f, m, s: rate(f, m**2, s**2), ""),
        ("E7: the prior first", lambda f, m, s: (1 + m**2) / (2 * s**2) - 0.5 + f.log(s), "E7"),
        ("E99: no such row", lambda f, m, s: rate(f, m, s) - f.log(s), ""),
    ],
)
def test_which_error_a_twin_is(name, twin, number):
    assert kinship.kin(claim(name, twin), name, name.partition(":")[0]) == number


def test_the_letters_of_a_claim_can_be_said(monkeypatch):
    def named(f, c, v):
        return rate(f, c, v**0.5)

    made = claim(E5, lambda f, c, v: named(f, c, v) - f.log(v) / 2, named, c=normal(0, 1), v=loguniform(0.3, 3))
    assert not kinship.kin(made, E5, "E5")
    monkeypatch.setitem(settings.READINGS, "2.4 E5", {"mu": "c", "sigma": r"\sqrt{v}"})
    assert kinship.kin(made, E5, "E5") == "E5a"
    monkeypatch.setitem(settings.READINGS, "2.4 E5", {"mu": "c", "sigma": "v"})
    assert not kinship.kin(made, E5, "E5")
    name = "E24: the variance for the scale"
    made = claim(name, lambda f, c, v: named(f, c, v**2), named, c=normal(0, 1), v=loguniform(0.3, 3))
    monkeypatch.setitem(settings.READINGS, "2.4 E24", {"sigma": r"\sqrt{v}", "change": {"v": "v^2"}})
    assert kinship.kin(made, name, "E24") == "E24"
    monkeypatch.setitem(settings.READINGS, "2.4 E24", {"sigma": r"\sqrt{v}", "change": {"v": "v^3"}})
    assert not kinship.kin(made, name, "E24")  # a change of the case that is not the mistake's


def test_a_difference_that_rounding_could_make_is_no_error():
    """Beside a value of 1e15 everything is E5 that differs little."""
    made = claim(E5, lambda f, m, s: rate(f, m, s) + 0.1, m=normal(0, 3e7), s=loguniform(0.9, 1.1))
    assert not kinship.kin(made, E5, "E5")


def test_entry_by_entry(monkeypatch):
    def two(f, m, s):
        return np.stack([m, s])

    name = "E14: sums"
    monkeypatch.setitem(settings.READINGS, "2.4", {"a": ("m", "s"), "L": "10"})
    made = claim(name, lambda f, m, s: 10 * two(f, m, s), two)
    assert kinship.kin(made, name, "E14") == "E14"
    made = claim(name, lambda f, m, s: np.stack([10 * m, s]), two)
    assert kinship.kin(made, name, "E14") == "E14"  # the other entry is as it was
    made = claim(name, lambda f, m, s: np.stack([10 * m, 9 * s]), two)
    assert not kinship.kin(made, name, "E14")


def test_the_list_of_what_is_not_compared_is_of_twins_there_are_and_does_not_grow_in_silence():
    claims = ledger.collect(sorted(run.NOTEBOOKS.glob("*.ipynb")))["claims"]
    there = {(claim["id"], twin["name"]) for claim in claims for twin in claim["twins"]}
    assert set(settings.UNMATCHED) - there == set()
    assert len(settings.UNMATCHED) <= 10
    assert all(len(reason) > 5 for reason in settings.UNMATCHED.values())


def test_what_is_cited_for_an_error_is_a_source_of_it():
    assert kinship.uncited("E24: variance passed as scale", "ibp_vae #3, keras #3283") == ["#3283"]
    assert kinship.uncited("E10: mean of the logs", "generative-tf #1") == ["#1"]  # not #13
    assert kinship.uncited("E6: log sigma", "PyG PR #1368, keras #3283") == []
    assert kinship.uncited("another error", "keras #1") == []


def likelihood(case):
    return lambda z: (case["y"] - case["a"] * z) ** 2 / (2 * case["t"] ** 2)


def slopes(case):
    return {"a": case["a"] * (case["y"] - case["a"] * case["m"]) / case["t"] ** 2, "b": case["m"]}


def log_p(case):
    return {"R": -np.log(case["W"].mean(1)), "M": 1}


# What makes of a form the formula of its mistake: its letters, in a case of the mistake.
SPECIAL = {
    ("E1", 0): lambda c: {"R": MISTAKES["E1"].right_value(c), "J": c["J"]},
    ("E2c", 0): lambda c: c,
    ("E4", 0): lambda c: c,
    ("E4b", 0): lambda c: c,
    ("E7", 0): lambda c: {"q": stats.norm(c["mu"][0], c["sigma"][0]), "p": stats.norm(0, 1)},
    ("E10b", 0): lambda c: c,
    ("E11b", 0): lambda c: {**c, "g(z)": likelihood(c)},
    ("E12", 0): lambda c: {**c, "g(z)": lambda z: (c["a"] ** 2 * z**2 + c["t"] ** 2 - 1 - math.log(c["t"] ** 2)) / 2},
    ("E13", 0): lambda c: c,
    ("E14b", 0): lambda c: {"F": np.log(c["w"]).mean(), "K": c["K"]},
    ("E15", 0): slopes,
    ("E15b", 0): slopes,
    ("E15d", 0): slopes,
    ("E15e", 0): slopes,
    ("E17", 0): lambda c: c,
    ("E18", 0): lambda c: {"F": c["d"][0] + c["R"][0]},
    ("E19", 0): lambda c: {**c, "r": c["R"][:1, None], "N": 1, "J": 1},
    ("E20", 0): lambda c: {**c, "g(z)": np.exp},
    ("E21", 0): lambda c: {**c, **log_p(c)},
    ("E21c", 0): lambda c: {**c, **log_p(c)},
    ("E21d", 0): lambda c: {**c, **log_p(c)},
    ("E25b", 0): lambda c: {"R": c["R"][1]},
}
FIXED = {"E2c": {"D": 1}, "E7": {"J": 1}}


@pytest.mark.parametrize(("number", "which"), SPECIAL)
def test_a_form_is_the_mistake_in_other_terms(number, which):
    mistake, (right, wrong) = MISTAKES[number], settings.FORMS[number][which]
    for case in mistake.cases(4, **FIXED.get(number, {})):
        letters = SPECIAL[number, which](case)
        effect = kinship.value(wrong, letters) - kinship.value(right, letters)
        assert effect == pytest.approx(mistake.wrong_value(case) - mistake.right_value(case), rel=1e-6, abs=1e-7)


def effect(number, which, letters):
    right, wrong = settings.FORMS[number][which]
    return kinship.value(wrong, letters) - kinship.value(right, letters)


def test_the_other_forms_are_their_mistakes_as_well():
    for case in MISTAKES["E3"].cases(3):
        rates = case["r"].sum(1)
        each = [{**case, "n": n + 1} for n in range(case["N"])]
        wanted = np.array([MISTAKES["E3"].wrong_value(c) - MISTAKES["E3"].right_value(c) for c in each])
        found = [effect("E3", 0, {"R": rates, "N": case["N"], "n": n + 1}) for n in range(case["N"])]
        assert found == pytest.approx(wanted)
        assert effect("E3", 1, {"R": rates, "N": case["N"]}) == pytest.approx(wanted.mean())
    x, y = np.array([0.2]), np.array([0.7])
    pair = {"q": np.array([0.2, 0.8]), "p": np.array([0.7, 0.3])}
    assert effect("E7", 1, {"x": x, "x_hat": y, "D": 1}) == pytest.approx(effect("E7", 0, pair))
    for case in MISTAKES["E9"].cases(3, D=1):  # the area of what is taken for a density
        area, one = (kinship.value(text, case) for text in settings.FORMS["E9"][0])
        assert math.log(area / one) == pytest.approx(
            MISTAKES["E9"].right_value(case) - MISTAKES["E9"].wrong_value(case)
        )
    q, w = np.array([0.2, 0.3, 0.5]), np.array([0.5, 2.0, 7.0])
    for number in ("E10a", "E22"):  # averaged over all samples of two
        wanted = 0.0
        for i, j in itertools.product(range(3), repeat=2):
            case = {"w": w[[i, j]], "K": 2}
            wanted += q[i] * q[j] * (MISTAKES[number].wrong_value(case) - MISTAKES[number].right_value(case))
        assert effect(number, 0, {"q(z)": q, "w(z)": lambda z: w[z.entry], "k": 2}) == pytest.approx(wanted)
    e11b = MISTAKES["E11b"]
    for case in e11b.cases(3):  # the slope in s of what is missing
        near = [{**case, "s": case["s"] + step} for step in (1e-5, -1e-5)]
        low, high = (e11b.wrong_value(c) - e11b.right_value(c) for c in reversed(near))
        slope = case["a"] ** 2 * case["s"] / case["t"] ** 2
        assert effect("E11b", 1, {"a": slope}) == pytest.approx((high - low) / 2e-5, rel=1e-5)
    for length in (2, 5):
        case = {"g": np.full(length, 0.7), "L": length, "R": np.ones(2), "n": 1}
        wanted = MISTAKES["E14"].wrong_value(case) - MISTAKES["E14"].right_value(case)
        assert effect("E14", 0, {"a": 0.7, "L": length}) == pytest.approx(wanted)
        weights = np.ones(length)  # of independent draws: their variance goes with the squares
        wanted = (weights**2).sum() - ((weights / length) ** 2).sum()
        assert effect("E14", 1, {"a": 1.0, "L": length}) == pytest.approx(wanted)
    case = {"mu": np.zeros(1), "sigma": np.array([0.3]), "epsilon": np.ones(1), "j": 1}
    wanted = MISTAKES["E24"].wrong_value(case) - MISTAKES["E24"].right_value(case)
    assert effect("E24", 0, {"a": 0.3}) == pytest.approx(wanted)
    assert effect("E12", 1, {"q": q, "g": w}) == pytest.approx(w.sum() - np.average(w, weights=q))


def test_every_form_is_tested():
    known = {(number, k) for number, forms in settings.FORMS.items() for k in range(len(forms))}
    others = {("E3", 0), ("E3", 1), ("E7", 1), ("E9", 0), ("E10a", 0), ("E22", 0), ("E11b", 1), ("E12", 1)}
    assert set(SPECIAL) | others | {("E14", 0), ("E14", 1), ("E24", 0)} == known


@pytest.mark.parametrize("number", ["E6", "E11a", "E24"])
def test_an_action_makes_the_wrong_formula_of_the_right_one(number):
    mistake = MISTAKES[number]
    for case in mistake.cases(4):
        made = {
            letter: kinship.value(text, case) for letter, text in settings.ACTIONS[number].items() if letter in case
        }
        after = case | {letter: np.atleast_1d(made[letter]) for letter in made}
        assert mistake.right_value(after) == pytest.approx(mistake.wrong_value(case), rel=1e-12)
