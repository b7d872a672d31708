"""What the marks of `vaelib.checking.prose` lead to: outputs, code, calculations, cited figures."""

import ast
import math
import re
from fractions import Fraction
from typing import Any, NamedTuple

from .prose_text import NUMBER, Number, value

_FUNCTIONS = {name: getattr(math, name) for name in ("sqrt", "log", "log2", "log10", "exp", "tanh", "erf", "lgamma")}
_FUNCTIONS |= {
    "abs": abs,
    "min": min,
    "max": max,
    "round": round,
    "floor": lambda x, digits: math.floor(x * 10**digits) / 10**digits,
    "ceil": lambda x, digits: math.ceil(x * 10**digits) / 10**digits,
}
_NAMES = {"pi": math.pi, "e": math.e}


class Found(NamedTuple):
    """A number that a mark leads to: value, what its last digit is worth, whether a % follows, where it stands."""

    value: Fraction
    unit: Fraction
    percent: bool
    where: str


class Sources(NamedTuple):
    """What numbers in the text of a notebook may come from."""

    lines: tuple[str, ...]
    code: str
    figures: dict[str, tuple[str, ...]]
    others: dict[str, tuple[str, ...]]


def complaint(number: Number, kind: str, words: str, sources: Sources, in_exercises: bool) -> str:
    """What is wrong with a number that has this mark; nothing if it stands."""
    if kind == "given":
        return "" if in_exercises else "only an exercise may set a number"
    try:
        if kind.partition(" ")[0] == "out":
            candidates = _in_lines(words, _lines_of(kind.partition(" ")[2], sources))
        elif kind == "code":
            candidates = _in_code(words, sources.code)
        elif kind == "calc":
            candidates = [_calculated(words, number, sources)]
        elif kind == "cite":
            candidates = _cited(words, sources.figures)
        else:
            return "the kinds of marks are out, code, calc, cite and given"
    except ValueError as error:
        return str(error)
    wrong = [found for found in candidates if not fits(number, found, kind)]
    if not wrong:
        return ""
    leads = "; ".join(dict.fromkeys(f"{float(f.value):.6g}{' %' if f.percent else ''} in {f.where!r}" for f in wrong))
    return f"leads to several numbers, also {leads}" if len(wrong) < len(candidates) else f"leads to {leads}"


def fits(number: Number, found: Found, kind: str = "out") -> bool:
    """Whether a number found, or its percentage, rounds to the number written, at the digits that are shown.

    A constant in code has to be the number itself; an output or a figure has to show as many digits.
    """
    scale = (100 if number.percent else 1) / Fraction(100 if found.percent else 1)
    target, last = found.value * scale, found.unit * scale
    if kind == "code":
        return target == number.value
    if number.unit == 0:  # a fraction is written: exact, or as near as the digits found can tell
        return abs(target - number.value) <= (last / 2 or abs(number.value) / 10**9)
    rounded = math.floor(abs(target) / number.unit + Fraction(1, 2)) * number.unit
    return rounded == abs(number.value) and target * number.value >= 0 and (kind == "calc" or last <= number.unit)


def _lines_of(other: str, sources: Sources) -> tuple[str, ...]:
    if other and other not in sources.others:
        raise ValueError(f"there is no notebook {other} beside this one")
    return sources.others[other] if other else sources.lines


def _in_lines(words: str, lines: tuple[str, ...]) -> list[Found]:
    if not re.search(r"[^\W_]", words):
        raise ValueError("a mark has to name a word")
    found = [hit for line in lines if (hit := _in_line(words, line))]
    if not found:
        near = [line for line in lines if all(word in line for word in re.findall(r"[^\W\d_]{3,}", words)[:2])]
        raise ValueError(f"no line of the outputs leads to a number this way; near it: {near[:3]}")
    return found


def _in_line(words: str, line: str) -> Found | None:
    """The number of a line that these words lead to: the next one after them, or the one that # stands for."""
    steps = words.split()
    steps += [] if "#" in steps else ["#"]
    at, hit = 0, None
    for step in steps:
        if step in ("#", "_"):
            match = NUMBER.search(line, at)
            if match and step == "#":
                hit = Found(*value(match), bool(re.match(r"\s?%", line[match.end() :])), _short(line, match.start()))
        else:
            match = re.compile(_whole(step)).search(line, at)
        if match is None:
            return None
        at = match.end()
    return hit


def _in_code(words: str, code: str) -> list[Found]:
    if not re.search(r"[^\W\d_]", words):
        raise ValueError("a mark has to name a word")
    words = no_underscores(words)
    pattern = r"\s*".join(re.escape(token) for token in re.findall(r"\w+|\S", words))
    if not re.search(r"(?<!\w)" + pattern + r"(?![\w.])", code):
        raise ValueError("no code cell has this text, comments and strings aside")
    if not (found := list(NUMBER.finditer(words))):
        raise ValueError("there is no number in this text")
    return [Found(*value(found[-1]), False, words)]


def _calculated(words: str, number: Number, sources: Sources) -> Found:
    """The value of an arithmetic expression; a number in brackets is looked up in the outputs."""

    def look_up(match: re.Match[str]) -> str:
        other, colon, rest = match[1].partition(": ")
        elsewhere = colon and other in sources.others
        lines = sources.others[other] if elsewhere else sources.lines
        values = {found.value for found in _in_lines(rest if elsewhere else match[1], lines)}
        if len(values) > 1:
            raise ValueError(f"[{match[1]}] leads to several numbers: {sorted(float(v) for v in values)}")
        return f"({float(values.pop())!r})"

    def evaluate(node: ast.expr) -> float:
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
            return node.value
        if isinstance(node, ast.Name) and node.id in _NAMES:
            return _NAMES[node.id]
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return -evaluate(node.operand)
        if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
            return _OPERATIONS[type(node.op)](evaluate(node.left), evaluate(node.right))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS:
            return _FUNCTIONS[node.func.id](*map(evaluate, node.args))
        raise ValueError(
            f"calculations know + - * / **, {', '.join([*_FUNCTIONS, *_NAMES])}, not {ast.unparse(node)!r}"
        )

    written = re.sub(r"\[([^\]]*)\]", " 0.0 ", words)
    if any(value(match)[0] == abs(number.value) for match in NUMBER.finditer(written)):
        raise ValueError("a number cannot vouch for itself")
    try:
        tree = ast.parse(re.sub(r"\[([^\]]*)\]", look_up, words), mode="eval").body
        if not any(isinstance(node, ast.BinOp | ast.Call | ast.UnaryOp) for node in ast.walk(tree)):
            raise ValueError("a calculation has an operation in it")
        return Found(Fraction(evaluate(tree)), Fraction(0), number.percent and "100" in words, words)
    except (SyntaxError, ZeroDivisionError, OverflowError, TypeError) as error:
        raise ValueError(f"it cannot be calculated: {error}") from None


_OPERATIONS: dict[type[ast.operator], Any] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.Pow: lambda a, b: a**b,
}


def _cited(words: str, figures: dict[str, tuple[str, ...]]) -> list[Found]:
    key, _, rest = words.partition(" ")
    if key not in figures:
        raise ValueError(f"the bibliography has no entry {key!r} with figures")
    place = rest if "#" in rest.split() else f"# {rest}"
    found = [hit for item in figures[key] if (hit := _in_line(place, item))]
    if not found:
        raise ValueError(f"no figure of {key} has these words: {'; '.join(figures[key])}")
    return found


def _short(line: str, at: int) -> str:
    return line if len(line) < 100 else f"... {line[max(0, at - 50) : at + 30]} ..."


def _whole(word: str) -> str:
    """A pattern for a word that is not part of a longer one."""
    before = r"(?<!\w)" if word[0].isalnum() else ""
    after = r"(?!\w|\.\d)" if word[-1].isalnum() else ""
    return before + re.escape(word) + after


def no_underscores(code: str) -> str:
    """Code with 20_000 written 20000."""
    return re.sub(r"(?<=\d)_(?=\d)", "", code)
