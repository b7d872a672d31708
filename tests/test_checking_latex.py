import math

import numpy as np
import pytest

from vaelib.checking.reader.arithmetics import Unsaid, flint_namespace, numpy_namespace, sympy_namespace
from vaelib.checking.reader.equations import Equation
from vaelib.checking.reader.latex import heads, read
from vaelib.checking.reader.laws import Values
from vaelib.checking.reader.tokens import Unreadable, identifier


def value(text: str, functions=(), **names):
    (statement,) = read(text, functions)
    return Values(numpy_namespace(), names).of(statement.sides[-1])


@pytest.mark.parametrize(
    ("text", "names", "expected"),
    [
        # 1. A name of one letter stands alone; one in roman does not.
        ("ab", {"a": 2, "b": 5}, 10),
        (r"\mathrm{ab}", {"ab": 7}, 7),
        # 3. A function without brackets takes the product to its right, up to the next + or -.
        (r"\log 2 a + 1", {"a": math.e / 2}, 2),
        (r"\log a^2 b - c", {"a": 1, "b": math.e, "c": 4}, -3),
        (r"\log 3!", {}, math.log(6)),
        (r"c \log \frac{a}{b} d", {"a": math.e, "b": 1, "c": 2, "d": math.e}, 4),
        (r"\log\log a", {"a": math.exp(math.e)}, 1),
        # ... and with a bracket right after it, the bracket alone.
        (r"\log(a) b", {"a": math.e, "b": 5}, 5),
        (r"\tfrac12 (\log r)^2", {"r": math.e**2}, 2),
        # 4. A sum takes the product to its right.
        (r"\sum_{i=1}^{3} i^2 + 1", {}, 15),
        (r"\sum_{i=1}^{3} \big[i + 1\big]", {}, 9),
        (r"\int_0^1 2 u\, du + 1", {}, 2),
        (r"\prod_{i=1}^3 i\; a", {"a": 2}, 48),
        # 5. \frac12 and x^2y take one digit or letter each.
        (r"\frac12 a", {"a": 3}, 1.5),
        (r"\tfrac12k^2", {"k": 3}, 4.5),
        (r"\frac ab", {"a": 3, "b": 4}, 0.75),
        ("a^2b", {"a": 3, "b": 4}, 36),
        ("12 a", {"a": 1}, 12),
        ("a^{12}", {"a": 1.5}, 1.5**12),
        # 6. a / b divides by the next factor alone.
        ("a / b + c", {"a": 6, "b": 3, "c": 1}, 3),
        ("a b / c", {"a": 6, "b": 3, "c": 2}, 9),
        # 7. e^x is exp(x), and e and \pi are the constants, unless they are among the names.
        ("e^{a}", {"a": 2}, math.exp(2)),
        (r"2 \pi", {}, 2 * math.pi),
        (r"2 \pi", {"pi": 0.5}, 1),
        ("e a", {"e": 3, "a": 2}, 6),
        # Signs.
        ("-a^2", {"a": 3}, -9),
        ("a - b - c", {"a": 9, "b": 3, "c": 2}, 4),
        (r"a \cdot b \times c", {"a": 9, "b": 3, "c": 2}, 54),
        (r"\sqrt{a^2 + 9}", {"a": 4}, 5),
        (r"|a - b| / c", {"a": 1, "b": 4, "c": 2}, 1.5),
        (r"e^{-|a - b|}", {"a": 1, "b": 4}, math.exp(-3)),
        (r"\max(0, a)", {"a": -3}, 0),
        (r"\underbrace{a + b}_{\text{words}} + 1", {"a": 1, "b": 2}, 4),
        (r"\Gamma(a)", {"a": 5}, 24),
        (r"\log B(a, b)", {"a": 2, "b": 3}, math.log(1 / 12)),
        (
            r"\begin{cases} a & k = 0 \\[2pt] b & 0 < k < 5 \\ c & k = 5 \end{cases}",
            {"a": 1, "b": 2, "c": 3, "k": 4},
            2,
        ),
        (r"\frac{\partial}{\partial m} m^3", {"m": 2.0}, 12),
        (r"\frac{\partial (m^3)}{\partial m} + 1", {"m": 2.0}, 13),
    ],
)
def test_the_conventions(text, names, expected):
    assert value(text, **names) == pytest.approx(expected, rel=1e-9)


X, A = np.array([3.0, -4.0, 1.0]), np.arange(1.0, 10.0).reshape(3, 3)


@pytest.mark.parametrize(
    ("text", "names", "expected"),
    [
        # 3. What follows the bracket of a function is not in its argument; bars are no bracket.
        (r"\log(a)^2", {"a": math.e**3}, 9),
        (r"\exp(a)^2", {"a": 3}, math.exp(6)),
        (r"\tanh(a)^2 b", {"a": 1.0, "b": 2}, 2 * math.tanh(1) ** 2),
        (r"\operatorname{erf}(a)^{2}", {"a": 1.0}, math.erf(1) ** 2),
        (r"\log{\left(a\right)} \log{\left(b\right)}", {"a": math.e**2, "b": math.e**3}, 6),
        (r"\log{{(a)}} b", {"a": math.e, "b": 5}, 5),
        (r"\operatorname{tr}(A)^2", {"A": A}, 225),
        (r"\det(A)^{-1/2}", {"A": np.diag([2.0, 2.0, 4.0])}, 0.25),
        (r"\log |a|^2 + 1", {"a": -math.e}, 3),
        (r"\log\log a", {"a": math.exp(math.e)}, 1),
        (r"\log_2 8", {}, 3),
        (r"\log_{10}(a)^2", {"a": 1000}, 9),
        # 4. and 8. Bounds of both indices, in either order; an index and the next one are neighbours.
        (r"\sum_{i,j=1}^n a_{ij}", {"a": A, "n": 2}, 12),
        (r"\prod^{n}_{i,j=1} a_{ij}", {"a": A, "n": 2}, 40),
        (r"\sum_{i=1,j=2}^3 a_{ij}", {"a": A}, 33),
        (r"\sum^n_{i=1} x_i", {"x": X, "n": 2}, -1),
        (r"\sum_{i=0}^{1} x_i x_{i+1}", {"x": X}, -16),
        (r"\sum_{i=0}^{1} (x_{i+1} - x_i)", {"x": X}, -2),
        (r"\sum_{i=0}^{2} x_i x_{2-i}", {"x": X}, 22),
        (r"\sum_{i=0}^1 \sum_{j=1}^2 a_{i+1,j}", {"a": A}, 24),
        (r"\sum_{i=2}^3 x_i x_{i-1}", {"x": X}, -16),
        (r"x_{t+1,2}", {"x": A, "t": 1}, 5),
        # 5. One number.
        ("60{,}000 + 0.5", {}, 60000.5),
        (r"\frac12 3", {}, 1.5),
        (r"2^3 4", {}, 32),
        # 10. Norms and roots.
        (r"\|x\|_1", {"x": X}, 8),
        (r"\lVert x \rVert_{1}", {"x": X}, 8),
        (r"\|x\|_2^2", {"x": X}, 26),
        (r"\|x\|_\infty^2", {"x": X}, 16),
        (r"\sum_{i=1}^{3} \|x_i\|_\infty", {"x": X}, 8),
        (r"\|A\|_F^2", {"A": A}, 285),
        (r"\sqrt[3]{a} b", {"a": 8.0, "b": 2}, 4),
        # A logarithm of what is too large for a float, in parts: each of them alone makes it so.
        (r"\log \frac{n!}{2^n}", {"n": 400.0}, math.lgamma(401) - 400 * math.log(2)),
        (r"\log \big(3\, \Gamma(n)\big)", {"n": 400.0}, math.lgamma(400) + math.log(3)),
        (r"\log \frac{\Gamma(n)}{B(n, n)}", {"n": 400.0}, math.lgamma(800) - math.lgamma(400)),
        # An entry of another array beside an index that counts from zero.
        (r"\sum_{i=0}^{1} x_i y_1", {"x": X, "y": X}, X[0] * (X[0] + X[1])),
        # Cases with words, a roman d, a set, a comment.
        (r"\begin{cases} a & k = 0 \\ b & \text{otherwise} \end{cases}", {"a": 1, "b": 2, "k": 1}, 2),
        (r"\begin{cases} a & \text{if } k = 0 \\ b & \text{if } k > 0 \end{cases}", {"a": 1, "b": 2, "k": 1}, 2),
        (r"\int_0^1 2 x\, \mathrm{d}x", {}, 1),
        (r"\int_0^1 2 x \mathrm dx", {}, 1),
        (r"\frac{d}{dx} x^2 + d", {"d": 2.0, "x": 3.0}, 8),
        (r"\frac{\mathrm{d}}{\mathrm{d}x} x^2", {"d": 2.0, "x": 3.0}, 6),
        (r"\frac{d}{2}", {"d": 3.0}, 1.5),
        (r"x_{\mathrm{d}}", {"xd": 2}, 2),
        (r"\max\{a, b\}^2", {"a": 1, "b": 2}, 4),
        ("a + b % and no more\n", {"a": 1, "b": 2}, 3),
    ],
)
def test_what_is_printed_in_everyday_ways_has_its_everyday_value(text, names, expected):
    assert value(text, **names) == pytest.approx(expected, rel=1e-9)


def test_norms_and_roots_have_the_same_value_in_every_arithmetic():
    for text, expected in ((r"\|x\|_1", 8), (r"\|x\|_\infty", 4), (r"\sqrt[3]{\|x\|_1}", 2), (r"\log_2 \|x\|_1", 3)):
        for f in (numpy_namespace(), sympy_namespace(), flint_namespace()):
            names = {"x": np.array([f.number(digits) for digits in ("3", "-4", "1")])}
            assert float(Values(f, names).of(read(text)[0].sides[0])) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "names", "said"),
    [
        (r"\log|A|", {"A": A}, r"bars around a matrix: its determinant is written as \\det"),
        (r"\|A\|_2", {"A": A}, "a norm of a matrix, which has several"),
        (r"\|A\|_\infty", {"A": A}, "a norm of a matrix, which has several"),
        (r"\sum_{i=0}^1 \sum_{j=1}^2 a_{i+j,j}", {"a": A}, "one of its indices counts from zero, the other from one"),
        (r"\sum_{i=0}^{1} x_i x_1", {"x": X}, "x1 beside an index that counts from zero"),
        (r"\sum_{i=1}^{2} x_{i-1}", {"x": X}, "and no index"),
        (r"\begin{cases} a & \text{if it rains} \\ b & k = 1 \end{cases}", {"a": 1, "b": 2, "k": 1}, "'if it rains'"),
        ("f'(x, y)", {"f(x,y)": lambda x, y: x * x * y, "x": 3, "y": 1}, r"f'\(x,y\): nobody has said"),
        ("f'_1(x, y)", {"f1(x,y)": lambda x, y: x * x * y, "x": 3, "y": 1}, "nobody has said"),
    ],
)
def test_what_has_no_one_meaning_is_unsaid(text, names, said):
    with pytest.raises(Unsaid, match=said):
        value(text, **names)


def test_a_prime_is_kept_at_a_function_and_not_at_its_argument():
    names = {"f(x,y)": lambda x, y: x * x * y, "f'(x,y)": lambda x, y: 2 * x * y, "x": 3, "x'": 5, "y": 1}
    assert [value(text, **names) for text in ("f(x, y)", "f'(x, y)", "f(x', y)")] == [9, 6, 25]


def test_a_name_is_a_function_only_if_it_is_said_to_be():
    names = {"a": 2.0, "b": 3.0}
    assert value("u (1 + b)", u=2.0, **names) == 8
    equation = Equation("x = u(1 + b)", {"u(t)": lambda t: 10 * t})
    assert equation.side(1, False)(numpy_namespace(), b=3.0) == 40


def test_a_bracket_with_a_comma_or_a_bar_holds_arguments():
    for text in ("p(x, y)", r"p(x \mid y)"):
        (statement,) = read(text)
        assert statement.sides[0].kind == "apply"


def test_names():
    def name(text):
        return identifier(read(text)[0].sides[0])

    assert name("m_1") == "m1"
    assert name(r"\hat\sigma") == "sigma_hat"
    assert name(r"p_{\text{data}}") == "p_data"
    assert name(r"\mathrm{TC}") == "TC"
    assert name(r"b^\star_\mu") == "b_star_mu"
    assert heads(r"g(t) = t - 1, \qquad w(z) = 2") == {"g", "w"}


def test_statements_and_their_words():
    line = read(r"a = b \;\le\; c, \qquad d = e \quad\text{for every}\quad k > 0 \tag{1.2}")
    assert [s.relations for s in line] == [("==", "<="), ("==",), (">",)]
    assert line[2].when == "for every"
    assert [s.relations for s in read(r"\boxed{\;a = b\;}")] == [("==",)]
    assert read(r"\text{cost} = c")[0].sides[0].parts == ("cost", None)
    for between in (r", \quad", r"\quad\text{and}\quad", r"\quad\Longrightarrow\quad"):
        assert len(read(rf"a = b {between} - c = d")) == 2
    assert len(read(r"a = b. \qquad \square")) == 2  # a name alone is a remark


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a + ", "at 'the end'"),
        ("a = (b", r"expected \)"),
        (r"\frac{a}", "expected an argument"),
        ("a / b c", "two ways"),
        (r"\mathrm{KL}(q, p)", "between the two distributions"),
        (r"a = 2 \mid b", "expected a relation, a comma or the end"),
        ("", "expected a statement"),
        (r"\log a \log b", r"after ...\\log a at '\\\\log b': expected .* two ways"),
        (r"\log a / \log b", r"at '\\\\log b': expected .* two ways"),
        (r"\log a \cdot \operatorname{erf}(b)", "two ways"),
        (r"\log |a| b", r"at 'b': expected .* \\log \|a\| b can be read in two ways"),
        (r"\log \lvert a \rvert b", "two ways"),
        (r"\log \|x\| / b", "two ways"),
        (r"\log{(a)^2}", r"at '\^2}': expected }"),
        (r"\exp_2 8", "expected no index of a function's name"),
        (r"\|x\|_p", r"at 'p': expected 1, 2, \\infty or F, the index of a norm"),
        ("||x||^2", r"expected \\\| for a norm"),
        ("|x|_1", r"expected \\\| for a norm"),
        (r"\sum_{i,j \le 2} a_{ij}", "expected a bound for each of the indices, or for none"),
        (r"\sum_{i \le 2}^3 x_i", "expected no second upper bound"),
        (r"\sum x_i", "expected _ and what it runs over"),
        (r"\sum^n x_i", "expected _ and what it runs over"),
        (r"\prod(x)", "expected _ and what it runs over"),
        ("x^{(2)}", r"at '{\(2\)}': expected a power without brackets"),
        ("x^{[t]}", "expected a power without brackets"),
        ("x_{(1)}", "expected an index without brackets"),
        ("x_{2(t-1)}", "expected an index without brackets"),
        ("x_{2t-1}", "expected a comma before an index with a sign"),
        ("x_{i j+1}", "expected a comma before an index with a sign"),
        ("n!!", "expected one !"),
        (r"\frac{dy}{dx}", "expected d alone above dx"),
        (r"\frac{d^2}{dx^2} x^2", "expected d alone above dx"),
        (r"60\,000", "at '000': expected no second number"),
        ("a = 1 000", "expected no second number"),
        ("a = 1,000", r"expected a space after the comma, or \{,\} within a number"),
        ("a = 1, 000", "at '000': expected a statement with a relation"),
        (".5 a", "at '.5 a': expected a digit before the point"),
        ("a = b + .5", "expected a digit before the point"),
        ("1e-3", "expected a power of 10 written out"),
        ("2.5E3", "expected a power of 10 written out"),
        (r"a = b \quad + c", r"at '\+ c': expected a comma"),
        (r"a = b \\ - c = d", "at '- c = d': expected a comma"),
        ("x²", "at '²': expected a number, a name or a bracket"),
        ("x_²", "expected a number, a name or a bracket"),
        (r"\begin{cases} a & k = 0 \text{ and so on} \\ b & k = 1 \end{cases}", "expected the end of the case"),
    ],
)
def test_what_cannot_be_read_is_an_error_with_its_place(text, said):
    with pytest.raises(Unreadable, match=said):
        read(text)
