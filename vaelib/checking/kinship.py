"""Whether a twin that is named after an error is that error, by evaluation.

A twin named "E5: ..." has to be one of `variants("E5")` in the setting of its claim. Either way counts:

- its *effect*: twin - page = wrong - right of the mistake, up to a sign (a bound is minus a loss) or a factor that is
  said;
- its *action*: the twin is a side of the page in whose case the mistake was made, such as sigma^2 put in for sigma
  (E24), or q and p exchanged (E7).

What the letters of a mistake are in a claim is said in `settings.READINGS`, unless they are the same, or m and s for mu
and sigma. Where an error is of another kind than its formula in `mistakes`, `settings.FORMS` has it in other terms.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .mistakes import MISTAKES, variants
from .reader.arithmetics import numpy_namespace
from .reader.latex import read
from .reader.laws import Values
from .reader.tokens import identifier, plain
from .settings import ACTIONS, FORMS, READINGS, UNMATCHED
from .witnesses import Case, Formula

if TYPE_CHECKING:
    from .claims import Claim
    from .reports import Twin

LAWS = ("q", "p")
VECTORS = (
    "mu",
    "sigma",
    "nu",
    "tau",
    "rho",
    "kappa",
    "z",
    "epsilon",
    "x",
    "x_hat",
    "w",
    "R",
    "d",
    "g",
    "xi",
    "varepsilon",
)
SIZES = {"J": ("mu", "sigma", "z"), "D": ("x_hat", "x"), "K": ("w",), "N": ("R", "d"), "L": ("g", "xi")}
SAME = {"mu": "m", "sigma": "s", "xi": "varepsilon"}  # where a claim has these letters, and says nothing else
NUMBER = (float, int, np.number, np.ndarray)
FAILS = (
    ValueError,
    LookupError,
    TypeError,
    ArithmeticError,
    AttributeError,
    RuntimeError,
)  # no meaning, or no value, in a claim


def named_after(twin: str) -> list[str]:
    """The errors that a twin has in its name: E5 of "E5: no 1/2"."""
    head, colon, _ = twin.partition(":")
    return re.findall(r"E\d+[a-e]?", head) if colon else []


def strangers(claim: "Claim") -> list[str]:
    """One line for each twin that has the name of an error and is not that error, unless it is listed."""
    lines = []
    for name in claim.twins:
        for number in () if (claim.id, name) in UNMATCHED else named_after(name):
            if not kin(claim, name, number):
                known = (
                    "its formula, its letters in READINGS of vaelib/checking/settings.py, or a name without a number"
                )
                lines.append(f"twin {name!r} is not {number}: expected {known}")
    return lines


def uncited(twin: str, seen: str) -> list[str]:
    """The issues, "#3283", that a twin was seen in according to its claim, and that are no sources of its error."""
    rows = [number for number in named_after(twin) if any(number in (m.number, m.row) for m in MISTAKES.values())]
    known = " ".join(place for number in rows for mistake in variants(number) for place in mistake.seen)
    return [issue for issue in re.findall(r"#\d+", seen) if rows and not re.search(rf"{issue}\b", known)]


def kin(claim: "Claim", name: str, number: str) -> str:
    """The mistake of this row that a twin is, "E5a"; nothing if it is none, or if there is no such row."""
    twin = claim.twins[name]
    reading = READINGS.get(f"{claim.id} {number}", READINGS.get(claim.id, {}))
    cases = list(_cases(claim, twin))[:4]
    if not cases or not any(number in (mistake.number, mistake.row) for mistake in MISTAKES.values()):
        return ""
    for page in _sides(claim):
        try:
            here = [Here(claim, case, reading, page, twin.formula) for case in cases]
        except FAILS:  # this side has no number
            continue
        for mistake in variants(number):
            forms = [(mistake.right, mistake.wrong), *FORMS.get(mistake.number, ())]
            if _acts(page, ACTIONS.get(mistake.number, {}), here) or _differs(forms, here):
                return mistake.number
    return ""


def _cases(claim: "Claim", twin: "Twin") -> Iterator[Case]:
    """Some cases of every witness that has numbers and is asked about the twin."""
    for witness in claim.witnesses.values():
        if witness.kind != "symbolic" and (twin.by is None or witness.name in twin.by):
            yield from witness.cases[:: max(1, len(witness.cases) // 2)][:2]


def _sides(claim: "Claim") -> list[Formula]:
    if claim.equation is None:
        return [claim.formulas[0][0]]
    return [claim.equation.side(k, together=False) for k in reversed(range(claim.equation.sides))]  # the longest first


class Here:
    """One case of a claim: what a side of the page is there, and what the letters of the mistakes are."""

    def __init__(self, claim: "Claim", case: Case, reading: Mapping[str, Any], page: Formula, twin: Formula):
        self.claim, self.case, self.reading, self.f = claim, case, reading, numpy_namespace()
        self.values = Values(self.f, case) if claim.equation is None else claim.equation.values(self.f, case)
        self.functions = set() if claim.equation is None else claim.equation.functions
        self.page, self.twin = self.value(page), self.value(twin)

    def value(self, formula: Formula, **changed: Any) -> np.ndarray:
        """The value of a twin or of a side of the page."""
        return np.asarray(formula(self.f, **{**self.case, **changed}), dtype=float)

    def gap(self, entry: int | None) -> tuple[np.ndarray, float]:
        """Twin - page, of everything or of one entry, and what of it may be rounding."""
        got, page = (self.twin, self.page) if entry is None else (self.twin[entry], self.page[entry])
        return got - page, 1e-9 * max(1e-3, float(np.abs(got).max()), float(np.abs(page).max()))

    def letters(self, entry: int | None = None) -> dict[str, Any]:
        """The letters of the mistakes, at one entry where the claim says several formulas at once."""
        self.values.names["page"] = self.page if entry is None else self.page[entry]
        found: dict[str, Any] = {"n": 1, "j": 1, "J": 1, **self.values.names}
        found |= {letter: found[own] for letter, own in SAME.items() if letter not in found and own in found}
        for law in set(LAWS) & set(self.reading):  # p is the law that is said, whatever p(x) is
            found = {key: meaning for key, meaning in found.items() if not key.startswith(f"{law}(")}
        for letter, said in {"times": "1", **self.reading}.items():
            if letter != "change":
                name = letter.partition("_")[0] if letter[-2:-1] == "_" else letter
                found[name] = self.read(letter, said[entry] if isinstance(said, tuple) else said)
        found |= {k: np.atleast_1d(found[k]) for k in VECTORS if isinstance(found.get(k), NUMBER)}
        for size, vectors in SIZES.items():
            long = [len(found[v]) for v in vectors if np.ndim(found.get(v, 0))]
            found |= {size: long[0]} if long and size not in self.reading else {}
        if "r" in self.reading:
            found |= zip(("N", "J"), np.shape(found["r"]), strict=True)
        return found

    def read(self, letter: str, said: Any) -> Any:
        """What is said of a letter: a law, a row over the index in "R_n", a function of z in "g(z)", or a value."""
        if not isinstance(said, str):
            return said
        if said == "page":
            return self.values.names["page"]
        node = read(said, self.functions)[-1].sides[-1]
        if letter in LAWS:
            return self.values._law(node)
        if letter.endswith(")"):

            def function(value: Any) -> Any:
                with self.values.binding(letter[2:-1], value):
                    return self.values.of(node)

            return function
        if letter[-2:-1] == "_":
            return self.values.table([letter[-1]], node)
        return self.values.of(node)

    def made(self, action: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
        """What the mistake makes of the letters that the claim has."""
        letters = self.letters()
        for letter, latex in action.items():
            with contextlib.suppress(*FAILS):
                if letter in letters:
                    yield letter, value(latex, letters)

    def variable(self, letter: str) -> str:
        """The variable of the case that a letter is; LookupError where it is none."""
        said = self.reading.get(letter) or (letter if letter in self.case else SAME[letter])
        node = read(said, self.functions)[-1].sides[-1]
        name = identifier(node) if node.kind == "name" and plain(node) else said
        if name not in self.case:
            raise LookupError(name)
        return name


def value(latex: str, letters: Mapping[str, Any]) -> Any:
    """A formula of a mistake for these letters; what has a single entry is a number."""
    functions = set(re.findall(r"\b([gw])\(", latex))
    return np.squeeze(Values(numpy_namespace(), letters).of(read(latex, functions)[0].sides[0]))


def _differs(forms: list[tuple[str, str]], cases: list[Here]) -> bool:
    """Whether twin - page is wrong - right, each entry by some form where the letters are said entry by entry."""
    entries = max(len(said) if isinstance(said, tuple) else 0 for said in [*cases[0].reading.values(), ""])
    found, same = [], []
    for entry in range(entries) if entries else [None]:
        try:
            gaps = [here.gap(entry) for here in cases]
            letters = [here.letters(entry) for here in cases]
        except FAILS:
            return False
        same.append(all(not np.any(gap) for gap, _ in gaps))
        found.append(any(_is(gaps, form, letters) for form in forms))
    return any(found) and all(one or other for one, other in zip(found, same, strict=True))


def _is(gaps: list[tuple[Any, float]], form: tuple[str, str], letters: list[dict[str, Any]]) -> bool:
    """Whether these differences, of a size that rounding cannot make, are those of a form or minus those."""
    signs, seen = {1, -1}, 0
    for (gap, tol), here in zip(gaps, letters, strict=True):
        try:
            right, wrong = (value(latex, here) for latex in form)
            effect = here["times"] * (wrong - right)
        except FAILS:
            return False
        if np.shape(gap) != np.shape(effect):
            return False
        signs = {sign for sign in signs if np.abs(gap - sign * effect).max() <= tol}
        seen += bool(np.abs(effect).max() > 1e3 * tol)
    return bool(signs) and seen >= 2


def _acts(page: Formula, action: Mapping[str, str], cases: list[Here]) -> bool:
    """Whether the twin is this side of the page where the case is what the mistake makes of it."""
    seen = 0
    for here in cases if action else ():
        try:
            wanted = dict(here.made(action))
            change = {own: here.read("", said) for own, said in here.reading.get("change", {}).items()}
            change = change or {here.variable(letter): made for letter, made in wanted.items()}
            change = {own: np.reshape(made, np.shape(here.case[own]))[()] for own, made in change.items()}
            after = Here(here.claim, {**here.case, **change}, here.reading, page, page)
            letters = after.letters()
        except FAILS:
            return False
        done = bool(wanted) and all(_close(np.squeeze(letters[letter]), made) for letter, made in wanted.items())
        if not done or not _close(here.twin, after.page):
            return False
        seen += not np.allclose(after.page, here.page, rtol=1e-6, atol=1e-9)
    return seen >= 2


def _close(one: Any, other: Any) -> bool:
    return np.shape(one) == np.shape(other) and np.allclose(one, other, rtol=1e-9, atol=1e-12)
