import nbformat
import pytest
import reading  # tools/reading.py

v4 = nbformat.v4
CLAIMED = {"application/vnd.vaelib.claim+json": {}, "text/plain": "stands\n" * 7}


def code(source: str, *data: dict, tags: tuple[str, ...] = ()):
    outputs = [v4.new_output("display_data", data=each) for each in data]
    return v4.new_code_cell(source, outputs=outputs, metadata={"tags": list(tags)})


def size(*cells) -> reading.Size:
    return reading.size(v4.new_notebook(cells=list(cells)))


def test_words_and_formulas_are_counted_apart_and_marks_not_at_all():
    text = "One [two](three.md) $a + b + c$ four 5.0<!-- out: five six -->.\n\n$$ a = b + c $$"
    found = size(v4.new_markdown_cell(text))
    assert (found.words, found.formulas) == (5, 1)


@pytest.mark.parametrize(("words", "formulas", "minutes"), [(200, 0, 1), (201, 0, 2), (2000, 10, 15), (0, 1, 1)])
def test_minutes_are_a_minute_for_200_words_and_half_a_minute_for_a_formula(words, formulas, minutes):
    text = " ".join(["word"] * words) + "\n\n" + "\n\n".join(["$$ a $$"] * formulas)
    assert size(v4.new_markdown_cell(text)).minutes == minutes


def test_a_folded_claim_is_one_line_of_verification():
    found = size(v4.new_markdown_cell("A line."), code("a = 1\nb = 2", CLAIMED, tags=("hide-input",)))
    assert (found.claims, found.code) == (1, 2)
    assert found.unfolded == (2 + 7) / (1 + 2 + 7)
    assert found.folded == 1 / 2


def test_code_that_draws_or_imports_is_no_verification():
    picture = code("plot()", {"image/png": "", "text/plain": "<Figure size 640x480>"}, tags=("hide-input",))
    found = size(v4.new_markdown_cell("A line."), picture, code("import a\nimport b", tags=("hide-input",)))
    assert found.unfolded == found.folded == 0


def test_a_line_wider_than_the_page_counts_as_several_and_a_hidden_output_as_none():
    wide, printed = v4.new_markdown_cell("x" * 241), v4.new_output("stream", text="1\n2\n")
    hidden = v4.new_code_cell("f()", outputs=[printed], metadata={"tags": ["hide-output"]})
    claim = code("c", {**CLAIMED, "text/plain": "stands"})
    assert size(wide, hidden, claim).folded == 2 / (3 + 1 + 2)
    assert size(wide, hidden, claim).unfolded == 2 / (3 + 3 + 2)


def test_the_table_has_a_row_for_each_notebook(tmp_path):
    path = tmp_path / "01_small.ipynb"
    nbformat.write(v4.new_notebook(cells=[v4.new_markdown_cell("One two.")]), path)
    assert reading.table([path]).splitlines()[-1] == "| 01_small | 1 | 2 | 0 | 1 | 0 | 0 | 0% | 0% |"
