import json
import math

import numpy as np
import pytest
import sympy
from scipy import special

from vaelib.checking import Claim, Joint, cases, loguniform, normal, simplex
from vaelib.checking.reader.arithmetics import Unsaid, normal_mean, numpy_namespace, sympy_namespace
from vaelib.checking.reader.densities import Bell
from vaelib.checking.witnesses import proved_difference

CHAIN = r"""\begin{gathered}
q(z_1 \mid x) = \mathcal N(a x, s^2), \qquad q(z_2 \mid z_1) = \mathcal N(b z_1, v), \qquad \frac1v = u + 1, \\
p(z_1 \mid z_2) = \mathcal N(z_2, 1), \qquad p(z_2) = \mathcal N(0, 1), \qquad p(x \mid z_1) = \mathcal N(z_1, 1)
\end{gathered}"""
SHOWN = {
    "D1.1": CHAIN,
    "D1.2": r"\log w = \log p(x \mid z_1) + \sum_{t=1}^{T-1} \log \frac{p(z_t \mid z_{t+1})}{q(z_t \mid z_{t-1})} "
    r"+ \log p(z_T) - \log q(z_T \mid z_{T-1}), \qquad z_0 = x",
    "D1.3": r"R_t = \mathbb E_q[\log q(z_t \mid z_{t-1}) - \log p(z_t \mid z_{t+1})], "
    r"\qquad p(z_T \mid z_{T+1}) = p(z_T)",
    "D1.4": r"p(x, z_1, \dots, z_T) = p(z_T) \Big[\prod_{t=1}^{T-1} p(z_t \mid z_{t+1}, \dots, z_T)\Big] "
    r"p(x \mid z_1, \dots, z_T)",
    "1.1": r"\mathbb E_q[\log w] = \mathbb E_q[\log p(x \mid z_1)] - \sum_{t=1}^T R_t",
    "1.2": r"R_T = \frac12 (b^2 (a^2 x^2 + s^2) + v - 1 - \log v)",
    "1.3": r"p(z_1, z_2 \mid x) = \frac{p(x, z_1, z_2)}{p(x)} = p(z_1 \mid x)\; p(z_2 \mid z_1, x)",
    "1.4": r"I = \mathbb E_{q(z_1|x)}[\mathrm{KL}(q(z_2 \mid z_1, x) \,\|\, q(z_2 \mid x))] "
    r"= \mathbb E_q[\log q(z_1, z_2 \mid x) - \log q(z_1 \mid x) - \log q(z_2 \mid x)]",
    "1.5": r"\operatorname{Var}(y) = \operatorname{Var}_k(\mathbb E[y \mid k]) "
    r"+ \mathbb E_k[\operatorname{Var}(y \mid k)]",
    "D1.5": r"w = \frac{p(x \mid z_1) g(z_1)}{q(z_1 \mid x)}",
    "1.7": r"m = \mathbb E_{q(z_1|x)}[w]",
    "1.6": r"m = \int p(x \mid z_1) p(z_1) dz_1",
}
DRAWS = {"x": normal(0, 1), "a": normal(0, 1), "s": loguniform(0.5, 2), "b": normal(0, 1), "u": loguniform(0.5, 2)}


@pytest.fixture(autouse=True)
def shown(tmp_path, monkeypatch):
    show(tmp_path, SHOWN)
    monkeypatch.chdir(tmp_path)


def show(folder, equations):
    cells = [{"cell_type": "markdown", "source": f"$$ {text} \\tag{{{n}}} $$"} for n, text in equations.items()]
    (folder / "chapter.ipynb").write_text(json.dumps({"cells": cells}))


def elbo(x, a, s, b, u, joint=None):  # by two nested quadratures
    def log_normal(z, mean, variance):
        return -((z - mean) ** 2) / (2 * variance) - math.log(2 * math.pi * variance) / 2

    def weight(z1, z2):
        model = log_normal(x, z1, 1) + log_normal(z1, z2, 1) + log_normal(z2, 0, 1)
        return model - log_normal(z1, a * x, s**2) - log_normal(z2, b * z1, 1 / (u + 1))

    return normal_mean(lambda z1: normal_mean(lambda z2: weight(z1, z2), b * z1, (u + 1) ** -0.5), a * x, s)


def bound(**options) -> Claim:
    claim = Claim("1.1", "a bound", source="by hand", define={"T": 2}, uses=["D1.1", "D1.2", "D1.3"], **options)
    claim.numeric("quadrature", elbo, cases(3, **DRAWS))
    return claim


def test_a_mean_over_a_chain_of_laws_and_definitions_that_hang_on_an_index_or_on_a_draw():
    claim = bound()
    claim.twin("no mean over z1", r"\mathbb E_q[\log p(x \mid z_1)] - R_2")
    assert claim.report().problems == []
    assert claim.noticed(SHOWN["1.1"], {"D1.1": CHAIN.replace("N(b z_1", "N(b z_2")})
    assert claim.noticed(SHOWN["1.1"], {"D1.1": CHAIN.replace("u + 1", "u + 2")})
    assert claim.noticed(SHOWN["1.1"], {"D1.2": SHOWN["D1.2"].replace("p(z_T) - ", "p(z_T) + ")})
    assert claim.noticed(SHOWN["1.1"], {"D1.3": SHOWN["D1.3"].replace("z_{t+1}", "z_{t-1}", 1)})
    assert not claim.noticed(SHOWN["1.1"], {"D1.1": CHAIN.replace(r"\qquad", r"\quad")})


def test_a_chain_in_symbols():
    claim = Claim("1.2", "a rate", source="by hand", define={"T": 2}, uses=["D1.1", "D1.3"])
    x, a, b = sympy.symbols("x a b", real=True)
    s, u = sympy.symbols("s u", positive=True)
    truth = (b**2 * (a**2 * x**2 + s**2) + 1 / (u + 1) - 1 + sympy.log(u + 1)) / 2
    claim.symbolic("by hand", truth, (x, a, s, b, u))
    assert claim.report().problems == []
    assert claim.noticed(SHOWN["1.2"].replace("x^2", "x^3"))
    assert claim.noticed(SHOWN["1.2"], {"D1.3": SHOWN["D1.3"].replace("- \\log", "+ \\log")})


def test_what_a_page_does_not_define_is_not_read(tmp_path):
    show(tmp_path, SHOWN | {"D1.1": CHAIN.replace("q(z_2", "g(z_2")})
    assert any("nobody has said" in problem for problem in bound().report().problems)


def tables(rng):
    return rng.dirichlet(np.ones(24)).reshape(2, 3, 4)


def entry(number):
    return lambda rng: int(rng.integers(number))


def joint(table):
    return Joint(table, "z2 z1 x")


def test_marginals_and_conditionals_of_a_joint_table():
    part = joint(table := tables(np.random.default_rng(0))).part
    assert np.allclose(part([["x", "z2"]])(1, 0), table[0, :, 1].sum())
    assert np.allclose(part([["z1"], ["x", "z2"]])(2, 3, 1), table[1, 2, 3] / table[1, :, 3].sum())
    assert np.allclose(part([["z2"], ["x"]]).law(2), table[:, :, 2].sum(axis=1) / table[:, :, 2].sum())
    with pytest.raises(ValueError, match="z3: not in this joint law"):
        part([["z3"]])
    with pytest.raises(Unsaid, match="without an entry"):
        part([["z1"], ["x"]])(None, 0)


def test_a_joint_table_behind_all_densities_and_lists_of_variables(tmp_path):
    def claim():
        claim = Claim("1.3", "a posterior", source="by hand", define={"p()": joint, "T": 2}, uses=["D1.4"])
        draws = cases(20, table=tables, z2=entry(2), z1=entry(3), x=entry(4))
        claim.numeric("by hand", lambda table, z2, z1, x: table[z2, z1, x] / table[:, :, x].sum(), draws)
        claim.twin("no x", r"p(z_1 \mid x)\; p(z_2 \mid z_1)")
        return claim

    assert claim().report().problems == []
    for old, new in (("z_{t+1}", "z_{t-1}"), (r"x \mid z_1", r"x \mid z_2"), ("p(z_T)", "p(z_1)"), ("{t=1}", "{t=2}")):
        assert claim().noticed(SHOWN["1.3"], {"D1.4": SHOWN["D1.4"].replace(old, new)})
    assert claim().noticed(SHOWN["1.3"].replace(r"p(z_1, z_2 \mid x) =", r"p(z_1, z_3 \mid x) ="))
    show(tmp_path, SHOWN | {"D1.4": SHOWN["D1.4"].replace(r"z_{t+1}, \dots, z_T", r"y_{t+1}, \dots, z_T")})
    assert any("to zT" in problem for problem in claim().report().problems)


def test_means_and_divergences_over_a_joint_table():
    define = {"q()": lambda table: Joint(table[0] / table[0].sum(), "z1 z2", given="x")}
    claim = Claim("1.4", "mutual information", source="by hand", define=define)

    def information(table):
        q = table[0] / table[0].sum()
        return special.rel_entr(q, np.outer(q.sum(1), q.sum(0))).sum()

    claim.numeric("by hand", information, cases(10, table=tables))
    assert claim.report().problems == []
    for old, new in (
        (r"z_2 \mid z_1, x", r"z_2 \mid x"),
        ("E_q[", "E_{q(z_2|x)}["),
        (r"- \log q(z_1", r"- \log q(z_2"),
    ):
        assert claim.noticed(SHOWN["1.4"].replace(old, new))


def test_conditional_means_and_variances_that_are_said():
    define = {"~k": lambda p: p, "E[y|k]": lambda m: m, "Var[y|k]": lambda s: s**2}
    define["variance(y)"] = lambda p, m, s: p @ (m**2 + s**2) - (p @ m) ** 2
    claim = Claim("1.5", "a variance", source="by hand", define=define)
    draws = cases(10, p=simplex(3), m=normal(0, 1, 3), s=loguniform(0.5, 2, 3))
    claim.numeric("by hand", lambda p, m, s: p @ (m**2 + s**2) - (p @ m) ** 2, draws)
    assert claim.report().problems == []
    del define["Var[y|k]"]
    claim = Claim("1.5", "a variance", source="by hand", define=define)
    claim.numeric("by hand", lambda p, m, s: p @ (m**2 + s**2) - (p @ m) ** 2, draws)
    assert any("Var[y|k]: nobody has said" in problem for problem in claim.report().problems)


def test_an_integral_over_what_a_table_has_an_axis_for_is_a_sum():
    define = {"p(x|z1)": lambda g: g}
    # p(z_1), which the reader is told in words, is said in LaTeX.
    claim = Claim("1.6", "a sum", source="by hand", define=define | {"h(z1)": lambda h: h}, uses=[r"p(z_1) = h(z_1)"])
    claim.numeric("by hand", lambda g, h: g @ h, cases(5, g=simplex(3), h=simplex(3)))
    assert claim.report().problems == []
    claim.twin("wrong", r"\int p(x \mid z_1) p(z_1)^2 dz_1")
    assert claim.report().problems == []


def test_a_name_that_the_page_defines_by_tables_is_worth_what_it_is_at_each_draw():
    define = {"p(x|z1)": lambda g: g, "g(z1)": lambda h: h, "q(z1|x)": lambda q: q}
    claim = Claim("1.7", "a mean", source="by hand", define=define, uses=["D1.5"])
    draws = cases(5, g=simplex(3), h=simplex(3), q=simplex(3))
    claim.numeric("by hand", lambda g, h, q: g @ h, draws)
    assert claim.report().problems == []
    assert claim.noticed(SHOWN["1.7"], {"D1.5": SHOWN["D1.5"].replace("g(z_1)", "g(z_2)")})


@pytest.mark.parametrize("g", [lambda z: 3 * z * z - z + 2, lambda z: z**4, lambda z: math.cos(3 * z), abs])
def test_a_mean_of_a_parabola_takes_a_short_way_and_no_other_function_does(g):
    mean = numpy_namespace().mean(g, Bell(numpy_namespace(), 0.3, 1.7))
    assert mean == pytest.approx(normal_mean(g, 0.3, 1.7), rel=1e-9)


def test_a_mean_of_a_polynomial_in_symbols_is_not_multiplied_out():
    m, s, c = sympy.symbols("m s c", positive=True)
    f = sympy_namespace()
    assert sympy.expand(f.mean(lambda z: (z - c) ** 4, Bell(f, m, s))) == sympy.expand(
        (m - c) ** 4 + 6 * (m - c) ** 2 * s**2 + 3 * s**4
    )
    assert f.mean(lambda z: z**14, Bell(f, 0, 1)) == 135135


def test_a_difference_that_is_not_zero_is_measured_and_not_simplified():
    x = sympy.Symbol("x", positive=True)
    low, high = proved_difference(sympy.log(x) + 1, sympy.log(x), "==")
    assert low[0] == pytest.approx(1)
    assert high[0] == math.inf


def test_an_integral_of_two_normal_densities_in_symbols():
    f = sympy_namespace()
    m, a = sympy.symbols("m a", real=True)
    s, t = sympy.symbols("s t", positive=True)
    found = f.integral(lambda z: Bell(f, m, s).pdf(z) * Bell(f, a, t).pdf(z), f.number("-inf"), f.number("inf"))
    expected = Bell(f, m, sympy.sqrt(s**2 + t**2)).pdf(a)
    low, high = proved_difference(sympy.log(found / expected), 0, "==")
    assert low[0] == high[0] == 0
    assert f.integral(lambda z: sympy.exp(-abs(z)), f.number("-inf"), f.number("inf")) == 2  # no parabola
