"""tools/mutate.py: what is changed, and that a change which no test notices is named."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import mutate  # tools/mutate.py
import pytest

LIBRARY = '''"""A library with 1 module."""
import contextlib

LIMIT = 0.25
UNTESTED = 7


class Summary:
    """Of 2 numbers."""

    digits: "int | None" = 3

    @staticmethod
    @contextlib.contextmanager
    def rounded(value, digits=2):
        """To 2 digits."""
        yield round(value, digits)


def mean(total: "float | int", count):
    if count < 0:
        raise ValueError(f"count is {count}: expected 1 or more")
    return total / count


def shout(text):
    print(text, end="!")
'''

TESTS = """import subprocess, sys
import pytest
from vaelib import small


def test_mean_of_nothing():
    assert small.mean(0, 3) == 0
    with pytest.raises(ValueError, match="count is -1"):
        small.mean(1, -1)


def test_rounded():
    assert small.LIMIT == 0.25 and small.Summary.digits == 3
    with small.Summary.rounded(1.126) as value:
        assert value == 1.13


def test_shout():
    code = "from vaelib import small; small.shout('x')"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "x!"
"""


@pytest.fixture
def project(tmp_path):
    """A project with one module, its tests, and a copy of the tool."""
    for name, text in {"vaelib/small.py": LIBRARY, "tests/test_small.py": TESTS, "vaelib/__init__.py": ""}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    for name in ("pyproject.toml", "tests/conftest.py"):
        (tmp_path / name).write_text("")
    (tmp_path / "tools").mkdir()
    shutil.copy(mutate.__file__, tmp_path / "tools")
    return tmp_path


def changes(found):
    return {(mutant.old, mutant.new) for mutant in found}


def test_constants_class_attributes_defaults_and_decorated_functions_are_changed_and_words_are_not(
    project, monkeypatch
):
    monkeypatch.setattr(mutate, "ROOT", project)
    found = mutate.mutants(project / "vaelib" / "small.py")
    assert changes(found) == {
        ("0.25", "(0.5)"),
        ("7", "(8)"),
        ("3", "(4)"),
        ("2", "(3)"),
        ("round(value, digits)", "(round(digits, value))"),
        ("count < 0", "(count <= 0)"),
        ("0", "(1)"),
        ('raise ValueError(f"count is {count}: expected 1 or more")', "pass"),
        ("total / count", "(total * count)"),
        ("count", "(count - 1)"),
        ('print(text, end="!")', "pass"),
        ('"!"', "('XX!')"),
    }
    assert {mutant.module for mutant in found} == {"small"}
    for mutant in found:
        compile(mutant.source, "small.py", "exec")


def test_every_operator_changes_something(tmp_path, monkeypatch):
    monkeypatch.setattr(mutate, "ROOT", tmp_path)
    path = tmp_path / "vaelib" / "one.py"
    path.parent.mkdir()
    for old, new in {
        "a + b": "(a - b)",
        "a @ b": "(a * b)",
        "a += b": "a -= b",
        "a and b": "(a or b)",
        "a is b": "(a is not b)",
        "a > b": "(a >= b)",
        "-a": "(a)",
        "not a": "(a)",
        "True": "(False)",
        "0.0": "(1.0)",
        "'word'": "('XXword')",
        "a.mean()": "(a.sum)",
        "log(a)": "(exp)",
        "f(a, b)": "(f(b, a))",
        "a if b else c": "(not b)",
    }.items():
        path.write_text(f"def f(a, b, c):\n    {old if '+=' in old else f'return {old}'}\n")
        assert new in {mutant.new for mutant in mutate.mutants(path)}, old
    path.write_text("@no_grad()\ndef f():\n    'a sentence'\n    return 'another sentence'\n")
    assert changes(mutate.mutants(path)) == {("no_grad()", "(lambda undecorated: undecorated)")}


def test_what_took_too_long_is_tried_once_more(monkeypatch):
    statuses = {1: [0], 2: [None, 0], 3: [None, None]}
    monkeypatch.setattr(mutate, "pool", lambda jobs, *_: [(job, statuses[job].pop(0)) for job in jobs])
    assert dict(mutate.judged([1, 2, 3], lambda job: 0.0)) == {1: 0, 2: 0, 3: None}


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="needs an operating system that can fork")
def test_changes_that_no_test_notices_are_named(project):
    """Also where only a process that a test starts reaches the line, and where the code is decorated."""
    command = [sys.executable, str(project / "tools" / "mutate.py")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=project)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((project / "build" / "mutation.json").read_text())
    lived = {(Path(mutant["module"]).name, mutant["old"], mutant["new"]) for mutant in found["survivors"]}
    assert lived == {
        ("small", "7", "(8)"),  # a constant that nobody looks at
        ("small", "count", "(count - 1)"),
        ("small", "total / count", "(total * count)"),
        ("small", "count < 0", "(count <= 0)"),
        ("small", "0", "(1)"),
    }
    assert "| `small` |" in (project / "build" / "mutation.md").read_text()
