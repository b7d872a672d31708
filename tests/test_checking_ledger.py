"""The ledger is seen green once, and red for each way in which it can fail."""

import json
import subprocess
import sys

import nbformat
import pytest

from vaelib.checking import Claim, cases, ledger, normal

ALL_PENDING = {number: "later" for number in [*ledger.STATEMENTS, *ledger.ERRORS]}
PENDING = {number: why for number, why in ALL_PENDING.items() if number not in ("S7", "S12", "E5")}


def record(id="2.4", **changes):
    witnesses = [{"kind": "symbolic", "name": "integral"}, {"kind": "numeric", "name": "quadrature"}]
    twins = [{"name": "E5: no 1/2", "seen": "", "refuted": True}]
    claim = {
        "id": id,
        "statement": "KL | of Gaussians",
        "source": "appendix B",
        "covers": ["S12", "E5"],
        "passed": True,
    }
    return {**claim, "witnesses": witnesses, "twins": twins, **changes}


def write(folder, markdown=("$$ a = b \\tag{2.4} $$",), claims=(), name="02_divergence.ipynb", verdict="true. Yes."):
    cells = [
        nbformat.v4.new_markdown_cell(text) for text in (*markdown, f"**Verdict S7:** {verdict}" if verdict else "")
    ]
    for claim in claims:
        data = {"text/plain": "Claim", ledger.MIME: claim}
        cells.append(nbformat.v4.new_code_cell("", outputs=[nbformat.v4.new_output("display_data", data=data)]))
    folder.mkdir(exist_ok=True)
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbformat.validate(notebook)
    nbformat.write(notebook, folder / name)
    return folder


def audit(folder, pending=PENDING):
    return ledger.audit(ledger.collect(sorted(folder.glob("*.ipynb"))), pending)


def test_a_complete_ledger_is_green_and_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ledger, "PENDING", PENDING)
    notebooks = write(tmp_path / "notebooks", claims=[record()])
    assert ledger.main(["--notebooks", str(notebooks), "--out", str(tmp_path / "build")]) == 0
    written = json.loads((tmp_path / "build" / "ledger.json").read_text())
    assert [claim["id"] for claim in written["claims"]] == ["2.4"]
    assert written["settled"] == {"S12": ["claim 2.4"], "E5": ["claim 2.4"], "S7": ["verdict in 02_divergence.ipynb"]}
    page = (tmp_path / "build" / "ledger.md").read_text()
    assert "| 2.4 | KL \\| of Gaussians | symbolic: integral; numeric: quadrature | E5: no 1/2 | appendix B |" in page
    assert "| S7 | verdict in 02_divergence.ipynb |" in page
    assert "| E6 | pending: later |" in page
    assert "1 claims, 0 problems" in capsys.readouterr().out


def test_main_exits_with_1_and_names_the_problem(tmp_path, capsys):
    notebooks = write(tmp_path / "notebooks")
    assert ledger.main(["--notebooks", str(notebooks), "--out", str(tmp_path / "build")]) == 1
    assert "ledger: equation 2.4 in 02_divergence.ipynb has no claim" in capsys.readouterr().err
    assert json.loads((tmp_path / "build" / "ledger.json").read_text())["problems"]


def test_a_page_of_changes_that_is_not_as_the_notebooks_are_is_a_problem(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ledger, "PENDING", PENDING)
    notebooks = write(tmp_path / "notebooks", claims=[record()])
    kept = tmp_path / "tests" / "PAGE.md"
    kept.parent.mkdir()
    equations = ledger.numbered(notebooks)
    kept.write_text(ledger.page.markdown(ledger.page.score([], equations), set(), {("2.4", "not read"): "an example"}))
    arguments = ["--notebooks", str(notebooks), "--out", str(tmp_path / "build")]
    assert ledger.main(arguments) == 0
    assert "- (2.4): an example" in (tmp_path / "build" / "ledger.md").read_text()
    kept.write_text(kept.read_text().replace("an example", "no reason yet"))
    assert ledger.main(arguments) == 1
    assert "the page of changes is not as the notebooks are" in capsys.readouterr().err


two_numeric = [{"kind": "code (float32)", "name": "a"}, {"kind": "code (float64)", "name": "b"}]
elsewhere = [{"name": "E5: no 1/2", "seen": "keras #3283", "refuted": True}]
unrefuted = [{"name": "E5: no 1/2", "seen": "", "refuted": False}]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"claims": []}, "equation 2.4 in 02_divergence.ipynb has no claim"),
        ({"markdown": ["$$ a = b $$"]}, "claim 2.4 in 02_divergence.ipynb has no numbered equation there"),
        ({"markdown": ["$$ a \\tag{2.4} $$", "$$ a \\tag{2.4} $$"]}, "equation 2.4 occurs 2 times"),
        ({"claims": [record(), record()]}, "claim 2.4 occurs 2 times"),
        ({"claims": [record(witnesses=[])]}, "02_divergence.ipynb: TOO FEW WITNESSES: 0 kind of witness"),
        ({"claims": [record(witnesses=two_numeric)]}, "TOO FEW WITNESSES: 1 kind of witness"),
        ({"claims": [record(twins=[])]}, "claim 2.4 in 02_divergence.ipynb: NO TWIN"),
        ({"claims": [record(twins=unrefuted)]}, "does not refute its twin 'E5: no 1/2'"),
        ({"claims": [record(twins=elsewhere)]}, "#3283 is no source of its twin 'E5: no 1/2'"),
        ({"claims": [record(passed=False)]}, "claim 2.4 in 02_divergence.ipynb did not pass"),
        ({"claims": [record(passed=False)]}, "S12 is settled nowhere"),
        ({"claims": [record(covers=["S12"])]}, "E5 is settled nowhere"),
        ({"claims": [record(covers=["S12", "E5", "E26"])]}, "E26 is covered by claim 2.4 but is no known number"),
        ({"verdict": ""}, "S7 is settled nowhere"),
        ({"verdict": "perhaps"}, "verdict S7 in 02_divergence.ipynb starts with none of"),
        ({"verdict": "truely"}, "S7 is settled nowhere"),
        (
            {"markdown": ["$$ a \\tag{2.4} $$", "**Verdict S21:** true"]},
            "verdict S21 in 02_divergence.ipynb is about no statement",
        ),
        (
            {"markdown": ["$$ a \\tag{2.4} $$", "**Verdict E7:** true"]},
            "verdict E7 in 02_divergence.ipynb is about no statement",
        ),
        (
            {"markdown": ["$$ a \\tag{2.4} $$", "**Verdict S7:** slip"]},
            "verdict S7 in 02_divergence.ipynb is 'slip'; in statements.py 'true'",
        ),
        ({"markdown": ["$$ a \\tag{2.4} $$", "a \\tag{2.5}"]}, "tag 2.5 in 02_divergence.ipynb stands outside"),
        ({"pending": {**PENDING, "E5": "later"}}, "E5 is settled by claim 2.4: take it off PENDING"),
        ({"pending": {**PENDING, "S7": "later"}}, "S7 is settled by verdict in 02_divergence.ipynb: take it off"),
        ({"pending": {**PENDING, "E26": "later"}}, "PENDING E26 is no known number"),
        ({"pending": {**PENDING, "E6": " "}}, "PENDING E6 gives no reason"),
    ],
)
def test_each_way_to_fail_is_named(tmp_path, changes, problem):
    pending = changes.pop("pending", PENDING)
    lines = audit(write(tmp_path / "notebooks", **{"claims": [record()], **changes}), pending)
    assert any(problem in line for line in lines), lines


def test_a_claim_stands_in_the_notebook_of_its_equation(tmp_path):
    write(tmp_path, claims=[])
    lines = audit(write(tmp_path, markdown=["no equation"], claims=[record()], name="03_other.ipynb", verdict=""))
    assert "equation 2.4 in 02_divergence.ipynb has no claim" in lines
    assert "claim 2.4 in 03_other.ipynb has no numbered equation there" in lines


def test_no_notebook_is_a_failure_and_not_an_empty_success(tmp_path):
    assert audit(tmp_path, ALL_PENDING) == ["nothing to check: no numbered equation, or no claim, was found"]


def test_definitions_code_and_every_display_form_are_read_as_documented(tmp_path):
    markdown = [
        "$$ a \\tag{2.4} $$",
        "$$ z \\sim N \\tag{D2.1} $$",
        "Write `$$ a \\tag{9.9} $$` so:\n```\n$$ a \\tag{9.8} $$\n```",
        "\\begin{align}\na &= b \\tag{2.5} \\\\\nb &= c \\tag{2.6}\n\\end{align}",
    ]
    claims = [record(id) for id in ("2.4", "2.5", "2.6")]
    assert audit(write(tmp_path, markdown=markdown, claims=claims)) == []


def test_the_ledger_reads_the_record_that_a_claim_writes(tmp_path):
    claim = Claim("2.4", "twice", source="none", covers=("S12",), formula=lambda f, x: 2 * x)
    claim.twin("E5: thrice", lambda f, x: 3 * x)
    claim.numeric("sum", lambda x: x + x, cases(3, x=normal(0, 1)))
    claim.code("torch", lambda x: x + x, cases(3, x=normal(0, 1)))
    assert audit(write(tmp_path, claims=[claim.report().record()])) == []


@pytest.mark.slow
def test_the_ledger_starts_as_a_module_without_a_warning(tmp_path):
    """runpy warns of a module that its package has imported already, and would run it twice."""
    command = [sys.executable, "-W", "error", "-m", "vaelib.checking.ledger", "--help"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
