r"""Reads a displayed equation, as LaTeX has it, into a tree.

    line       = statement { ("," | \quad | \qquad) statement }           words in \text{...} between them say when
    statement  = sum { ("=" | \le | \ge | "<" | ">" | \approx) sum }
    sum        = ["+" | "-"] product { ("+" | "-") product }
    product    = factor { [\cdot | \times | "/"] factor }
    factor     = atom { "^" script | "_" script | "!" | "'" }
    atom       = number | name | name "(" arguments ")" | bracket | \frac | \sqrt | function | large operator | table

The conventions of printed mathematics that a grammar alone does not settle:

1. A name of one letter stands alone: `ab` is a product. Names of several letters are set in roman, `\mathrm{TC}`.
2. A name is a function only if it is said to be one: `g(t)` is then its value at t, else `u (1 + b)` is a product.
3. A function without brackets takes the product to its right, up to the next + or -: `\log 2\pi t^2 + 1`. With a
   bracket right after it, it takes the bracket alone: `\log(1 + a) b` is b times a logarithm, `\log(a)^2` its square.
   Bars are no bracket: `\log |a|^2` is the logarithm of a square. What readers differ on is refused: a second function
   in the product, `\log a \log b`, and a factor after bars, `\log |a| b`.
4. A sum or product over an index and an integral take the product to their right likewise; an integral ends at its `d`.
   The bounds of `\sum_{i,j=1}^n` are those of both indices.
5. `\frac12`, `x^2y` and `\frac ab` take one digit or letter each; otherwise the digits of a number stay together.
   `60{,}000` is one number; `60\,000`, `1,000`, `.5` and `1e-3` are refused.
6. `a / b` divides by the next factor alone; `a / b c` is refused, as readers differ.
7. `e^x` is exp(x), and e and \pi are the constants, unless they are among the names.
8. Indices count from one, those of a sum from zero from zero: x_i and `x_{i+1}` are then neighbours. `x_{2t-1}` and
   what stands in brackets as an index or a power, `x_{(1)}` and `x^{(2)}`, are refused.
9. A prime makes another function: f' is not f. Of an argument it makes another value: p(x') is p at x'.
10. `\|x\|` and `\|x\|_2` are the norm of a vector; 1, \infty and, of a matrix, F tell others. |x| is no norm.
11. Of several statements each has a relation, but for a mere name; one that begins with a sign stands after a comma.
"""

import re
from collections.abc import Collection

from . import applied
from .tokens import (
    ACCENTS,
    BARS,
    BRACKETS,
    FONTS,
    FUNCTIONS,
    KNOWN,
    LARGE,
    OVER_LAWS,
    RELATIONS,
    SEPARATORS,
    Cursor,
    Node,
    Statement,
    Token,
    Unreadable,
    identifier,
    plain,
)


def read(text: str, functions: Collection[str] = ()) -> tuple[Statement, ...]:
    """The statements of a displayed equation.

    Args:
        text: LaTeX, without the dollars.
        functions: the names that are functions (convention 2), as `identifier` writes them.

    Raises:
        Unreadable: Says where, and what was expected.
    """
    return Reader(text, functions).line()


def heads(text: str) -> set[str]:
    """The functions defined in a text: names at the beginning of a statement with arguments and "=" after them."""
    reader, found, begins, depth = Reader(text, ()), set(), True, 0
    for place, token in enumerate(reader.tokens):
        depth += (token.text in ("(", "[", "{")) - (token.text in (")", "]", "}"))
        if begins and depth == 0:
            reader.place = place
            try:
                name = reader.name()
                # H[q] is an entropy, but H(x) = ... says what H(x) is
                if reader.next == "(" and plain(name) and name.parts[0] not in KNOWN - {"H"}:
                    reader.skip("(", ")")
                    found |= {identifier(name)} if reader.next == "=" else set()
            except Unreadable:
                pass
        begins = depth == 0 and token.text in SEPARATORS
    return found


_FUNCTION = re.compile(rf"\\(?:(?:{'|'.join(FONTS)})\s*\{{\s*)?(?:{'|'.join(FUNCTIONS)})(?![A-Za-z])")


class Reader(Cursor):
    """From a line down to names, one method for each rule of the grammar; `applied` has what takes arguments."""

    def __init__(self, text: str, functions: Collection[str]):
        super().__init__(text)
        self.functions = set(functions)
        self.integrals = 0  # how many are open, each of which ends at its d
        self.bars: list[str] = []  # open | and \|, which close as they open

    # --- From the line down to factors --------------------------------------------------------------------------------

    def line(self, end: str = "") -> tuple[Statement, ...]:
        """Statements, with the words between them, up to a token."""
        statements, when, apart = [], "", True  # apart: whether more than space sets the next one apart
        while self.next != end:
            if self.next in SEPARATORS:
                if re.match(r"\d,\d", self.text[max(self.at - 1, 0) :]):
                    self.fail("expected a space after the comma, or {,} within a number")
                apart = self.take() not in ("\\quad", "\\qquad", "\\\\") or apart
            elif self.next == "\\boxed":
                self.take()
                self.take("{")
                statements += self.line("}")
                self.take("}")
            elif self.next == "\\text" and not self.words_are_a_name():
                self.take()
                when, apart = (when + " " + self.words()).strip(), True
            else:
                place = self.place
                if self.next in ("+", "-") and not apart:
                    self.fail("expected a comma: after a space alone a sign may go on with the sum before it")
                statements.append(self.statement(when))
                self.refuse_a_remnant(statements, place)
                when, apart = "", False
        if when and statements:
            last = statements[-1]
            statements[-1] = Statement(last.sides, last.relations, (last.when + " " + when).strip())
        if not statements:
            self.fail("expected a statement")
        return tuple(statements)

    def refuse_a_remnant(self, statements: list[Statement], place: int) -> None:
        """Raises Unreadable if the last one claims nothing though one before it does; a name alone is a remark."""
        *others, last = statements
        if last.relations or last.sides[0].kind == "name" or not any(other.relations for other in others):
            return
        self.place = place
        self.fail("expected a statement with a relation")

    def words_are_a_name(self) -> bool:
        """Words before a relation or with an index name a quantity: \\text{cost} = ..."""
        place = self.place
        self.take()
        self.words()
        named = self.next in RELATIONS or self.next == "_"
        self.place = place
        return named

    def statement(self, when: str = "") -> Statement:
        """Sides with relations between them."""
        sides, relations = [self.sum()], []
        while self.next in RELATIONS:
            relations.append(RELATIONS[self.take()])
            sides.append(self.sum())
        if self.next not in ("", "}", "\\text", "\\\\", "\\end{cases}", "&", *SEPARATORS):
            self.fail("expected a relation, a comma or the end")
        return Statement(tuple(sides), tuple(relations), when)

    def sum(self) -> Node:
        """Products with signs."""
        at, terms = self.at, []
        sign = self.take() if self.next in ("+", "-") else "+"
        terms.append((sign, self.product()))
        while self.next in ("+", "-"):
            terms.append((self.take(), self.product()))
        signed = tuple(Node("negative", (term,), term.at) if sign == "-" else term for sign, term in terms)
        return signed[0] if len(signed) == 1 else Node("sum", signed, at)

    def product(self, of_function: bool = False) -> Node:
        """Factors, divided by those after a slash; as the argument of a function, with no other function after it."""
        at, factors, divided = self.at, [self.factor()], False
        while True:
            mark = self.take() if self.next in ("\\cdot", "\\times", "/") else ""
            if not mark and not self.begins_factor():
                return _product(factors, at)
            if divided and not mark:
                self.fail("expected + or - or brackets: a / b c can be read in two ways")
            if of_function and _FUNCTION.match(self.text, self.at):
                self.fail(r"expected + or - or brackets: \log a \log b can be read in two ways")
            divided = mark == "/"
            if divided:
                factors = [Node("ratio", (_product(factors, at), self.factor()), at)]
            else:
                factors.append(self.factor())

    def begins_factor(self) -> bool:
        """Whether the product goes on here."""
        token = self.next
        if token in ("", "+", "-", "/", ",", ".", ")", "]", "}", "&", "\\\\", "\\}", "!", ";", *RELATIONS):
            return False
        if token in ("\\text", "\\mid", "\\rVert", "\\rvert", "\\dots", *SEPARATORS) or token.startswith("\\end"):
            return False
        if token in ("|", "\\|", "\\Big\\|"):
            return not (self.bars and self.bars[-1] in (token, "law"))
        return not (token == "d" and self.integrals and re.match(r"[A-Za-z]|\\[a-z]+", self.peek(1) or ""))

    def factor(self) -> Node:
        """An atom with what is raised, lowered or set after it."""
        node = self.atom()
        while self.next in ("^", "_", "!"):
            at, mark = self.at, self.take()
            if mark == "!":
                if self.next == "!":
                    self.fail("expected one !, as in (n!)!: a double factorial is not read")
                node = Node("factorial", (node,), at)
            elif mark == "_":
                node = Node("index", (node, self.indices()), at)
            else:
                node = self.raised(node, at)
        return node

    def raised(self, node: Node, at: int) -> Node:
        """The node to the power, or transposed, as what follows says."""
        if self.next == "\\top":
            self.take()
            return Node("transpose", (node,), at)
        place = self.place
        power = self.script()
        if node == Node("name", ("e", None)) and "e" not in self.functions:
            return Node("call", ("exp", power), node.at)
        if power.kind == "group":
            self.place = place
            self.fail("expected a power without brackets: x^{(2)} may be the second x, or its second derivative")
        return Node("power", (node, power), at)

    def script(self) -> Node:
        """What stands raised: a group, or one digit, letter or command (convention 5)."""
        if self.next == "{":
            self.take()
            node = self.sum()
            self.take("}")
            return node
        return self.single()

    def single(self) -> Node:
        """One digit, letter, command or group, as TeX takes an argument."""
        if self.next == "{":
            return self.script()
        token = self.tokens[self.place] if self.place < len(self.tokens) else self.fail("expected an argument")
        if token.text[0].isdecimal() and len(token.text) > 1:
            self.tokens[self.place] = Token(token.text[1:], token.at + 1, token.end)
            return Node("number", (token.text[0],), token.at)
        return self.atom(bare=True)

    # --- Atoms --------------------------------------------------------------------------------------------------------

    def atom(self, bare: bool = False) -> Node:
        """A number, a name, a bracket or what a command begins; bare: a name without arguments."""
        token, at = self.next, self.at
        if token[:1].isdecimal() or (token[:1] == "." and token != "."):
            return self.number(bare)
        if token in BRACKETS or token == "\\|":
            return self.bracket()
        if token == "{":
            self.take()
            node = self.sum()
            self.take("}")
            return node
        if token in ("\\frac", "\\tfrac", "\\dfrac"):
            self.take()
            return applied.fraction(self, at)
        if token == "\\sqrt":
            self.take()
            return applied.root(self, at)
        if token in ("\\underbrace", "\\boxed"):
            self.take()
            node = self.script()
            return applied.braced(self, node, at) if token == "\\underbrace" and self.next == "_" else node
        if token.startswith("\\begin"):
            return applied.table(self)
        if token == "\\infty":
            self.take()
            return Node("infinity", (), at)
        if token == "\\int":
            return applied.integral(self)
        name = self.name(bare)
        return name if bare else applied.applied(self, name)

    def number(self, bare: bool) -> Node:
        r"""Digits; bare: those of a script, such as \frac12, after which others may follow."""
        at = self.at
        if self.next.startswith("."):
            self.fail("expected a digit before the point")
        if not bare and re.match(r"[\d.]+[eE][+-]?\d", self.text[at:]):
            self.fail("expected a power of 10 written out: in 1e-3 the letter e is a name")
        node = Node("number", (self.take(),), at)
        if not bare and self.next[:1].isdecimal():
            self.fail("expected no second number: 60{,}000 is one, 3 \\cdot 4 a product")
        return node

    def bracket(self) -> Node:
        """What is in brackets, or between bars."""
        at, opening = self.at, self.take()
        closing = BRACKETS.get(opening, opening)
        if opening in BARS:
            if self.next == opening:
                self.fail(r"expected \| for a norm, or a bracket")
            self.bars.append(opening)
            node = self.sum()
            self.bars.pop()
            self.take(closing)
            if opening in ("\\|", "\\lVert"):
                return Node("call", (applied.norm(self), node), at)
            if self.next == "_":
                self.fail(r"expected \| for a norm")
            return Node("call", ("abs", node), at)
        self.bars.append("")
        node = self.sum()
        self.bars.pop()
        self.take(closing)
        return Node("group", (node,), at)

    def name(self, bare: bool = False) -> Node:
        """A letter, a Greek one or a word in roman, with its accent and index."""
        at, token = self.at, self.next
        if not re.fullmatch(r"[A-Za-z]|\\[A-Za-z]+", token or ""):
            self.fail("expected a number, a name or a bracket")
        self.take()
        if token == "\\text":
            return self.indexed(Node("name", (self.words(), None), at), bare)
        base = token.removeprefix("\\")
        if base in FONTS:
            base = self.roman()
        elif base in ACCENTS:
            inner = self.single()
            if inner.kind != "name":
                self.fail(f"expected a name below the {base}")
            return self.indexed(Node("name", (f"{inner.parts[0]}_{base}", inner.parts[1]), at), bare)
        return self.indexed(Node("name", (base, None), at), bare)

    def indexed(self, name: Node, bare: bool) -> Node:
        """A name with the indices that follow it; bare, or of an operator, without."""
        base = name.parts[0]
        while self.next == "'":
            base += self.take()
        name = Node("name", (base, name.parts[1]), name.at)
        if bare or base in FUNCTIONS or base in LARGE or base in OVER_LAWS or base in ("lim", "KL"):
            return name
        star = ""
        if self.next == "^" and self.peek(1) == "\\star":
            self.take(), self.take()
            star = "_star"
        if self.next == "_":
            self.take()
            return Node("name", (base + star, self.indices()), name.at)
        return Node("name", (base + star, name.parts[1]), name.at)

    def indices(self) -> tuple[Node, ...]:
        """What stands lowered: `ij` two indices, `t+1` one, a word in roman one."""
        if self.next != "{":
            return (self.single(),)
        self.take()
        found: list[Node] = []
        while self.next != "}":
            if self.next == "(":
                self.fail("expected an index without brackets: x_{(1)} may be the smallest x")
            if found and self.peek(-1) != "," and self.peek(1) in ("+", "-"):
                self.fail("expected a comma before an index with a sign: 2t - 1 can be read in two ways")
            if self.next in ("\\text", "\\mathrm"):
                at = self.at
                self.take()
                found.append(Node("word", (self.words(),), at))
            elif self.next == ",":
                self.take()
            elif self.peek(1) in ("+", "-"):
                found.append(self.sum())
            else:
                token = self.tokens[self.place]
                if token.text.isdecimal() and len(token.text) > 1:
                    found.append(self.atom(bare=True))
                else:
                    found.append(self.single())
        self.take("}")
        return tuple(found)

    def roman(self) -> str:
        """The letters of a group, as one word."""
        if self.next != "{":
            return self.take()
        self.take()
        if self.next == "\\arg" or self.next == "arg":
            self.fail("expected no arg max")
        word = ""
        while self.next != "}":
            word += self.take()
        self.take("}")
        return word


def _product(factors: list[Node], at: int) -> Node:
    return factors[0] if len(factors) == 1 else Node("product", tuple(factors), at)
