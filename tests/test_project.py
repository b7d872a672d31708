"""The files that say what to install agree with each other, and the README tells the truth."""

import base64
import importlib.metadata
import re
import sys
import tomllib

import matplotlib.pyplot as plt
import nbformat
import pytest
import reading  # tools/reading.py
import run  # tools/run.py
import torch
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from vaelib.checking.exercises import exercises

PROJECT = tomllib.loads((run.ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
README = (run.ROOT / "README.md").read_text()

PINS = {
    canonicalize_name(pin.name): pin
    for line in (run.ROOT / "constraints.txt").read_text().splitlines()
    if line and not line.startswith("#")
    for pin in [Requirement(line)]
}


def pinned_version(name: str) -> str:
    (specifier,) = PINS[canonicalize_name(name)].specifier
    return specifier.version


def allows(requirement: Requirement, name: str) -> bool:
    return requirement.specifier.contains(pinned_version(name), prereleases=True)


def test_constraints_are_exact_and_portable():
    for pin in PINS.values():
        assert [specifier.operator for specifier in pin.specifier] == ["=="], pin
        assert "+" not in str(pin), f"{pin}: a local version such as +cpu exists on few machines"


def test_constraints_meet_the_requirements_of_the_project():
    for requirement in map(
        Requirement, [*PROJECT["dependencies"], *EXTRAS["course"], *EXTRAS["site"], *EXTRAS["test"]]
    ):
        assert allows(requirement, requirement.name), requirement


@pytest.mark.skipif(sys.platform != "linux", reason="macOS and Windows add a few packages of their own")
def test_constraints_cover_all_that_gets_installed_and_contradict_nothing():
    """pip would find this set without a choice to make; what CUDA adds, torch pins by itself."""
    seen, waiting = set(), [("vaelib", extra) for extra in ("", "course", "site", "test")]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        for requirement in map(Requirement, importlib.metadata.requires(name) or []):
            child = canonicalize_name(requirement.name)
            if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
                continue
            if child == "triton" or child.startswith(("nvidia-", "cuda-")):
                continue
            assert child in PINS, f"{name} brings {child}: pin it in constraints.txt"
            assert allows(requirement, child), f"{name} needs {requirement}"
            waiting += [(child, extra) for extra in ("", *requirement.extras)]
    assert {"torch", "jupyter-client", "traitlets"} <= {name for name, _ in seen}


def test_conda_environment_installs_what_pip_does():
    environment = yaml.safe_load((run.ROOT / "environment.yml").read_text())
    *conda, pip = environment["dependencies"]
    assert environment["name"] == PROJECT["name"]
    assert environment["channels"] == ["conda-forge"]
    assert pip == {"pip": ["-c constraints.txt", "-e .[course,site,test]"]}
    python, installer = conda
    assert installer == "pip"
    versions = SpecifierSet(python.removeprefix("python").strip())
    named = [
        f"3.{minor}" for minor in range(30) if f"Programming Language :: Python :: 3.{minor}" in PROJECT["classifiers"]
    ]
    assert [f"3.{minor}" for minor in range(30) if versions.contains(f"3.{minor}")] == named
    assert all(SpecifierSet(PROJECT["requires-python"]).contains(version) for version in named)


def test_the_version_is_the_same_everywhere():
    citation = yaml.safe_load((run.ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"] == importlib.metadata.version("vaelib")


def test_readme_links_to_every_notebook_and_to_no_missing_file():
    links = {link for link in re.findall(r"\]\(([^)#]+)", README) if "://" not in link}
    assert {f"notebooks/{path.name}" for path in run.NOTEBOOKS.glob("*.ipynb")} <= links
    assert [link for link in links if not (run.ROOT / link).exists()] == []


def test_the_picture_of_the_readme_is_the_one_that_chapter_01_draws():
    notebook = nbformat.read(run.NOTEBOOKS / "01_the_cave.ipynb", as_version=4)
    (cell,) = [cell for cell in notebook.cells if cell.id == "figure-cave"]
    drawn = base64.b64decode(cell.outputs[0].data["image/png"])
    assert (run.ROOT / "site" / "cave.png").read_bytes() == drawn


def test_actions_are_pinned_by_commit():
    files = list((run.ROOT / ".github" / "workflows").iterdir())
    used = [action for file in files for action in re.findall(r"uses: (.*)", file.read_text())]
    assert len(used) > 8
    assert [action for action in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v[\d.]+", action)] == []


def test_the_file_tree_in_the_readme_has_a_line_for_every_module():
    (tree,) = re.findall(r"^```\n(vaelib/\n.*?)^```", README, re.DOTALL | re.MULTILINE)
    folders, found = {2: run.ROOT / "vaelib"}, []  # by the indent of what is in them
    for indent, name, words in re.findall(r"^( +)(\S+)(.*)$", tree.partition("\nnotebooks/")[0], re.MULTILINE):
        path = folders[len(indent)] / name
        if name.endswith("/"):
            folders[len(indent) + 2] = path
        else:
            assert len(words.split()) > 2, name
            found.append(path)
    there = {path for path in run.ROOT.glob("vaelib/**/*.py") if path.name != "__init__.py"}
    there |= {*run.ROOT.glob("vaelib/*.mplstyle")}
    assert {path.name for path in there ^ set(found)} == set()
    assert len(found) == len(set(found))


@pytest.mark.parametrize(
    ("name", "machine", "fit", "compiled", "ahead"),
    [
        (
            "speed",
            "an AMD EPYC",
            "{} to {} times as fast as a plain PyTorch loop",
            "then {} to {} times as fast",
            [False, False, True, True],  # of both on two threads
        ),
        (
            "speed_intel",
            "an Intel Xeon",
            "{} to {} times as fast as the plain loop",
            "Compiled it trains {} to\n{} times",
            [True] * 4,
        ),
    ],
)
def test_the_speeds_that_are_told_are_those_that_were_measured(name, machine, fit, compiled, ahead):
    told = (run.ROOT / "benchmarks" / "README.md").read_text()
    table = (run.ROOT / f"benchmarks/results/{name}.md").read_text()
    rows = {}  # W1 and W2 with one thread, W1 and W2 with two
    for name, cells in re.findall(r"^\| ([^|]+) \|(.*)$", table, re.MULTILINE):
        ratios = [float(ratio) for ratio in re.findall(r"\| *(\d\.\d\d) \(", "|" + cells)]
        rows |= {name: ratios} if ratios else {}
    short, long = rows["vaelib.fit, fewer than 10,000 steps"], rows["vaelib.fit, 10,000 steps or more"]
    assert len(short) == len(long) == 4
    fused = rows["bare loop, fused Adam"]
    both = f"On two cores of {machine} `fit` trains " + fit.format(f"{min(short):.2f}", f"{max(short):.2f}")
    assert both in told
    assert compiled.format(f"{min(long):.2f}", f"{max(long):.2f}") in told
    assert f"`fused=True` ({min(fused):.2f} to {max(fused):.2f})" in told
    for peer in ("NumPyro, jitted epoch", "JAX by hand, jitted epoch"):
        assert [ours > theirs for ours, theirs in zip(long, rows[peer], strict=True)] == ahead
    assert all(ours > theirs for ours, theirs in zip(short, fused, strict=True)) is (machine == "an Intel Xeon")
    assert max(rows["Pyro"] + rows["pythae"]) < 1
    assert f"Machine: 2 cores of {machine.split()[1]}" in table  # as the README says


@pytest.mark.slow
def test_readme_examples_run(capsys, tmp_path, monkeypatch):
    """One after the other, in small, as a reader would who types them in."""
    monkeypatch.setenv("VAELIB_STILL", "1")
    examples = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    code = "\n".join(examples)
    small = {
        "digits.train.images": "digits.train.images[:256]",
        "digits.train, digits.valid": "digits.train[:256], digits.valid[:256]",
        "epochs=20": "epochs=1",
        "epochs=100": "epochs=1",
        '"runs/a"': repr(str(tmp_path / "a")),
    }
    for slow, quick in small.items():
        assert slow in code
        code = code.replace(slow, quick)
    with torch.random.fork_rng():
        exec(code, {})
    shown = capsys.readouterr().out
    assert re.search(r"test NLL \d+\.\d ± \d+\.\d nats per image", shown)
    assert "'valid/elbo': " in shown
    assert len(examples) == 3
    assert len(plt.get_fignums()) == 1
    plt.close("all")
    assert (tmp_path / "a" / "best.safetensors").exists()


def test_the_times_for_teachers_are_those_of_the_notebooks():
    said = (run.NOTEBOOKS / "teaching.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d\d) [^|]+ \| (\d+) \| (\d+|none) \| (\d+) in (\d+) \|$", said, re.MULTILINE)
    for chapter, road, room, number, minutes in rows:
        files = [next(iter(run.NOTEBOOKS.glob(f"{chapter}{letter}_*.ipynb")), None) for letter in ("", "b")]
        read = [str(reading.size(nbformat.read(path, as_version=4)).minutes) if path else "none" for path in files]
        each = [e.minutes for e in exercises().values() if e.number.partition(".")[0] == str(int(chapter))]
        assert ([road, room], int(number), int(minutes)) == (read, len(each), sum(each)), chapter
    assert [row[0] for row in rows] == sorted({path.stem[:2] for path in run.NOTEBOOKS.glob("[0-9][0-9]_*.ipynb")})
