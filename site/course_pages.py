"""A Sphinx extension: what makes pages of the course's notebooks and docstrings.

Claims become a line that opens into witnesses and twins; numbered equations get anchors (`eq-4-7`), and what mentions
them in brackets, (4.7), leads there; pictures are described by their captions; docstrings in plain text are made
reStructuredText.
"""

import html
import json
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.nodes import make_refnode

from vaelib.checking.reports import MIME

TAG = re.compile(r"\\tag\{([^}]+)\}")
MENTION = re.compile(r"\((D?[a-z]?\d+\.\d+[a-z]?)\)")
FORMULA = re.compile(r"\$([^$]+)\$")
SYMBOLS = {"mid": "|", "alpha": "α", "beta": "β", "lambda": "λ", "mu": "μ", "rho": "ρ", "sigma": "σ", "omega": "ω"}
MARKED_FORMULA = re.compile(r"\$\$<!--.*?-->", re.DOTALL)  # with where its numbers come from


def anchor(number: str) -> str:
    """The id of a numbered equation: eq-4-7 of "4.7"."""
    return f"eq-{number.lower().replace('.', '-')}"


# --- Notebooks --------------------------------------------------------------------------------------------------------


def adapt_notebook(app: Sphinx, docname: str, source: list[str]) -> None:
    """Claims as badges, solutions behind a button, and in the navigation a chapter's side room and sheet below it."""
    path = Path(app.env.doc2path(docname))
    if path.suffix != ".ipynb":
        return
    notebook = json.loads(source[0])
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":  # or MyST takes such a formula for one in the text
            cell["source"] = MARKED_FORMULA.sub("$$", "".join(cell["source"]))
        for output in cell.get("outputs", []):
            record = output.get("data", {}).get(MIME)
            if record:
                output["data"] = {"text/html": badge(record, "".join(output["data"]["text/html"]))}
        if cell.get("id", "").startswith("answer-"):
            cell["metadata"]["mystnb"] = {"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide it"}
    chapter = re.fullmatch(r"(\d\d)_.*", path.stem)
    if chapter:
        rooms = sorted(room.stem for room in path.parent.glob(f"{chapter[1]}[a-z]_*.ipynb"))
        lines = ["```{toctree}", ":hidden:", "", *rooms, "```"]
        notebook["cells"].append({"cell_type": "markdown", "id": "rooms", "metadata": {}, "source": "\n".join(lines)})
    source[0] = json.dumps(notebook)


def badge(record: dict[str, Any], table: str) -> str:
    """One line, the verdict on a claim, that opens into its table; with an anchor, and formulas for MathJax."""
    table = FORMULA.sub(lambda formula: rf"\({formula[1]}\)", table).replace(
        ' style="text-align:left; vertical-align:top"', ""
    )
    label = html.escape(f"Witnesses and twins of ({record['id']})", quote=True)
    table = table.replace("<table>", f'<div class="wide" role="region" tabindex="0" aria-label="{label}"><table>')
    table = table.replace("</table>", "</table></div>")
    kind = "stands" if record["passed"] else "fails"
    where = f"claim-{record['id'].replace('.', '-')}"
    return f'<div class="claim {kind} tex2jax_process" id="{where}">{table}</div>'


# --- Equations and pictures -------------------------------------------------------------------------------------------


class NumberedEquations(SphinxTransform):
    """A displayed equation with a number of its own gets an anchor, and is left to MathJax as it is.

    (Sphinx would put one that has several lines into an environment where a \\tag is an error.)
    """

    default_priority = 500

    def apply(self, **_: Any) -> None:
        places = self.env.__dict__.setdefault("course_equations", {})
        for block in self.document.findall(nodes.math_block):
            number = TAG.search(block.astext())
            if number:
                block["ids"].append(anchor(number[1]))
                places[number[1]] = self.env.docname
            block["no-wrap"] = True
            text = f"\\[{block.astext().strip()}\\]"
            block.children = [nodes.Text(text)]


class Mentions(SphinxPostTransform):
    """An equation's number in brackets leads to the equation, from any page."""

    default_priority = 20

    def run(self, **_: Any) -> None:
        places = self.env.__dict__.get("course_equations", {})
        for text in list(self.document.findall(nodes.Text)):
            if isinstance(text.parent, nodes.paragraph | nodes.emphasis | nodes.strong) and not inside_link(text):
                parts = linked(text, places, self)
                if len(parts) > 1:
                    text.parent.replace(text, parts)


def inside_link(node: nodes.Node) -> bool:
    """Whether a text is a link's already."""
    while node.parent is not None:
        node = node.parent
        if isinstance(node, nodes.reference):
            return True
    return False


def linked(text: nodes.Text, places: dict[str, str], transform: SphinxPostTransform) -> list[nodes.Node]:
    """A text in parts, the numbers of equations as links."""
    parts, end = [], 0
    for mention in MENTION.finditer(text.astext()):
        if mention[1] in places:
            here, there = transform.env.docname, places[mention[1]]
            parts.append(nodes.Text(text.astext()[end : mention.start()]))
            label = nodes.inline("", mention[0])
            parts.append(make_refnode(transform.app.builder, here, there, anchor(mention[1]), label))
            end = mention.end()
    return [*parts, nodes.Text(text.astext()[end:])]


class DescribedPictures(SphinxTransform):
    """A picture that a cell drew is described by the first sentence of its caption, `*Figure: ...*`, or by more."""

    default_priority = 510

    def apply(self, **_: Any) -> None:
        images = []
        for node in self.document.findall():
            if isinstance(node, nodes.image) and not node.get("alt"):
                images.append(node)
                node["alt"] = "A figure, drawn by the code above."
            elif images and isinstance(node, nodes.emphasis) and node.astext().startswith("Figure"):
                sentences = re.split(r"(?<=[.?!]) ", readable(" ".join(plain(node).split())))
                said = [" ".join(sentences[:n]) for n in range(1, len(sentences) + 1)]
                for image in images:
                    image["alt"] = next((words for words in said if len(words.split()) >= 8), said[-1])
                images = []


def readable(text: str) -> str:
    """A sentence in which formulas are TeX, for who hears it: μ for \\mu, E for \\mathbb E."""
    text = re.sub(r"\\(mathbb|mathcal|hat|bar) ?", "", text)
    return re.sub(r"\\([a-zA-Z]+)", lambda name: SYMBOLS.get(name[1], name[1]), text)


def plain(node: nodes.Node) -> str:
    """The text of a node without its raw parts (marks of numbers are comments)."""
    return "".join(text.astext() for text in node.findall(nodes.Text) if not isinstance(text.parent, nodes.raw))


# --- Docstrings -------------------------------------------------------------------------------------------------------


def plain_docstring(_app: Sphinx, _what: str, _name: str, _object: Any, _options: Any, lines: list[str]) -> None:
    """A docstring in plain text as reStructuredText: its stars, bars and underscores are meant as they stand."""
    literal = None  # the indentation of what comes before a block of code
    for number in range(len(lines) - 1, 0, -1):  # a list begins after a blank line
        if lines[number].startswith("- ") and re.match(r"(?!- )\S", lines[number - 1]):
            lines.insert(number, "")
    for number, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        if line.strip() and literal is not None and indent <= literal:
            literal = None
        if literal is None and not line.lstrip().startswith(">>>"):
            parts = re.split(r"(`+[^`]+`+)", line)
            parts[::2] = [re.sub(r"([*|\\]|_(?=\W|$))", r"\\\1", part) for part in parts[::2]]
            lines[number] = "".join(parts)
        if literal is None and line.endswith("::"):
            literal = indent


def setup(app: Sphinx) -> dict[str, bool]:
    """What Sphinx calls."""
    app.connect("source-read", adapt_notebook)
    app.connect("autodoc-process-docstring", plain_docstring, priority=400)  # napoleon comes at 500
    app.add_transform(NumberedEquations)
    app.add_transform(DescribedPictures)
    app.add_post_transform(Mentions)
    app.connect("env-merge-info", merge)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def merge(_app: Sphinx, env: Any, _docnames: list[str], other: Any) -> None:
    """The equations that a process which read some of the pages has found."""
    env.__dict__.setdefault("course_equations", {}).update(other.__dict__.get("course_equations", {}))
