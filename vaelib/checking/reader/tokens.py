"""The tokens of an equation in LaTeX, the tree that is made of them, and names."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

RELATIONS = {"=": "==", "\\le": "<=", "\\leq": "<=", "<": "<", "\\ge": ">=", "\\geq": ">=", ">": ">"}
RELATIONS |= {
    "\\sim": "~",
    "\\approx": "~",
    "\\to": "~",
    "\\in": "in",
    "\\propto": "~",
}  # read, and compared with nothing
SEPARATORS = (",", ".", ";", "\\quad", "\\qquad", "\\Longrightarrow", "\\begin{gathered}", "\\end{gathered}", "\\\\")
FUNCTIONS = {"log": "log", "ln": "log", "exp": "exp", "tanh": "tanh", "sin": "sin", "cos": "cos", "erf": "erf"}
FUNCTIONS |= {"sigmoid": "sigmoid", "det": "det", "tr": "tr", "diag": "diag", "logsumexp": "logsumexp"}
ALWAYS_APPLIED = {"Gamma": "gamma", "psi": "digamma", "B": "beta", "varphi": "phi"}  # if they are not names
LARGE = {"sum": "sum", "prod": "prod", "max": "max", "min": "min"}
OVER_LAWS = {"E": "mean", "Var": "variance", "Cov": "covariance", "H": "entropy"}
KNOWN = {*FUNCTIONS, *ALWAYS_APPLIED, *LARGE, *OVER_LAWS, "KL", "N", "lim"}
BRACKETS = {"(": ")", "[": "]", "\\{": "\\}", "|": "|", "\\lVert": "\\rVert", "\\lvert": "\\rvert"}
FONTS = {"mathrm", "mathcal", "mathbb", "operatorname", "mathbf", "mathit"}
ACCENTS = {"hat", "bar", "tilde"}
SILENT = {"big", "Big", "bigg", "Bigg", "bigl", "bigr", "Bigl", "Bigr", "left", "right", "displaystyle", "textstyle"}
SILENT |= {"limits", ",", ";", ":", "!", " "}
BARS = ("|", "\\|", "\\lvert", "\\lVert")
_NUMBER = r"\d+(?:\{,\}\d{3})*(?:\.\d+)?|\.\d+"  # .5 is a token, to be refused: else its point ends a sentence
_ROMAN_D = r"(?<!_)(?<!_\{)\\mathrm(?:\s*\{\s*d\s*\}|\s+d)"  # of an integral or derivative; lowered it is a label
_TOKEN = re.compile(rf"(?P<d>{_ROMAN_D})|\\begin\{{\w+\*?\}}|\\end\{{\w+\*?\}}|\\[A-Za-z]+|\\.|{_NUMBER}|\S", re.DOTALL)
_LEFT_OUT = re.compile(r"\\tag\*?\{[^}]*\}|(?<!\\)%[^\n]*")


class Unreadable(ValueError):
    """The equation, the place in it, and what was expected there."""


@dataclass(frozen=True)
class Token:
    """A token, where it starts in the text, and where it ends."""

    text: str
    at: int
    end: int


@dataclass(frozen=True)
class Node:
    """A place in the tree: its kind, its parts (nodes, tuples of them, or words), and where it stands in the text."""

    kind: str
    parts: tuple[Any, ...] = ()
    at: int = field(default=0, compare=False)

    def walk(self) -> Iterator["Node"]:
        """This node and all below it."""
        yield self
        stack = list(self.parts)
        while stack:
            part = stack.pop()
            if isinstance(part, Node):
                yield from part.walk()
            elif isinstance(part, tuple):
                stack.extend(part)


@dataclass(frozen=True)
class Statement:
    """Sides with a relation, "==", "<=" or ">=", between each and the next; `when` holds the words before it."""

    sides: tuple[Node, ...]
    relations: tuple[str, ...]
    when: str = ""


def tokens(text: str) -> list[Token]:
    """The tokens of an equation without what is only spacing or size; `\\tag{...}` and comments are left out."""
    text = _LEFT_OUT.sub(lambda match: " " * len(match.group()), text)
    found = [Token("d" if m["d"] else m.group().replace("{,}", ""), m.start(), m.end()) for m in _TOKEN.finditer(text)]
    return [t for t in found if not (t.text[0] == "\\" and t.text[1:] in SILENT) and t.text != "~"]


def plain(name: Node) -> bool:
    """Whether a name's indices are numbers, words and names, not such as t + 1."""
    return all(part.kind in ("number", "word") or (part.kind == "name" and plain(part)) for part in name.parts[1] or ())


def identifier(name: Node) -> str:
    r"""A name as Python could write it: `m_1` is m1, `\hat\sigma` sigma_hat, `p_{\text{data}}` p_data."""
    base, script = name.parts
    if script is None:
        return base
    written = "".join(part.parts[0] if part.kind in ("number", "word") else identifier(part) for part in script)
    return base + ("_" * (len(written) > 1 and not written.isdigit())) + written


class Cursor:
    """Walks over the tokens of an equation."""

    def __init__(self, text: str):
        self.text, self.tokens, self.place = text, tokens(text), 0

    @property
    def next(self) -> str:
        """The token that comes, or nothing at the end."""
        return self.tokens[self.place].text if self.place < len(self.tokens) else ""

    def peek(self, ahead: int) -> str:
        """The token that many places ahead, or nothing."""
        return self.tokens[self.place + ahead].text if self.place + ahead < len(self.tokens) else ""

    @property
    def at(self) -> int:
        """Where it starts in the text."""
        return self.tokens[self.place].at if self.place < len(self.tokens) else len(self.text)

    def take(self, expected: str = "") -> str:
        """The token that comes; it has to be the expected one."""
        token = self.next
        if not token or (expected and token != expected):
            self.fail(f"expected {expected}" if expected else "expected more")
        self.place += 1
        return token

    def fail(self, expected: str) -> NoReturn:
        """Raises Unreadable with this place."""
        shown = " ".join(self.text[max(0, self.at - 30) : self.at].split())
        rest = " ".join(self.text[self.at : self.at + 30].split()) or "the end"
        raise Unreadable(f"after ...{shown} at {rest!r}: {expected}")

    def words(self) -> str:
        """The group after \\text, as it is written."""
        self.take("{")
        start, depth = self.tokens[self.place - 1].end, 1
        while depth:
            token = self.take()
            depth += (token == "{") - (token == "}")
        return self.text[start : self.tokens[self.place - 1].at].strip()

    def skip(self, opening: str, closing: str) -> None:
        """Over a bracket and all that is in it, or over one token."""
        if self.next != opening:
            self.take()
            return
        depth = 0
        while True:
            token = self.take()
            depth += (token == opening) - (token == closing)
            if not depth:
                return

    def lists(self) -> bool:
        """Whether the bracket that opens here holds arguments and is no factor: there is a comma or a bar in it."""
        depth, ahead = 0, 0
        while self.peek(ahead):
            token = self.peek(ahead)
            depth += (token in ("(", "[", "{")) - (token in (")", "]", "}"))
            if not depth:
                return False
            if depth == 1 and token in (",", ";", "\\mid"):
                return True
            ahead += 1
        return False
