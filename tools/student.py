"""The edition for students: the course with the solutions of its exercises left out, in build/student.

    python tools/student.py [FOLDER]     every notebook and what it links to; `make student` does the same

Chapters and side rooms are as they are. In a sheet each solution gives way to `raise NotImplementedError()`,
as nbgrader would do it, and what the solution printed is gone; a picture that an answer draws stays, as the picture to
expect. nbgrader's metadata stay in place: a teacher may hand out either this folder or nbgrader's own version of
notebooks/.
"""

import re
import shutil
import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parent.parent
STUDENT = ROOT / "build" / "student"
STUB = "# YOUR CODE HERE\nraise NotImplementedError()"  # nbgrader's own words
PICTURE = "image/png"

_REGION = re.compile(r"^([ \t]*)### BEGIN SOLUTION\n(.*?)^[ \t]*### END SOLUTION[ \t]*$\n?", re.MULTILINE | re.DOTALL)


def solutions(source: str) -> list[str]:
    """What stands between the marks of a cell."""
    return [match[2] for match in _REGION.finditer(source)]


def cleared(source: str) -> str:
    """A cell without its solutions."""

    def stub(match: re.Match[str]) -> str:
        return "".join(f"{match[1]}{line}\n" for line in STUB.splitlines())

    return _REGION.sub(stub, source).rstrip("\n")


def student_edition(sheet: NotebookNode) -> NotebookNode:
    """A sheet of exercises as it is handed out."""
    edition = nbformat.from_dict(sheet)
    cells = []
    for cell in edition.cells:
        cells.append(cell)
        if cell.cell_type != "code":
            continue
        pictures = [output.data[PICTURE] for output in cell.outputs if PICTURE in output.get("data", {})]
        cell.source, cell.outputs, cell.execution_count = cleared(cell.source), [], None
        if "nbgrader" in cell.metadata and cell.metadata.nbgrader.solution:  # what is to be written is not folded
            cell.metadata = {"nbgrader": cell.metadata.nbgrader}
        for number, picture in enumerate(pictures, start=1):
            name = f"expected-{number}.png"
            text = f"*Expected:*\n\n![what your answer should draw](attachment:{name})"
            expected = nbformat.v4.new_markdown_cell(text, id=f"expected-{cell.id}-{number}"[:64])
            expected.attachments = {name: {PICTURE: picture}}
            cells.append(expected)
    edition.cells = cells
    return edition


def write(folder: Path) -> list[Path]:
    """Writes the edition; returns the sheets."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    sheets = []
    for source in sorted((ROOT / "notebooks").iterdir()):
        if source.suffix not in (".ipynb", ".md"):
            continue
        target = folder / source.name
        if re.match(r"\w\dx_", source.name):
            edition = student_edition(nbformat.read(source, as_version=4))
            nbformat.write(edition, target)
            sheets.append(target)
        else:
            shutil.copyfile(source, target)
    return sheets


if __name__ == "__main__":
    written = write(Path(sys.argv[1]) if len(sys.argv) > 1 else STUDENT)
    print(f"{len(written)} sheets without their solutions, and the chapters, are in {written[0].parent}.")
