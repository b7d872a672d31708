"""What the page defines by identities, terms and sets, and how sides by quadrature are judged."""

import math

import numpy as np
import pytest
import sympy
from scipy import stats
from test_checking_equations import SHOWN, kl, show, shown, tables  # noqa: F401 (shown is used by all)

from vaelib.checking import Claim, cases, loguniform, normal, simplex
from vaelib.checking.reader.arithmetics import numpy_namespace
from vaelib.checking.reader.densities import mean_under
from vaelib.checking.reader.latex import read
from vaelib.checking.reader.laws import Values
from vaelib.checking.reader.names import Each


def test_an_identity_that_is_used_has_to_hold(tmp_path):
    equations = {**SHOWN, "D1.2": r"\mathrm{KL}(q \,\|\, p) = \mathbb E_q\!\left[\log \frac{q(z)}{p(z)}\right]"}
    show(tmp_path, equations)
    assert tables(uses=["D1.1", "D1.2"]).report().problems == []
    show(tmp_path, {**equations, "D1.2": equations["D1.2"].replace("_q", "_p")})
    assert "two sides of the page differ" in tables(uses=["D1.1", "D1.2"]).report().problems[0]


def test_a_term_and_a_name_that_hangs_on_a_variable_can_be_defined(tmp_path):
    equations = {
        "D1.1": r"r = \frac{p(z)}{q(z)}, \qquad k = r - 1 - \log r",
        "D1.2": r"H(Z \mid X) = -\sum_z q(z) \log q(z)",
        "1.2": r"\mathbb E_q[k] = \mathrm{KL}(q \,\|\, p)",
        "1.3": r"\sum_z q(z) \log q(z) = -H(Z \mid X)",
    }
    show(tmp_path, equations)
    laws = {"q(z)": lambda m: stats.norm(m, 0.8), "p(z)": stats.norm()}
    claim = Claim("1.2", "a mean", source="by hand", define=laws, uses=["D1.1"])
    claim.numeric("by hand", lambda m: kl(m, 0.8, 0, 1), cases(5, m=normal(0, 1)), tol=1e-14)
    assert claim.report().problems == []  # within the accuracy of a quadrature
    assert claim.noticed(claim.equation.text, {"D1.1": equations["D1.1"].replace("k = r", "k = 2")})
    claim = Claim("1.3", "an entropy", source="by hand", define={"q(z)": lambda q: q}, uses=["D1.2"])
    claim.numeric("by hand", lambda q: (q * np.log(q)).sum(), cases(5, q=simplex(3)))
    assert claim.report().problems == []


def test_what_is_under_a_brace_has_to_be_its_value(tmp_path):
    text = r"H[Y] = \underbrace{H[X]}_{\frac12 \log (2 \pi e s^2)} + \underbrace{\mathbb E[\log |h'(X)|]}_{m}"
    show(tmp_path, {"1.1": text})
    m, s = sympy.Symbol("m", real=True), sympy.Symbol("s", positive=True)

    def claim():
        define = {"X": lambda m, s: stats.norm(m, s), "Y": lambda m, s: stats.lognorm(s, scale=math.exp(m))}
        define |= {"~X": define["X"], "h'(x)": lambda f, x: f.exp(x), "h(x)": lambda x: x}
        claim = Claim("1.1", "entropy of exp X", source="by hand", define=define)
        claim.symbolic("by hand", sympy.log(s) + sympy.log(2 * sympy.pi) / 2 + sympy.Rational(1, 2) + m, (m, s))
        truth = cases(3, m=normal(0, 1), s=loguniform(0.5, 2))
        claim.numeric("scipy", lambda m, s: stats.lognorm(s, scale=math.exp(m)).entropy(), truth)
        return claim

    assert claim().report().problems == []
    assert claim().noticed(text.replace("{m}", "{s}"))
    assert claim().noticed(text.replace("H[X]", "H[Z]"))
    assert claim().noticed(text.replace("s^2", "t^2"))


def test_probabilities_add_up_and_a_sum_has_each_index_once(tmp_path):
    equations = {
        "D1.1": r"r(x) = \sum_z q(z) w(x \mid z)",
        "1.1": r"\mathrm{KL}(r \,\|\, r) = 0 \cdot v",
        "1.2": r"\sum_{z, z} q(z) = v",
    }
    show(tmp_path, equations)
    define = {"q(z)": lambda q: q, "w(x|z)": lambda w: w.T}

    def claim():
        claim = Claim("1.1", "nothing", source="by hand", define=define, uses=["D1.1"])
        claim.numeric("by hand", lambda q, w, v: 0, cases(3, q=simplex(3), w=simplex(4, 3), v=normal(0, 1)))
        return claim

    assert claim().report().problems == []
    show(tmp_path, {**equations, "D1.1": equations["D1.1"].replace(r"\sum", r"2 \sum")})
    assert "probabilities that add up to" in claim().report().problems[0]
    show(tmp_path, {**equations, "D1.1": equations["D1.1"].replace("r(x)", "r(z)")})
    with pytest.raises(ValueError, match="z has two meanings"):
        claim()
    with pytest.raises(ValueError, match="expected another index"):
        Claim("1.2", "twice", source="by hand", define=define)


def test_integrals_over_a_set_and_entries_at_a_whole_number(tmp_path):
    show(tmp_path, {"1.1": r"m = \int_A u\, du", "1.2": r"v = p(z) / \sum_{z'} p(z')", "1.3": r"w = q(z \mid x)"})
    claim = Claim("1.1", "half a square", source="by hand", define={"A": lambda a: (0, a)})
    claim.numeric("by hand", lambda a: a * a / 2, cases(3, a=normal(0, 1)))
    assert claim.report().problems == []
    claim = Claim("1.2", "a share", source="by hand", define={"p(z)": lambda p: p})
    claim.numeric("by hand", lambda p, z: p[z - 1] / p.sum(), [{"p": np.array([1.0, 2.0, 5.0]), "z": 2}])
    assert claim.report().problems == []
    claim = Claim("1.3", "an entry", source="by hand", define={"q(z|x)": lambda q: q})
    claim.numeric("by hand", lambda q, z, x: q[z - 1, x - 1], [{"q": np.arange(6.0).reshape(2, 3), "z": 2, "x": 3}])
    assert claim.report().problems == []


def test_what_was_a_value_and_is_none_is_noticed(tmp_path):
    text = r"g(t) = t - 1 - \log t \ge 0, \qquad t > 0"
    show(tmp_path, {"1.1": text})
    claim = Claim("1.1", "a bowl", source="by hand", define={"g(u)": lambda f, u: u - 1 - f.log(u)})
    t = sympy.Symbol("t", positive=True)
    claim.symbolic("by sympy", t - 1 - sympy.log(t), (t,))  # cannot settle the sign, which is no matter
    claim.numeric("by hand", lambda t: t - 1 - math.log(t), cases(20, t=loguniform(0.1, 10)))
    assert claim.report().problems == []
    assert claim.noticed(text.replace("g(t)", "h(t)"))
    assert claim.noticed(text.replace("t > 0", "t < 0"))
    assert claim.noticed(text.replace("t > 0", "u > 0"))


def value(text, names):
    return Values(numpy_namespace(), names).of(
        read(text, [key.partition("(")[0] for key in names if "(" in key])[0].sides[0]
    )


def test_means_sums_and_integrals_are_those_of_one_point_at_a_time():
    a, b = np.array([1.0, 2.0, 3.0]), np.array([0.5, -1.0, 2.0])
    assert value(r"\sum_i a_i e^{b_i}", {"a": a, "b": b}) == pytest.approx((a * np.exp(b)).sum(), rel=1e-15)
    assert value(r"\sum_i \sum_j a_i b_j", {"a": a, "b": b}) == pytest.approx(a.sum() * b.sum(), rel=1e-15)
    # A vector beside the index is no number for each index: the sum is a vector, as one by one.
    assert value(r"\sum_i a_i b", {"a": a, "b": b}) == pytest.approx(a.sum() * b, rel=1e-15)
    assert value(r"\int_0^2 x^3 dx", {}) == pytest.approx(4, rel=1e-14)
    law = {"q(z)": stats.norm(0.5, 2), "p(u)": stats.norm()}
    assert value(r"\mathbb E_q[z^2]", law) == pytest.approx(4.25, rel=1e-14)
    assert value(r"\mathbb E_q[z \int_0^2 z x dx]", law) == pytest.approx(8.5, rel=1e-12)  # one within the other
    assert value(r"\mathbb E_{z \sim q}[\mathbb E_{u \sim p}[(u + z)^2]]", law) == pytest.approx(5.25, rel=1e-10)


def test_far_tails_and_kinks_are_not_missed():
    f = numpy_namespace()
    ratio = Values(f, {"q(z)": stats.norm(0, 0.8), "p(z)": stats.norm(0, 1)})
    found = ratio.of(read(r"\mathbb E_q[(p(z) / q(z))^2]", ["p", "q"])[0].sides[0])
    assert found == pytest.approx(0.64 / math.sqrt(2 * 0.64 - 1), rel=1e-9)  # half of it beyond three deviations of q
    assert mean_under(f, lambda z: abs(z - 0.3), stats.uniform(0, 1)) == pytest.approx(0.29, rel=1e-9)


def test_numbers_for_each_of_many_draws_do_not_meet_an_array():
    with pytest.raises(TypeError, match="an array beside numbers"):
        Each.of([1.0, 2.0]) * np.array([1.0, 2.0])


def test_a_side_by_quadrature_is_asked_for_its_accuracy_only(tmp_path):
    show(tmp_path, {"1.1": r"\mathbb E_q[\tanh z] + v = w + v"})

    def claim(off):
        claim = Claim("1.1", "a mean", source="by hand", define={"q(z)": stats.norm(), "w": lambda: off})
        claim.numeric("by symmetry", lambda v: v, cases(3, v=normal(0, 1)), tol=1e-15)
        return claim

    assert claim(0.0).report().problems == []
    assert claim(1e-12).report().problems  # the side that is no quadrature is held to what the witness asks
