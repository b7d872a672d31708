"""What witnesses said of a claim: a table, plain text, and a record for the ledger."""

import html
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .witnesses import NOT_ASKED, RELATIONS, Cell, Formula, Witness

if TYPE_CHECKING:
    from .claims import Claim

MIME = "application/vnd.vaelib.claim+json"
_LEFT = 'style="text-align:left; vertical-align:top"'


@dataclass
class Twin:
    """A wrong formula: where it was seen, and the names of the witnesses able to evaluate it (None: all)."""

    formula: Formula
    seen: str
    by: frozenset[str] | None
    text: str = ""  # as LaTeX, where it was given so
    side: int = 0  # of an inequality, the side that it is a wrong version of


def shortfalls(kinds: Iterable[str], twins: Collection[Any]) -> list[str]:
    """What a claim lacks, one line for each: witnesses of two kinds, and a twin.

    Args:
        kinds: the kind of each witness; what follows in brackets, "code (float32)", makes no other kind.
        twins: the claim's twins, of whatever type.
    """
    lines, number = [], len({kind.partition(" (")[0] for kind in kinds})
    if number < 2:
        lines.append(f"TOO FEW WITNESSES: {number} kind of witness, and a claim needs two that share no code")
    if not twins:
        lines.append("NO TWIN: nobody has shown that these witnesses can reject a wrong formula")
    return lines


@dataclass(repr=False)
class Report:
    """The verdicts on one claim; renders as HTML, as plain text, and as a record for the ledger."""

    claim: "Claim"
    rows: list[tuple[Witness, list[Cell]]]
    problems: list[str]
    shortfalls: list[str]

    @property
    def passed(self) -> bool:
        """Whether every verdict is as claimed and nothing lacks."""
        return not self.problems and not self.shortfalls

    def record(self) -> dict[str, Any]:
        """What the ledger reads: plain JSON, without a digit that another machine could round differently."""
        claim, twins = self.claim, []
        for column, (name, entry) in enumerate(claim.twins.items(), 1):
            cells = {witness.name: cells[column] for witness, cells in self.rows}
            asked = [cell for cell in cells.values() if cell is not NOT_ASKED]
            refuted = bool(asked) and all(cell.ok for cell in asked)
            verdicts = {witness: cell.text for witness, cell in cells.items()}
            twins.append({"name": name, "seen": entry.seen, "refuted": refuted, "verdicts": verdicts})
        numbers = [n for twin in twins if twin["refuted"] for n in _numbers(twin["name"])]
        return {
            "id": claim.id,
            "statement": claim.statement,
            "source": claim.source,
            "relation": claim.relation,
            "covers": list(dict.fromkeys([*claim.covers, *numbers])),
            "passed": self.passed,
            "witnesses": [
                {"kind": w.kind, "name": w.name, "cases": len(w.cases), "rule": w.rule, "verdict": cells[0].text}
                for w, cells in self.rows
            ],
            "twins": twins,
        }

    def __repr__(self) -> str:
        lines = [self._title()]
        for column, name in enumerate(["formula", *(f"twin {name}" for name in self.claim.twins)]):
            lines.append(f"  {name}")
            lines += [f"    {w.kind}: {w.name}: {cells[column].text}" for w, cells in self.rows]
        lines += [f"  {w.name}: {w.rule}" for w, _ in self.rows]
        return "\n".join([*lines, *(f"  ! {line}" for line in self.shortfalls)])

    def _title(self) -> str:
        verdict = "stands" if self.passed else "DOES NOT STAND"
        return f"Claim {self.claim.id} {verdict}: {self.claim.statement} ({self.claim.source})"

    def _repr_html_(self) -> str:
        def cell(tag: str, text: str, note: str = "", scope: str = "") -> str:
            small = f"<br><small>{html.escape(note)}</small>" if note else ""
            return f"<{tag}{scope} {_LEFT}>{html.escape(text)}{small}</{tag}>"

        column, row = ' scope="col"', ' scope="row"'
        heads = [cell("th", "witness", scope=column)]
        heads.append(cell("th", "formula", f"{RELATIONS[self.claim.relation]} the truth", column))
        heads += [cell("th", f"twin {name}", twin.seen, column) for name, twin in self.claim.twins.items()]
        body = [
            f"<tr>{cell('th', f'{w.kind}: {w.name}', w.rule, row)}{''.join(cell('td', c.text) for c in cells)}</tr>"
            for w, cells in self.rows
        ]
        alarms = "".join(f"<p><strong>{html.escape(line)}</strong></p>" for line in self.shortfalls)
        return (
            f"<table><caption {_LEFT}><strong>{html.escape(self._title())}</strong></caption>"
            f"<thead><tr>{''.join(heads)}</tr></thead><tbody>{''.join(body)}</tbody></table>{alarms}"
        )

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {"text/plain": repr(self), "text/html": self._repr_html_(), MIME: self.record()}


def _numbers(twin: str) -> list[str]:
    head, colon, _ = twin.partition(":")
    return re.findall(r"[SE]\d+", head) if colon else []
