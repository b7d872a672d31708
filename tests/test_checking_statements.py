"""The statements of the source are counted without a gap, and appendix A1 prints each as it is defined."""

import json
import re

import pytest
import run  # tools/run.py

from vaelib.checking.statements import STATEMENTS, VERDICTS

A1 = run.NOTEBOOKS / "a1_reading_the_source.ipynb"


def printed(cells):
    """What the Markdown of a notebook prints as statements and as verdicts, by number, in its order."""
    text = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    found = re.findall(r"^\*\*(Verdict )?(S\d+[a-z]?)[.:]\*\* (.*?)(?=\n\n|\Z)", text, re.MULTILINE | re.DOTALL)
    said = {number: " ".join(words.split()) for verdict, number, words in found if not verdict}
    return said, {number: " ".join(words.split()) for verdict, number, words in found if verdict}


def differences(cells):
    """One line for each statement that a notebook does not print as it is defined."""
    said, verdicts = printed(cells)
    lines = [] if list(said) == list(verdicts) == list(STATEMENTS) else ["not every statement, each once and in order"]
    for number, statement in STATEMENTS.items():
        if said.get(number) != statement.said:
            lines.append(f"{number} says {said.get(number)!r}")
        if not verdicts.get(number, "").startswith(statement.verdict):
            lines.append(f"the verdict on {number} is not {statement.verdict!r}")
        if statement.chinese not in verdicts.get(number, ""):
            lines.append(f"{number} is not quoted")
    return lines


def test_the_numbers_run_from_1_to_20_and_every_letter_follows_its_number():
    rows = [statement.row for statement in STATEMENTS.values()]
    assert list(dict.fromkeys(rows)) == [f"S{n}" for n in range(1, 21)]
    assert rows == sorted(rows, key=lambda row: int(row[1:]))


def test_every_verdict_is_one_of_four_and_all_four_occur():
    assert {statement.verdict for statement in STATEMENTS.values()} == set(VERDICTS)
    assert all(statement.why for statement in STATEMENTS.values())


def test_appendix_a1_prints_every_statement_as_it_is_defined_with_its_verdict():
    assert differences(json.loads(A1.read_text(encoding="utf-8"))["cells"]) == []


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("For ease of sampling", "Therefore", "S5 says"),
        ("**Verdict S17:** hypothesis", "**Verdict S17:** true", "the verdict on S17 is not 'hypothesis'"),
        ("第四个等号", "the fourth", "S18b is not quoted"),
        ("**S7.**", "**S6.**", "not every statement, each once and in order"),
    ],
)
def test_what_a1_says_otherwise_is_noticed(old, new, line):
    text = A1.read_text(encoding="utf-8")
    assert old in text
    assert any(line in found for found in differences(json.loads(text.replace(old, new))["cells"]))
