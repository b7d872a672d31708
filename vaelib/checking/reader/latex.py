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
   bracket right after it, it takes the bracket alone: `\log(1 + a) b` is b times a logarithm.
4. A sum or product over an index and an integral take the product to their right likewise; an integral ends at its `d`.
5. `\frac12`, `x^2y` and `\frac ab` take one digit or letter each; otherwise the digits of a number stay together.
6. `a / b` divides by the next factor alone; `a / b c` is refused, as readers differ.
7. `e^x` is exp(x), and e and \pi are the constants, unless they are among the names.
8. Indices count from one.
"""

import re
from collections.abc import Collection

from . import applied
from .tokens import (
    ACCENTS,
    ALWAYS_APPLIED,
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
        statements, when = [], ""
        while self.next != end:
            if self.next in SEPARATORS:
                self.take()
            elif self.next == "\\boxed":
                self.take()
                self.take("{")
                statements += self.line("}")
                self.take("}")
            elif self.next == "\\text" and not self.words_are_a_name():
                self.take()
                when = (when + " " + self.words()).strip()
            else:
                statements.append(self.statement(when))
                when = ""
        if when and statements:
            last = statements[-1]
            statements[-1] = Statement(last.sides, last.relations, (last.when + " " + when).strip())
        if not statements:
            self.fail("expected a statement")
        return tuple(statements)

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

    def product(self) -> Node:
        """Factors, divided by those after a slash."""
        at, factors, divided = self.at, [self.factor()], False
        while True:
            if self.next in ("\\cdot", "\\times"):
                self.take()
                factors.append(self.factor())
                divided = False
            elif self.next == "/":
                self.take()
                factors = [Node("ratio", (_product(factors, at), self.factor()), at)]
                divided = True
            elif self.begins_factor():
                if divided:
                    self.fail("expected + or - or brackets: a / b c can be read in two ways")
                factors.append(self.factor())
            else:
                return _product(factors, at)

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
        power = self.script()
        if node == Node("name", ("e", None)) and "e" not in self.functions:
            return Node("call", ("exp", power), node.at)
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
        if token.text[0].isdigit() and len(token.text) > 1:
            self.tokens[self.place] = Token(token.text[1:], token.at + 1, token.end)
            return Node("number", (token.text[0],), token.at)
        return self.atom(bare=True)

    # --- Atoms --------------------------------------------------------------------------------------------------------

    def atom(self, bare: bool = False) -> Node:
        """A number, a name, a bracket or what a command begins; bare: a name without arguments."""
        token, at = self.next, self.at
        if token and token[0].isdigit():
            return Node("number", (self.take(),), at)
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
            return Node("call", ("sqrt", self.single()), at)
        if token in ("\\underbrace", "\\boxed"):
            self.take()
            node = self.script()
            if token == "\\underbrace" and self.next == "_":
                self.take()
                label = self.label()
                node = node if label is None else Node("braced", (node, label), at)
            return node
        if token.startswith("\\begin"):
            return applied.table(self)
        if token == "\\infty":
            self.take()
            return Node("infinity", (), at)
        if token == "\\int":
            return applied.integral(self)
        name = self.name(bare)
        return name if bare else self.applied(name)

    def bracket(self) -> Node:
        """What is in brackets, or between bars."""
        at, opening = self.at, self.take()
        closing = BRACKETS.get(opening, opening)
        if opening in ("|", "\\|", "\\lVert", "\\lvert"):
            self.bars.append(opening)
            node = self.sum()
            self.bars.pop()
            self.take(closing)
            norm = opening in ("\\|", "\\lVert")
            if norm and self.next == "_":
                self.take()
                self.single()
            return Node("call", ("norm" if norm else "abs", node), at)
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
        found = []
        while self.next != "}":
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
                if token.text.isdigit() and len(token.text) > 1:
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

    def label(self) -> Node | None:
        """What stands below a brace, if it is a formula: `= 1`, or a name for what is above."""
        place = self.place
        try:
            self.take("{")
            if self.next == "=":
                self.take()
            node = self.sum()
            self.take("}")
        except Unreadable:
            self.place = place
            self.skip("{", "}")
            return None
        return None if node.kind == "name" and " " in node.parts[0] else node

    # --- What is applied to something ---------------------------------------------------------------------------------

    def applied(self, name: Node) -> Node:
        """The name with what it takes: nothing, arguments, or the product to its right."""
        base, at = name.parts[0], name.at
        said = base in self.functions or (plain(name) and identifier(name) in self.functions)
        if said or (self.next == "(" and base not in KNOWN and self.lists()):
            return Node("apply", (name, applied.arguments(self, "(", ")")), at) if self.next == "(" else name
        if base == "KL" and self.next in ("(", "["):
            return applied.divergence(self, at)
        if base == "N" and self.next == "(" and self.text[at : at + 9].startswith("\\mathcal"):
            return Node("normal", (applied.arguments(self, "(", ")"),), at)
        if base in OVER_LAWS and self.next in ("_", "[", "("):
            return applied.over_a_law(self, OVER_LAWS[base], at)
        if base in LARGE and (self.next in ("_", "(") or base in ("sum", "prod")):
            return applied.large(self, LARGE[base], at)
        if base in FUNCTIONS:
            if self.next == "^":
                self.fail("expected no power of a function's name")
            if self.next == "_":
                self.take()
                return Node("large", (FUNCTIONS[base], ((self.single(), None, None, ""),), self.argument()), at)
            return Node("call", (FUNCTIONS[base], self.argument()), at)
        if base in ALWAYS_APPLIED and self.next == "(":
            (arguments,) = applied.arguments(self, "(", ")")
            return Node("call", (ALWAYS_APPLIED[base], *arguments), at)
        if base == "lim":
            return applied.limit(self, at)
        return name

    def argument(self) -> Node:
        """Convention 3."""
        return self.factor() if self.next in BRACKETS and self.next not in ("|",) else self.product()


def _product(factors: list[Node], at: int) -> Node:
    return factors[0] if len(factors) == 1 else Node("product", tuple(factors), at)
