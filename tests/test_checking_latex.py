import math

import pytest

from vaelib.checking.reader.arithmetics import numpy_namespace
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
    ],
)
def test_what_cannot_be_read_is_an_error_with_its_place(text, said):
    with pytest.raises(Unreadable, match=said):
        read(text)
