"""What takes arguments, in the grammar of `latex`: functions, means, sums, integrals, fractions, tables."""

import re
from typing import TYPE_CHECKING, Any

from .tokens import (
    ALWAYS_APPLIED,
    BARS,
    BRACKETS,
    FUNCTIONS,
    KNOWN,
    LARGE,
    OVER_LAWS,
    RELATIONS,
    Node,
    Unreadable,
    identifier,
    plain,
)

if TYPE_CHECKING:
    from .latex import Reader

NORMS = {"1": "norm1", "2": "norm", "infinity": "norm_max", "F": "norm_frobenius"}  # by the index, or its kind


def applied(r: "Reader", name: Node) -> Node:
    """The name with what it takes: nothing, arguments, or the product to its right."""
    base, at = name.parts[0], name.at
    said = base in r.functions or (plain(name) and identifier(name) in r.functions)
    if said or (r.next == "(" and base not in KNOWN and r.lists()):
        return Node("apply", (name, arguments(r, "(", ")")), at) if r.next == "(" else name
    if base == "KL" and r.next in ("(", "["):
        return divergence(r, at)
    if base == "N" and r.next == "(" and r.text[at : at + 9].startswith("\\mathcal"):
        return Node("normal", (arguments(r, "(", ")"),), at)
    if base in OVER_LAWS and r.next in ("_", "[", "("):
        return over_a_law(r, OVER_LAWS[base], at)
    if base in LARGE and (r.next in ("_", "(", "\\{") or base in ("sum", "prod")):
        return large(r, LARGE[base], at)
    if base in FUNCTIONS:
        return function(r, FUNCTIONS[base], at)
    if base in ALWAYS_APPLIED and r.next == "(":
        (group,) = arguments(r, "(", ")")
        return Node("call", (ALWAYS_APPLIED[base], *group), at)
    if base == "lim":
        return limit(r, at)
    return name


def function(r: "Reader", kind: str, at: int) -> Node:
    r"""A function of the grammar with its argument; `\log_2` is a logarithm to another base."""
    if r.next == "^":
        r.fail("expected no power of a function's name")
    if r.next != "_":
        return Node("call", (kind, argument(r)), at)
    if kind not in ("log", "logsumexp"):
        r.fail("expected no index of a function's name")
    r.take()
    index = r.single()
    if kind == "logsumexp":
        return Node("large", (kind, ((index, None, None, ""),), argument(r)), at)
    return Node("ratio", (Node("call", (kind, argument(r)), at), Node("call", (kind, index), at)), at)


def argument(r: "Reader") -> Node:
    """Convention 3."""
    braces = 0  # which nobody sees on the page
    while r.peek(braces) == "{":
        braces += 1
    opening = r.peek(braces)
    if opening in BARS:
        node = r.factor()
        if r.begins_factor() or r.next in ("\\cdot", "\\times", "/"):
            r.fail(r"expected + or - or brackets: \log |a| b can be read in two ways")
        return node
    if opening not in BRACKETS:
        return r.product(of_function=True)
    for _ in range(braces):
        r.take("{")
    node = r.bracket()
    for _ in range(braces):
        r.take("}")
    return node


def root(r: "Reader", at: int) -> Node:
    """A square root, or one of the order that stands in square brackets."""
    if r.next != "[":
        return Node("call", ("sqrt", r.single()), at)
    r.take()
    order = r.sum()
    r.take("]")
    return Node("power", (r.single(), Node("ratio", (Node("number", ("1",)), order), at)), at)


def norm(r: "Reader") -> str:
    """Which one it is, by the index after its bars."""
    if r.next != "_":
        return "norm"
    r.take()
    place = r.place
    index = r.single()
    found = NORMS.get(index.parts[0] if index.kind in ("number", "name") else index.kind)
    if found is None:
        r.place = place
        r.fail("expected 1, 2, \\infty or F, the index of a norm")
    return found


def braced(r: "Reader", node: Node, at: int) -> Node:
    """What is above a brace, with what stands below if that is a formula: `= 1`, or a name for what is above."""
    r.take("_")
    place = r.place
    try:
        r.take("{")
        if r.next == "=":
            r.take()
        label = r.sum()
        r.take("}")
    except Unreadable:
        r.place = place
        r.skip("{", "}")
        return node
    return node if label.kind == "name" and " " in label.parts[0] else Node("braced", (node, label), at)


def limit(r: "Reader", at: int) -> Node:
    r"""After `\lim`: a variable, what it goes to, and the product to its right."""
    r.take("_")
    r.take("{")
    variable = r.name()
    r.take("\\to")
    point = r.sum()
    r.take("}")
    return Node("limit", (variable, point, r.product()), at)


def arguments(r: "Reader", opening: str, closing: str) -> tuple[tuple[Node, ...], ...]:
    r"""In groups: `q(z \mid x)` has two, `I(x; y \mid z)` three; the bar of `q(z|x)` is one as well."""
    r.take(opening)
    r.bars.append("|")
    groups = [[given(r)]]
    while r.next in (",", ";", "\\mid", "|"):
        if r.take() == ",":
            if r.next == "\\dots":
                r.take()
                groups[-1].append(Node("dots"))
            else:
                groups[-1].append(given(r))
        else:
            groups.append([given(r)])
    r.bars.pop()
    r.take(closing)
    return tuple(map(tuple, groups))


def given(r: "Reader") -> Node:
    """An argument, or an event such as `z > 0`."""
    if r.next == "\\text":
        at = r.at
        r.take()
        return Node("word", (r.words(),), at)
    at, argument = r.at, r.sum()
    if r.next in ("=", "<", ">", "\\le", "\\ge"):
        return Node("event", (argument, RELATIONS[r.take()], r.sum()), at)
    return argument


def divergence(r: "Reader", at: int) -> Node:
    """After `KL`: two distributions in brackets."""
    closing = BRACKETS[r.take()]
    r.bars.append("law")
    first = r.sum()
    if r.next != "\\|":
        r.fail("expected \\| between the two distributions")
    r.take()
    second = r.sum()
    r.bars.pop()
    r.take(closing)
    return Node("divergence", (first, second), at)


def over_a_law(r: "Reader", kind: str, at: int) -> Node:
    """E_q[f], Var_q[f], H[q]: the law is None where none is written."""
    law = None
    if r.next == "_":
        r.take()
        if r.next == "{":
            r.take()
            law = r.sum()
            while r.next in (",", "\\sim", "\\dots"):
                separator = r.take()
                drawn = r.sum()
                law = Node("drawn", (law, drawn), at) if separator == "\\sim" else Node("pair", (law, drawn), at)
            r.take("}")
        else:
            law = r.single()
    if r.next not in ("[", "("):
        if law is None or law.kind not in ("name", "word"):
            r.fail("expected a bracket")
        return Node("name", (kind, (law,)), at)
    opening = r.take()
    r.bars.append("")
    body = r.sum()
    given = None
    if r.next == "\\mid":
        r.take()
        given = r.sum()
    r.bars.pop()
    r.take(BRACKETS[opening])
    return Node(kind, (law, body, given), at)


def large(r: "Reader", kind: str, at: int) -> Node:
    r"""\sum_{i=1}^n, \sum_{i,j=1}^n, \sum_{a,b}, \sum_{i \le K}, \max(a, b)."""
    if r.next in ("(", "\\{") and kind != "prod":
        (of,) = arguments(r, r.next, BRACKETS[r.next])
        return Node("call", (kind, *of), at)
    last = above(r)
    if r.next != "_":
        r.fail("expected _ and what it runs over")
    found = ranges(r)
    last = last or above(r)
    _, bound, how = found[-1]
    if how and not all(other for *_, other in found):
        if how != "=":
            r.fail("expected a bound for each of the indices, or for none")
        found = [(variable, own or bound, how) for variable, own, _ in found]  # i, j = 1 says it of both
    if last and any(how in ("<", "\\le") for *_, how in found):
        r.fail("expected no second upper bound")
    return Node("large", (kind, tuple((v, bound, last, how) for v, bound, how in found), r.product()), at)


def above(r: "Reader") -> Node | None:
    """The upper bound, if it comes here."""
    if r.next != "^":
        return None
    r.take()
    return r.script()


def ranges(r: "Reader") -> list[tuple[Node, Node | None, str]]:
    """The indices below a large operator, each with its bound and the relation between them."""
    r.take("_")
    if r.next != "{":
        return [(r.single(), None, "")]
    r.take()
    found: list[tuple[Node, Node | None, str]] = []
    while True:
        variable = r.name()
        if any(variable == other for other, *_ in found):
            r.fail("expected another index")
        bound, how = None, ""
        if r.next in ("=", "\\le", ">", "<", "\\ge"):
            how = r.take()
            bound = r.sum()
        found.append((variable, bound, how))
        if r.next != ",":
            break
        r.take()
    r.take("}")
    return found


def integral(r: "Reader") -> Node:
    """Its bounds, a product up to its d, and the variable."""
    at = r.at
    r.take("\\int")
    low = high = None
    while r.next in ("_", "^"):
        if r.take() == "_":
            low = r.script()
        else:
            high = r.script()
    r.integrals += 1
    body = r.product()
    r.integrals -= 1
    r.take("d")
    return Node("integral", (r.name(), low, high, body), at)


def table(r: "Reader") -> Node:
    r"""\begin{cases}, \begin{pmatrix} and the like: rows of cells; a cell may be words."""
    at, kind = r.at, r.take()[len("\\begin{") : -1]
    if kind == "array":
        r.skip("{", "}")
    rows: list[tuple[Any, ...]] = []
    row: list[Any] = []
    while not r.next.startswith("\\end"):
        if r.next == "\\text":
            if kind == "cases" and len(row) == 2:
                r.fail("expected the end of the case after its condition")
            r.take()
            row.append(Node("word", (r.words(),), r.at))
            if kind == "cases" and len(row) == 2:
                condition(r, row)
            while kind != "cases" and r.next not in ("&", "\\\\") and not r.next.startswith("\\end"):
                r.take()  # words and what follows them in a cell, "by x", are a label
        elif r.next in ("&", "\\\\"):
            if r.take() == "\\\\":
                rows.append(tuple(row))
                row = []
                if r.next == "[":  # a distance, \\[2pt]
                    while r.take() != "]":
                        pass
        elif kind == "cases" and len(row) == 1:
            row.append(r.statement())
        else:
            row.append(r.sum())
    r.take()
    rows.append(tuple(row))
    return Node("cases" if kind == "cases" else "table", tuple(row for row in rows if row), at)


def condition(r: "Reader", row: list[Any]) -> None:
    """What the words mean that have just been read as the second cell of a case: nothing, if a formula follows."""
    words = row.pop().parts[0]
    if words in ("if", "for", "when") and r.next not in ("&", "\\\\") and not r.next.startswith("\\end"):
        return
    if words not in ("otherwise", "else"):
        row.append(Node("word", (words,), r.at))


def fraction(r: "Reader", at: int) -> Node:
    r"""A derivative, of what stands above or else of the product to its right, if \partial or d begins both parts.

    Above dx stands d alone: y of dy / dx is a number in a case, and no function of x.
    """
    derived, mark = None, r.peek(1)
    if r.next == "{" and (mark == "\\partial" or (mark == "d" and below_is_dx(r))):
        r.take(), r.take()
        if mark == "d" and r.next != "}":
            r.fail(r"expected d alone above dx: \frac{d}{dx} and then what is derived")
        derived = Node("nothing") if r.next == "}" else r.sum()
        r.take("}")
    if derived is None:
        return Node("ratio", (r.single(), r.single()), at)
    r.take("{")
    r.take(mark)
    variables = arguments(r, "(", ")")[0] if r.next == "(" else (r.name(),)
    r.take("}")
    return Node("derivative", (variables, r.product() if derived.kind == "nothing" else derived), at)


def below_is_dx(r: "Reader") -> bool:
    """Whether the lower part of the fraction that comes begins with d and a name: nobody leaves a d uncancelled."""
    place = r.place
    r.skip("{", "}")
    found = r.next == "{" and r.peek(1) == "d" and bool(re.fullmatch(r"[A-Za-z]|\\[A-Za-z]+", r.peek(2)))
    r.place = place
    return found
