"""The bibliography: every work that the course cites, once, and how the citations are checked.

    python -m vaelib.checking.bibliography   makes notebooks/references.md from notebooks/references.bib

It exits with status 1, naming each, where a citation is of no entry, where the number of an equation is not among those
that were confirmed from a text, where an entry is cited nowhere, or where a notebook cites a work that its last
section, "References", does not list.

One rule for citing: a work is named by its *short name*, "Luo 2022", "Kingma & Welling 2014" or "Burda et al. 2016",
which follows from its authors and year; "Luo (2022)" and "Kingma and Welling 2014" are the same. What is said about it
follows: "Burda et al. 2016, eq. 8". This holds for docstrings, comments, the strings of code (`source=` of a claim,
`seen=` of a twin) and prose. In the section "References" of a notebook each item begins with a link to the work,
`- [Luo 2022](references.md#luo2022), *its title*: eq. 22`. "eq. 22" is always an equation of the work named last before
it in the same paragraph, item or string, or else of the first one after it.
"""

import argparse
import difflib
import io
import json
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

FIELDS = {"author", "title", "year", "journal", "booktitle", "publisher", "volume", "pages", "note", "eprint", "doi"}
OWN_FIELDS = {"confirmed", "unconfirmed", "checked", "figures"}
EXAMPLES = {"bibliography.py", "prose_text.py", "test_checking_bibliography.py", "test_checking_prose.py"}
# What may stand before a year and is no author.
NOT_AUTHORS = {"January", "February", "March", "April", "May", "June", "July", "August", "September", "October"}
NOT_AUTHORS |= {"November", "December", "After"}

_NAME = r"(?:van den )?[A-ZÀ-ÖØ-Þ][a-zà-öø-ÿ][\w-]*"
_YEAR = r"(?:1[5-9]|20)\d\d"
_NAMED = re.compile(rf"\b({_NAME}(?:(?:, {_NAME})*,? (?:&|and) {_NAME}| et al\.)?),? \(?({_YEAR})\b")
_INITIALS = re.compile(rf"\b([A-Z]\. & [A-Z]\.) ({_YEAR})\b")
_LINK = re.compile(r"\[([^\]]+)\]\(references\.md#([\w-]+)\)(?:, \*([^*]+)\*)?")
_NUMBER = r"(?:[A-Z]\.)?\d+(?:\.\d+)?"
_EQUATIONS = re.compile(rf"\b[Ee]qs?\. ({_NUMBER}(?:(?:-| to |, | and ){_NUMBER})*)|\b[Ee]quations? \((\d+)\)")
_SURNAME = re.compile(rf"\b({_NAME})(?: et al\.)?(?:'s|,)? (?=eq\. \d|equation \(\d)")
_ARXIV = re.compile(r"arXiv (\d{4}\.\d{5})")
_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_BLOCKS = re.compile(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.) )")


class Entry(NamedTuple):
    """One work: its key, its kind (article, book, ...) and its fields."""

    key: str
    kind: str
    fields: dict[str, str]

    @property
    def authors(self) -> list[str]:
        """The surnames."""
        return [author.partition(",")[0].strip() for author in self.fields["author"].split(" and ")]

    @property
    def name(self) -> str:
        """The short name by which the work is cited."""
        first, *others = self.authors
        who = f"{first} et al." if len(others) > 1 else " & ".join([first, *others])
        return f"{who} {self.fields['year']}" if "year" in self.fields else who

    @property
    def confirmed(self) -> set[str]:
        """The numbers of the equations that may be cited."""
        return {n for m in _EQUATIONS.finditer(self.fields.get("confirmed", "")) for n in numbers(m[1])}

    @property
    def figures(self) -> dict[str, str]:
        """Published numbers that the course quotes, each with what it is."""
        parts = (part.strip().partition(" ") for part in self.fields.get("figures", "").split(";"))
        return {number: what for number, _, what in parts if number}


def numbers(text: str) -> list[str]:
    """The equations in "2.113-2.117", "5-6" or "1, 4 to 6 and A.23", one by one."""
    found = []
    for part in re.split(r", | and ", text):
        first, _, last = part.replace(" to ", "-").partition("-")
        head, _, tail = first.rpartition(".")
        ending = last.rpartition(".")[2] if last else tail
        found += [f"{head}.{n}" if head else str(n) for n in range(int(tail), int(ending) + 1)]
    return found


def read(text: str) -> dict[str, Entry]:
    """The entries of a BibTeX file by key. One field a line, `name = {value},`; a line that begins with % is a comment.

    Raises:
        ValueError: Where a line is none of these, a key, field or short name occurs twice, or a field is missing,
            unknown, or out of range.
    """
    entries: dict[str, Entry] = {}
    entry, known = None, FIELDS | OWN_FIELDS
    for row, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("%"):
            continue
        start = re.fullmatch(r"@(\w+)\{([\w-]+),", line)
        field = re.fullmatch(r"\s+(\w+) = \{(.+)\},", line)
        if entry is None and start:
            entry = Entry(start[2], start[1], {})
            if entry.key in entries:
                raise ValueError(f"line {row}: the key {entry.key} occurs twice")
        elif entry is not None and field:
            if field[1] in entry.fields:
                raise ValueError(f"line {row}: {entry.key} has two fields {field[1]}")
            if field[1] not in known:
                raise ValueError(f"line {row}: unknown field {field[1]}; expected {', '.join(sorted(known))}")
            entry.fields[field[1]] = field[2]
        elif entry is not None and line == "}":
            _validate(entry, entries.values())
            entries[entry.key], entry = entry, None
        else:
            raise ValueError(f"line {row}: expected @kind{{key, or field = {{value}}, or }}: {line!r}")
    if entry is not None:
        raise ValueError(f"the entry {entry.key} has no end")
    return entries


def _validate(entry: Entry, others: Iterable[Entry]) -> None:
    missing = {"author", "title"} - set(entry.fields)
    if missing:
        raise ValueError(f"{entry.key} lacks {', '.join(sorted(missing))}")
    if "year" in entry.fields and not re.fullmatch(_YEAR, entry.fields["year"]):
        raise ValueError(f"{entry.key}: {entry.fields['year']!r} is no year")
    if "year" in entry.fields and not entry.key.endswith(entry.fields["year"]):
        raise ValueError(f"{entry.key} does not end in its year, {entry.fields['year']}")
    for other in others:
        if other.name == entry.name:
            raise ValueError(f"{other.key} and {entry.key} have the same short name, {entry.name}")


class Block(NamedTuple):
    """A paragraph, an item of a list, or a string of code: where it stands, and its text."""

    file: str
    place: str
    text: str
    listed: bool = False  # an item of the section "References"


def blocks_of_text(text: str, file: str, place: str = "") -> Iterator[Block]:
    """The paragraphs and items of a text in Markdown, without its blocks of code."""
    body, _, references = _FENCE.sub("", text).partition("## References\n")
    for part, listed in ((body, False), (references, file.endswith(".ipynb"))):
        for block in filter(str.strip, _BLOCKS.split("\n" + part)):
            item = listed and block.lstrip().startswith("- ")
            yield Block(file, place, " ".join(block.split()).removeprefix("- "), item)


def blocks_of_code(code: str, file: str, place: str = "") -> Iterator[Block]:
    """The paragraphs of the strings and comments of Python code."""
    kinds = {tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        if token.type in kinds:
            yield from blocks_of_text(token.string, file, place or f"line {token.start[0]}")


def blocks_of(path: Path) -> Iterator[Block]:
    """Everything in a notebook, a module or a page that may cite."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        for cell in json.loads(text)["cells"]:
            source, place = "".join(cell["source"]), f"cell {cell.get('id', '')}"
            blocks = blocks_of_text if cell["cell_type"] == "markdown" else blocks_of_code
            yield from blocks(source, path.name, place)
    elif path.suffix == ".py":
        yield from blocks_of_code(text, path.name)
    else:
        yield from blocks_of_text(text, path.name)


class Cited(NamedTuple):
    """A work as it is named at some place of a text; `entry` is None where no entry has that name."""

    start: int
    name: str
    entry: Entry | None


class Bibliography:
    """The entries, found by key, by short name, by first author and by arXiv number."""

    def __init__(self, entries: dict[str, Entry]) -> None:
        self.entries = entries
        self.by_name = {entry.name: entry for entry in entries.values()}
        self.by_print = {entry.fields["eprint"]: entry for entry in entries.values() if "eprint" in entry.fields}
        first = Counter(entry.authors[0] for entry in entries.values())
        self.by_surname = {e.authors[0]: e if first[e.authors[0]] == 1 else None for e in entries.values()}

    def citations(self, text: str) -> list[Cited]:
        """The works that a text names, in the order of the text."""
        found = []
        for match in [*_NAMED.finditer(text), *_INITIALS.finditer(text)]:
            if match[1] not in NOT_AUTHORS:
                name = f"{match[1].replace(' and ', ' & ')} {match[2]}"
                found.append(Cited(match.start(), name, self.by_name.get(name)))
        starts = {cited.start for cited in found}
        for match in _SURNAME.finditer(text):
            if match[1] in self.by_surname and match.start() not in starts:
                found.append(Cited(match.start(), match[1], self.by_surname[match[1]]))
        found += [Cited(m.start(), m[0], self.by_print.get(m[1])) for m in _ARXIV.finditer(text)]
        links = (match for match in _LINK.finditer(text) if not _NAMED.match(match[1]))
        found += [Cited(match.start(), match[1], self.entries.get(match[2])) for match in links]
        return sorted(found, key=lambda cited: cited.start)

    def problems_of(self, block: Block) -> list[str]:
        """What is wrong with the citations of a block, one line each."""
        cited, lines = self.citations(block.text), []
        for one in cited:
            if one.entry is None:
                near = difflib.get_close_matches(one.name, self.by_name, 1)
                lines.append(f"{one.name!r} is no entry" + (f"; {near[0]!r} is" if near else ""))
        for match in _ARXIV.finditer(block.text):
            before = [(c.name, c.entry) for c in cited if c.start < match.start() and c.entry]
            for name, entry in before[-1:]:
                theirs = entry.fields.get("eprint")
                if theirs != match[1] and block.text[: match.start()].endswith(f" {name.split()[-1]} ("):
                    lines.append(f"{name} is not arXiv {match[1]}" + (f" but {theirs}" if theirs else ""))
        for match in _EQUATIONS.finditer(block.text):
            owners = [c for c in cited if c.start < match.start()][-1:] or cited[:1]
            if not owners:
                lines.append(f"{match[0]!r}: of which work?")
            elif owners[0].entry:
                wrong = [n for n in numbers(match[1] or match[2]) if n not in owners[0].entry.confirmed]
                why = "not confirmed; cite a section or a name"
                lines += [f"{owners[0].entry.name}: eq. {', '.join(wrong)} is {why}"] if wrong else []
        lines += self._problems_of_links(block)
        return [f"{block.file}, {block.place}: {line}" if block.place else f"{block.file}: {line}" for line in lines]

    def _problems_of_links(self, block: Block) -> Iterator[str]:
        links = list(_LINK.finditer(block.text))
        if block.listed and not (links and links[0].start() == 0):
            yield f"an item of References does not begin with a link to its entry: {block.text[:50]!r}"
        for link in links:
            entry = self.entries.get(link[2])
            if entry is None:
                yield f"references.md#{link[2]} leads nowhere"
            elif link[1] != entry.name:
                yield f"the link to {entry.key} says {link[1]!r}, not {entry.name!r}"
            elif link[3] and link[3] != entry.fields["title"]:
                yield f"{entry.name} has the title {entry.fields['title']!r}, not {link[3]!r}"

    def problems(self, files: Iterable[Path]) -> list[str]:
        """What is wrong with the citations of files; entries that nobody cites, and figures that nobody quotes."""
        lines: list[str] = []
        everywhere: set[str] = set()
        prose = ""
        for path in files:
            cited, listed = {}, set()
            for block in blocks_of(path):
                lines += self.problems_of(block)
                prose += f"\n{block.text}" if path.suffix == ".ipynb" else ""
                for entry in (one.entry for one in self.citations(block.text) if one.entry):
                    if block.listed:
                        listed.add(entry.key)
                    else:
                        cited.setdefault(entry.key, block.place)
            if path.suffix == ".ipynb":
                unlisted = {key: place for key, place in cited.items() if key not in listed}
                what = "which its References lack"
                lines += [f"{path.name}, {p}: cites {self.entries[k].name}, {what}" for k, p in unlisted.items()]
            everywhere |= set(cited) | listed
        for key, entry in self.entries.items():
            lines += [] if key in everywhere else [f"{entry.name} ({key}) is cited nowhere"]
            unquoted = [number for number in entry.figures if not re.search(rf"\b{re.escape(number)}\b", prose)]
            lines += [f"{entry.name}: the figure {number} is quoted nowhere" for number in unquoted]
        return lines


def page(entries: dict[str, Entry]) -> str:
    """The entries as a page in Markdown, each under its key, in the order of the file."""
    parts = [
        "# References",
        "The works that the course cites, made from `references.bib`. *Confirmed* are the numbers of equations that\n"
        "were seen in a text at hand, the paper or a retelling of it; *not confirmed* are numbers that are in\n"
        "circulation and were not: the course cites a section or a name instead.",
    ]
    for entry in entries.values():
        parts += [f"## {entry.key}", _paragraph(entry)]
    return "\n\n".join(parts) + "\n"


def _paragraph(entry: Entry) -> str:
    fields = entry.fields
    people = ", ".join(" ".join(reversed(author.split(", "))) for author in fields["author"].split(" and "))
    where = [fields[f] for f in ("journal", "booktitle", "publisher") if f in fields]
    where += [f"{f} {fields[f]}" for f in ("volume", "pages") if f in fields]
    where += [f"[arXiv {fields['eprint']}](https://arxiv.org/abs/{fields['eprint']})"] if "eprint" in fields else []
    where += [f"[doi {fields['doi']}](https://doi.org/{fields['doi']})"] if "doi" in fields else []
    text = f"**{entry.name}.** " if "year" in fields else ""
    text += f"{people}: *{fields['title']}*."
    text += f" {', '.join(where)}." if where else ""
    text += f" {fields['note']}." if "note" in fields else ""
    for field, words in (("confirmed", "Confirmed"), ("unconfirmed", "Not confirmed"), ("checked", "How")):
        text += f"\n\n*{words}:* {fields[field]}." if field in fields else ""
    if entry.figures:
        text += f"\n\n*Figures that the course quotes:* {fields['figures']}."
    return text


def files(root: Path) -> list[Path]:
    """Every file of the repository that may cite, without those whose examples show forms of citations."""
    found = [*root.glob("notebooks/*.ipynb"), *root.glob("vaelib/**/*.py"), *root.glob("vaelib/**/*.md")]
    found += [*root.glob("tests/*.py"), *root.glob("benchmarks/*.py"), root / "README.md"]
    return sorted(path for path in found if path.name not in EXAMPLES)


def main(arguments: list[str] | None = None) -> int:
    """Writes the page and names each problem; returns the exit status, 1 if there is one."""
    parser = argparse.ArgumentParser(description="Make references.md, and check every citation of the repository.")
    parser.add_argument("--root", type=Path, default=Path(), help="the repository")
    options = parser.parse_args(arguments)
    entries = read((options.root / "notebooks/references.bib").read_text(encoding="utf-8"))
    (options.root / "notebooks/references.md").write_text(page(entries), encoding="utf-8")
    found = Bibliography(entries).problems(files(options.root))
    for line in found:
        print(f"bibliography: {line}", file=sys.stderr)
    print(f"bibliography: {len(entries)} works, {len(found)} problems; see notebooks/references.md")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
