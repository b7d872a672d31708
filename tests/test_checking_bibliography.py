"""Every citation is of an entry, and each way in which one can be wrong is seen red."""

import json

import pytest
import run  # tools/run.py

from vaelib.checking import bibliography
from vaelib.checking.bibliography import Bibliography, numbers, page, read

ENTRIES = read((run.NOTEBOOKS / "references.bib").read_text(encoding="utf-8"))

LUO = """\
% a comment
@misc{luo2022,
  author = {Luo, Calvin},
  title = {Understanding Diffusion Models},
  year = {2022},
  eprint = {2208.11970},
  confirmed = {eq. 1-2; eq. 22; appendix A},
  unconfirmed = {eq. 23},
}
"""
BURDA = """
@inproceedings{burda2016,
  author = {Burda, Yuri and Grosse, Roger and Salakhutdinov, Ruslan},
  title = {Importance Weighted Autoencoders},
  booktitle = {ICLR},
  year = {2016},
  eprint = {1509.00519},
  confirmed = {eq. 8},
  figures = {86.76 test NLL, one level; 85.33 two levels},
}
"""
KINGMA = """
@article{kingma2014,
  author = {Kingma, Diederik P. and Welling, Max},
  title = {Auto-Encoding Variational Bayes},
  year = {2014},
}
@misc{plato,
  author = {Plato},
  title = {Republic},
}
"""
WORKS = Bibliography(read(LUO + BURDA + KINGMA))
PROSE = "Burda et al. (2016) report 86.76 and 85.33 nats."
ITEMS = """\
## References

- [Luo 2022](references.md#luo2022), *Understanding Diffusion Models*: eq. 1, eq. 22 (the sum).
- [Burda et al. 2016](references.md#burda2016): eq. 8.
- [Kingma & Welling 2014](references.md#kingma2014): appendix B.
- [Plato](references.md#plato), book VII.
"""


def notebook(
    folder, prose="Burda et al. (2016) report 86.76 and 85.33 nats.", code='source = "Luo 2022, eq. 2"', items=ITEMS
):
    cells = [("markdown", prose), ("code", code), ("markdown", items)]
    cells = [{"cell_type": kind, "id": f"cell-{n}", "source": text} for n, (kind, text) in enumerate(cells)]
    path = folder / "01_the_cave.ipynb"
    path.write_text(json.dumps({"cells": cells}))
    return path


def test_the_page_is_up_to_date():
    assert page(ENTRIES) == (run.NOTEBOOKS / "references.md").read_text(encoding="utf-8")


@pytest.mark.slow  # seconds: everything that may cite is read
def test_every_citation_of_the_course_and_the_library_is_of_an_entry_and_confirmed():
    assert Bibliography(ENTRIES).problems(bibliography.files(run.ROOT)) == []


def test_a_notebook_that_cites_by_the_rule_is_green(tmp_path):
    assert WORKS.problems([notebook(tmp_path)]) == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"prose": "86.76, 85.33. See Burda 2016."}, "cell-0: 'Burda 2016' is no entry; 'Burda et al. 2016' is"),
        ({"code": 'source = "Luo 2023, eq. 2"'}, "cell-1: 'Luo 2023' is no entry; 'Luo 2022' is"),
        ({"code": 'source = "K. & W. 2014"'}, "cell-1: 'K. & W. 2014' is no entry"),
        ({"code": "# Neal 2001, section 2"}, "'Neal 2001' is no entry"),
        ({"code": 'seen = "Luo 2022, eq. 23"'}, "cell-1: Luo 2022: eq. 23 is not confirmed"),
        ({"code": 'seen = "Luo 2022, eq. 1-3"'}, "cell-1: Luo 2022: eq. 3 is not confirmed"),
        ({"code": 'seen = "Luo 2022, eq. 1; Burda et al. 2016, eq. 22"'}, "Burda et al. 2016: eq. 22 is not confirmed"),
        ({"code": 'seen = "see eq. 22"'}, "cell-1: 'eq. 22': of which work?"),
        ({"prose": "86.76, 85.33. Luo's eq. 45 errs."}, "cell-0: Luo 2022: eq. 45 is not confirmed"),
        ({"prose": "86.76, 85.33. Luo's equation (45) errs."}, "cell-0: Luo 2022: eq. 45 is not confirmed"),
        ({"code": '"Luo 2022 (arXiv 1509.00519), eq. 2"'}, "Luo 2022 is not arXiv 1509.00519 but 2208.11970"),
        ({"code": '"arXiv 2403.18103, p. 17"'}, "'arXiv 2403.18103' is no entry"),
        ({"prose": "86.76, 85.33. See [Plato](references.md#platon)."}, "cell-0: references.md#platon leads nowhere"),
        ({"items": ITEMS.replace("[Luo 2022]", "[Luo]")}, "the link to luo2022 says 'Luo', not 'Luo 2022'"),
        ({"items": ITEMS.replace("*Understanding", "*On")}, "has the title 'Understanding Diffusion Models', not 'On"),
        (
            {"items": ITEMS + "- G. Peano, *Arithmetices principia*.\n"},
            "does not begin with a link to its entry: 'G. Peano",
        ),
        ({"items": ITEMS.replace("- [Luo", "  [Luo")}, "cell-1: cites Luo 2022, which its References lack"),
        ({"items": ITEMS.replace("- [Plato](references.md#plato), book VII.\n", "")}, "Plato (plato) is cited nowhere"),
        (
            {"prose": "Burda et al. (2016) report 86.67 and 85.33 nats."},
            "Burda et al. 2016: the figure 86.76 is quoted",
        ),
    ],
)
def test_each_wrong_citation_is_named(tmp_path, changes, problem):
    lines = WORKS.problems([notebook(tmp_path, **changes)])
    assert any(problem in line for line in lines), lines


def test_other_forms_of_a_name_and_what_is_no_name_are_understood(tmp_path):
    prose = "Kingma and Welling (2014); in May 2014, range(2000), Python 3.\n\nICML 2016."
    assert WORKS.problems([notebook(tmp_path, f"{PROSE} {prose}")]) == []


def test_an_equation_is_of_the_work_named_before_it_in_the_same_paragraph():
    (first, second) = bibliography.blocks_of_text(
        "The step to eq. 22 in Luo 2022.\n\nBurda et al. 2016, eq. 8.", "a.md"
    )
    assert WORKS.problems_of(first) == WORKS.problems_of(second) == []
    (block,) = bibliography.blocks_of_text("Luo 2022, eq. 22, and\nBurda et al. 2016, eq. 22", "a.md")
    assert len(WORKS.problems_of(block)) == 1


def test_docstrings_and_comments_of_a_module_are_read_and_its_names_are_not(tmp_path):
    path = tmp_path / "module.py"
    path.write_text('"""Bound.\n\nSource: Luo 2022, eq. 23."""\n\nLuo2023 = 1  # Luo 2024\n')
    lines = WORKS.problems([path])
    assert "module.py, line 1: Luo 2022: eq. 23 is not confirmed; cite a section or a name" in lines
    assert "module.py, line 5: 'Luo 2024' is no entry; 'Luo 2022' is" in lines
    assert not any("2023" in line for line in lines)


def test_the_short_name_follows_from_authors_and_year():
    names = [entry.name for entry in WORKS.entries.values()]
    assert names == ["Luo 2022", "Burda et al. 2016", "Kingma & Welling 2014", "Plato"]
    assert WORKS.entries["burda2016"].figures == {"86.76": "test NLL, one level", "85.33": "two levels"}


def test_ranges_of_equations_are_counted_out():
    assert numbers("2.113-2.115, 7 and A.23") == ["2.113", "2.114", "2.115", "7", "A.23"]
    assert numbers("44 to 45") == ["44", "45"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (LUO + LUO, "luo2022 occurs twice"),
        (LUO + LUO.replace("luo2022", "luo-2022"), "have the same short name, Luo 2022"),
        (LUO.replace("  year", "  title"), "two fields title"),
        (LUO.replace("  eprint", "  arxiv"), "line 6: unknown field arxiv; expected author"),
        (LUO.replace("  title = {Understanding Diffusion Models},\n", ""), "luo2022 lacks title"),
        (LUO.replace("{2022}", "{22}"), "'22' is no year"),
        (LUO.replace("{2022}", "{2023}"), "luo2022 does not end in its year, 2023"),
        (LUO.replace("{2022},", '"2022",'), "line 5: expected @kind{key, or field = {value}, or }"),
        (LUO.rstrip("}\n"), "the entry luo2022 has no end"),
    ],
)
def test_a_file_that_is_no_bibliography_is_refused(text, problem):
    with pytest.raises(ValueError, match=problem.replace("{", r"\{").replace("}", r"\}")):
        read(text)


def test_main_writes_the_page_and_exits_with_1_on_a_problem(tmp_path, capsys):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "README.md").write_text("See Luo 2021.")
    (tmp_path / "notebooks" / "references.bib").write_text(LUO + BURDA + KINGMA)
    notebook(tmp_path / "notebooks")
    assert bibliography.main(["--root", str(tmp_path)]) == 1
    assert "bibliography: README.md: 'Luo 2021' is no entry" in capsys.readouterr().err
    assert "## luo2022\n\n**Luo 2022.** Calvin Luo: *" in (tmp_path / "notebooks" / "references.md").read_text()
    (tmp_path / "README.md").write_text("See Luo 2022.")
    assert bibliography.main(["--root", str(tmp_path)]) == 0
