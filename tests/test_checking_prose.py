import re
from pathlib import Path

import nbformat
import pytest
import run  # tools/run.py

from vaelib.checking import ledger, mistakes, prose, prose_text

NOTEBOOKS = sorted(run.NOTEBOOKS.glob("*.ipynb"))
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)

CODE = """\
# 77.7 in a comment
samples, batch = 500, 20_000
rate = 5e-3
print(f"cost 88.8 nats, {rate * 55.5:.2f}")
twin = r"\\frac{1}{66.6}"
"""
OUTPUT = """\
exact grid        186.74 nats
test NLL: 99.0 +- 0.8 nats per image (500 importance samples)
share of grey pixels 0.186, or 18.6 %
T = 3  1.647  1.503 +- 0.118
ELBO of the start: -545 nats
left unit 12 nats
right unit 13 nats
warm-up: NLL 40.17
  z2: rate 3.10 nats
plain: NLL 40.93
  z2: rate 1.09 nats
250 images/s at best
half 0.185
product 625/20736
"""
BIBLIOGRAPHY = """\
@inproceedings{burda2016,
  author = {Burda, Yuri and Grosse, Roger},
  title = {Importance Weighted Autoencoders},
  year = {2016},
  figures = {84.78 test NLL, K = 50; 86.76 test NLL of the VAE; 3,280 epochs},
}
"""
OPENING = "# 01 · Small\n\n## 1 · One\n\n$$a = 123 \\tag{1.1}$$\n\n"


@pytest.fixture
def problems_of(tmp_path):
    """The problems of a small notebook with this text; each without the name of the notebook."""

    def problems(text: str) -> list[str]:
        v4 = nbformat.v4
        output = v4.new_output("stream", name="stdout", text=OUTPUT)
        cells = [v4.new_markdown_cell(OPENING + text), v4.new_code_cell(CODE, outputs=[output])]
        cells[0].id = "text"
        path = tmp_path / "01_small.ipynb"
        nbformat.write(v4.new_notebook(cells=cells), path)
        output = v4.new_output("stream", name="stdout", text="bound of the chain -1.376 nats")
        nbformat.write(v4.new_notebook(cells=[v4.new_code_cell("", outputs=[output])]), tmp_path / "09_chain.ipynb")
        (tmp_path / "references.bib").write_text(BIBLIOGRAPHY)
        return [line.removeprefix("01_small.ipynb, cell text: ") for line in prose.problems(path)]

    return problems


# --- Which numbers need a mark ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It costs 186.7 nats.", ["186.7"]),
        ("from 5 to 20 nats, from 0 to 30 nats", ["5", "20", "30"]),
        ("a third, 33 %, or $33\\%$", ["33", "33"]),
        ("keep 1,000 of $20{,}000$", ["1,000", "20{,}000"]),
        ("in 12 test images", ["12"]),
        ("a 784-200-50 network", ["784", "200"]),
        ("at −0.94 and $-0.5$", ["−0.94", "-0.5"]),
        ("$\\tfrac12$ nat", ["\\tfrac12"]),
        ("$1.5 \\cdot 10^{-3}$ and 1e-7", ["1.5 \\cdot 10^{-3}", "1e-7"]),
        ("| VAE | 99.0 |\n|---|---|", ["99.0"]),
        ("## The 784 pixels", ["784"]),
        ("*Figure: 500 draws.*", ["500"]),
        ("$$a = 0.25$$", ["0.25"]),
        ("some 1.2 million weights", ["1.2 million"]),
        ("inside the line 0.4", ["0.4"]),
        ("3, 15, 105 are moments", ["105"]),
        ("from $10^{-3}$ to $10^3$", ["10^{-3}", "10^3"]),
        ("25 draws ([notebook 02](02.ipynb))", ["25"]),
        ("In chapter 8, 86.7 nats, in table 2, 875 nats, of version 3, 12 weights", ["86.7", "875", "12"]),
        ("Figures 3 and 4, and 5 and 20 nats", ["20"]),
        ("For $K<L$ it loses 86.7 nats and 912 bits, where $a>b$", ["86.7", "912"]),
        ("in 1900 of them the loss, 1750, is high", ["1900", "1750"]),
        ("It loses .05 of it, 9 percent, or 9 per cent", [".05", "9", "9"]),
    ],
)
def test_number_needs_a_mark(text, found):
    assert [n.text for n in prose_text.numbers(text) if n.needed] == found


@pytest.mark.parametrize(
    "text",
    [
        "seven of 23 and $K = 50$",
        "$k + 1$ weights, $L^2$ weights, $\\log 2$ nats, $w^2 s^2$, $\\tfrac1{12}$, the powers 2, 4 and 6",
        "$$a = 0.25 \\tag{1.2}$$",
        "`lr=0.005`, and\n\n```\n0.25\n```",
        "[here](a_200.5.png)",
        "<img width='300.5'>",
        "(7.2), (D7.1) to (7.3), (a2.3), claim 2.7, claims 9.11 and 9.12, notebook 07, S7, E5b",
        "Burda et al. (2016), Jensen 1906, ICLR 2014, since 1998, Luo, 2022; Burda et al., 2016, 2017",
        "eq. 2.113-2.117, section 10.1.2, table 1, appendix B.200, arXiv 1509.00519, keras #3283",
        "**Reading:** 70 minutes. **Running:** about 30 seconds",
        "Python 3.11.7, the 100th image, *Republic* 514a, 7 at s = 1",
    ],
)
def test_number_needs_no_mark(text):
    assert [n.text for n in prose_text.numbers(text) if n.needed] == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("−0.94", "-47/50"),
        ("$-\\tfrac12$", "-1/2"),
        ("784-200", "784"),
        ("20{,}000", "20000"),
        ("\\frac{625}{20736}", "625/20736"),
        ("1.2 million", "1200000"),
    ],
)
def test_value_of_a_number(text, value):
    assert str(prose_text.numbers(text)[0].value) == value


# --- Marks that hold, and marks that do not ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "It costs 186.7<!-- out: exact grid --> nats.",
        "It costs **187**<!-- out: exact grid --> nats.",
        "99.0<!-- out: test NLL --> nats, give or take 0.8<!-- out: test NLL +- --> nats",
        "99.0 and 0.8 nats<!-- out: test NLL; out: test NLL +- -->",
        "99.0 and 0.8 nats<!-- out: test NLL; test NLL +- -->",
        "18.6 %<!-- out: grey pixels --> and 0.186<!-- out: share of grey pixels -->",
        "1.503<!-- out: T = 3 _ # --> and 1.647<!-- out: T = 3 -->",
        "an ELBO of −545<!-- out: ELBO of the start -->, a cost of 545<!-- calc: -[ELBO of the start] --> nats",
        "about 190<!-- calc: round([exact grid], -1) -->, above 100<!-- calc: floor([exact grid], -2) -->",
        "250<!-- out: # images/s --> images/s",
        "a rate of 3.1<!-- out: warm-up z2: rate --> nats, and 1.1<!-- out: plain z2: rate --> without",
        "$625/20736$<!-- out: product -->, which is 0.030<!-- calc: 625 / 20736 -->",
        "from 99.0<!-- out: test NLL -->-500<!-- code: samples, batch = 500 --> on",
        "$K = 500$<!-- code: samples, batch = 500 --> draws",
        '0.5 %<!-- code: rate = 5e-3 --> and 66.6<!-- code: twin = r"\\frac{1}{66.6 -->',
        "$784 \\log 2 = 543$<!-- calc: 28 * 28; calc: 784 * log(2) --> nats",
        "86.76<!-- cite: burda2016 VAE --> after 3,280<!-- cite: burda2016 epochs --> epochs",
        "−1.376<!-- out 09: bound of the chain --> or 1.38<!-- calc: -[09: bound of the chain] --> nats",
        "times 55.5<!-- code: rate * 55.5 -->",
        "noise scaled by 0.01<!-- cite: E11c noise # -->",
        "about five<!-- a remark --> of them",
        "## Exercises\n\n1. Suppose 30 nats<!-- given -->.",
        "**Time:** about 5 minutes.\n\n## 1.2 · A cave (5 minutes)\n\nSuppose 30 nats<!-- given -->, see exercise 1.2.",
        "## References\n\n- pages 1771.5",
    ],
)
def test_mark_holds(text, problems_of):
    assert problems_of(text) == []


WRONG = {
    "no mark": ("It costs 186.7 nats.", "It costs 186.7 nats.' has no mark"),
    "another digit": ("It costs 186.8<!-- out: exact grid --> nats.", "out: exact grid: leads to 186.74 in"),
    "more digits than the output": ("186.740<!-- out: exact grid -->", "leads to 186.74"),
    "the sign lost at the start of a line": ("about\n−186.7<!-- out: exact grid --> nats", "leads to 186.74"),
    "a half rounded down": ("0.18<!-- out: half -->", "leads to 0.185"),
    "the sign lost": ("545<!-- out: ELBO of the start --> nats", "leads to -545"),
    "the wrong percentage": ("17.6 %<!-- out: grey pixels -->", "leads to 0.186"),
    "a share for a percentage": ("0.2 %<!-- out: share of grey pixels -->", "leads to 0.186"),
    "another quantity's words": ("99.0<!-- out: exact grid --> nats", "leads to 186.74"),
    "words that lead nowhere": ("186.7<!-- out: grid exact -->", "no line of the outputs leads to a number this way"),
    "several numbers": ("12 nats<!-- out: unit -->", "leads to several numbers, also 13"),
    "another notebook's number": ("1.376 nats<!-- out 09: bound of the chain -->", "leads to -1.376"),
    "another notebook that does not exist": ("1.376 nats<!-- out 08: bound -->", "there is no notebook 08 beside"),
    "no word": ("12 nats<!-- out: _ _ # -->", "a mark has to name a word"),
    "one mark for two": ("99.0 and 0.8 nats<!-- out: test NLL +- -->", "99.0 in"),
    "two marks for one": ("It was 0.8<!-- out: test NLL; out: test NLL +- --> nats", "fewer numbers before it"),
    "a mark without a number": ("It was much<!-- out: exact grid -->.", "fewer numbers before it than parts"),
    "a mark in the next sentence": ("186.7 nats. It was<!-- out: exact grid --> so.", "fewer numbers"),
    "code that is not there": ("499<!-- code: samples = 499 -->", "no code cell has this text"),
    "part of a longer number": ("50<!-- code: samples, batch = 50 -->", "no code cell has this text"),
    "code with another number": ("501<!-- code: samples, batch = 500 -->", "leads to 500"),
    "code that ends in another number": ("500<!-- code: batch = 500, 20_000 -->", "leads to 20000"),
    "code without a number": ("500<!-- code: samples, batch -->", "there is no number in this text"),
    "code that is rounded": ("0.01<!-- code: rate = 5e-3 -->", "leads to 0.005"),
    "a comment": ("77.7<!-- code: 77.7 in a comment -->", "no code cell has this text"),
    "a string": ('88.8<!-- code: print(f"cost 88.8 -->', "no code cell has this text"),
    "a bound on the wrong side": ("more than 200<!-- calc: floor([exact grid], -2) --> nats", "leads to 100"),
    "a sum that is off": ("544<!-- calc: 784 * log(2) --> nats", "leads to 543.427"),
    "itself": ("543.0<!-- calc: 543 * 1 --> nats", "a number cannot vouch for itself"),
    "no operation": ("543<!-- calc: pi --> nats", "a calculation has an operation in it"),
    "a call of something else": ("543<!-- calc: open(3) --> nats", "calculations know"),
    "a calculation from several": ("25<!-- calc: 2 * [unit] --> nats", "[unit] leads to several numbers"),
    "another figure of the work": ("84.78<!-- cite: burda2016 VAE -->", "leads to 86.76"),
    "figures that are not told apart": ("84.78<!-- cite: burda2016 test NLL -->", "several numbers, also 86.76"),
    "an unknown work": ("84.78<!-- cite: burda2017 test NLL -->", "the bibliography has no entry 'burda2017'"),
    "an unknown figure": ("84.78<!-- cite: burda2016 training -->", "no figure of burda2016 has these words"),
    "a number that is set in the text": ("30 nats<!-- given -->", "only an exercise may set a number"),
    "a kind that does not exist": ("30 nats<!-- said: so -->", "the kinds of marks are"),
    "a mark in a formula": ("of $a = 99.0<!-- out: test NLL -->$ nats", "is not hidden everywhere"),
    "a mark that shows": ("99.0<!-- out: test -- NLL -->", "is not hidden everywhere"),
    "an equation that does not exist": ("by (1.7),", "there is no equation 1.7"),
    "a claim that does not exist": ("claim 1.7", "there is no equation 1.7"),
    "one of several that does not exist": ("claims 1.1 and 1.7", "there is no equation 1.7"),
    "a notebook that does not exist": ("see notebook\n07", "there is no notebook 07"),
    "a section that does not exist": ("see Section 4", "there is no section 4"),
    "an exercise that does not exist": ("see exercise 6", "there is no exercise 6"),
    "an exercise of a sheet that does not exist": ("## 1.2 · A cave\n\nas in exercise 1.3", "there is no exercise 1.3"),
    "a number in the title of an exercise": ("## 1.2 · A cave of 30 nats\n", "30 nats' has no mark"),
    "a file that does not exist": ("[here](nowhere.png)", "a link leads to nowhere.png, which does not exist"),
}


@pytest.mark.parametrize(("text", "complaint"), WRONG.values(), ids=WRONG.keys())
def test_wrong_number_is_named(text, complaint, problems_of):
    found = problems_of(text)
    assert any(complaint in line for line in found), found


def test_what_is_referred_to_exists(problems_of):
    assert problems_of("by (1.1), see Section 1 of notebook 01, [here](01_small.ipynb)") == []


def test_a_line_that_is_not_there_is_answered_by_lines_near_it(problems_of):
    assert "exact grid        186.74" in problems_of("186.7<!-- out: exact grid search -->")[0]


# --- Proposals and the command ----------------------------------------------------------------------------------------


def test_marks_are_proposed_that_hold(problems_of, tmp_path):
    problems_of("It costs 186.7 nats with 500 draws, 3,280 epochs and 18.6 %. Never 4.44 nats.")
    offers = {place.split()[0]: marks for _, place, marks in prose.propose(tmp_path / "01_small.ipynb")}
    assert offers["186.7"] == ["out: exact grid"]
    assert set(offers["500"]) >= {"code: batch = 500"}
    assert offers["3,280"] == ["cite: burda2016 epochs"]
    assert offers["18.6"] != []
    assert offers["4.44"] == []
    for number, marks in offers.items():
        for mark in marks:
            percent = " %" if number == "18.6" else ""
            assert problems_of(f"{number}{percent}<!-- {mark} -->") == [], mark


def test_the_command_names_problems_and_proposes(problems_of, tmp_path, capsys):
    problems_of("It costs 186.7 nats.")
    path = str(tmp_path / "01_small.ipynb")
    assert prose.main([path]) == 1
    assert "has no mark" in capsys.readouterr().out
    assert prose.main([path, "--propose"]) == 0
    assert "out: exact grid" in capsys.readouterr().out
    problems_of("It costs 186.7<!-- out: exact grid --> nats.")
    assert prose.main([path]) == 0


# --- The course -------------------------------------------------------------------------------------------------------


def changed_digits(path: Path) -> tuple[list[str], int]:
    """Changes every digit of every marked number of a notebook, one at a time: what is unnoticed, and their number."""
    sources, unnoticed, count = prose.sources_of(path), [], 0
    for id, text, in_exercises in prose.texts(prose.read(path)):
        for number, _, (kind, words) in prose_text.marked(text)[0]:
            for digit in re.finditer(r"\d", number.text):
                other = str((int(digit[0]) + 1) % 10)
                new = number.text[: digit.start()] + other + number.text[digit.end() :]
                count += 1
                changed = text[: number.start] + new + text[number.end :]
                if kind != "given" and not prose.wrong(changed, sources, in_exercises):
                    unnoticed.append(f"{path.name}, {id}: {number.text} to {new} in {kind}: {words}")
    return unnoticed, count


def test_every_changed_digit_is_noticed_in_a_small_notebook(problems_of, tmp_path):
    text = (
        "186.7<!-- out: exact grid -->, 18.6 %<!-- out: grey pixels -->, 500 draws<!-- code: samples, batch = 500 -->"
    )
    assert problems_of(text) == []
    assert changed_digits(tmp_path / "01_small.ipynb") == ([], 4 + 3 + 3)


@each_notebook
def test_every_number_in_the_text_has_a_source(path):
    found = prose.problems(path)
    assert not found, "\n".join(found)


@pytest.mark.slow
@each_notebook
def test_every_changed_digit_is_noticed(path):
    unnoticed, count = changed_digits(path)
    assert not unnoticed, "\n".join(unnoticed)
    assert count > 0 or "x_" in path.stem  # a sheet may have none


@each_notebook
def test_statements_and_mistakes_that_are_mentioned_exist(path):
    for _, text, _ in prose.texts(prose.read(path)):
        for kind, name in prose_text.references(text):
            if kind == "statement":
                assert name in ledger.STATEMENTS
            elif kind == "mistake":
                assert mistakes.variants(name)
