"""Each way in which a claim can fail is seen failing; the guides to the notebooks' claims are seen standing."""

import copy
import json
import math
import warnings
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
import sympy
import torch
from torch.distributions import Categorical, Normal, kl_divergence

from vaelib.checking import Claim, ball_normal_mean, cases, loguniform, normal, normal_mean, simplex, uniform

SOME = cases(20, seed=1, x=normal(0, 3))


def square(f, x):
    return x**2


def claim(formula=square, relation="==", twin=lambda f, x: x**2 + 1):
    made = Claim("2.4", "the square of x", source="none", covers=("S12",), formula=formula, relation=relation)
    if twin is not None:
        made.twin("one too much", twin, seen="nowhere")
    return made


def sound(**kwargs):
    """A claim with two witnesses of two kinds, to which a test adds what should fail."""
    made = claim(**kwargs)
    made.numeric("product", lambda x: x * x, SOME)
    made.code("torch", torch.square, SOME)
    return made


def kl(f, m1, s1, m2, s2):
    return f.log(s2 / s1) + (s1**2 + (m1 - m2) ** 2) / (2 * s2**2) - 0.5


def kl_claim(formula=kl):
    m1, m2, u = sympy.symbols("m1 m2 u", real=True)
    s1, s2 = sympy.symbols("s1 s2", positive=True)
    log_ratio = sympy.log(s2 / s1) - u**2 / 2 + (m1 + s1 * u - m2) ** 2 / (2 * s2**2)
    density = sympy.exp(-(u**2) / 2) / sympy.sqrt(2 * sympy.pi)
    integral = sympy.integrate(sympy.expand(log_ratio * density), (u, -sympy.oo, sympy.oo))

    def quadrature(m1, s1, m2, s2):
        return normal_mean(lambda x: math.log(s2 / s1) - ((x - m1) / s1) ** 2 / 2 + ((x - m2) / s2) ** 2 / 2, m1, s1)

    def in_balls(m1, s1, m2, s2):
        shift, log_scale = m1 - m2, (s2 / s1).log()
        bound = abs(log_scale) + 1 + (shift**2 + s1**2) / s2**2
        return ball_normal_mean(lambda u: log_scale - u * u / 2 + (shift + s1 * u) ** 2 / (2 * s2**2), bound)

    def sampler(rng, draws, m1, s1, m2, s2):
        u = rng.standard_normal(draws)
        return np.log(s2 / s1) - u**2 / 2 + ((m1 + s1 * u - m2) / s2) ** 2 / 2

    def torch_kl(m1, s1, m2, s2):
        return kl_divergence(Normal(m1, s1), Normal(m2, s2))

    mean, scale = normal(0, 1000), loguniform(1e-3, 1e3)
    hard = cases(100, seed=1, m1=mean, s1=scale, m2=mean, s2=scale)
    tame = cases(3, seed=2, m1=normal(0, 1), s1=loguniform(0.5, 2), m2=normal(0, 1), s2=loguniform(0.5, 2))
    made = Claim("2.4", "KL between two Gaussians", source="Kingma & Welling 2014, appendix B", formula=formula)
    made.twin("E5: no 1/2 on the log-variance", lambda f, m1, s1, m2, s2: kl(f, m1, s1, m2, s2) + f.log(s2 / s1))
    made.twin("E7: arguments swapped", lambda f, m1, s1, m2, s2: kl(f, m2, s2, m1, s1))
    made.symbolic("integral", integral, (m1, s1, m2, s2))
    # At a mean of 1000 and a sigma of 1e-3 the KL reaches 1e12: tolerances are relative there. E5 hides behind such
    # values, so the tame cases are needed for it to be seen.
    made.numeric("quadrature", quadrature, hard + tame)
    made.code("torch", torch_kl, hard + tame, tol=1e-11)
    # float32 keeps 7 digits, and the difference of two means loses up to one more here.
    made.code("torch, single precision", torch_kl, hard + tame, tol=1e-5, dtype=torch.float32)
    made.ball("balls", in_balls, hard[:10] + tame)
    made.monte_carlo("samples", sampler, tame)
    return made


@pytest.mark.slow
def test_the_closed_form_kl_stands_before_every_kind_of_witness():
    report = kl_claim().report()
    assert report.problems == []
    assert report.passed
    assert [len(cells) for _, cells in report.rows] == [3] * 6
    assert report.record()["covers"] == ["E5", "E7"]


def test_every_kind_of_witness_rejects_a_wrong_formula():
    report = kl_claim(lambda f, m1, s1, m2, s2: kl(f, m1, s1, m2, s2) + f.log(s2)).report()
    assert [cells[0].text for _, cells in report.rows] == ["\u2717 DISAGREES"] * 6
    assert len(report.problems) == 6


def test_the_error_just_within_the_tolerance_passes_and_just_beyond_fails():
    for excess, passes in ((0.9e-8, True), (1.1e-8, False)):
        made = sound(formula=lambda f, x, excess=excess: x**2 + excess * np.maximum(1, x**2))
        assert made.report().passed is passes


def test_errors_are_relative_to_large_truths_of_either_sign():
    for factor, passes in ((1 + 0.9e-8, True), (1 + 1.1e-8, False)):
        made = claim(formula=lambda f, x, factor=factor: -1e6 * factor * x, twin=lambda f, x: 1e6 * x)
        made.numeric("line", lambda x: -1e6 * x, [{"x": 1.0}, {"x": -1.0}])
        assert made.report().rows[0][1][0].ok is passes


def test_the_worst_case_of_a_twin_is_shown_wherever_it_stands():
    made = claim(twin=lambda f, x: x**2 + (3 if x == 2 else 0))
    made.numeric("product", lambda x: x * x, [{"x": 0.0}, {"x": 2.0}, {"x": 1.0}], tol=1e-6)
    assert made.report().rows[0][1][1].text == "\u2713 refuted in 1 of 3 cases, off by up to 0.75"


def test_an_overflow_on_the_way_is_a_failure_though_the_result_is_finite():
    made = sound()
    made.numeric("overflow", lambda x: x * x + 1 / np.exp(np.float64(1000)), SOME)
    made.numeric("integral", warned, SOME)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in a notebook that silences warnings
        texts = [cells[0].text for _, cells in made.report().rows]
    assert texts[2:] == ["\u2717 RAISES RuntimeWarning", "\u2717 RAISES UserWarning"]


def test_a_failure_names_witness_case_inputs_expected_and_got():
    made = sound(formula=lambda f, x: x**2 + (0.25 if x == SOME[6]["x"] else 0))
    with pytest.raises(AssertionError) as raised:
        made.check()
    message = str(raised.value)
    assert f"numeric witness 'product', formula: case 7 of 20 (x={SOME[6]['x']}): expected equal to" in message
    assert f"{SOME[6]['x'] ** 2}, got {SOME[6]['x'] ** 2 + 0.25}, off by" in message
    assert "allowed 1e-08" in message


def warned(x):
    warnings.warn("the integral is probably divergent", UserWarning, stacklevel=1)
    return x * x


@pytest.mark.parametrize(
    ("truth", "given", "verdict", "problem"),
    [
        (lambda x: 1 / 0, SOME, "RAISES ZeroDivisionError", "case 1 of 20"),
        (lambda x: math.nan, SOME, "RAISES ValueError", "not a finite number: nan"),
        (lambda x: math.inf, SOME, "RAISES ValueError", "not a finite number: inf"),
        (lambda x: np.log(-1.0 - x * x), SOME, "RAISES RuntimeWarning", "invalid value"),
        (warned, SOME, "RAISES UserWarning", "probably divergent"),
        (lambda x: (x * x, 1e-9), SOME, "RAISES ValueError", "the formula has shape (), the truth (2,)"),
        (lambda x: np.array([x * x]), SOME, "RAISES ValueError", "the formula has shape (), the truth (1,)"),
        (lambda x: x * x, [], "COMPARES NOTHING", "there are no cases"),
        (lambda y: y * y, SOME, "RAISES TypeError", "unexpected keyword argument 'x'"),
        (lambda x: x * x, [{"x": np.array([])}], "RAISES ValueError", "an empty array compares nothing"),
    ],
)
def test_a_witness_that_does_not_testify_is_a_failure(truth, given, verdict, problem):
    made = sound()
    made.numeric("third", truth, given)
    report = made.report()
    cells = report.rows[2][1]
    assert [cell.text for cell in cells] == [f"\u2717 {verdict}"] * 2
    assert problem in report.problems[0]
    assert not report.passed
    assert report.record()["twins"][0]["refuted"] is False
    with pytest.raises(AssertionError, match="does not stand"):
        made.check()


def test_code_that_returns_nan_or_the_wrong_shape_is_a_failure():
    for function in (lambda x: x * math.nan, lambda x: x.square().expand(2)):
        made = sound()
        made.code("third", function, SOME)
        assert [cell.text for cell in made.report().rows[2][1]] == ["\u2717 RAISES ValueError"] * 2


def test_one_kind_of_witness_is_too_few_however_many_there_are(capsys):
    made = claim()
    made.code("double", torch.square, SOME)
    made.code("single", torch.square, SOME, tol=1e-5, dtype=torch.float32)
    with pytest.raises(AssertionError, match="TOO FEW WITNESSES: 1 kind"):
        made.check()
    made.check(strict=False)
    assert "! TOO FEW WITNESSES" in capsys.readouterr().out
    assert "<strong>TOO FEW WITNESSES" in made.report()._repr_html_()
    assert made.report().record()["passed"] is False


def test_no_witness_at_all_is_a_failure():
    with pytest.raises(AssertionError, match="TOO FEW WITNESSES: 0 kind"):
        claim().check()


def test_no_twin_is_a_failure(capsys):
    made = sound(twin=None)
    with pytest.raises(AssertionError, match="NO TWIN"):
        made.check()
    assert "! NO TWIN" in capsys.readouterr().out
    assert made.report().record()["passed"] is False


@pytest.mark.parametrize(
    ("twin", "verdict"),
    [
        (square, "NOT REJECTED"),
        (lambda f, x: x**2 * (1 + 5e-8), "NOT REJECTED"),  # beyond the tolerance, within the margin
        (lambda f, x: 1 / 0, "RAISES ZeroDivisionError"),
        (lambda f, x: math.nan, "RAISES ValueError"),
        (lambda f, x: np.array([x, x]), "RAISES ValueError"),
    ],
)
def test_a_twin_that_is_not_rejected_is_a_failure(twin, verdict):
    made = sound(twin=twin)
    assert [cells[1].text for _, cells in made.report().rows] == [f"\u2717 {verdict}"] * 2
    record = made.report().record()
    assert record["twins"][0]["refuted"] is False
    assert record["covers"] == ["S12"]
    with pytest.raises(AssertionError, match="twin 'one too much'"):
        made.check()


def test_a_margin_within_the_tolerance_is_refused():
    with pytest.raises(ValueError, match="margin 1e-06 must exceed tol 1e-06"):
        claim().numeric("product", lambda x: x * x, SOME, tol=1e-6, margin=1e-6)
    with pytest.raises(ValueError, match="must exceed tol inf"):
        claim().numeric("product", lambda x: x * x, SOME, tol=math.inf)


def test_a_lax_tolerance_is_seen_by_the_twin():
    made = sound()
    made.numeric("lax", lambda x: x * x, SOME, tol=0.5)
    assert made.report().problems == ["numeric witness 'lax', twin 'one too much': off by 1 at most, and must exceed 5"]


def test_a_twin_may_be_left_to_the_witnesses_that_can_evaluate_it():
    made = sound()
    made.twin("numbers only", lambda f, x: np.float64(x) + 1, by=("product",))
    made.check()
    assert [cells[2].text for _, cells in made.report().rows][1] == "not asked"
    for by, message in ((("nobody",), "no witness 'nobody'"), ((), "no witness is asked")):
        made = sound()
        made.twin("unasked", square, by=by)
        with pytest.raises(AssertionError, match=message):
            made.check()
        assert made.report().record()["twins"][1]["refuted"] is False


def test_inequalities_hold_one_way_only():
    def elbo(f, q, joint):
        return f.sum(q * f.log(joint / q))

    def normalised(f, q, joint):
        return f.sum(joint / f.sum(joint) * f.log(joint / q))

    tables = cases(50, q=simplex(6), joint=lambda rng: rng.dirichlet(np.ones(6)) * rng.uniform(0.01, 1))
    for relation, passes in (("<=", True), (">=", False), ("==", False)):
        made = Claim("4.2", "ELBO", source="Jensen", relation=relation, formula=elbo)
        made.twin("E22: weights normalised", normalised)
        made.numeric("enumeration", lambda q, joint: math.log(math.fsum(joint)), tables, tol=1e-12)
        made.code("logsumexp", lambda q, joint: joint.log().logsumexp(0), tables, tol=1e-12)
        assert made.report().passed is passes


@pytest.mark.parametrize(("relation", "sign"), [("<=", 1), (">=", -1)])
def test_a_symbolic_inequality_needs_a_sign_that_is_proved(relation, sign):
    x, y = sympy.symbols("x y", real=True)
    made = Claim(
        "2.1", "2xy below x^2 + y^2", source="none", relation=relation, formula=lambda f, x, y: sign * 2 * x * y
    )
    made.twin("5xy/2", lambda f, x, y: sign * 5 * x * y / 2)
    made.symbolic("a square", sign * (x**2 + y**2), (x, y))
    made.ball("balls", lambda x, y: sign * (x * x + y * y), cases(20, x=normal(0, 1), y=normal(0, 1)))
    made.check()
    backwards = claim(formula=lambda f, x: sign * x**2, relation=relation, twin=None)
    backwards.symbolic("less", sign * (x**2 - 1), (x,))
    assert backwards.report().rows[0][1][0].text == "\u2717 DISAGREES"
    unclear = claim(formula=lambda f, x: sign * x, relation=relation, twin=None)
    unclear.symbolic("the sign is true, but not seen", sign * sympy.exp(x) - sign, (x,))
    assert unclear.report().rows[0][1][0].text == "\u2717 NOT PROVED"


def test_zero_at_every_point_is_no_proof():
    x = sympy.Symbol("x", real=True)
    hidden = sympy.Function("hidden")(x)
    with pytest.raises(TypeError):
        complex(hidden)  # sympy can neither simplify nor evaluate it
    made = claim()
    made.symbolic("unknown function", x**2 + hidden, (x,))
    assert made.report().rows[0][1][0].text == "\u2717 RAISES TypeError"
    n = sympy.Symbol("n", integer=True, positive=True)
    made = claim(formula=lambda f, n: sympy.Integer(0), twin=None)
    vanishing = sympy.prod([n - i for i in range(1, 7)])  # zero at every point that is tried
    made.symbolic("zero at 1 to 6", vanishing, (n,))
    assert made.report().rows[0][1][0].text == "\u2717 NOT PROVED"


def test_a_symbolic_witness_takes_vectors_and_refuses_other_shapes():
    a = np.array(sympy.symbols("a:3", positive=True))
    made = Claim("3.1", "entropy terms", source="none", formula=lambda f, a: -a * f.log(a))
    made.twin("sign", lambda f, a: a * f.log(a))
    made.twin("last one doubled", lambda f, a: -a * f.log(a) * np.array([1, 1, 2]))
    made.symbolic("by hand", [a_i * sympy.log(1 / a_i) for a_i in a], (a,))
    made.numeric("loop", lambda a: [-x * math.log(x) for x in a], cases(5, a=simplex(3)))
    made.check()
    made.symbolic("scalar", a[0], (a,))
    assert [cell.text for cell in made.report().rows[2][1]] == ["\u2717 RAISES ValueError"] * 3


def test_matrices_work_in_every_namespace():
    def formula(f, a, b):
        return np.trace(f.inv(a) @ b) + f.logdet(a) + f.sum(f.abs(b)) + f.pi

    def covariance(rng):
        root = rng.normal(size=(2, 3))
        return root @ root.T

    def torch_truth(a, b):
        return torch.linalg.solve(a, b).diagonal().sum() + a.logdet() + b.abs().sum() + torch.pi

    def ball_truth(a, b):
        from flint import arb

        det = a[0, 0] * a[1, 1] - a[0, 1] * a[1, 0]
        traced = a[1, 1] * b[0, 0] - a[0, 1] * b[1, 0] - a[1, 0] * b[0, 1] + a[0, 0] * b[1, 1]
        return traced / det + det.log() + sum(abs(x) for x in b.flat) + arb.pi()

    a, b = (np.array(sympy.symbols(f"{name}:4", positive=True)).reshape(2, 2) for name in "ab")
    traced = sympy.Matrix(a).LUsolve(sympy.Matrix(b)).trace()
    pairs = cases(10, a=covariance, b=covariance)
    made = Claim("2.9", "matrices", source="none", formula=formula)
    made.twin("transposed factor lost", lambda f, a, b: formula(f, a, b) - f.logdet(a) / 2)
    made.symbolic("LU", traced + sympy.log(sympy.Matrix(a).det()) + sum(b.flat) + sympy.pi, (a, b))
    made.code("torch", torch_truth, pairs)
    made.ball("adjugate", ball_truth, pairs, tol=1e-30)
    made.check()


def test_special_functions_agree_in_every_namespace():
    def formula(f, x):
        return f.erf(x) + f.lgamma(x) + f.digamma(x) + f.exp(-x) * f.sqrt(x)

    x = sympy.Symbol("x", positive=True)
    made = Claim("6.1", "special", source="none", formula=formula)
    made.twin("without erf", lambda f, x: formula(f, x) - f.erf(x))
    positive = cases(20, x=loguniform(0.1, 10))
    recurrence = sympy.polygamma(0, x + 1) - 1 / x  # digamma(x)
    other = sympy.erf(x) + sympy.loggamma(x) + recurrence + sympy.exp(sympy.log(x) / 2 - x)
    made.symbolic("sympy", sympy.expand_func(other), (x,))
    made.code("torch", lambda x: x.erf() + x.lgamma() + x.digamma() + (-x).exp() * x.sqrt(), positive)
    made.ball("arb", lambda x: 1 - x.erfc() + x.gamma().log() + x.digamma() + x.sqrt() / x.exp(), positive)
    made.check()


@pytest.mark.slow
def test_a_chain_rule_stands_by_enumeration():
    def chain(f, q, p):
        qa, pa = q.sum(axis=1), p.sum(axis=1)
        conditional = (q / qa[:, None] * f.log(q / qa[:, None] / (p / pa[:, None]))).sum(axis=1)
        return f.sum(qa * f.log(qa / pa)) + f.sum(qa * conditional)

    def no_expectation(f, q, p):
        qa, pa = q.sum(axis=1), p.sum(axis=1)
        return f.sum(qa * f.log(qa / pa)) + f.sum(q / qa[:, None] * f.log(q / qa[:, None] / (p / pa[:, None])))

    def table(rng):
        return rng.dirichlet(np.ones(12)).reshape(3, 4)

    tables = cases(50, q=table, p=table)
    q, p = (np.array(sympy.symbols(f"{name}:2:2", positive=True)).reshape(2, 2) for name in "qp")
    made = Claim("3.5", "chain rule", source="Cover & Thomas 2006, theorem 2.5.3", formula=chain)
    made.twin("no outer expectation", no_expectation)
    made.symbolic("2 x 2", sum(a * sympy.log(a / b) for a, b in zip(q.flat, p.flat, strict=True)), (q, p))
    made.numeric("joint", lambda q, p: math.fsum((q * np.log(q / p)).flat), tables, tol=1e-12)
    made.code(
        "torch", lambda q, p: kl_divergence(Categorical(q.flatten()), Categorical(p.flatten())), tables, tol=1e-12
    )
    made.check()


def score_claim(**settings):
    def score(rng, draws, m, s):
        z = rng.normal(m, s, draws)
        return z**2 * (z - m) / s**2

    made = Claim("5.3", "gradient of E[z^2]", source="Williams 1992", formula=lambda f, m, s: 2 * m)
    made.twin("E15: sign", lambda f, m, s: -2 * m)
    made.monte_carlo("score function", score, cases(4, seed=3, m=normal(0, 2), s=loguniform(0.5, 2)), **settings)
    return made


def test_monte_carlo_states_its_false_alarm_rate_and_rejects_the_twin():
    report = score_claim().report()
    assert report.problems == []
    assert (
        report.rows[0][0].rule == "within 5 standard errors (false alarms 6e-07); a twin has to be off by more than 10"
    )
    assert report.rows[0][1][1].text == "\u2713 refuted, off by more than 10 standard errors"


def test_monte_carlo_with_too_few_draws_cannot_reject_the_twin():
    assert [cell.text for cell in score_claim(draws=20).report().rows[0][1]][1] == "\u2717 NOT REJECTED"


def test_monte_carlo_fails_as_often_as_it_says():
    # z = 1: a right formula fails with probability 0.317 in each case; 400 cases, 4 binomial standard errors.
    made = Claim("5.4", "mean", source="none", formula=lambda f, m: m)
    many = cases(400, m=normal(0, 1))
    alarms = 0
    for seed, case in enumerate(many):
        made.witnesses.clear()
        made.monte_carlo("mean", lambda rng, n, m: rng.normal(m, 1, n), [case], draws=200, z=1, seed=seed)
        alarms += bool(made.report().problems)
    rate = math.erfc(1 / math.sqrt(2))
    assert abs(alarms / 400 - rate) < 4 * math.sqrt(rate * (1 - rate) / 400)


@pytest.mark.parametrize(
    ("sampler", "problem"),
    [
        (lambda rng, n, x: np.full(n, x * x), "the samples do not vary"),
        (lambda rng, n, x: rng.normal(x * x, 1, n - 1), "expected (100000, ...)"),
        (lambda rng, n, x: rng.normal(x * x, 1), "the sampler returned shape ()"),
        (lambda rng, n, x: np.full(n, np.nan), "not a finite number"),
        (lambda rng, n, x: rng.normal(x * x, 1, (n, 2)), "the formula has shape (), the truth (2,)"),
    ],
)
def test_a_sampler_that_measures_nothing_is_a_failure(sampler, problem):
    made = sound()
    made.monte_carlo("samples", sampler, SOME[:1])
    assert problem in made.report().problems[0]


def test_a_ball_witness_proves_twenty_digits_and_refuses_wide_balls():
    from flint import arb

    def wide(x):
        return x * x + arb(0, 1e-10)

    made = sound()
    made.ball("exact", lambda x: x * x, SOME)
    made.check()
    made.ball("wide", wide, SOME)
    assert made.report().rows[3][1][0].text == "\u2717 NOT PROVED"
    made = sound(formula=lambda f, x: x * x * (1 + arb(10) ** -19) if isinstance(x, arb) else x * x)
    made.ball("off by 1e-19", lambda x: x * x, [{"x": 2.0}])
    assert made.report().rows[2][1][0].text == "\u2717 DISAGREES"
    made = sound(formula=lambda f, x: x**2 + f.log(x - x) * 0)
    made.ball("nan", lambda x: x * x, SOME)
    assert made.report().rows[2][1][0].text == "\u2717 RAISES ValueError"


def test_a_ball_that_reaches_the_wrong_side_decides_nothing():
    from flint import arb

    made = sound(relation="<=")
    made.ball("wide", lambda x: x * x + arb(0, 1e-10), SOME)
    assert made.report().rows[2][1][0].text == "\u2717 NOT PROVED"
    made = sound(formula=lambda f, x: x**2, twin=lambda f, x: x**2 + 0.5)
    made.ball("too wide for the twin", lambda x: x * x + arb(0, 1), [{"x": 0.5}])
    assert made.report().rows[2][1][1].text == "\u2717 NOT REJECTED"


def test_a_quadrature_that_does_not_converge_is_a_failure():
    made = sound()
    made.numeric("divergent", lambda x: normal_mean(lambda u: 1 / (u - 0.1) ** 2), SOME)
    assert "IntegrationWarning" in made.report().problems[0]


def test_code_sees_the_inputs_as_its_precision_rounds_them():
    seen = []

    def formula(f, x, n):
        seen.append((x, n))
        return x * n

    made = Claim("7.1", "product", source="none", formula=formula)
    made.code("single", lambda x, n: x * n, [{"x": 0.1, "n": 3}], tol=1e-6, dtype=torch.float32)
    made.code(
        "integers",
        lambda x, n: x * torch.ones(n).sum().double(),
        cases(1, x=uniform(1, 2), n=lambda r: r.integers(2, 9)),
    )
    assert made.report().problems == []
    assert seen[0] == (float(np.float32(0.1)), 3)
    assert isinstance(seen[0][0], np.float64)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"id": "KL"}, "expected the tag of a displayed equation"),
        ({"id": "D2.1"}, "expected the tag of a displayed equation"),
        ({"relation": "<"}, "expected one of ==, <=, >="),
        ({"covers": "S12"}, r"such as \('S12',\)"),
    ],
)
def test_a_claim_refuses_what_the_ledger_could_not_read(arguments, message):
    with pytest.raises(ValueError, match=message):
        Claim(**{"id": "2.1", "statement": "s", "source": "s", "formula": square, **arguments})


def test_names_are_used_once():
    made = sound()
    with pytest.raises(ValueError, match="two witnesses named 'torch'"):
        made.numeric("torch", lambda x: x, SOME)
    with pytest.raises(ValueError, match="two twins named"):
        made.twin("one too much", square)


def test_only_numbers_before_the_colon_of_a_twin_count():
    made = sound()
    made.twin("E6, E24: two", lambda f, x: x**2 + 2)
    made.twin("unlike E7", lambda f, x: x**2 + 3)
    assert made.report().record()["covers"] == ["S12", "E6", "E24"]


def test_the_table_is_accessible_and_escapes_what_it_shows():
    made = Claim("2.4", "a < b & c", source="S", formula=square)
    made.twin("E5: <b>", lambda f, x: x**2 + 1, seen="a & b")
    made.numeric("x < y", lambda x: x * x, SOME)
    html = made.report()._repr_html_()
    for part in ("a &lt; b &amp; c", "E5: &lt;b&gt;", "<small>a &amp; b</small>", "numeric: x &lt; y", "<caption"):
        assert part in html
    assert html.count('scope="col"') == 3
    assert html.count('scope="row"') == 1


def output(made):
    data = made.report()._repr_mimebundle_()
    return nbformat.v4.new_output("display_data", data=copy.deepcopy(data))


def test_what_is_stored_does_not_depend_on_rounding():
    """Two routes to one value differ in their last digits; the stored outputs must not."""

    def noisy(factor):
        made = claim(formula=lambda f, x: x**2 * factor, twin=lambda f, x: (x**2 + 0.125) * factor)
        made.numeric("product", lambda x: x * x, [{"x": 0.5}, {"x": 0.25}])
        made.code("torch", torch.square, [{"x": 0.5}, {"x": 0.25}])
        return output(made)

    assert "off by up to 0.12" in noisy(1)["data"]["text/plain"]
    assert noisy(1) == noisy(1 + 1e-13) == noisy(1 - 1e-13)


def test_nbval_notices_every_changed_digit_of_a_stored_claim():
    from nbval.plugin import IPyNbCell, nocolors

    # nbval's own comparison, on what it needs of a cell: a real one would need a kernel and a pytest session.
    cell = SimpleNamespace(
        parent=SimpleNamespace(skip_compare=("metadata", "traceback", "image/png")),
        colors=nocolors,
        sanitize=lambda text: text,
        format_output_compare=lambda key, left, right: None,
    )

    def equal(fresh, stored):
        return IPyNbCell.compare_outputs(cell, [fresh], [stored])

    fresh = output(sound())
    nbformat.validate(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=[fresh])]))
    assert equal(fresh, copy.deepcopy(fresh))
    mutants = 0
    for mime, content in fresh["data"].items():
        text = content if isinstance(content, str) else json.dumps(content)
        for position, digit in enumerate(text):
            if digit.isdigit():
                stored, changed = copy.deepcopy(fresh), text[:position] + str(9 - int(digit)) + text[position + 1 :]
                try:
                    stored["data"][mime] = changed if isinstance(content, str) else json.loads(changed)
                except json.JSONDecodeError:  # a digit of an escape such as \\u2713
                    continue
                mutants += 1
                assert not equal(fresh, stored), (mime, text[position - 20 : position + 20])
    assert mutants > 60
