r"""Changes equations on the page, one token at a time, and counts the changes that a claim's witnesses notice.

    VAELIB_PAGE=page.jsonl jupyter execute ...           every claim that is checked adds to this file what it notices
    python -m vaelib.checking.page page.jsonl            the score, as page.md beside it (`make page` does both)

A change is what a slip of the pen would do: another sign, digit, exponent, index, name or function, a bound moved, a
relation turned round, a fraction upside down, the arguments of a divergence exchanged.
"""

import argparse
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .reader.equations import numbered
from .reader.tokens import Token, tokens

if TYPE_CHECKING:
    from .claims import Claim

RECORD = "VAELIB_PAGE"  # the environment variable that names the file to which claims add what they notice
UNEXPLAINED = "no reason yet"
SWAPS = {"+": "-", "-": "+", "\\le": "\\ge", "\\ge": "\\le", "<": ">", ">": "<", "!": "", "\\sqrt": "", "\\top": "2"}
SWAPS |= {"\\log": "\\exp", "\\ln": "\\exp", "\\exp": "\\log", "\\tanh": "\\sin", "\\sum": "\\prod", "\\prod": "\\sum"}
SWAPS |= {"\\max": "\\min", "\\min": "\\max", "\\psi": "\\Gamma", "\\Gamma": "\\psi", "\\det": "\\exp"}
GREEK = "alpha beta gamma delta epsilon varepsilon theta lambda mu nu xi pi rho sigma tau phi varphi eta Sigma Lambda"
NAMES = {f"\\{name}" for name in GREEK.split()}


def changes(text: str) -> Iterator[tuple[str, str]]:
    """Each change in words, and the equation with it."""
    found = [t for t in tokens(text) if not _in_words(text, t.at)]
    names = [t for t in found if _is_name(found, t)]
    for number, token in enumerate(found):
        at = f"at {token.at}, "
        new = SWAPS.get(token.text)
        if token.text[0].isdigit():
            new = token.text[:-1] + str((int(token.text[-1]) + 1) % 10)
        elif new is None and token in names:
            others = [n.text for n in names if n.text != token.text]
            after = [n.text for n in names if n.at > token.at and n.text != token.text]
            new = (after or others or [None])[0]
        if new is not None:
            place = " ".join(text[max(0, token.at - 12) : token.end + 12].split())
            gap = " " if new[:1] == "\\" and text[token.end : token.end + 1].isalpha() else ""
            yield (
                f"{at}{token.text} to {new or 'nothing'} in {place!r}",
                text[: token.at] + new + gap + text[token.end :],
            )
        if token.text in ("\\frac", "\\tfrac", "\\dfrac"):
            above, above_end, after = _argument(text, token.end)
            below, below_end, after = _argument(text, after)
            turned = f"{{{text[below:below_end]}}}{{{text[above:above_end]}}}"
            yield f"{at}turned {text[token.at : after]!r}", text[: token.end] + turned + text[after:]
        if token.text == "\\|" and (ends := _arguments_around(text, found, number)):
            low, high = ends
            swapped = f"{text[token.end : high]} \\| {text[low : token.at]}"
            yield f"{at}exchanged in {text[low:high]!r}", text[:low] + swapped + text[high:]


def record(claim: "Claim", path: Path) -> None:
    """Adds a line of JSON for the claim's equation and each that it uses: every change, and whether it is noticed."""
    seen = _noticed_before(path)  # by another claim that uses the same definition: once is enough
    lines: dict[str, dict[str, bool]] = {claim.id: {}}
    if claim.equation is not None:
        lines[claim.id] = {what: claim.noticed(new) for what, new in changes(claim.equation.text)}
        for number, text in claim.used.items():
            lines[number] = {
                what: (number, what) in seen or claim.noticed(claim.equation.text, {number: new})
                for what, new in changes(text)
            }
    with path.open("a", encoding="utf-8") as file:
        file.writelines(
            json.dumps({"id": n, "read": claim.equation is not None, "changes": c}) + "\n" for n, c in lines.items()
        )


def _noticed_before(path: Path) -> set[tuple[str, str]]:
    """The equation and the change of each that the record has as noticed."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    return {(line["id"], what) for line in lines for what, noticed in line["changes"].items() if noticed}


def score(lines: list[dict[str, Any]], equations: dict[str, str]) -> dict[str, dict[str, bool]]:
    """For every numbered equation each change, and whether a claim noticed it."""
    noticed = {number: {what: False for what, _ in changes(text)} for number, text in equations.items()}
    for line in lines:
        for what, seen in line["changes"].items():
            noticed[line["id"]][what] |= seen
    return noticed


def reasons(page: str) -> dict[tuple[str, str], str]:
    """What a page as `markdown` writes it, with reasons added by hand, says of equations and their changes."""
    return {(n, what): why for n, what, why in re.findall(r"^- \(([^)]+)\) `([^`]*)`: (.+)$", page, re.MULTILINE)}


def stale(page: str, equations: dict[str, str]) -> list[str]:
    """What a page that was kept says of equations as they were before, or without a reason; one line each."""
    tried = {number: [what for what, _ in changes(text)] for number, text in equations.items()}
    listed = reasons(page)
    lines = [
        f"({n}) `{what}`: no change of this equation"
        for n, what in listed
        if what not in ["not read", *tried.get(n, [])]
    ]
    lines += [f"({n}) `{what}`: {why}" for (n, what), why in listed.items() if why == UNEXPLAINED]
    now = [len(tried), sum(map(len, tried.values()))]
    then = [int(n) for n in re.findall(r" of (\d+)(?: numbered| \([\d.]+%\) in all)", page)]
    if then != now:
        lines.append(f"it counts {then} equations and changes, and there are {now}")
    return [f"the page of changes is not as the notebooks are, run `make page`: {line}" for line in lines]


def markdown(noticed: dict[str, dict[str, bool]], read: set[str], why: dict[tuple[str, str], str]) -> str:
    """The score as a page: in all, by notebook's chapter, and every change that nobody notices, with its reason."""

    def share(numbers: list[str]) -> str:
        all_of = [seen for n in numbers for seen in noticed[n].values()]
        return f"{sum(all_of)} of {len(all_of)} ({sum(all_of) / max(1, len(all_of)):.1%})"

    numbers = list(noticed)
    claims = [n for n in numbers if not n.startswith("D")]
    chapters: dict[str, list[str]] = defaultdict(list)
    for n in numbers:
        chapters[n.removeprefix("D").partition(".")[0]].append(n)
    rows = [f"| {c} | {sum(n in read for n in ns)} of {len(ns)} | {share(ns)} |" for c, ns in chapters.items()]
    unnoticed = [(n, what) for n in numbers if n in read for what, seen in noticed[n].items() if not seen]
    unread = [(n, "not read") for n in numbers if n not in read]

    def listed(entries: list[tuple[str, str]]) -> list[str]:
        return [f"- ({n}) `{what}`: {why.get((n, what), UNEXPLAINED)}" for n, what in entries] or ["None."]

    return "\n".join(
        [
            "# Changes on the page",
            "",
            f"{sum(n in read for n in numbers)} of {len(numbers)} numbered equations are read from the page, "
            f"{sum(n in read for n in claims)} of {len(claims)} of those that claim something.",
            f"Changes that are noticed: {share([n for n in numbers if n in read])} in equations that are read, "
            f"{share(numbers)} in all.",
            "",
            "| chapter | equations read | changes noticed |",
            "|---|---:|---:|",
            *rows,
            "",
            "## Not read from the page",
            "",
            *listed(unread),
            "",
            "## Changes that nobody notices",
            "",
            *listed(unnoticed),
            "",
        ]
    )


def main(arguments: list[str] | None = None) -> int:
    """Writes the score of a record beside it; 1 where an equation of the record is on no page, else 0."""
    parser = argparse.ArgumentParser(description="How many changes of the displayed equations are noticed.")
    parser.add_argument("record", type=Path, help=f"the file that {RECORD} named while the notebooks were executed")
    parser.add_argument("--notebooks", type=Path, default=Path("notebooks"), help="folder of notebooks")
    parser.add_argument("--reasons", type=Path, help="the page of before, with reasons, which are taken over")
    options = parser.parse_args(arguments)
    why = reasons(options.reasons.read_text(encoding="utf-8")) if options.reasons else {}
    lines = [json.loads(line) for line in options.record.read_text(encoding="utf-8").splitlines()]
    equations = numbered(options.notebooks)
    strange = sorted({line["id"] for line in lines} - set(equations))
    lines = [line for line in lines if line["id"] in equations]
    noticed = score(lines, equations)
    target = options.record.with_suffix(".md")
    target.write_text(markdown(noticed, {line["id"] for line in lines if line["read"]}, why), encoding="utf-8")
    for number in strange:
        print(f"page: ({number}) was recorded, but no notebook displays it: record anew", file=sys.stderr)
    print(f"page: {target.read_text(encoding='utf-8').splitlines()[3]} See {target}.")
    return 1 if strange else 0


def _is_name(found: list[Token], token: Token) -> bool:
    """Whether it is a name of one letter, or a Greek one, that stands by itself."""
    if token.text in NAMES:
        return True
    place = found.index(token)
    in_font = place and found[place - 1].text in ("\\mathcal", "\\mathbb", "\\mathrm")
    return bool(re.fullmatch(r"[A-Za-ce-z]", token.text)) and not in_font and not _inside_font(found, token)


def _inside_font(found: list[Token], token: Token) -> bool:
    place, depth = found.index(token) - 1, 0
    while place > 0:
        depth += (found[place].text == "}") - (found[place].text == "{")
        if depth < 0:
            return found[place - 1].text in ("\\mathrm", "\\operatorname")
        place -= 1
    return False


def _in_words(text: str, at: int) -> bool:
    """Whether this place lies within \\text{...}, the distance after a \\\\, or an array's columns."""
    spans = re.finditer(r"\\text\{[^{}]*\}|\\\\\[[^\]]*\]|\\begin\{array\}\{[^}]*\}|\\operatorname\{\w+\}", text)
    return any(match.start() <= at < match.end() for match in spans)


def _argument(text: str, start: int) -> tuple[int, int, int]:
    """Where TeX's next argument begins and ends without its braces, and where the text goes on."""
    while text[start].isspace():
        start += 1
    if text[start] != "{":
        command = re.match(r"\\[A-Za-z]+", text[start:])
        end = start + (command.end() if command else 1)
        return start, end, end
    depth, end = 1, start + 1
    while depth:
        depth += (text[end] == "{") - (text[end] == "}")
        end += 1
    return start + 1, end - 1, end


def _arguments_around(text: str, found: list[Token], number: int) -> tuple[int, int] | None:
    """Where the two arguments around a \\| begin and end, if it separates two in brackets."""
    depth, place = 0, number - 1
    while place >= 0:
        depth += (found[place].text in (")", "]", "}")) - (found[place].text in ("(", "[", "{"))
        if depth < 0:
            break
        place -= 1
    else:
        return None
    low, depth, place = found[place].end, 0, number + 1
    while place < len(found):
        depth += (found[place].text in ("(", "[", "{")) - (found[place].text in (")", "]", "}"))
        if depth < 0:
            return low, found[place].at
        place += 1
    return None


if __name__ == "__main__":
    sys.exit(main())
