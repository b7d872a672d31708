import json
import math

import numpy as np
import pytest
import sympy
from flint import acb, arb
from scipy import special, stats

from vaelib.checking import Claim, Outcomes, cases, loguniform, normal, page, simplex
from vaelib.checking.reader.arithmetics import numpy_namespace, sympy_namespace
from vaelib.checking.reader.equations import Equation, on_page
from vaelib.checking.reports import marked

GAUSSIANS = r"""\mathrm{KL}\big(\mathcal N(m_1, s_1^2) \,\|\, \mathcal N(m_2, s_2^2)\big)
= \log \frac{s_2}{s_1} + \frac{s_1^2 + (m_1 - m_2)^2}{2 s_2^2} - \frac12
= \frac{(m_1 - m_2)^2}{2 s_2^2} + \frac12\, g\!\left(\frac{s_1^2}{s_2^2}\right)"""
TANGENT = r"g(t) = t - 1 - \log t, \qquad t > 0"
SHOWN = {
    "D1.1": TANGENT,
    "1.1": GAUSSIANS,
    "1.2": r"\mathrm{KL}(q \,\|\, p) = \sum_z q(z)\; g\!\left(\frac{p(z)}{q(z)}\right) \;\ge\; 0",
    "1.3": r"-\log \mathbb E_q\!\left[\frac{p(z)}{q(z)^2}\right] \;\le\; \sum_z q(z) \log \frac{q(z)^2}{p(z)}",
    "1.4": r"P = a^\top \Sigma^{-1} a, \qquad W = \operatorname{tr} \Sigma",
    "1.5": r"R = \frac1N \sum_{n=1}^N \max(\lambda, r_n), \qquad \lambda > 0",
    "1.6": r"\bar q(z) = \frac1N \sum_{n=1}^N q(z \mid x_n)",
    "1.7": r"\frac1N \sum_n \mathrm{KL}\big(q(z \mid x_n) \,\|\, p(z)\big) = \underbrace{\frac1N \sum_n "
    r"\mathrm{KL}\big(q(z \mid x_n) \,\|\, \bar q(z)\big)}_{I} + \mathrm{KL}\big(\bar q(z) \,\|\, p(z)\big)",
    "1.8": r"\operatorname{Var}_q[z^2] = 4 m^2 s^2 + 2 s^4",
    "1.9": r"\log x! = \int_0^\infty x\, e^{-t}\, dt",
    "1.10": r"\frac{\partial}{\partial m} e^{m^2} = 2 m e^{m^2}",
}
PAIRS = cases(20, m1=normal(0, 1), s1=loguniform(0.3, 3), m2=normal(0, 1), s2=loguniform(0.5, 2))


@pytest.fixture(autouse=True)
def shown(tmp_path, monkeypatch):
    show(tmp_path, SHOWN)
    monkeypatch.chdir(tmp_path)


def show(folder, equations):
    texts = [f"Words.\n\n$$ {text} \\tag{{{number}}} $$\n\nWords." for number, text in equations.items()]
    cells = [{"cell_type": "markdown", "source": text.splitlines(keepends=True)} for text in texts]
    (folder / "chapter.ipynb").write_text(json.dumps({"cells": cells}))


def kl(m1, s1, m2, s2):
    return math.log(s2 / s1) + (s1**2 + (m1 - m2) ** 2) / (2 * s2**2) - 0.5


def gaussians() -> Claim:
    claim = Claim("1.1", "KL of Gaussians", source="by hand", uses=["D1.1"])
    claim.numeric("by hand", kl, PAIRS)
    return claim


def test_an_equation_is_found_by_its_number(tmp_path):
    assert on_page("1.1").split() == [*GAUSSIANS.split(), r"\tag{1.1}"]
    with pytest.raises(LookupError, match=r"equation \(9.9\) is displayed in no notebook of"):
        on_page("9.9")
    (tmp_path / "copy.ipynb").write_text((tmp_path / "chapter.ipynb").read_text())
    with pytest.raises(LookupError, match=r"in chapter.ipynb, copy.ipynb: expected one place"):
        on_page("1.1")


def test_every_side_is_read_and_agrees():
    claim = gaussians()
    assert claim.report().problems == []
    assert len(claim.formulas) == 3  # the divergence by quadrature, the closed form, and that in terms of g


@pytest.mark.parametrize(
    "change",
    [
        ("- \\frac12", "+ \\frac12"),
        ("s_1^2 + (", "s_1^3 + ("),
        ("m_2)^2}{2 s_2^2} + \\frac12\\, g", "m_2)^2}{2 s_2^2} + \\frac13\\, g"),
        ("N(m_1, s_1^2)", "N(m_2, s_1^2)"),
    ],
)
def test_a_wrong_page_is_red(change, tmp_path):
    assert change[0] in GAUSSIANS
    show(tmp_path, {**SHOWN, "1.1": GAUSSIANS.replace(*change, 1)})
    assert gaussians().report().problems


def test_a_wrong_definition_on_the_page_is_red(tmp_path):
    show(tmp_path, {**SHOWN, "D1.1": TANGENT.replace("- 1", "+ 1")})
    assert "expected equal to" in gaussians().report().problems[0]


def test_twins_are_latex_in_the_same_names():
    claim = gaussians()
    claim.twin("E5: no 1/2", r"2 \log \frac{s_2}{s_1} + \frac{s_1^2 + (m_1 - m_2)^2}{2 s_2^2} - \frac12")
    assert claim.report().problems == []
    claim.twin("right after all", r"\log s_2 - \log s_1 + \frac{s_1^2 + (m_1 - m_2)^2}{2 s_2^2} - \frac12")
    assert "twin 'right after all': off by" in claim.report().problems[0]


def test_a_twin_may_say_only_what_is_wrong_on_the_page(tmp_path):
    claim = gaussians()
    claim.twin("E7: arguments swapped in the closed form", {r"\log \frac{s_2}{s_1}": r"\log \frac{s_1}{s_2}"})
    claim.twin("no 1/2 in front of g", {r"\frac12\, g": "g", "m_2)^2}{2 s_2^2} + ": "m_2)^2}{2 s_2^2} + 0 + "})
    assert claim.report().problems == []
    assert r"\log \frac{s_2}{s_1} \;\to\; {\color{red}{\log \frac{s_1}{s_2}}}" in claim.report()._repr_html_()
    claim.twin("no change of what it is worth", {r"- \frac12": r"- \frac24"})
    assert (
        claim.report().problems[0].startswith("numeric witness 'by hand', twin 'no change of what it is worth': off by")
    )
    with pytest.raises(ValueError, match="the page does not say"):
        claim.twin("of another page", {r"\frac13": r"\frac14"})


def test_a_twin_of_an_inequality_has_to_break_the_bound_wherever_the_truth_stands(tmp_path):
    bound = r"0 \;\le\; \sum_z q(z) \log \frac{q(z)}{p(z)}"
    for shown, truth in ((bound, 1), (r"\sum_z q(z) \log \frac{q(z)}{p(z)} \ge 0 \ge - \sum_z p(z)", 0)):
        show(tmp_path, {**SHOWN, "1.2": shown})
        claim = tables(truth=truth)
        claim.twin("below the truth as well", "-1")
        assert "NOT REJECTED" in str(claim.report())
        claim = tables(truth=truth)
        claim.twin("above it", "9")
        assert claim.report().problems == []


def test_an_integral_over_a_law_of_scipy_has_no_table_to_run_over(tmp_path):
    show(tmp_path, {"1.1": r"r(x) = \int p(x \mid z)\, p(z)\, dz"})
    define = {"p(z)": stats.norm(0, 1), "p(x|z)": lambda x, z, s: stats.norm.pdf(x, z, s)}
    claim = Claim("1.1", "a marginal", source="by hand", define=define)
    given = cases(5, x=normal(0, 1), s=loguniform(0.5, 2))
    claim.numeric("of a sum", lambda x, s: stats.norm.pdf(x, 0, math.hypot(1, s)), given)
    claim.twin("no prior", r"\int p(x \mid z)\, dz")
    assert claim.report().problems == []


def test_a_law_may_be_a_table_of_symbols(tmp_path):
    show(tmp_path, {"1.1": r"\mathbb E_q[\log p(z)] = \sum_z q(z) \log p(z)"})
    define = {"q(z)": lambda q: q, "p(z)": lambda p: p}
    claim = Claim("1.1", "a mean", source="by hand", define=define)
    q, p = (np.array(sympy.symbols(f"{name}1:3", positive=True)) for name in "qp")
    claim.symbolic("two states", q[0] * sympy.log(p[0]) + q[1] * sympy.log(p[1]), {"q": q, "p": p})
    claim.twin("of q", r"\mathbb E_q[\log q(z)]")
    assert claim.report().problems == []


def test_the_page_may_say_what_h_of_a_number_is(tmp_path):
    show(tmp_path, {"D1.1": r"H(x) = -x \log x - (1 - x) \log(1 - x)", "1.1": r"E = \sum_d H(x_d)"})
    claim = Claim("1.1", "entropies of coins", source="by hand", uses=["D1.1"])
    claim.numeric("scipy", lambda x: (special.entr(x) + special.entr(1 - x)).sum(), cases(5, x=simplex(4)))
    claim.twin("half of it", r"-\sum_d x_d \log x_d")
    assert claim.report().problems == []
    show(tmp_path, {"D1.1": r"H(x) = -x \log x + (1 - x) \log(1 - x)", "1.1": r"E = \sum_d H(x_d)"})
    changed = Claim("1.1", "entropies", source="by hand", uses=["D1.1"])
    changed.witnesses = claim.witnesses
    assert changed.report().problems


def test_symbols_and_balls_read_the_page_as_well():
    m1, m2 = sympy.symbols("m1 m2", real=True)
    s1, s2 = sympy.symbols("s1 s2", positive=True)
    claim = gaussians()
    truth = sympy.log(s2) - sympy.log(s1) + (s1**2 + (m1 - m2) ** 2) / (2 * s2**2) - sympy.Rational(1, 2)
    claim.symbolic("by sympy", truth, (m1, s1, m2, s2))
    claim.ball(
        "in balls", lambda m1, s1, m2, s2: (s2 / s1).log() + (s1**2 + (m1 - m2) ** 2) / (2 * s2**2) - 0.5, PAIRS[:3]
    )
    claim.twin("wrong", r"\log \frac{s_2}{s_1} + \frac{s_1^2 + (m_1 - m_2)^2}{2 s_2^2}")
    assert claim.report().problems == []


def tables(**options) -> Claim:
    define = {"q(z)": lambda q: q, "p(z)": lambda p: p}
    claim = Claim(options.pop("id", "1.2"), "a sum", source="by hand", define=define, **options)
    claim.numeric("scipy", lambda q, p: special.rel_entr(q, p).sum(), cases(20, q=simplex(6), p=simplex(6)))
    return claim


def test_an_inequality_must_hold_the_way_it_is_printed_and_be_strict_somewhere(tmp_path):
    assert tables(uses=["D1.1"]).report().problems == []
    show(tmp_path, {**SHOWN, "1.2": SHOWN["1.2"].replace(r"\ge", r"\le")})
    assert "expected at least" in tables(uses=["D1.1"]).report().problems[0]
    show(tmp_path, {**SHOWN, "1.2": SHOWN["1.2"].replace(r"= \sum", r"\le \sum")})
    assert any("never strictly" in problem for problem in tables(uses=["D1.1"]).report().problems)


def test_a_side_that_nobody_can_evaluate_is_red(tmp_path):
    show(tmp_path, {**SHOWN, "1.2": SHOWN["1.2"].replace("q(z)\\;", "u q(z)")})
    problems = tables(uses=["D1.1"]).report().problems
    assert any("u: nobody has said what it means" in problem for problem in problems)


def test_several_statements_matrices_and_vectors():
    claim = Claim("1.4", "two numbers", source="by hand")

    def covariance(rng):
        root = rng.normal(size=(3, 3))
        return root @ root.T + np.eye(3)

    claim.numeric(
        "numpy",
        lambda a, Sigma: [a @ np.linalg.solve(Sigma, a), np.diag(Sigma).sum()],
        cases(5, a=normal(0, 1, 3), Sigma=covariance),
    )
    assert claim.report().problems == []
    noticed = {what: claim.noticed(text) for what, text in page.changes(claim.equation.text)}
    assert all(noticed.values())


def test_conditions_are_asked_of_the_cases(tmp_path):
    def claim():
        claim = Claim("1.5", "a mean", source="by hand", define={"N": lambda r: len(r), "lambda": lambda floor: floor})
        claim.numeric(
            "numpy",
            lambda r, floor: np.maximum(r, floor).mean(),
            cases(5, r=normal(0, 1, 4), floor=loguniform(0.1, 0.5)),
        )
        return claim

    assert claim().report().problems == []
    show(tmp_path, {**SHOWN, "1.5": SHOWN["1.5"].replace(r"\lambda > 0", r"\lambda < 0")})
    assert "lambda is not as the page requires" in claim().report().problems[0]


def test_tables_with_indices_in_their_arguments_and_braces():
    define = {"q(z|xn)": lambda q: q.T, "p(z)": lambda p: p, "N": lambda q: len(q)}
    claim = Claim("1.7", "a split", source="by hand", define=define, uses=["1.6"])
    claim.numeric("numpy", lambda q, p: special.rel_entr(q, p).sum() / len(q), cases(5, q=simplex(4, 3), p=simplex(4)))
    assert claim.report().problems == []
    define["I"] = 0.5  # what is under the brace has to be what is above it
    claim = Claim("1.7", "a split", source="by hand", define=define, uses=["1.6"])
    claim.numeric("numpy", lambda q, p: special.rel_entr(q, p).sum() / len(q), cases(5, q=simplex(4, 3), p=simplex(4)))
    assert "two sides of the page differ" in claim.report().problems[0]


def test_laws_integrals_and_derivatives():
    claim = Claim("1.8", "a variance", source="by hand", define={"q(z)": lambda m, s: stats.norm(m, s)})
    claim.numeric("by hand", lambda m, s: 4 * m**2 * s**2 + 2 * s**4, cases(3, m=normal(0, 1), s=loguniform(0.5, 2)))
    assert claim.report().problems == []
    claim = Claim("1.9", "true at 1 and 2", source="by hand")
    claim.numeric("lgamma", lambda x: math.lgamma(x + 1), [{"x": 3}])
    assert "expected equal to" in claim.report().problems[0]
    claim = Claim("1.10", "a slope", source="by hand")
    claim.numeric("by hand", lambda m: 2 * m * math.exp(m * m), cases(5, m=normal(0, 1)))
    assert claim.report().problems == []


def test_changes_of_the_page_and_which_are_noticed():
    claim = gaussians()
    tried = list(page.changes(claim.equation.text))
    assert len(tried) > 50
    assert len({text for _, text in tried}) == len(tried)
    assert claim.equation.text not in {text for _, text in tried}
    assert all(claim.noticed(text) for _, text in tried)
    assert not claim.noticed(claim.equation.text.replace(r"\,", ""))  # spaces are no change
    assert not claim.noticed(claim.equation.text, {"D1.1": TANGENT + r"\;"})
    assert claim.noticed(claim.equation.text, {"D1.1": TANGENT.replace("1", "2")})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a + 1", {"a - 1", "a + 2"}),
        (r"\frac{a}{b}", {r"\frac{b}{b}", r"\frac{a}{a}", r"\frac{b}{a}"}),
        (r"x \le 10", {r"x \ge 10", r"x \le 11"}),
        (r"\log x!", {r"\exp x!", r"\log x"}),
        (r"\mathrm{KL}(q \| p)", {r"\mathrm{KL}(p \| p)", r"\mathrm{KL}(q \| q)", r"\mathrm{KL}( p \| q )"}),
        (r"\text{4 words} = 2", {r"\text{4 words} = 3"}),
    ],
)
def test_what_is_changed(text, expected):
    assert {new for _, new in page.changes(text)} == expected


def test_a_verdict_is_one_line_that_opens():
    claim = gaussians()
    claim.scope = "one dimension"
    claim.twin(
        "E5: no 1/2", r"2 \log \frac{s_2}{s_1} + \frac{s_1^2 + (m_1 - m_2)^2}{2 s_2^2} - \frac12", seen="a paper"
    )
    claim.twin("right after all", r"\log s_2 - \log s_1 + \frac{s_1^2 + (m_1 - m_2)^2}{2 s_2^2} - \frac12")
    report = claim.report()
    first, second = repr(report).splitlines()[:2]
    assert first == "1.1 DOES NOT STAND: 1 witness agrees, 1 wrong twin refuted; 1 not refuted"
    assert second == "  KL of Gaussians (by hand; checked for one dimension)"
    page = report._repr_html_()
    assert page.startswith("<details open><summary><strong>1.1 DOES NOT STAND</strong>: 1 witness agrees")
    assert r"${\color{red}{2}} \log \frac{s_2}{s_1} + " in page
    assert "a paper" in page
    assert r"\tag" not in page


def test_a_verdict_that_stands_is_folded():
    claim = gaussians()
    claim.code("torch", lambda m1, s1, m2, s2: kl(*map(float, (m1, s1, m2, s2))), PAIRS)
    claim.twin("half", r"\frac12 \log \frac{s_2}{s_1}")
    report = claim.report()
    assert repr(report).splitlines()[0] == "1.1 stands: 2 witnesses agree, 1 wrong twin refuted"
    assert report._repr_html_().startswith("<details><summary><strong>1.1 stands</strong>")
    assert report.record()["scope"] == ""


@pytest.mark.parametrize(
    ("wrong", "shown"),
    [
        (r"a - 1", r"a {\color{red}{-}} 1"),
        (r"a + 12", r"a + {\color{red}{12}}"),
        (r"a + \frac{1}{b}", r"a + \frac{1}{b}"),  # half of a fraction cannot be set apart
        (r"a^2 + 1", r"a^2 + 1"),
        (r"b", r"{\color{red}{b}}"),
    ],
)
def test_what_is_wrong_is_marked_where_braces_allow_it(wrong, shown):
    assert marked(wrong, "a + 1") == shown


def test_claims_record_what_they_notice_and_the_score_is_a_page(tmp_path, monkeypatch, capsys):
    low = TANGENT.replace("t > 0", "t > -10")  # or -11: both hold wherever t is positive
    show(tmp_path, {**SHOWN, "D1.1": low})
    record = tmp_path / "changes.jsonl"
    monkeypatch.setenv("VAELIB_PAGE", str(record))
    claim = gaussians()
    claim.check(strict=False)
    assert page.main([str(record), "--notebooks", str(tmp_path)]) == 0
    text = (tmp_path / "changes.md").read_text()
    assert (
        f"2 of {len(SHOWN)} numbered equations are read from the page, 1 of 10 of those that claim something." in text
    )
    assert "- (1.2) `not read`: no reason yet\n- (1.3) `not read`: no reason yet" in text
    tried = len(list(page.changes(GAUSSIANS))) + len(list(page.changes(low)))
    assert f"Changes that are noticed: {tried - 1} of {tried} (" in text
    assert text.count("- (D1.1) `at ") == 1
    known = tmp_path / "PAGE.md"
    known.write_text(text.replace("- (1.3) `not read`: no reason yet", "- (1.3) `not read`: a limit"))
    assert page.main([str(record), "--notebooks", str(tmp_path), "--reasons", str(known)]) == 0
    assert (tmp_path / "changes.md").read_text() == known.read_text()
    capsys.readouterr()
    show(tmp_path, {number: text for number, text in {**SHOWN, "D1.1": low}.items() if number != "1.1"})
    assert page.main([str(record), "--notebooks", str(tmp_path)]) == 1
    assert "(1.1) was recorded, but no notebook displays it" in capsys.readouterr().err


def test_means_over_several_draws_functions_with_an_index_and_limits(tmp_path):
    mean = r"\mathbb E_{z_1, \dots, z_k \sim q}\Big[\log \frac1k \sum_{i=1}^k w(z_i)\Big]"
    definition = r"w(z) = \frac{r(z)}{q(z)}, \qquad F_k(x) = " + mean
    equations = {
        "D2.1": definition,
        "2.1": r"F_k(x) \;\le\; F_{k+1}(x) \;\le\; \mathbb E_{z_1 \sim p, z_2, \dots, z_k \sim q}"
        r"\Big[\log \frac1k \sum_{i=1}^k w(z_i)\Big]",
        "2.2": r"\lim_{k \to \infty} k \log\Big(1 + \frac ck\Big) = c",
    }
    show(tmp_path, equations)
    tables = {"q(z)": lambda q: q, "r(z)": lambda r: r, "p(z)": lambda r: r / r.sum(), "x": 0}
    claim = Claim("2.1", "a bound rises", source="by hand", define=tables, uses=["D2.1"], truth=1)

    def by_loops(q, r, k):
        cells = np.ndindex(*(len(q),) * (k + 1))
        return sum(np.prod(q[list(c)]) * math.log(np.mean((r / q)[list(c)])) for c in cells)

    claim.numeric("loops", by_loops, cases(5, q=simplex(3), r=simplex(3), k=lambda rng: int(rng.integers(1, 4))))
    claim.twin("no mean", r"F_k(x) + \log(k + 1)")
    claim.twin("no upper bound", r"F_k(x)", side=2)
    assert claim.report().problems == []
    show(tmp_path, {**equations, "D2.1": definition.replace(r"\frac1k", r"\frac2k")})
    assert "expected at most" in claim_of(claim).report().problems[0]
    show(tmp_path, {**equations, "D2.1": definition.replace(r"r(z)", "u(z)")})  # a name that the page defines is read
    assert any("nobody has said" in problem for problem in claim_of(claim).report().problems)
    show(tmp_path, {**equations, "2.1": equations["2.1"].replace("F_{k+1}", r"F_{k+\frac12}")})  # no index
    assert claim_of(claim).report().problems
    claim = Claim("2.2", "a limit", source="by hand")
    claim.numeric("by hand", lambda c: c, cases(5, c=normal(0, 1)))
    assert claim.report().problems == []


def claim_of(old: Claim) -> Claim:
    """The same claim about what the page says now."""
    uses = list(old.used)
    claim = Claim(old.id, old.statement, source=old.source, define=old.equation.define, uses=uses, truth=old.truth)
    claim.witnesses = old.witnesses
    return claim


def test_laws_of_units_squares_and_logarithms_that_the_page_defines(tmp_path):
    equations = {
        "D3.1": r"\log p(x \mid z) = \sum_{d=1}^D x_d \log \pi_d(z)",
        "D3.2": r"q(z \mid x) = \prod_{j=1}^J \mathcal N(z_j; m_j(x), 1), \qquad p(z) = \mathcal N(z; 0, I)",
        "3.1": r"y = \mathbb E_{q(z \mid x)}[\log p(x \mid z)] - \mathrm{KL}\big(q(z \mid x) \,\|\, p(z)\big)",
        "3.2": r"c = D \log \sigma^2, \qquad \sigma^2 = \frac1D \sum_{i > 1} v_i",
        "3.3": r"c = \mathrm{KL}\Big(q(z) \,\Big\|\, \prod_j q(z_j)\Big)",
        "3.4": r"c = \frac1B \sum_b \log p(x_b \mid z_b)",
    }
    show(tmp_path, equations)
    define = {"pi(z)": lambda z, a: np.exp(a * z), "m(x)": lambda m: m, "D": 3, "J": 1, "I": 1}
    claim = Claim("3.1", "a bound", source="by hand", define=define, uses=["D3.1", "D3.2"])
    draws = cases(3, x=normal(0, 1, 3), a=normal(0, 1, 3), m=normal(0, 1, 1))
    claim.numeric("by hand", lambda x, a, m: x @ a * m[0] - m[0] ** 2 / 2, draws)
    assert claim.report().problems == []

    claim = Claim("3.2", "a mean", source="by hand", define={"D": lambda v: len(v)})
    claim.numeric("by hand", lambda v: 3 * math.log((v[1] + v[2]) / 3), cases(3, v=loguniform(1, 2, 3)))
    assert claim.report().problems == []

    def marginals(q):
        both = np.empty(2, dtype=object)
        both[:] = q.sum(axis=1), q.sum(axis=0)
        return both

    claim = Claim("3.3", "correlation", source="by hand", define={"q(z)": lambda q: q.ravel(), "q(zj)": marginals})

    def correlation(q):
        return special.rel_entr(q, np.outer(q.sum(axis=1), q.sum(axis=0))).sum()

    claim.numeric("numpy", correlation, cases(3, q=lambda rng: rng.dirichlet(np.ones(6)).reshape(2, 3)))
    assert claim.report().problems == []

    claim = Claim("3.4", "one index", source="by hand", define={"p(xb|zb)": lambda p: p, "B": lambda p: len(p)})
    claim.numeric("numpy", lambda p: np.log(p).mean(), cases(3, p=simplex(4)))


def test_the_arguments_of_a_law_are_told_apart(tmp_path):
    law = r"q(z \mid x) = \prod_{j=1}^J \mathcal N(z_j; m_j(x), 1), \qquad p(z) = \mathcal N(z; 0, 1)"
    bound = r"y = -\mathrm{KL}\big(q(z \mid x) \,\|\, p(z)\big)"
    show(tmp_path, {"D3.3": law, "3.5": bound})
    claim = Claim("3.5", "a rate", source="by hand", define={"m(x)": lambda m: m, "J": 1}, uses=["D3.3"])
    claim.numeric("by hand", lambda m: -(m[0] ** 2) / 2, cases(3, m=normal(0, 1, 1)))
    assert claim.report().problems == []
    for changed in (r"q(z \mid p)", r"q(x \mid x)"):
        assert claim.noticed(bound.replace(r"q(z \mid x)", changed))
    assert claim.noticed(bound.replace("p(z)", "p(p)"))
    for changed in (r"q(x \mid x) =", r"q(z \mid j) ="):
        assert claim.noticed(bound, {"D3.3": law.replace(r"q(z \mid x) =", changed)})
    for changed in ("j_j;", r"z_\mu;"):
        assert claim.noticed(bound, {"D3.3": law.replace("z_j;", changed)})


NAMED = {
    "D4.1": r"q(z \mid x) = \mathcal N(z; m + x, 1), \qquad p(z) = \mathcal N(z; 0, 1)",
    "D4.2": r"w(u) = v(u)\, v(y), \qquad v(y) = y^2",
    "4.1": r"c = \mathrm{KL}\big(q(z \mid x) \,\|\, p(z)\big)",
    "4.2": r"c = \mathrm{KL}\big(r(z \mid x) \,\|\, p(z)\big)",
    "4.3": r"c = \sum_y r(y)\, w(y)",
}


@pytest.mark.parametrize(
    ("number", "change", "said"),
    [
        ("4.1", ("x)", "y)"), "y: nobody has said what it means"),  # not that x which the body speaks of
        ("4.1", ("x)", "m)"), "expected equal to"),  # another argument with a value: the law with that
        ("4.1", ("p(z)", "p(y)"), "a divergence of a law of z and one of y"),
        ("4.2", ("x)", "y)"), "r(z|y): nobody has said what it means"),  # a law is given for its own names only
        ("4.2", ("x)", "m)"), "r(z|m): nobody has said what it means"),
    ],
)
def test_arguments_are_compared_with_those_of_what_is_named(number, change, said, tmp_path):
    def problems(text):
        show(tmp_path, {**NAMED, number: text})
        define = {"r(z|x)": lambda m, x: stats.norm(m + x, 1)}
        claim = Claim(number, "laws by name", source="by hand", define=define, uses=["D4.1"])
        claim.numeric("by hand", lambda m, x: (m + x) ** 2 / 2, cases(3, m=normal(0, 1), x=normal(0, 1)))
        return claim.report().problems

    assert problems(NAMED[number]) == []
    assert change[0] in NAMED[number]
    assert any(said in problem for problem in problems(NAMED[number].replace(*change)))


FAMILIES = {
    "6.1": r"\mathrm{KL}\big(\mathrm{Bern}(a) \,\|\, \mathrm{Bern}(b)\big) "
    r"= a \log \frac ab + (1 - a) \log \frac{1 - a}{1 - b}",
    "6.2": r"\sum_{i=1}^2 \mathrm{KL}(q_i \,\|\, p_i) = \sum_{i=1}^2 \Big[\log \frac{t_i}{s_i} + "
    r"\frac{s_i e^{-|m_i - n_i| / s_i} + |m_i - n_i|}{t_i} - 1\Big]",
    "6.3": r"c = \mathrm{KL}\Big(q \,\Big\|\, \prod_{i=1}^2 q_i\Big)",
}


def test_laws_of_a_family_are_told_apart_by_parameters(tmp_path):
    show(tmp_path, FAMILIES)
    define = {"Bern(a)": lambda a: np.array([a, 1 - a])}
    claim = Claim("6.1", "two coins", source="by hand", define=define)
    law = cases(3, a=lambda rng: rng.uniform(0.1, 0.9), b=lambda rng: rng.uniform(0.1, 0.9))
    claim.numeric("scipy", lambda a, b: special.rel_entr([a, 1 - a], [b, 1 - b]).sum(), law)
    assert claim.report().problems == []


@pytest.mark.parametrize(
    "definition",
    [
        r"q(i) = \prod_{i=1}^2 q_i(z_i)",  # the argument is what the product runs over
        r"q(z) = \prod_{i=1}^2 q_i(i_i)",  # the index has one
        r"f_z(z_i) = \log q_i(z_i)",
        r"q(z, z) = z^2",
    ],
)
def test_a_letter_with_two_meanings_in_a_definition_cannot_be_read(definition, tmp_path):
    show(tmp_path, {"D6.1": definition, "6.4": "a = b"})
    with pytest.raises(ValueError, match="has two meanings in what is said of"):
        Claim("6.4", "nothing", source="by hand", uses=["D6.1"])


@pytest.mark.parametrize("index", ["r", "0", "i - 3"])
def test_an_index_is_a_whole_number_from_one_on(index, tmp_path):
    show(tmp_path, {"6.4": f"R = x_{{{index}}}"})
    claim = Claim("6.4", "an entry", source="by hand", define={"i": 2, "r": 0.5})
    claim.numeric("by hand", lambda x: x[-1], cases(1, x=normal(0, 1, 3)))  # which a slip of Python's would give
    assert "and no index" in claim.report().problems[0]


@pytest.mark.parametrize("wrong", [r"\frac{m}{2}", r"\frac{x}{1}"])
def test_what_is_said_of_a_label_below_a_brace_is_read(wrong, tmp_path):
    def problems(text):
        show(tmp_path, {"6.4": text})
        claim = Claim("6.4", "a sum", source="by hand")
        claim.numeric("by hand", lambda m: 2 * m, cases(2, m=normal(0, 1)))
        return claim.report().problems

    right = r"R = m + \underbrace{m}_{T}, \qquad T = \frac{m}{1}"
    assert problems(right) == []
    assert problems(right.replace(r"\frac{m}{1}", wrong))


def laws(*each):
    return np.array(each)


def test_divergences_of_laws_with_kinks_and_short_tails(tmp_path):
    show(tmp_path, FAMILIES)
    define = {
        "q": lambda m, s: laws(*map(stats.laplace, m, s)),
        "p": lambda n, t: laws(*map(stats.laplace, n, t)),
    }
    claim = Claim("6.2", "Laplace", source="by hand", define=define)
    spread = cases(3, m=normal(0, 1, 2), s=loguniform(0.2, 5, 2), n=normal(0, 1, 2), t=loguniform(0.2, 5, 2))
    claim.numeric(
        "by hand", lambda m, s, n, t: (np.log(t / s) + (s * np.exp(-abs(m - n) / s) + abs(m - n)) / t - 1).sum(), spread
    )
    assert claim.report().problems == []


def test_a_law_and_laws_by_index_have_one_letter(tmp_path):
    show(tmp_path, FAMILIES)
    define = {
        "q": lambda r: laws(stats.norm(0, 1), stats.norm(0, 1)),
        "q(z)": lambda r: stats.multivariate_normal([0, 0], [[1, r], [r, 1]]),
    }
    claim = Claim("6.3", "total correlation", source="by hand", define=define)
    claim.numeric("by hand", lambda r: -math.log(1 - r**2) / 2, cases(3, r=lambda rng: rng.uniform(-0.9, 0.9)))
    assert claim.report().problems == []


def test_the_body_of_a_definition_sees_its_arguments_only(tmp_path):
    def problems(definition):
        show(tmp_path, {**NAMED, "D4.2": definition})
        claim = Claim("4.3", "a sum", source="by hand", define={"r(y)": lambda r: r}, uses=["D4.2"])
        claim.numeric("by hand", lambda r: (r * np.arange(1, 4) ** 4).sum(), cases(3, r=simplex(3)))
        return claim.report().problems

    assert problems(NAMED["D4.2"].replace("v(y),", "v(u),")) == []
    assert any("y: nobody has said" in problem for problem in problems(NAMED["D4.2"]))  # y is the sum's


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        (r"R = \sum_{n=4}^6 x_n", 4, 6),
        (r"R = \sum_{n=4} x_n", 4, 8),
        (r"R = \sum_{n \ge 4} x_n", 4, 8),
        (r"R = \sum_{n=0}^2 x_n", 1, 3),  # entries are counted from zero
        (r"R = \sum_n x_n", 1, 8),
    ],
)
def test_a_sum_takes_the_entries_from_its_first_to_its_last(text, first, last, tmp_path):
    show(tmp_path, {"5.1": text})
    claim = Claim("5.1", "a sum", source="by hand")
    claim.numeric("by hand", lambda x: x[first - 1 : last].sum(), cases(2, x=normal(0, 1, 8)))
    assert claim.report().problems == []


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        (r"g > 0", "nobody can tell whether it is as the page requires: g: nobody has said"),
        (r"t > u", "nobody can tell whether it is as the page requires: u: nobody has said"),
    ],
)
def test_a_condition_that_nobody_can_ask_is_red(condition, said, tmp_path):
    show(tmp_path, {**SHOWN, "D1.1": TANGENT.replace("t > 0", condition)})
    assert said in gaussians().report().problems[0]


def test_a_condition_on_what_nothing_mentions_cannot_be_read(tmp_path):
    show(tmp_path, {**SHOWN, "D1.1": TANGENT.replace("t > 0", "u > 0")})
    with pytest.raises(ValueError, match="a condition on u, which nothing else mentions"):
        gaussians()
    show(tmp_path, {**SHOWN, "D1.1": TANGENT.replace("t > 0", r"h(u) = u, \qquad u > 0, \qquad t > 0")})
    assert gaussians().report().problems == []  # each is asked where its name is an argument


def test_a_value_is_defined_where_its_condition_holds(tmp_path):
    def problems(condition):
        show(tmp_path, {"D5.1": r"s = \sqrt{v}, \qquad " + condition, "5.1": r"R = s^2"})
        claim = Claim("5.1", "a square", source="by hand", uses=["D5.1"])
        claim.numeric("by hand", lambda v: v, cases(2, v=loguniform(1, 2)))
        return claim.report().problems

    assert problems("v > 0") == []
    assert "v is not as the page requires" in problems("v < 0")[0]


def test_what_is_said_for_every_index_is_not_computed_from_the_page(tmp_path):
    show(tmp_path, {"D3.4": r"g_n(x) = h(n)", "3.6": r"\lim_{n \to \infty} n\, \big(1 - g_n(x)\big) = b"})
    define = {"gn(x)": lambda n: 1 - 1 / n, "x": 0, "h(n)": lambda n: 1 / 0}
    claim = Claim("3.6", "a limit", source="by hand", define=define, uses=["D3.4"], truth=0)
    claim.numeric("by hand", lambda b: 1.0, [{"b": 1.0}])
    assert claim.report().problems == []


NORMAL = {
    "D1.2": r"q(z) = \mathcal N(z; \mu, \sigma^2)",
    "D1.3": r"s(z) = \frac{\partial \log q(z)}{\partial(\mu, \sigma)} "
    r"= \begin{pmatrix} (z - \mu)/\sigma^2 \\ ((z - \mu)^2 - \sigma^2)/\sigma^3 \end{pmatrix}",
    "1.11": r"\frac{\partial}{\partial \mu} \mathbb E_q[f(z)] = \mathbb E_\varepsilon[f'(\mu + \sigma \varepsilon)]",
    "1.12": r"\mathbb E_q[s(z)] = \begin{pmatrix} 0 \\ 0 \end{pmatrix}, \qquad "
    r"\operatorname{Cov}_q[s(z)] = \frac{1}{\sigma^2} \begin{pmatrix} 1 & 0 \\ 0 & 2 \end{pmatrix}",
    "1.13": r"\mathbb E[m + L \varepsilon] = m, \qquad \operatorname{Cov}[m + L \varepsilon] = L L^\top",
    "1.14": r"\mathbb E\Big[\frac1L \sum_{l=1}^L g_l\Big] = \mathbb E[g_1]",
    "1.15": r"\mathbb E_u[\log p(c + h u)] + \log h \le \log \int_c^{c + h} p(x) dx",
    "1.16": r"\mathrm{Z}(l) = \int_0^1 e^{l x} dx = \frac{e^l - 1}{l}",
    "1.17": r"\begin{array}{ll} & \text{by } \mu \\ \text{path} & 2\mu \\ & v \end{array} \qquad v = \mu^2",
    "1.18": r"P(k) = \begin{cases} a & k = 0 \\ 1 - a & k = 1 \end{cases} \text{and} \sum_{k=0}^1 P(k) = 1",
    "1.19": r"\log D = \log(2 \hat\sigma^2), \qquad \hat\sigma^2 = \mu^2 / 2",
}
FEW = cases(3, mu=normal(0, 1), sigma=loguniform(0.05, 2))


def on_a_normal_page(tmp_path, number, define=None, uses=()):
    show(tmp_path, NORMAL)
    return Claim(number, "by hand", source="by hand", define=define, uses=uses)


@pytest.mark.slow
def test_a_law_of_the_page_moves_with_its_parameters_in_floats_and_in_symbols(tmp_path):
    f = {"f(z)": lambda f, z: np.array([z**2, z**3]), "f'(z)": lambda f, z: np.array([2 * z, 3 * z**2])}
    claim = on_a_normal_page(tmp_path, "1.11", f | {"~varepsilon": stats.norm(0, 1)}, ["D1.2"])
    mu, sigma = sympy.Symbol("mu", real=True), sympy.Symbol("sigma", positive=True)
    claim.numeric("by hand", lambda mu, sigma: [2 * mu, 3 * mu**2 + 3 * sigma**2], FEW)
    claim.symbolic("in symbols", np.array([2 * mu, 3 * mu**2 + 3 * sigma**2]), (mu, sigma))
    assert claim.report().problems == []
    assert claim.noticed(NORMAL["1.11"].replace("f'", "f"))
    assert claim.noticed(NORMAL["1.11"], {"D1.2": NORMAL["D1.2"].replace("z;", r"\mu;")})
    claim = on_a_normal_page(tmp_path, "1.12", None, ["D1.2", "D1.3"])

    def moments(mu, sigma):
        return np.array([[0, 0], [1 / sigma**2, 0], [0, 2 / sigma**2]])

    claim.numeric("by hand", moments, FEW)
    claim.symbolic("in symbols", moments(mu, sigma), (mu, sigma))
    assert claim.report().problems == []
    assert claim.noticed(NORMAL["1.12"], {"D1.3": NORMAL["D1.3"].replace("- \\mu)/", "+ \\mu)/")})


def test_what_a_formula_is_worth_in_a_case_is_computed_once():
    calls = []
    formula = Equation("R = h + a", {"h": lambda a: calls.append(a) or 2 * a}).expression("h + a")
    values = [formula(numpy_namespace(), a=a) for a in (1.5, 1.5, np.float64(1.5), 2.0, 2, 1.5)]
    assert values == [4.5, 4.5, 4.5, 6.0, 6, 4.5]
    assert calls == [1.5, 2.0, 2]  # an integer may be an index, a float none
    symbol = sympy.Symbol("a")
    assert [formula(sympy_namespace(), a=symbol) for _ in range(2)] == [3 * symbol] * 2
    assert calls[3:] == [symbol] * 2


@pytest.mark.slow
def test_means_over_several_variables_and_finite_laws(tmp_path):
    noise = {"~varepsilon": lambda L: stats.multivariate_normal(np.zeros(len(L)), np.eye(len(L)))}
    claim = on_a_normal_page(tmp_path, "1.13", noise)
    draw = cases(2, m=normal(0, 1, 2), L=normal(0, 1, (2, 2)))
    claim.numeric("by hand", lambda m, L: np.vstack([m, L @ L.T]), draw)
    m, L = np.array(sympy.symbols("m1:3")), np.array(sympy.symbols("l1:5")).reshape(2, 2)
    claim.symbolic("in symbols", np.vstack([m, L @ L.T]), {"m": m, "L": L})
    assert claim.report().problems == []
    law = {"~g": lambda a: Outcomes(np.array([[a, 2 * a], [2 * a, a]]), np.array([0.5, 0.5])), "L": 2}
    claim = on_a_normal_page(tmp_path, "1.14", law)
    claim.numeric("by hand", lambda a: 1.5 * a, cases(2, a=normal(0, 1)))
    assert claim.report().problems == []


def test_integrals_and_means_in_balls(tmp_path):
    claim = on_a_normal_page(tmp_path, "1.15", {"p(x)": stats.norm(0, 1), "~u": stats.uniform(0, 1)})

    def mass(c, h):
        return acb.integral(lambda x, _: (-x * x / 2).exp(), c, c + h).real.log() - (2 * arb.pi()).log() / 2

    claim.ball("by integration", mass, cases(3, c=normal(0, 1), h=loguniform(0.1, 1)))
    assert claim.report().problems == []
    claim = on_a_normal_page(tmp_path, "1.16")
    claim.ball("by hand", lambda l: l.expm1() / l, cases(3, l=normal(0, 1)))
    assert claim.report().problems == []


def test_what_a_display_defines_for_itself(tmp_path):
    claim = on_a_normal_page(tmp_path, "1.17")
    claim.numeric("by hand", lambda mu: [2 * mu, mu**2], cases(3, mu=normal(0, 1)))
    assert claim.report().problems == []
    claim = on_a_normal_page(tmp_path, "1.18")
    claim.numeric("by hand", lambda a, k: [[a, 1 - a][k], 1], [{"a": 0.3, "k": 0}, {"a": 0.3, "k": 1}])
    assert claim.report().problems == []
    assert claim.noticed(NORMAL["1.18"].replace("1 - a", "2 - a"))
    claim = on_a_normal_page(tmp_path, "1.19", {"D": lambda mu: mu**2})
    claim.numeric("by hand", lambda mu: 2 * math.log(abs(mu)), cases(3, mu=normal(0, 1)))
    assert claim.report().problems == []
