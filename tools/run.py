"""Sets the project up and runs it, from a bare Python on Linux, macOS and Windows.

    python tools/run.py setup               make .venv with all that is needed (every other command does this first)
    python tools/run.py course [01 03 ...]  execute the notebooks into build/course; of all of them, build the site
    python tools/run.py check               static checks, docstring examples and the fast unit tests, in two minutes
    python tools/run.py test                everything: also the slow unit tests, the ledger, the site, and nbval
    python tools/run.py mutate [bounds ...] what the tests do not notice: build/mutation.md
    python tools/run.py ledger              collect every claim of the notebooks into build/ledger.md
    python tools/run.py page [01 03 ...]    change the displayed equations: build/page/changes.md says what is noticed
    python tools/run.py bench               measure the speed of training; results in benchmarks/results
    python tools/run.py site                the course as a site, from the stored notebooks: build/site
    python tools/run.py test-site           build the site and try every page of it in a browser
    python tools/run.py reproduce [vae-1 ...]  published likelihoods, measured again: benchmarks/results/reproduction.md
    python tools/run.py speedrun [NAME]     an official run of a recipe of the speed-run: benchmarks/speedrun.md
    python tools/run.py student             the edition without the solutions of the exercises: build/student
    python tools/run.py lab                 open the notebooks in JupyterLab
    python tools/run.py notebooks [01 ...]  execute the notebooks in place and store their outputs

With --here a command runs in the Python that was called, set up already (conda, Binder), and .venv is left alone.
"""

import argparse
import concurrent.futures
import hashlib
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path

if sys.version_info < (3, 11):  # noqa: UP036 (this script is where a reader with an older Python arrives)
    sys.exit(
        "This course needs Python 3.11 or newer, and {} is Python {}.{}: install a newer one and name it, as in "
        "`make course PYTHON=python3.13` or `python3.13 tools/run.py course`.".format(
            sys.executable, *sys.version_info[:2]
        )
    )

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
COURSE = ROOT / "build" / "course"
PAGE = ROOT / "build" / "page"
BROWSER_TESTS = "tests/site"

VENV = ROOT / ".venv"
VENV_PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / "installed"
INTERRUPTED = "not finished"

# What the stored numbers were computed with. One thread and the CPU, so that sums are added up in the same order
# everywhere, and because small networks train fastest that way. Where a processor of Intel's has registers of 512 bits,
# MKL adds up in another order than on AMD's, and a training of some hundred steps ends visibly elsewhere: AVX2 is what
# both have. Progress bars would leave their timings behind, and sliders cannot be stored.
SETTINGS = {
    "OMP_NUM_THREADS": "1",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "CUDA_VISIBLE_DEVICES": "",
    "PYTHONHASHSEED": "0",
    "TQDM_DISABLE": "1",
    "VAELIB_STILL": "1",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
}
# OpenMP threads that spin at every barrier, next to another busy process, slow small networks down many times over.
# GNU's OpenMP reads this as torch loads it, so it is set before Python starts; a value of the user's own stands.
OPENMP = {"GOMP_SPINCOUNT": "1000"}
CELL_SECONDS = 300
PAGE_SECONDS = 3600  # `page` judges a claim anew for every change of its equation
FOLDED = "hide-input"  # the tag by which JupyterBook and MyST fold a cell's code
HIDDEN = "hide-output"  # and this one what it prints: the reader says first what is expected
# Each worker is a kernel with one thread and a gigabyte or so of memory.
WORKERS = min(os.cpu_count() or 1, 4)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="tools/run.py", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("command", choices=["setup", *COMMANDS])
    parser.add_argument(
        "only",
        nargs="*",
        metavar="NAME",
        help="course, notebooks, page: the first letters of a name; mutate: of a module; reproduce, speedrun: rows",
    )
    parser.add_argument("--here", action="store_true", help="use this Python as it is, not .venv")
    options = parser.parse_intermixed_args(arguments)
    if options.only and options.command not in ("course", "notebooks", "page", "mutate", "reproduce", "speedrun"):
        parser.error(f"{options.command} takes no names")
    if not options.here:
        set_up()
    if options.command == "setup":
        print(f"Ready: {sys.executable if options.here else VENV_PYTHON}")
        return 0
    if not options.here:
        return call(VENV_PYTHON, __file__, "--here", *arguments)
    return COMMANDS[options.command](options.only)


def call(*command: str | Path, **environment: str) -> int:
    """Runs a command in the project's folder. Ctrl-C reaches the command too, and is acted on once that has ended."""
    interrupts = []
    before = signal.signal(signal.SIGINT, lambda *_: interrupts.append(True))
    try:
        settings = OPENMP | os.environ | environment
        code = subprocess.run([str(part) for part in command], cwd=ROOT, env=settings).returncode
    finally:
        signal.signal(signal.SIGINT, before)
    if interrupts and code != 0:
        raise KeyboardInterrupt
    return code


# --- Set-up -----------------------------------------------------------------------------------------------------------


def set_up() -> None:
    """Makes .venv once. Installs again where the requirements or the folder's place changed, or an install was cut."""
    files = [ROOT / "pyproject.toml", ROOT / "constraints.txt"]
    wanted = hashlib.sha256(b"\n".join([*(file.read_bytes() for file in files), str(ROOT).encode()])).hexdigest()
    installed = STAMP.read_text() if STAMP.exists() else ""
    if installed == wanted and VENV_PYTHON.exists():
        return
    install = [VENV_PYTHON, "-m", "pip", "install", "-c", "constraints.txt", "-e", ".[course,site,test]"]
    try:
        if installed == INTERRUPTED or not has_pip(VENV_PYTHON):
            print(f"Making {VENV} (once: some minutes, 2 GB of disk, more where PyTorch comes with CUDA).", flush=True)
            shutil.rmtree(VENV, ignore_errors=True)
            VENV.mkdir(exist_ok=True)
            STAMP.write_text(INTERRUPTED)
            venv.create(VENV, with_pip=True, symlinks=os.name != "nt")
        else:
            print(f"Bringing {VENV} up to date.", flush=True)
            STAMP.write_text(INTERRUPTED)
            install.append("--quiet")
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(
            f"Could not make {VENV} ({error}). On Debian or Ubuntu `sudo apt install python3-venv` brings the missing "
            "part; elsewhere, see that the disk has room and that no other program uses the folder."
        )
    # To pip an index that does not answer once looks like a version that does not exist: hence a second time.
    if call(*install) != 0 and call(*install) != 0:
        STAMP.write_text("failed")
        sys.exit(
            "The packages could not be installed; pip's message is above. If the network is down (pip then blames the "
            "versions), run the same command again when it is up: what was downloaded is kept."
        )
    STAMP.write_text(wanted)


def has_pip(python: Path) -> bool:
    """Whether this is a Python that runs and can install packages."""
    return python.exists() and subprocess.run([python, "-c", "import pip"], stderr=subprocess.DEVNULL).returncode == 0


# --- Executing notebooks ----------------------------------------------------------------------------------------------


def course(only: list[str]) -> int:
    """Executes the notebooks from a clean state into build/course, and builds the site of them; notebooks/ stays."""
    sources = choose(only)
    if not only:
        shutil.rmtree(COURSE, ignore_errors=True)
    failed = execute_all(sources, COURSE)
    where = (
        f"The executed notebooks are in {COURSE.relative_to(ROOT)}: `make lab` or `python tools/run.py lab` opens them."
    )
    print(f"\n{where}", flush=True)
    return failed or (0 if only else call(*build_site(COURSE)))


def notebooks(only: list[str]) -> int:
    """Executes the notebooks in place. A notebook that fails stays as it was."""
    return execute_all(choose(only), NOTEBOOKS)


def choose(only: list[str]) -> list[Path]:
    """The notebooks whose names start with one of the given beginnings; all where none is given."""
    known = sorted(NOTEBOOKS.glob("*.ipynb"))
    for start in only:
        if not any(path.stem.startswith(start) for path in known):
            sys.exit(f"No notebook's name starts with {start!r}. There are: {', '.join(path.stem for path in known)}.")
    return [path for path in known if path.stem.startswith(tuple(only or [""]))]


def execute_all(sources: list[Path], folder: Path) -> int:
    """Executes each notebook into the folder, some at a time, with a line for each; 1 if any failed, else 0.

    The others go on when one fails. Each worker is a process, so that Ctrl-C ends their kernels too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    print(f"Executing {len(sources)} notebooks, {WORKERS} at a time, into {folder}", flush=True)
    width = max((len(source.stem) for source in sources), default=0)
    if folder != NOTEBOOKS:  # where claims look for the equations that they are about, and links for the references
        for source in (*NOTEBOOKS.glob("*.ipynb"), *NOTEBOOKS.glob("*.md")):
            shutil.copyfile(source, folder / source.name)
    failed, start = [], time.perf_counter()
    with concurrent.futures.ProcessPoolExecutor(WORKERS, multiprocessing.get_context("spawn")) as pool:
        running = {pool.submit(execute, source, folder / source.name): source for source in sources}
        try:
            for done in concurrent.futures.as_completed(running):
                name = running[done].stem
                try:
                    seconds, error = done.result()
                except Exception as failure:  # no notebook at all, or the worker was killed
                    seconds, error = 0.0, f"FAILED\n      {type(failure).__name__}: {failure}"
                print(f"  {name:{width}}  {seconds:6.1f} s  {error or 'done'}", flush=True)
                failed += [name] if error else []
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            raise
    print(f"{len(sources) - len(failed)} of {len(sources)} executed in {time.perf_counter() - start:.0f} s.")
    if failed:
        print(f"Failed: {', '.join(sorted(failed))}.")
    return 1 if failed else 0


def execute(source: Path, target: Path) -> tuple[float, str]:
    """Executes one notebook from a clean state and writes it; the seconds it took, and what went wrong ("" if nothing).

    A notebook that fails is written as far as it came, unless that would overwrite its source.
    """
    import nbformat
    from ipykernel.kernelspec import get_kernel_dict
    from jupyter_client import AsyncKernelManager
    from jupyter_client.kernelspec import KernelSpec
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    class ThisPython(AsyncKernelManager):
        """Starts kernels in the Python that runs this, whatever "python3" means to Jupyter (JUPYTER_PATH decides)."""

        kernel_spec = KernelSpec(**get_kernel_dict())

    start = time.perf_counter()
    notebook = nbformat.read(source, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    reached, limit = [], PAGE_SECONDS if "VAELIB_PAGE" in os.environ else CELL_SECONDS
    client = NotebookClient(
        notebook,
        kernel_manager_class=ThisPython,
        timeout=limit,
        extra_arguments=["--IPKernelApp.log_level=CRITICAL"],  # else a line on encryption between local processes
        resources={"metadata": {"path": str(target.parent)}},
        on_cell_execute=lambda cell, cell_index: reached.append(cell),
        # Timings, widgets, and how the system cut up what was printed, differ from run to run.
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,
    )
    error = ""
    try:
        client.execute(env=os.environ | SETTINGS)
    except CellExecutionError as failure:
        error = f"{failure.ename}: {failure.evalue}"
    except CellTimeoutError:
        error = f"the cell took longer than {limit} s"
    except DeadKernelError:
        error = "the kernel died (out of memory?)"
    if error:
        first_line = reached[-1].source.strip().splitlines()[0]
        error = f"FAILED in code cell {len(reached)}\n      {first_line}\n      {error}"
    if target != source or not error:
        target.write_text(stored_form(notebook), encoding="utf-8", newline="\n")
    return time.perf_counter() - start, error


def stored_form(notebook) -> str:
    """The text of a notebook file, without what differs between machines, Python versions and editors.

    The code of a claim is folded in JupyterLab and, by the tag, on a page; a cell that only serves claims has the tag.
    Likewise the output of a cell whose result the reader is asked to predict. The cells `answer-3-2` and `grade-3-2` of
    a sheet of exercises carry what nbgrader asks for.
    """
    import nbformat

    notebook = nbformat.from_dict(notebook)
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        tags = list(cell.metadata.get("tags", []))
        if cell.cell_type == "code" and re.search(r"\bClaim\(", cell.source) and FOLDED not in tags:
            tags.append(FOLDED)
        folds = {"source_hidden": FOLDED, "outputs_hidden": HIDDEN}
        folded = {name: True for name, tag in folds.items() if tag in tags and cell.cell_type == "code"}
        cell.metadata = ({"jupyter": folded} if folded else {}) | ({"tags": tags} if tags else {}) | graded(cell)
    return nbformat.writes(notebook, version=4) + "\n"


def graded(cell) -> dict:
    """What nbgrader keeps with the cell of an answer, which the student writes, and with the one that judges it."""
    part = re.fullmatch(r"(answer|grade)-(\w+-\d+)", cell.get("id", "")) if cell.cell_type == "code" else None
    if not part:
        return {}
    judges = part[1] == "grade"
    kept = {"schema_version": 3, "grade_id": cell.id, "grade": judges, "locked": judges, "solution": not judges}
    return {"nbgrader": kept | {"task": False} | ({"points": 1} if judges else {})}


# --- Checks -----------------------------------------------------------------------------------------------------------


def nbval(folder: Path | str) -> list[str]:
    """The command that executes every notebook of a folder and compares each output with the stored one."""
    # A notebook's cells share a kernel, so one worker must get them all: --dist loadscope.
    options = ["--nbval", "--nbval-current-env", f"--nbval-cell-timeout={CELL_SECONDS}", "--dist=loadscope"]
    return [sys.executable, "-m", "pytest", f"-n{WORKERS}", *options, str(folder)]


def unit_tests(*options: str) -> list[str]:
    """The command that runs the unit tests and the examples in the docstrings."""
    kept = [f"--ignore={BROWSER_TESTS}", "vaelib", "tests"]
    return [sys.executable, "-m", "pytest", f"-n{WORKERS}", "--doctest-modules", *options, *kept]


def build_site(folder: Path) -> list[str | Path]:
    """The command that makes the site of the executed notebooks in a folder."""
    return [sys.executable, ROOT / "tools" / "build_site.py", folder]


def site_stages() -> dict[str, list[str | Path]]:
    """The site, built from the stored notebooks, and every page of it opened in a browser."""
    browser = [sys.executable, "-m", "pytest", f"-n{WORKERS}", "-q", BROWSER_TESTS]
    return {"site": build_site(NOTEBOOKS), "site in a browser": browser}


STATIC = {
    "ruff check": [sys.executable, "-m", "ruff", "check", "."],
    "ruff format": [sys.executable, "-m", "ruff", "format", "--check", "."],
    "ty": [sys.executable, "-m", "ty", "check", "--python", sys.prefix],
}


def check(_only: list[str]) -> int:
    """What a developer runs after every change."""
    return run_all(STATIC | {"fast unit tests": unit_tests("-q", "-m", "not slow")})


def test(_only: list[str]) -> int:
    """Everything that can be checked."""
    stages = STATIC | {
        "unit tests": unit_tests(),
        "ledger of claims": [sys.executable, "-m", "vaelib.checking.ledger"],
        **site_stages(),
        "notebooks under nbval": nbval("notebooks"),
    }
    return run_all(stages)


def try_site(_only: list[str]) -> int:
    """The site and its tests alone."""
    return run_all(site_stages())


def run_all(stages: Mapping[str, Sequence[str | Path]]) -> int:
    """Runs every stage, also after one failed, and closes with a summary."""
    summary, failed = [], False
    for name, command in stages.items():
        print(f"\n--- {name}", flush=True)
        start = time.perf_counter()
        code = call(*command)
        failed |= code != 0
        summary.append(f"{name:22} {time.perf_counter() - start:6.1f} s  {'FAILED' if code else 'passed'}")
    print("", *summary, sep="\n")
    return int(failed)


def ledger(_only: list[str]) -> int:
    """Collects every claim of the notebooks into build/ledger.md, and fails where one lacks."""
    return call(sys.executable, "-m", "vaelib.checking.ledger")


def page(only: list[str]) -> int:
    """Changes every displayed equation, token by token: build/page/changes.md says which changes are noticed.

    The reasons in tests/PAGE.md are taken over; once all is explained, that is where the page is kept.
    """
    shutil.rmtree(PAGE, ignore_errors=True)
    PAGE.mkdir(parents=True)
    os.environ["VAELIB_PAGE"] = str(PAGE / "changes.jsonl")
    failed = execute_all(choose(only), PAGE)
    known = ROOT / "tests" / "PAGE.md"
    return call(sys.executable, "-m", "vaelib.checking.page", PAGE / "changes.jsonl", "--reasons", known) or failed


def lab(_only: list[str]) -> int:
    """Opens JupyterLab."""
    return call(sys.executable, "-m", "jupyterlab", OMP_NUM_THREADS="1")


def bench(_only: list[str]) -> int:
    """Measures the speed of training on this machine."""
    return call(sys.executable, ROOT / "benchmarks" / "speed.py")


def site(_only: list[str]) -> int:
    """Makes the site of the stored notebooks."""
    return call(*build_site(NOTEBOOKS))


def reproduce(only: list[str]) -> int:
    """Trains these rows of the table of published likelihoods, or what is missing of them, and writes the table."""
    return call(sys.executable, ROOT / "benchmarks" / "reproduce.py", *only)


def speedrun(only: list[str]) -> int:
    """Trains, times and scores a recipe by the rules of the speed-run, and writes its record and the table."""
    return call(sys.executable, ROOT / "benchmarks" / "speedrun.py", *only)


def student(_only: list[str]) -> int:
    """Writes the edition for students."""
    return call(sys.executable, ROOT / "tools" / "student.py")


def mutate(only: list[str]) -> int:
    """Changes the library in many small ways, one at a time, and names the changes that no test notices."""
    return call(sys.executable, ROOT / "tools" / "mutate.py", *only)


COMMANDS = {
    "course": course,
    "notebooks": notebooks,
    "check": check,
    "test": test,
    "ledger": ledger,
    "page": page,
    "mutate": mutate,
    "site": site,
    "test-site": try_site,
    "student": student,
    "lab": lab,
    "bench": bench,
    "reproduce": reproduce,
    "speedrun": speedrun,
}

if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
