"""The course as a site, in build/site: chapters, ledger, results and reference, all of it offline.

    python tools/build_site.py [FOLDER]     from the executed notebooks in FOLDER, notebooks/ unless given

The sources are gathered in build/site-source: the notebooks and their companions, the pages of site/pages, the tables
of benchmarks/results, and what is made here of the notebooks themselves: the map of chapters, the ledger, and a page of
the reference for each part of the library. Then Sphinx builds them by site/conf.py, where every warning is an error.
"""

import html
import inspect
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat

import vaelib
from vaelib.checking import ledger
from vaelib.checking.mistakes import MISTAKES
from vaelib.checking.statements import STATEMENTS

ROOT = Path(__file__).resolve().parent.parent
SOURCE, SITE = ROOT / "build" / "site-source", ROOT / "build" / "site"

REFERENCE = {
    "models": "hierarchy models diffusion priors conditionals distributions nets",
    "bounds": "bounds",
    "training": "training.loop training.run training.saving training.step weights",
    "evaluation": "evaluate sandwich diagnostics exact",
    "data": "data.bundled data.inputs data.pixels data.files data.cave",
    "pictures": "plots plots_cave",
    "checking": "checking checking.claims checking.witnesses checking.noise checking.audit checking.mistakes "
    "checking.mistakes.twins checking.exercises checking.ledger",
}


def build(notebooks: Path) -> int:
    """Gathers and builds; the exit status of Sphinx."""
    gather(notebooks)
    shutil.rmtree(SITE, ignore_errors=True)
    options = ["-W", "--keep-going", "-q", "-j", "auto", "-c", ROOT / "site", "-d", ROOT / "build" / "site-doctrees"]
    code = subprocess.run([sys.executable, "-m", "sphinx", "-E", *options, SOURCE, SITE], cwd=ROOT).returncode
    for part in SITE.rglob("*.map"):  # of the theme, for who debugs it
        part.unlink()
    if code == 0:
        print(f"The course as a site: open {(SITE / 'index.html').relative_to(ROOT)} in a browser.")
    return code


def gather(notebooks: Path) -> None:
    """Lays out what Sphinx reads."""
    shutil.rmtree(SOURCE, ignore_errors=True)
    shutil.copytree(ROOT / "site" / "pages", SOURCE)
    for folder, files in (
        ("notebooks", [*notebooks.glob("*.ipynb"), *(ROOT / "notebooks").glob("*.md")]),
        (
            "benchmarks",
            [file for file in (ROOT / "benchmarks" / "results").iterdir() if file.suffix in (".md", ".png")],
        ),
        (".", [ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]),
    ):
        (SOURCE / folder).mkdir(exist_ok=True)
        for file in files:
            shutil.copyfile(file, SOURCE / folder / file.name)
    index = (SOURCE / "index.md").read_text(encoding="utf-8")
    chapters = chapter_map(SOURCE / "notebooks", (ROOT / "README.md").read_text(encoding="utf-8"))
    write("index.md", index.replace("<!-- chapters -->", chapters))
    write("ledger.md", ledger_page(ledger.collect(sorted((SOURCE / "notebooks").glob("*.ipynb")))))
    for name, modules in REFERENCE.items():
        write(f"reference/{name}.md", reference_page(name, modules.split()))
    write("reference/index.md", reference_index())


def write(name: str, text: str) -> None:
    path = SOURCE / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")


# --- Pages made of the notebooks --------------------------------------------------------------------------------------


def chapter_map(notebooks: Path, readme: str) -> str:
    """The chapters of the README's table, each with the minutes of its road and of its side room."""
    rows = ["| | chapter | what it settles | minutes |", "|---|---|---|---:|"]
    for number, title, name, words in re.findall(
        r"^\| (\d\d|A\d) \| \[(.+?)\]\(notebooks/(\S+)\) \| (.+) \|$", readme, re.MULTILINE
    ):
        rooms = sorted(notebooks.glob(f"{number}[a-z]_*.ipynb"))
        more = ", ".join(f"[{room.stem[:3]}](notebooks/{room.name})" for room in rooms)
        minutes = " + ".join(filter(None, map(reading_minutes, [notebooks / name, *rooms])))
        rows.append(f"| {number} | [{title}](notebooks/{name}) {more} | {words} | {minutes} |")
    return "\n".join(rows)


def reading_minutes(path: Path) -> str:
    """What a notebook says of itself, in minutes."""
    said = re.search(r"\*\*Reading:\*\* (\d+) minutes", nbformat.read(path, as_version=4).cells[0].source)
    return said[1] if said else ""


def ledger_page(found: dict[str, list[dict[str, Any]]]) -> str:
    """Every claim with its witnesses and twins, to be filtered; and where each statement and each error is settled."""
    claims = found["claims"]
    kinds = sorted({kind(w) for claim in claims for w in claim["witnesses"]})
    chapters = sorted({claim["notebook"] for claim in claims})
    covered = {number for claim in claims for number in claim["covers"]}
    twins = sum(twin["refuted"] for claim in claims for twin in claim["twins"])
    filters = [
        '<form id="ledger-filters" autocomplete="off" hidden>',
        '<label>words <input type="search" name="words" autocomplete="off"></label>',
        chooser("chapter", [(name, name.partition(".")[0].replace("_", " ")) for name in chapters]),
        chooser("witness", [(name.replace(" ", "-"), name) for name in kinds]),
        chooser("covers", [(number, number) for number in [*STATEMENTS, *ledger.ERRORS] if number in covered]),
        '<output aria-live="polite"></output>',
        "</form>",
    ]
    heads = ["claim", "what it says", "witnesses that agree", "twins that they refute", "source"]
    table = [
        '<div class="wide" role="region" tabindex="0" aria-label="All claims"><table id="claims"><thead><tr>',
        *(f'<th scope="col">{head}</th>' for head in heads),
        "</tr></thead><tbody>",
        *map(ledger_row, claims),
        "</tbody></table></div>",
    ]
    about = (
        f"{len(claims)} numbered equations are claims: witnesses that share no code accept each of them, and refute "
        f"{twins} wrong twins. A number leads to the equation, where the verdict opens into the details."
    )
    settled = {number: ", ".join(by) for number, by in ledger.settlements(found).items()}
    said = ["| | what it says | verdict | settled by |", "|---|---|---|---|"]
    for s in STATEMENTS.values():
        said.append(f"| {s.number} | {s.said} | {s.verdict}: {s.why} | {settled.get(s.number, '')} |")
    errors = ["| | what is wrong | refuted by |", "|---|---|---|"]
    errors += [f"| {m.number} | {m.name} | {settled.get(m.row, '')} |" for m in MISTAKES.values()]
    source = ["## What the source says, S1 to S20", "", *said]
    known = ["## The known errors, E1 to E25", "", *errors]
    return "\n".join(["# Ledger", "", about, "", *filters, *table, "", *source, "", *known, ""])


def kind(witness: dict[str, Any]) -> str:
    return witness["kind"].partition(" (")[0]


def chooser(name: str, options: list[tuple[str, str]]) -> str:
    """A choice among the values of a column; the empty one is all."""
    rows = "".join(f'<option value="{value}">{html.escape(label)}</option>' for value, label in options)
    return f'<label>{name} <select name="{name}"><option value="">all</option>{rows}</select></label>'


def ledger_row(claim: dict[str, Any]) -> str:
    """A row of the ledger, with what the filters ask for."""
    page = claim["notebook"].replace(".ipynb", ".html")
    link = f'<a href="notebooks/{page}#eq-{claim["id"].replace(".", "-")}">({claim["id"]})</a>'
    witnesses = [f"{w['kind']}: {w['name']}" for w in claim["witnesses"]]
    twins = [twin["name"] for twin in claim["twins"] if twin["refuted"]]
    scope = f" (checked for {claim['scope']})" if claim["scope"] else ""
    cells = [claim["statement"] + scope, witnesses, twins, claim["source"]]
    shown = "".join(
        f"<td>{''.join(f'<li>{html.escape(part)}</li>' for part in cell).join(['<ul>', '</ul>'])}</td>"
        if isinstance(cell, list)
        else f"<td>{html.escape(cell)}</td>"
        for cell in cells
    )
    kinds = " ".join(sorted({kind(w).replace(" ", "-") for w in claim["witnesses"]}))
    data = {"chapter": claim["notebook"], "witness": kinds, "covers": " ".join(claim["covers"])}
    attributes = "".join(f' data-{name}="{value}"' for name, value in data.items())
    return f'<tr{attributes}><th scope="row">{link}</th>{shown}</tr>'


# --- Reference --------------------------------------------------------------------------------------------------------


def reference_page(name: str, modules: list[str]) -> str:
    """A page of the reference: what some modules say of themselves."""
    parts = [f"# {name.capitalize()}", ""]
    for module in modules:
        parts += [f"## vaelib.{module}", "", "```{eval-rst}", f".. automodule:: vaelib.{module}", "   :members:"]
        parts += ["```", ""]
    return "\n".join(parts)


def reference_index() -> str:
    """Every name of the package with its first line, and a link to the rest."""
    rows = ["| | |", "|---|---|"]
    for name in sorted(vaelib.__all__, key=str.lower):
        thing = getattr(vaelib, name)
        target = thing.__name__ if inspect.ismodule(thing) else f"{thing.__module__}.{name}"
        line = (inspect.getdoc(thing) or "").partition("\n")[0].replace("|", "\\|")
        rows.append(f"| {{py:obj}}`vl.{name} <{target}>` | {line} |")
    listed = ["```{toctree}", ":hidden:", "", *REFERENCE, "```"]
    return "\n".join(["# Reference", "", "`import vaelib as vl` has these names.", "", *rows, "", *listed, ""])


if __name__ == "__main__":
    sys.exit(build(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT / "notebooks"))
