"""The ledger: every numbered equation of the course beside the claim that checks it.

    python -m vaelib.checking.ledger   reads notebooks/*.ipynb, writes build/ledger.json and build/ledger.md

It reads the *stored* outputs (nbval sees to it that they are what the code gives) and exits with status 1, naming each,
where a numbered equation has no claim, a claim has no equation, fewer than two kinds of witnesses, no twin, or did not
pass, where an id occurs twice, where a verdict on a statement of the source is not the one of `statements.py`, or where
a statement (S1 to S20) or a known error (E1 to E25) is settled nowhere.

Conventions, all visible to the reader:
- A displayed equation that is claimed carries the claim's id as its tag, `$$ ... \\tag{3.2} $$`, in the notebook of the
  claim. A definition claims nothing: it has no tag, or one that starts with D, `\\tag{D3.1}`.
- An S number is settled by a claim that covers it or by a line that starts `**Verdict S7:** true`, in a markdown cell.
  The verdict is one of VERDICTS; words may follow.
- An E number is settled only by a claim: as one of those it covers, or by a refuted twin named `E5: ...`, which has to
  be that error (`kinship`), or to stand on a list of the page with the reason why nobody can tell.
"""

import argparse
import json
import re
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from . import page
from .kinship import uncited
from .reader.equations import numbered
from .reports import MIME, shortfalls
from .settings import UNMATCHED
from .statements import STATEMENTS, VERDICTS

ERRORS = [f"E{n}" for n in range(1, 26)]

# What no notebook settles yet, each with the reason; one that is settled must leave this list.
PENDING: dict[str, str] = {}

_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`[^`\n]*`")
_DISPLAY = re.compile(r"\$\$.*?\$\$|\\begin\{(equation|align|gather|multline)\*?\}.*?\\end\{\1\*?\}", re.DOTALL)
_TAG = re.compile(r"\\tag\*?\{([^}]*)\}")
_WORDS = re.compile(rf"({'|'.join(VERDICTS)})\b")
_VERDICT = re.compile(r"^\s*\*\*Verdict ([^:*]*):\*\*[ \t]*(.*)$", re.MULTILINE)


def collect(notebooks: list[Path]) -> dict[str, list[dict[str, Any]]]:
    """The equations' tags, the claims' records and the verdicts, each with its notebook and cell, in reading order."""
    import nbformat

    found: dict[str, list[dict[str, Any]]] = {"equations": [], "stray": [], "claims": [], "verdicts": []}
    for path in notebooks:
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            place = {"notebook": path.name, "cell": cell.get("id", "")}
            if cell.cell_type == "markdown":
                text = _INLINE.sub("", _FENCE.sub("", cell.source))
                displayed = [tag for match in _DISPLAY.finditer(text) for tag in _TAG.findall(match.group())]
                found["equations"] += [{"id": tag, **place} for tag in displayed]
                found["stray"] += [{"id": tag, **place} for tag in _TAG.findall(_DISPLAY.sub("", text))]
                found["verdicts"] += [{"id": n, "verdict": text.strip(), **place} for n, text in _VERDICT.findall(text)]
            for output in cell.get("outputs", []):
                if MIME in output.get("data", {}):
                    found["claims"].append({**output["data"][MIME], **place})
    return found


def audit(found: dict[str, list[dict[str, Any]]], pending: dict[str, str]) -> list[str]:
    """One line for each thing that is wrong; an empty list is a green ledger."""
    claims, lines = found["claims"], []
    if not found["equations"] or not claims:
        lines.append("nothing to check: no numbered equation, or no claim, was found")
    equations = [e for e in found["equations"] if not e["id"].startswith("D")]
    for what, entries in (("equation", found["equations"]), ("claim", claims)):
        for id, count in Counter(entry["id"] for entry in entries).items():
            if count > 1:
                where = ", ".join(e["notebook"] for e in entries if e["id"] == id)
                lines.append(f"{what} {id} occurs {count} times: {where}")
    tagged = {(e["id"], e["notebook"]) for e in equations}
    claimed = {(c["id"], c["notebook"]) for c in claims}
    lines += [f"equation {id} in {notebook} has no claim" for id, notebook in sorted(tagged - claimed)]
    lines += [f"claim {id} in {notebook} has no numbered equation there" for id, notebook in sorted(claimed - tagged)]
    lines += [f"tag {e['id']} in {e['notebook']} stands outside a displayed equation" for e in found["stray"]]
    for claim in claims:
        name = f"claim {claim['id']} in {claim['notebook']}"
        kinds = (witness["kind"] for witness in claim["witnesses"])
        lines += [f"{name}: {line}" for line in shortfalls(kinds, claim["twins"])]
        lines += [f"{name} does not refute its twin {twin['name']!r}" for twin in claim["twins"] if not twin["refuted"]]
        for twin in claim["twins"]:
            issues = uncited(twin["name"], twin["seen"])
            lines += [f"{name}: {issue} is no source of its twin {twin['name']!r}" for issue in issues]
        if not claim["passed"]:
            lines.append(f"{name} did not pass")
    settled = settlements(found)
    known = {*STATEMENTS, *ERRORS}
    lines += [f"{n} is covered by {', '.join(settled[n])} but is no known number" for n in sorted(set(settled) - known)]
    for verdict in found["verdicts"]:
        if not _WORDS.match(verdict["verdict"]):
            lines.append(f"verdict {verdict['id']} in {verdict['notebook']} starts with none of {', '.join(VERDICTS)}")
        if verdict["id"] not in STATEMENTS:
            lines.append(f"verdict {verdict['id']} in {verdict['notebook']} is about no statement")
            continue
        ours = STATEMENTS[verdict["id"]].verdict
        said = _WORDS.findall(verdict["verdict"])[:1] or [ours]
        if said != [ours]:
            lines.append(f"verdict {verdict['id']} in {verdict['notebook']} is {said[0]!r}; in statements.py {ours!r}")
    lines += [f"{n} is settled nowhere" for n in [*STATEMENTS, *ERRORS] if n not in settled and n not in pending]
    lines += [f"{n} is settled by {', '.join(settled[n])}: take it off PENDING" for n in pending if n in settled]
    lines += [f"PENDING {n} is no known number" for n in pending if n not in known]
    lines += [f"PENDING {n} gives no reason" for n, reason in pending.items() if not reason.strip()]
    return lines


def settlements(found: dict[str, list[dict[str, Any]]]) -> dict[str, list[str]]:
    """For every S and E number the claims that passed and cover it, and for an S number its verdicts."""
    settled = defaultdict(list)
    for claim in found["claims"]:
        for number in claim["covers"] if claim["passed"] else []:
            settled[number].append(f"claim {claim['id']}")
    for verdict in found["verdicts"]:
        if verdict["id"] in STATEMENTS and _WORDS.match(verdict["verdict"]):
            settled[verdict["id"]].append(f"verdict in {verdict['notebook']}")
    return dict(settled)


def markdown(found: dict[str, list[dict[str, Any]]], pending: dict[str, str], changes: str = "") -> str:
    """The ledger as a page: a row for each claim, where each S and E number is settled, and what is left unread.

    changes: the page of changes, which says what is not read.
    """
    rows = ["| claim | statement | witnesses | twins refuted | source | covers | notebook |", "|" + "---|" * 7]
    for claim in found["claims"]:
        witnesses = "; ".join(f"{w['kind']}: {w['name']}" for w in claim["witnesses"])
        twins = "; ".join(twin["name"] for twin in claim["twins"] if twin["refuted"])
        link = f"[{claim['notebook']}](../notebooks/{claim['notebook']})"
        texts = [claim["id"], claim["statement"], witnesses, twins, claim["source"], ", ".join(claim["covers"])]
        rows.append("| " + " | ".join([*(text.replace("|", "\\|") for text in texts), link]) + " |")
    settled = settlements(found)
    numbers = ["| number | settled by |", "|---|---|"]
    for number in [*STATEMENTS, *ERRORS]:
        open_reason = f"pending: {pending[number]}" if number in pending else "nowhere"
        numbers.append(f"| {number} | {', '.join(settled.get(number, [])) or open_reason} |")
    apart = ["| claim | twin | why |", "|---|---|---|"]
    apart += [f"| {id} | {twin} | {why} |" for (id, twin), why in UNMATCHED.items()]
    about = "Every other twin with an error's number is that error, by evaluation (`vaelib.checking.kinship`)."
    twins = sum(twin["refuted"] for claim in found["claims"] for twin in claim["twins"])
    title = f"# Ledger of claims\n\n{len(found['claims'])} claims, {twins} refuted twins."
    settled_by = ["## The source's statements and the known errors", "", *numbers]
    compared = ["## Twins that are not held against the error in their name", "", about, "", *apart]
    unread = [f"- ({n}): {why}" for (n, what), why in page.reasons(changes).items() if what == "not read"]
    left = ["## Equations that no claim reads", "", *(unread or ["None, or not known."])]
    return "\n".join([title, "", *rows, "", *settled_by, "", *compared, "", *left, ""])


def main(arguments: list[str] | None = None) -> int:
    """Writes the ledger and names each problem; returns the exit status, 1 if there is one."""
    parser = argparse.ArgumentParser(description="Collect the claims of the executed notebooks; fail where one lacks.")
    parser.add_argument("--notebooks", type=Path, default=Path("notebooks"), help="folder of executed notebooks")
    parser.add_argument("--out", type=Path, default=Path("build"), help="where ledger.json and ledger.md go")
    options = parser.parse_args(arguments)
    found = collect(sorted(options.notebooks.glob("*.ipynb")))
    kept = options.notebooks.parent / "tests" / "PAGE.md"
    changes = kept.read_text(encoding="utf-8") if kept.exists() else ""
    problems = audit(found, PENDING) + (page.stale(changes, numbered(options.notebooks)) if changes else [])
    options.out.mkdir(parents=True, exist_ok=True)
    content = {**found, "settled": settlements(found), "pending": PENDING, "problems": problems}
    (options.out / "ledger.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (options.out / "ledger.md").write_text(markdown(found, PENDING, changes), encoding="utf-8")
    for line in problems:
        print(f"ledger: {line}", file=sys.stderr)
    print(f"ledger: {len(found['claims'])} claims, {len(problems)} problems; see {options.out / 'ledger.md'}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
