"""tools/run.py: set-up that repairs itself, and notebooks executed from a clean state."""

import ast
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import run  # tools/run.py


def write(path: Path, *cells: str) -> Path:
    """A notebook of code cells whose stored outputs are stale."""
    stale = [nbformat.v4.new_output("stream", text="stale 17")]
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell, execution_count=9, outputs=stale) for cell in cells]
    )
    nbformat.write(notebook, path)
    return path


@pytest.mark.slow
def test_course_names_the_failing_cell_and_goes_on_with_the_others(tmp_path, capsys):
    first = write(tmp_path / "01_first.ipynb", "x = 1", "# half way\ny = x / 0", "print(x)")
    second = write(tmp_path / "02_second.ipynb", "print(2 + 2)")
    torn = tmp_path / "03_torn.ipynb"
    torn.write_text("{")
    before = first.read_bytes(), second.read_bytes()

    assert run.execute_all([first, second, torn], tmp_path / "out") == 1

    printed = capsys.readouterr().out
    assert "FAILED in code cell 2\n      # half way\n      ZeroDivisionError: division by zero\n" in printed
    assert "Failed: 01_first, 03_torn." in printed
    assert (first.read_bytes(), second.read_bytes()) == before
    outputs = [cell.outputs for cell in nbformat.read(tmp_path / "out" / "02_second.ipynb", as_version=4).cells]
    assert [output.text for output in outputs[0]] == ["4\n"]
    unreached = nbformat.read(tmp_path / "out" / "01_first.ipynb", as_version=4).cells[2]
    assert unreached.outputs == []


@pytest.mark.slow
def test_notebooks_executed_twice_in_place_do_not_change(tmp_path):
    path = write(
        tmp_path / "01.ipynb", "import sys\nfor i in range(3):\n    print(i)\n    sys.stdout.flush()", "{1, 2}"
    )
    assert run.execute(path, path)[1] == ""
    once = path.read_bytes()
    assert b"stale" not in once
    assert sys.version.split()[0].encode() not in once
    assert run.execute(path, path)[1] == ""
    assert path.read_bytes() == once


@pytest.mark.slow
def test_a_notebook_that_fails_in_place_stays_as_it_was(tmp_path):
    path = write(tmp_path / "01.ipynb", "raise SystemError('no')")
    before = path.read_bytes()
    assert "SystemError: no" in run.execute(path, path)[1]
    assert path.read_bytes() == before


@pytest.mark.slow
def test_a_dead_kernel_is_reported(tmp_path):
    path = write(tmp_path / "01.ipynb", "import os", "os._exit(1)")
    assert "FAILED in code cell 2" in run.execute(path, tmp_path / "out.ipynb")[1]


@pytest.mark.slow
def test_kernels_get_the_settings_of_the_stored_outputs(tmp_path):
    source = write(tmp_path / "01.ipynb", f"import os\nprint({{name: os.environ[name] for name in {[*run.SETTINGS]}}})")
    assert run.execute_all([source], tmp_path / "out") == 0
    cell = nbformat.read(tmp_path / "out" / "01.ipynb", as_version=4).cells[0]
    assert ast.literal_eval(cell.outputs[0].text) == run.SETTINGS


def kernels_of_another_python(folder: Path) -> None:
    """In the folder, a kernel named python3 that is another Python, and one that cannot even be started."""
    for name in ("python3", "python"):
        kernel = folder / "kernels" / name
        kernel.mkdir(parents=True)
        words = {"argv": ["/another/python", "{connection_file}"], "display_name": name, "language": "python"}
        (kernel / "kernel.json").write_text(json.dumps(words))


@pytest.mark.slow
@pytest.mark.parametrize("variable", ["JUPYTER_PATH", "JUPYTER_DATA_DIR", "the notebook's metadata"])
def test_notebooks_run_in_the_python_that_was_called(variable, tmp_path, monkeypatch):
    source = write(tmp_path / "01.ipynb", "import sys; print(sys.executable)")
    kernels_of_another_python(tmp_path)
    if variable == "the notebook's metadata":
        notebook = nbformat.read(source, as_version=4)
        notebook.metadata.kernelspec = {"name": "julia-1.12", "display_name": "Julia", "language": "julia"}
        nbformat.write(notebook, source)
    else:
        monkeypatch.setenv(variable, str(tmp_path))
    assert run.execute(source, tmp_path / "out.ipynb")[1] == ""
    cell = nbformat.read(tmp_path / "out.ipynb", as_version=4).cells[0]
    assert cell.outputs[0].text.strip() == sys.executable


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "options"),
    [(".", []), ("..", ["--nbval-current-env"]), ("/", ["-p", "no:cacheprovider"]), (".", ["--import-mode=importlib"])],
)
def test_a_copy_of_the_notebooks_folder_runs_under_nbval_wherever_pytest_is_started(place, options, tmp_path):
    """With the kernels and the settings of the course, though the folder has no tools/ beside it."""
    folder = tmp_path / "my homework"
    folder.mkdir()
    (folder / "conftest.py").write_bytes((run.NOTEBOOKS / "conftest.py").read_bytes())
    cell = f"import os, sys\nassert os.environ.items() >= {run.SETTINGS!r}.items()\n"
    write(folder / "01.ipynb", cell + f"assert sys.executable == {sys.executable!r}\nprint('stale 17', end='')")
    kernels_of_another_python(tmp_path)
    environment = {name: value for name, value in os.environ.items() if name not in run.SETTINGS}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--nbval", *options, str(folder)],
        cwd=folder / place,
        env=environment | {"JUPYTER_PATH": str(tmp_path), "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_the_settings_of_nbval_are_those_of_the_course(monkeypatch):
    for name in run.SETTINGS:
        monkeypatch.setenv(name, "another")
    runpy.run_path(str(run.NOTEBOOKS / "conftest.py"))
    assert os.environ.items() >= run.SETTINGS.items()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere torch comes with another OpenMP")
@pytest.mark.parametrize(("own", "want"), [(None, 1000), ("7", 7)])
def test_openmp_hardly_spins_unless_the_user_says_so(own, want, monkeypatch, capfd):
    """What OpenMP itself says: a variable set after torch is loaded would have no effect."""
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    if own:
        monkeypatch.setenv("GOMP_SPINCOUNT", own)
    assert run.call(sys.executable, "-c", "import torch, vaelib", OMP_DISPLAY_ENV="VERBOSE") == 0
    assert f"GOMP_SPINCOUNT = '{want}'" in capfd.readouterr().err


@pytest.fixture
def course_of_two(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "NOTEBOOKS", tmp_path)
    return [write(tmp_path / name, "1") for name in ("01_the_cave.ipynb", "03_independence.ipynb")]


def test_notebooks_are_chosen_by_the_beginning_of_their_names(course_of_two):
    assert run.choose([]) == course_of_two
    assert run.choose(["03"]) == course_of_two[1:]


def test_an_unknown_notebook_is_answered_with_the_known_ones(course_of_two):
    with pytest.raises(SystemExit, match=r"'02'. There are: 01_the_cave, 03_independence"):
        run.choose(["02"])


def test_check_leaves_out_what_is_slow_and_test_runs_all(monkeypatch):
    """Every stage of the short loop is one of the long one, and runs though one before it failed."""
    calls = []
    monkeypatch.setattr(run, "call", lambda *command: calls.append(command) or 1)
    assert run.check([]) == 1
    short, calls[:] = calls[:], []
    assert run.test([]) == 1
    *static, fast = short
    *first, unit, ledger, site, browser, nbval = calls
    assert static == first
    assert " ".join(fast) == " ".join(unit).replace("--doctest-modules", "--doctest-modules -q -m not slow")
    assert "--doctest-modules" in unit
    assert "vaelib.checking.ledger" in ledger
    assert site[1:] == (run.ROOT / "tools" / "build_site.py", run.NOTEBOOKS)
    assert browser[-1] == "tests/site"
    assert "--ignore=tests/site" in unit
    assert "--nbval" in nbval


def test_an_older_python_reads_one_sentence():
    ast.parse(Path(run.__file__).read_text(), feature_version=(3, 7))
    pretend = f"import runpy, sys; sys.version_info = (3, 9, 6); runpy.run_path({run.__file__!r})"
    done = subprocess.run([sys.executable, "-c", pretend], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("This course needs Python 3.11 or newer, and ")
    assert done.stderr.count("\n") == 1


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """A project without .venv, and pip's calls counted instead of made; pip fails while `offline` is in the list."""
    (tmp_path / "pyproject.toml").write_text("[project]")
    (tmp_path / "constraints.txt").write_text("torch==2.13.0")
    monkeypatch.setattr(run, "ROOT", tmp_path)
    monkeypatch.setattr(run, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(run, "STAMP", tmp_path / ".venv" / "installed")
    monkeypatch.setattr(run, "VENV_PYTHON", tmp_path / ".venv" / "python")
    monkeypatch.setattr(run.venv, "create", lambda *_, **__: (tmp_path / ".venv" / "python").symlink_to(sys.executable))
    calls = []
    monkeypatch.setattr(run, "call", lambda *command: calls.append(command) or int("offline" in calls))
    return tmp_path, calls


needs_links = pytest.mark.skipif(os.name == "nt", reason="stands a link in for Python")


@needs_links
def test_set_up_installs_once_and_again_when_the_requirements_change(bare):
    folder, calls = bare
    run.set_up()
    assert len(calls) == 1
    assert calls[0][1:] == ("-m", "pip", "install", "-c", "constraints.txt", "-e", ".[course,site,test]")
    run.set_up()
    assert len(calls) == 1
    (folder / "constraints.txt").write_text("torch==2.14.0")
    run.set_up()
    assert len(calls) == 2


@needs_links
def test_set_up_starts_over_after_an_interrupted_install(bare):
    folder, calls = bare
    run.set_up()
    half_installed = folder / ".venv" / "torch"
    half_installed.touch()
    run.STAMP.write_text(run.INTERRUPTED)
    run.set_up()
    assert not half_installed.exists()
    assert len(calls) == 2


@needs_links
def test_set_up_without_a_network_says_so_and_goes_on_the_next_time(bare):
    folder, calls = bare
    calls.append("offline")
    with pytest.raises(SystemExit, match="If the network is down"):
        run.set_up()
    calls.clear()
    downloaded = folder / ".venv" / "numpy"
    downloaded.touch()
    run.set_up()
    assert downloaded.exists()
    assert len(calls) == 1


@needs_links
def test_set_up_tries_again_where_an_index_did_not_answer_once(bare, monkeypatch):
    _, calls = bare
    monkeypatch.setattr(run, "call", lambda *command: calls.append(command) or int(len(calls) == 1))
    run.set_up()
    assert len(calls) == 2
    assert calls[0] == calls[1]
    run.set_up()
    assert len(calls) == 2
