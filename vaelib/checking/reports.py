"""What witnesses said of a claim: a table, plain text, and a record for the ledger."""

import html
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

from .reader.tokens import RELATIONS as RELATION_SIGNS
from .reader.tokens import SEPARATORS, tokens
from .witnesses import NOT_ASKED, RELATIONS, Cell, Formula, Witness

if TYPE_CHECKING:
    from .claims import Claim

MIME = "application/vnd.vaelib.claim+json"
_OPEN = {
    "^",
    "_",
    "\\frac",
    "\\tfrac",
    "\\dfrac",
    "\\sqrt",
    "\\mathcal",
    "\\mathrm",
    "\\mathbb",
    "\\hat",
    "\\bar",
    "\\tilde",
}
_LEFT = 'style="text-align:left; vertical-align:top"'


@dataclass
class Twin:
    """A wrong formula: where it was seen, and the names of the witnesses able to evaluate it (None: all)."""

    formula: Formula
    seen: str
    by: frozenset[str] | None
    text: str | Mapping[str, str] = ""  # as LaTeX, or as what it says in place of what the page says
    side: int = 0  # of an inequality, the side that it is a wrong version of

    def shown(self, page: str) -> str:
        """As mathematics, with what differs from the page in red."""
        if isinstance(self.text, str):
            return marked(self.text, page) if self.text else ""
        return r",\quad ".join(rf"{old} \;\to\; {{\color{{red}}{{{new}}}}}" for old, new in self.text.items())


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
            "scope": claim.scope,
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
        lines = [f"{self._verdict()}: {self._counts()}", f"  {self._title()}"]
        for column, name in enumerate(["formula", *(f"twin {name}" for name in self.claim.twins)]):
            lines.append(f"  {name}")
            lines += [f"    {w.kind}: {w.name}: {cells[column].text}" for w, cells in self.rows]
        lines += [f"  {w.name}: {w.rule}" for w, _ in self.rows]
        return "\n".join([*lines, *(f"  ! {line}" for line in self.shortfalls)])

    def _verdict(self) -> str:
        return f"{self.claim.id} {'stands' if self.passed else 'DOES NOT STAND'}"

    def _counts(self) -> str:
        """How many witnesses agree and how many twins all who were asked refute, in words."""
        twins = self.record()["twins"]
        agree, refuted = sum(cells[0].ok for _, cells in self.rows), sum(twin["refuted"] for twin in twins)
        witnesses = f"{agree} witness agrees" if agree == 1 else f"{agree} witnesses agree"
        wrong = "1 wrong twin" if refuted == 1 else f"{refuted} wrong twins"
        lacking = f"; {len(self.rows) - agree} do not" * (agree < len(self.rows))
        lacking += f"; {len(twins) - refuted} not refuted" * (refuted < len(twins))
        return f"{witnesses}, {wrong} refuted{lacking}"

    def _title(self) -> str:
        scope = f"; checked for {self.claim.scope}" if self.claim.scope else ""
        return f"{self.claim.statement} ({self.claim.source}{scope})"

    def _repr_html_(self) -> str:
        """One line that opens into the table; twins are mathematics, with what differs from the page in red."""

        def cell(tag: str, text: str, note: str = "", scope: str = "", formula: str = "") -> str:
            small = f"<br><small>{html.escape(note)}</small>" if note else ""
            shown = f"<br>${html.escape(formula)}$" if formula else ""
            return f"<{tag}{scope} {_LEFT}>{html.escape(text)}{small}{shown}</{tag}>"

        column, row = ' scope="col"', ' scope="row"'
        page = "" if self.claim.equation is None else _untagged(self.claim.equation.text)
        heads = [cell("th", "witness", scope=column)]
        heads.append(cell("th", "formula", f"{RELATIONS[self.claim.relation]} the truth", column, page))
        for name, twin in self.claim.twins.items():
            heads.append(cell("th", f"twin {name}", twin.seen, column, twin.shown(page)))
        body = [
            f"<tr>{cell('th', f'{w.kind}: {w.name}', w.rule, row)}{''.join(cell('td', c.text) for c in cells)}</tr>"
            for w, cells in self.rows
        ]
        alarms = "".join(f"<p><strong>{html.escape(line)}</strong></p>" for line in self.shortfalls)
        return (
            f"<details{'' if self.passed else ' open'}><summary><strong>{self._verdict()}</strong>: {self._counts()}"
            f"</summary><table><caption {_LEFT}>{html.escape(self._title())}</caption>"
            f"<thead><tr>{''.join(heads)}</tr></thead><tbody>{''.join(body)}</tbody></table></details>{alarms}"
        )

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {"text/plain": repr(self), "text/html": self._repr_html_(), MIME: self.record()}


def marked(wrong: str, right: str) -> str:
    """The wrong formula with what the right one does not have in red, as far as braces allow it to be set apart."""
    ours = tokens(wrong)
    sides: list[list[str]] = [[]]
    for token in tokens(right):
        sides += [[]] if token.text in RELATION_SIGNS or token.text in SEPARATORS else []
        sides[-1].append(token.text)
    compared = [SequenceMatcher(None, side, [t.text for t in ours], autojunk=False) for side in sides]
    found = max(compared, key=SequenceMatcher.ratio)
    pieces, end = [], 0
    for operation, _, _, first, last in found.get_opcodes():
        if operation == "equal" or first == last:
            continue
        span = slice(ours[first].at, ours[last - 1].end)
        texts = [t.text for t in ours[first:last]]
        closed = all(texts[:n].count("{") >= texts[:n].count("}") for n in range(len(texts)))
        apart = (
            closed and texts.count("{") == texts.count("}") and texts[-1] not in _OPEN and texts[0] not in ("^", "_")
        )
        before = ours[first - 1].text if first else ""
        if apart and before not in _OPEN:
            pieces += [wrong[end : span.start], f"{{\\color{{red}}{{{wrong[span]}}}}}"]
            end = span.stop
    return "".join([*pieces, wrong[end:]])


def _untagged(text: str) -> str:
    return " ".join(re.sub(r"\\tag\{[^}]*\}", "", text).split())


def _numbers(twin: str) -> list[str]:
    head, colon, _ = twin.partition(":")
    return re.findall(r"[SE]\d+", head) if colon else []
