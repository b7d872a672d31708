"""Claims: formulas that independent witnesses accept, and whose wrong twins the same witnesses reject.

A *claim* is a formula with a number. A *witness* compares a formula with a truth that it computes in its own way:
symbolic (sympy), numeric (quadrature, enumeration), code (what torch or vaelib ships), Monte Carlo, or rigorous ball
arithmetic. A *twin* is a wrong formula that somebody believed. A witness counts only if it can tell the two apart.

    claim = Claim("2.4", "KL to a standard normal", source="Kingma & Welling 2014, appendix B", covers=("S12",))
    claim.twin("E5: no 1/2 on the log-variance", r"\\frac12 (m^2 + s^2 - 1) - 2 \\log s")
    claim.numeric("quadrature of the definition", truth=..., cases=cases(200, m=normal(0, 3), s=loguniform(1e-3, 1e3)))
    claim.symbolic("integral of the definition", truth=..., symbols=(m, s))
    claim.check()

The formula is the displayed equation with that number: each of its sides is read from the page and evaluated in the
arithmetic of each witness, in sympy, float64 or balls. A claim only says what its names are, where a case does not.
"""

import math
import os
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .reader.arithmetics import flint_namespace, sympy_namespace
from .reader.equations import Equation, on_page
from .reports import Report, Twin, shortfalls
from .witnesses import (
    INTEGER,
    NOT_ASKED,
    RELATIONS,
    Case,
    Cell,
    Formula,
    Witness,
    balls,
    float_array,
    float_difference,
    float_value,
    precision,
    proved_difference,
    same_shape,
)


class Claim:
    """A formula, its twins and its witnesses; `check()` shows the verdicts and raises if one is not as claimed.

    Args:
        id: the number of the displayed equation, "2.4" for \\tag{2.4}.
        statement: what the formula says, in words.
        source: paper and equation.
        formula: none, as a rule: it is read from the page. Else a function of a namespace and of the variables.
        covers: the numbers of the statements it settles; those that open a twin's name ("E5, E6: ...") are added by the
            twin's rejection.
        relation: the formula "==", "<=" or ">=" the truth that the witnesses compute, where the page does not say.
        define: what the equation's names mean, see `equations.meanings`; the variables of the cases need no mention.
        uses: the numbers of displayed definitions that it uses, "D2.2", and definitions in LaTeX that the page leaves
            to the reader, "p(x) = \\mathcal N(0, V)".
        truth: the side, from 0, that the witnesses' truths are the value of; the last that is no number unless given.
        scope: for what it was checked, where that is less than the words say: "two levels, Gaussian".
    """

    def __init__(
        self,
        id: str,
        statement: str,
        *,
        source: str,
        formula: Formula | None = None,
        covers: Iterable[str] = (),
        relation: str = "==",
        define: Mapping[str, Any] | None = None,
        uses: Iterable[str] = (),
        truth: int | None = None,
        scope: str = "",
    ):
        if not re.fullmatch(r"[a-z]?\d+\.\d+[a-z]?", id):
            raise ValueError(f"claim id {id!r}: expected the tag of a displayed equation such as '2.4' or 'a1.3'")
        if relation not in RELATIONS:
            raise ValueError(f"relation {relation!r}: expected one of {', '.join(RELATIONS)}")
        if isinstance(covers, str):
            raise ValueError(f"covers={covers!r}: expected several numbers, such as ({covers!r},)")
        self.id, self.statement, self.source = id, statement, source
        self.covers, self.truth, self.scope = tuple(covers), truth, scope
        uses = list(uses)
        self.said = [text for text in uses if "=" in text]
        self.used = {number: on_page(number) for number in uses if number not in self.said}
        self.equation: Equation | None = None
        if formula is None:
            self.equation = Equation(on_page(id), define or {}, [*self.used.values(), *self.said])
            self.formulas = self.sides(self.equation)
        else:
            self.formulas = [(formula, relation)]
        self.relation = self.formulas[0][1]
        self.twins: dict[str, Twin] = {}
        self.witnesses: dict[str, Witness] = {}

    def sides(self, equation: Equation) -> list[tuple[Formula, str]]:
        """Each side, and what it should be to the truth of the witnesses."""
        relations = [equation.relation(k, self.truth) for k in range(equation.sides)]
        # What is equal to the truth is compared with that; what is not, with what is printed to be equal to it as well.
        sides = [equation.side(k, together=relation != "==") for k, relation in enumerate(relations)]
        return list(zip(sides, relations, strict=True))

    def twin(
        self,
        name: str,
        formula: Formula | str | Mapping[str, str],
        *,
        seen: str = "",
        by: Iterable[str] | None = None,
        side: int | None = None,
    ) -> None:
        """Adds a wrong formula, which every witness must reject.

        Args:
            name: what is wrong, after the error's number if it has one: "E5: no 1/2 on the log".
            formula: LaTeX in the names of the equation; or only {what the page says: what the twin says instead}.
            seen: where it was seen.
            by: the names of the witnesses able to evaluate it; all unless given.
            side: of an inequality, the side (from 0) that it is a wrong version of; the first that is no equal of the
                truth unless given.
        """
        if name in self.twins:
            raise ValueError(f"claim {self.id} has two twins named {name!r}")
        asked = None if by is None else frozenset(by)
        if side is None:
            side = next((k for k, (_, relation) in enumerate(self.formulas) if relation != "=="), 0)
        if not isinstance(formula, (str, Mapping)):
            self.twins[name] = Twin(formula, seen, asked, side=side)
        elif self.equation is None:
            raise ValueError(f"claim {self.id} is given a formula: expected its twin to be one as well")
        else:
            self.twins[name] = Twin(self.equation.twin(formula), seen, asked, formula, side)

    def symbolic(self, name: str, truth: Any, symbols: Iterable[Any], *, margin: float = 1e-9) -> None:
        """Sympy must simplify formula - truth to zero (for an inequality: to a sign that its assumptions settle).

        Args:
            name: the witness, in a word or two.
            truth: a sympy expression, or an array of them.
            symbols: what stands for the names of the equation, {"m": m}; symbols of the same names need no dict. Object
                arrays of symbols are vectors.
            margin: a twin must differ by more at one of five rational points, in 30 digits.
        """
        if isinstance(symbols, Mapping):
            named, arguments = dict(symbols), ()
        else:
            named, arguments = {}, tuple(symbols)
            if self.equation is not None:
                named, arguments = {str(symbol): symbol for symbol in arguments}, ()

        def evaluate(formula: Formula, case: Case) -> Any:
            return formula(sympy_namespace(), *arguments, **named)

        self._add("symbolic", name, [{}], lambda: truth, evaluate, proved_difference, 0.0, margin)

    def numeric(
        self,
        name: str,
        truth: Callable[..., Any],
        cases: Iterable[Case],
        *,
        tol: float = 1e-8,
        margin: float | None = None,
    ) -> None:
        """The formula must meet `truth(**case)` in float64 in every case.

        Args:
            name: the witness, in a word or two.
            truth: a function of a case's values.
            cases: such as `cases(200, m=normal(0, 3))`.
            tol: the largest error, |formula - truth| / max(1, |truth|): absolute for small truths, relative for large.
            margin: a twin must exceed it in at least one case; 10 tol unless given.
        """

        def expected(**case: Any) -> np.ndarray:
            return float_array(truth(**case))

        self._add("numeric", name, cases, expected, float_value, float_difference, tol, margin)

    def code(
        self,
        name: str,
        function: Callable[..., Any],
        cases: Iterable[Case],
        *,
        tol: float = 1e-8,
        margin: float | None = None,
        dtype: Any = None,
    ) -> None:
        """The formula must meet what a shipped torch function returns for the case's values.

        Args:
            name: the witness, in a word or two.
            function: a function of a case's values as tensors of `dtype`; integers stay as they are.
            cases: as in `numeric`.
            tol: as in `numeric`; a float32 result cannot be asked for 1e-8.
            margin: as in `numeric`.
            dtype: torch.float64 unless given. The formula, in float64, sees the inputs as rounded to that type.
        """
        import torch

        dtype = dtype or torch.float64

        def tensors(case: Case) -> dict[str, Any]:
            return {k: v if isinstance(v, INTEGER) else torch.as_tensor(v, dtype=dtype) for k, v in case.items()}

        def expected(**case: Any) -> np.ndarray:
            value = function(**tensors(case))
            return float_array(value.detach().cpu() if isinstance(value, torch.Tensor) else value)

        def evaluate(formula: Formula, case: Case) -> np.ndarray:
            rounded = {k: v if isinstance(v, INTEGER) else v.double().numpy()[()] for k, v in tensors(case).items()}
            return float_value(formula, rounded)

        kind = f"code ({str(dtype).removeprefix('torch.')})"
        self._add(kind, name, cases, expected, evaluate, float_difference, tol, margin)

    def monte_carlo(
        self,
        name: str,
        sampler: Callable[..., Any],
        cases: Iterable[Case],
        *,
        draws: int = 100_000,
        z: float = 5.0,
        seed: int = 0,
    ) -> None:
        """The mean of random draws must lie within z standard errors of the formula.

        Two-sided: a right formula fails with probability erfc(z / sqrt 2) per comparison, 5.7e-7 at z = 5 (normal
        theory: the samples need a finite variance). A twin must be off by more than 2 z standard errors.

        Args:
            name: the witness, in a word or two.
            sampler: `sampler(rng, draws, **case)` returns samples, (draws, ...).
            cases: as in `numeric`.
            draws: the number of samples for each case.
            z: the allowed distance, in standard errors.
            seed: of the generator `rng`, the same for every case.
        """

        def expected(**case: Any) -> tuple[np.ndarray, np.ndarray]:
            samples = float_array(sampler(np.random.default_rng(seed), draws, **case))
            if samples.shape[:1] != (draws,):
                raise ValueError(f"the sampler returned shape {samples.shape}, expected ({draws}, ...)")
            if (samples == samples[0]).all(axis=0).any():
                raise ValueError("the samples do not vary: there is no standard error to measure with")
            return samples.mean(axis=0), samples.std(axis=0, ddof=1) / math.sqrt(draws)

        def difference(got: np.ndarray, truth: tuple[np.ndarray, np.ndarray], _: str) -> tuple[np.ndarray, np.ndarray]:
            same_shape(got, truth[0])
            score = (got - truth[0]) / truth[1]
            return score, score

        self._add("Monte Carlo", name, cases, expected, float_value, difference, z, 2 * z)

    def ball(
        self,
        name: str,
        truth: Callable[..., Any],
        cases: Iterable[Case],
        *,
        tol: float = 1e-20,
        margin: float | None = None,
        bits: int = 192,
    ) -> None:
        """Rigorous: |formula - truth| <= tol max(1, |truth|) is proved in ball arithmetic for the case's exact inputs.

        A ball too wide to decide fails.

        Args:
            name: the witness, in a word or two.
            truth: a function of a case's values as python-flint `arb` balls, or arrays of them; it returns the like.
            cases: as in `numeric`.
            tol: the largest error, as in `numeric`.
            margin: as in `numeric`.
            bits: the precision.
        """

        def expected(**case: Any) -> np.ndarray:
            with precision(bits):
                return np.asarray(truth(**balls(case)), dtype=object)

        def evaluate(formula: Formula, case: Case) -> np.ndarray:
            with precision(bits):
                return np.asarray(formula(flint_namespace(), **balls(case)), dtype=object)

        def difference(got: np.ndarray, truth: np.ndarray, _: str) -> tuple[np.ndarray, np.ndarray]:
            same_shape(got, truth)
            with precision(bits):
                gaps = [((g - t) / max(1.0, abs(float(t)))) for g, t in zip(got.flat, truth.flat, strict=True)]
                return float_array([float(d.lower()) for d in gaps]), float_array([float(d.upper()) for d in gaps])

        self._add("ball", name, cases, expected, evaluate, difference, tol, margin)

    def report(self, twins: bool = True) -> Report:
        """Lets every witness judge the formula and every twin, without showing or raising anything."""
        problems, rows = [], []
        sides: list[list[tuple[Cell, float]]] = [[] for _ in self.formulas]
        for twin, entry in self.twins.items():
            unknown = sorted((entry.by or frozenset()) - set(self.witnesses))
            if unknown or entry.by == frozenset():
                problems.append(f"twin {twin!r}: no witness {', '.join(map(repr, unknown)) or 'is asked'}")
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # scipy's IntegrationWarning is one
            warnings.simplefilter("error", RuntimeWarning)  # numpy's overflow, division by zero, invalid value
            order = sorted(self.witnesses.values(), key=lambda w: not twins and w.kind == "symbolic")
            for witness in order:
                if problems and not twins:
                    break  # one objection is enough, and sympy's is the slowest
                cells = [self._together(witness, sides)]
                for entry in self.twins.values() if twins else ():
                    asked = entry.by is None or witness.name in entry.by
                    relation = self.formulas[entry.side][1]
                    cells.append(witness.judge(entry.formula, relation, twin=True) if asked else NOT_ASKED)
                rows.append((witness, cells))
                for name, cell in zip(("formula", *(f"twin {t!r}" for t in self.twins)), cells, strict=twins):
                    if not cell.ok:
                        problems.append(f"{witness.kind} witness {witness.name!r}, {name}: {cell.problem}")
        for number, (side, (_, relation)) in enumerate(zip(sides, self.formulas, strict=True), start=1):
            read = [(cell, margin) for cell, margin in side if not cell.unread]
            if not read:
                problems.append(
                    f"side {number} is read by no witness: {side[0][0].problem if side else 'there is none'}"
                )
            elif self.equation and relation != "==" and all(cell.ok and cell.slack <= m for cell, m in read):
                problems.append(
                    f"side {number} is never strictly {RELATIONS[relation]} the truth: expected an equality"
                )
        return Report(self, rows, problems, shortfalls((w.kind for w in self.witnesses.values()), self.twins))

    def _together(self, witness: Witness, sides: list[list[tuple[Cell, float]]]) -> Cell:
        """The verdict of one witness on all sides that it can read; each is noted under its side."""
        cells = [witness.judge(formula, relation, twin=False) for formula, relation in self.formulas]
        for side, cell in zip(sides, cells, strict=True):
            side.append((cell, witness.margin))
        read = [cell for cell in cells if not cell.unread]
        wrong = [cell for cell in read if not cell.ok]
        return (wrong or read or cells)[0]

    def noticed(self, text: str, used: Mapping[str, str] | None = None) -> bool:
        """Whether the witnesses would object if the page said this, or if what it uses said that."""
        assert self.equation is not None
        try:
            changed = Equation(text, self.equation.define, [*(self.used | dict(used or {})).values(), *self.said])
            formulas = self.sides(changed)
        except (ValueError, LookupError):
            return True
        if len(formulas) != len(self.formulas):
            return True
        kept, before, asked = self.formulas, self.equation, list(range(changed.sides))
        if (changed.definitions, changed.conditions) == (before.definitions, before.conditions):
            alike = [changed.groups(k, True) == before.groups(k, True) for k in asked]
            asked = [k for k in asked if not alike[k] or formulas[k][1] != kept[k][1]]  # others need no second look
        if not asked:
            return False
        self.formulas = [formulas[k] for k in asked]
        try:
            wrong = bool(self.report(twins=False).problems)
            return wrong or bool({part for part in before.valued if part[0] in asked} - changed.valued)
        finally:
            self.formulas = kept

    def check(self, strict: bool = True) -> None:
        """Shows the table.

        Args:
            strict: fewer than two kinds of witnesses, or no twin, is an error too; without it, only a visible line.

        Raises:
            AssertionError: a verdict is not as claimed.
        """
        from IPython.display import display

        report = self.report()
        display(report)
        if "VAELIB_PAGE" in os.environ:  # see `page`
            from . import page

            page.record(self, Path(os.environ["VAELIB_PAGE"]))
        from .kinship import strangers

        failures = report.problems + (report.shortfalls if strict else []) + strangers(self)
        if failures:
            raise AssertionError(f"claim {self.id} ({self.statement}) does not stand:\n" + "\n".join(failures))

    def _add(self, kind, name, cases, truth, evaluate, difference, tol, margin) -> None:
        margin = 10 * tol if margin is None else margin
        if name in self.witnesses:
            raise ValueError(f"claim {self.id} has two witnesses named {name!r}")
        if not margin > tol >= 0:
            raise ValueError(
                f"witness {name!r}: margin {margin:g} must exceed tol {tol:g}: a twin may not pass as both"
            )
        self.witnesses[name] = Witness(kind, name, list(cases), truth, evaluate, difference, tol, margin)
