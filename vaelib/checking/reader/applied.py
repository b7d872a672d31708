"""What takes arguments, in the grammar of `latex`: divergences, means, sums, integrals, fractions, tables."""

from typing import TYPE_CHECKING, Any

from .tokens import BRACKETS, RELATIONS, Node

if TYPE_CHECKING:
    from .latex import Reader


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
    r"""\sum_{i=1}^n, \sum_{a,b}, \sum_{i \le K}, \max(a, b)."""
    if r.next == "(":
        (of,) = arguments(r, "(", ")")
        return Node("call", (kind, *of), at)
    ranges: list[tuple[Node, Node | None, Node | None, str]] = []
    if r.next == "_":
        r.take()
        if r.next == "{":
            r.take()
            while True:
                variable = r.name()
                if any(variable == other for other, *_ in ranges):
                    r.fail("expected another index")
                bound, how = None, ""
                if r.next in ("=", "\\le", ">", "<", "\\ge"):
                    how = r.take()
                    bound = r.sum()
                ranges.append((variable, bound, None, how))
                if r.next != ",":
                    break
                r.take()
            r.take("}")
        else:
            ranges.append((r.single(), None, None, ""))
    if r.next == "^":
        r.take()
        variable, bound, _, how = ranges[-1]
        ranges[-1] = (variable, bound, r.script(), how)
    return Node("large", (kind, tuple(ranges), r.product()), at)


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
            r.take()
            row.append(Node("word", (r.words(),), r.at))
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


def fraction(r: "Reader", at: int) -> Node:
    r"""One that starts with \partial is a derivative, of what stands above or else of the product to its right."""
    derived = None
    if r.next == "{" and r.peek(1) == "\\partial":
        r.take(), r.take()
        derived = Node("nothing") if r.next == "}" else r.sum()
        r.take("}")
    if derived is None:
        return Node("ratio", (r.single(), r.single()), at)
    r.take("{")
    r.take("\\partial")
    variables = arguments(r, "(", ")")[0] if r.next == "(" else (r.name(),)
    r.take("}")
    return Node("derivative", (variables, r.product() if derived.kind == "nothing" else derived), at)
