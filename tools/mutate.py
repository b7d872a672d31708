"""Changes the library in small ways, one at a time, and names the changes that no test notices.

    python tools/mutate.py                        every module, 100 mutants of each (the same ones every time)
    python tools/mutate.py bounds training        modules whose names start so
    python tools/mutate.py bounds --most 1000     more of them

First each test file runs once under coverage, so that a mutant meets only the tests that reach its line, processes that
they start included, for 20 seconds or so, first those that reach little else. Then each mutant is written into a copy
of the project and tested in a fork of this process, which has imported torch already. Results: build/mutation.json and
build/mutation.md. It needs an operating system that can fork.
"""

import argparse
import ast
import contextlib
import hashlib
import importlib
import itertools
import json
import multiprocessing
import multiprocessing.connection
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
ORIGINAL = BUILD / "mutants" / "original"
COPIES = [BUILD / "mutants" / str(number) for number in range(min(os.cpu_count() or 1, 4))]
MEMORY = 16 << 30  # bytes of address space, as a mutant may ask for any number of numbers
BUDGET = 20  # seconds of tests for each mutant; one that lives meets them all
UNRELATED = tuple(f"tests/test_{name}" for name in ("benchmarks", "notebooks", "project", "tools"))
PRELOADED = "torch._dynamo", "scipy.stats", "sympy", "matplotlib.pyplot", "pytest", "hypothesis", "coverage"
PYTEST = [
    "--doctest-modules",
    "--hypothesis-seed=0",
    "-q",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:nbval",
    "-p",
    "no:xdist",
]
PYTEST += ["-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning"]

PAIRS: list[Any] = [(ast.Add, ast.Sub), (ast.Mult, ast.Div), (ast.Lt, ast.LtE), (ast.Gt, ast.GtE), (ast.Eq, ast.NotEq)]
PAIRS += [(ast.Is, ast.IsNot), (ast.In, ast.NotIn), (ast.And, ast.Or), (ast.BitAnd, ast.BitOr)]
OTHER: dict[Any, Any] = {a: b for pair in PAIRS for a, b in (pair, pair[::-1])}
OTHER |= {ast.FloorDiv: ast.Div, ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.MatMult: ast.Mult}
WORDS = [("mean", "sum"), ("min", "max"), ("log", "exp"), ("any", "all"), ("clamp_min", "clamp_max"), ("std", "var")]
OTHER |= {a: b for pair in WORDS for a, b in (pair, pair[::-1])}
ALIKE = {"min", "max", "isinstance", "zip"}  # whose arguments may change places, or obviously not
PLAIN = {"property", "staticmethod", "classmethod", "dataclass", "abstractmethod", "contextmanager"}


class Mutant(NamedTuple):
    """One change: where it stands, both texts, and the lines one of which a test must reach to notice it."""

    module: str
    line: int
    old: str
    new: str
    source: str | None
    reach: tuple[int, int]


class Job(NamedTuple):
    """A mutant with its number and the tests that it meets."""

    number: int
    mutant: Mutant
    tests: list[str]


# --- Changes ----------------------------------------------------------------------------------------------------------


def changed(node: ast.AST, **fields: Any) -> Any:
    """A copy of the node with other fields."""
    copy = deepcopy(node)
    for name, value in fields.items():
        setattr(copy, name, value)
    return copy


def variants(node: Any) -> Iterator[tuple[Any, ast.AST]]:
    """(a node, what to put in its place), for a node and what belongs to it."""
    match node:
        case ast.BinOp(op=op) | ast.AugAssign(op=op) | ast.BoolOp(op=op) if type(op) in OTHER:
            yield node, changed(node, op=OTHER[type(op)]())
            if (
                isinstance(op, ast.Div)
                and not isinstance(node, ast.AugAssign)
                and not isinstance(node.right, ast.Constant)
            ):
                yield node.right, ast.BinOp(node.right, ast.Sub(), ast.Constant(1))
        case ast.Compare(ops=ops):
            for i, op in enumerate(ops):
                yield node, changed(node, ops=[*ops[:i], OTHER[type(op)](), *ops[i + 1 :]])
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield node, node.operand
        case ast.Constant(value=bool(value)):
            yield node, ast.Constant(not value)
        case ast.Constant(value=int(value)):
            yield node, ast.Constant(value + 1)
        case ast.Constant(value=float(value)):
            yield node, ast.Constant(2 * value or 1.0)
        case ast.Constant(value=str(value)) if value and " " not in value:  # sentences are not mutated
            yield node, ast.Constant(f"XX{value}")
        case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name) as function, args=args):
            if name in OTHER:
                field = "attr" if isinstance(function, ast.Attribute) else "id"
                yield function, changed(function, **{field: OTHER[name]})
            if (
                len(args) > 1
                and name not in ALIKE
                and not any(isinstance(argument, ast.Starred) for argument in args[:2])
            ):
                yield node, changed(node, args=[args[1], args[0], *args[2:]])
        case ast.Expr(value=ast.Call()) | ast.Raise():
            yield node, ast.Pass()
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            if isinstance(test, ast.Name | ast.Attribute | ast.Call):
                yield test, ast.UnaryOp(ast.Not(), test)


def sites(node: ast.AST, scope: ast.AST, statement: ast.AST) -> Iterator[tuple[Any, str, tuple[int, int]]]:
    """(a node, the text to put in its place, the lines that reach it), for all that can be changed below a node."""
    for child in ast.iter_child_nodes(node):
        if isinstance(node, ast.stmt | ast.arg) and child in (
            getattr(node, "annotation", 0),
            getattr(node, "returns", 0),
        ):
            continue
        if isinstance(child, ast.JoinedStr) or isinstance(node, ast.Raise):  # wording
            continue
        if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):  # a docstring
            continue
        if isinstance(child, ast.If | ast.Assign) and ast.unparse(child).startswith(
            ("if TYPE_CH", "if __name", "__all")
        ):
            continue
        inner = child if isinstance(child, ast.stmt) else statement
        reach = lines_of(inner, scope)
        for old, new in variants(child):
            text = ast.unparse(ast.fix_missing_locations(new))
            yield old, text if isinstance(new, ast.stmt) else f"({text})", reach
        for decorator in getattr(child, "decorator_list", []):
            if not any(word in ast.unparse(decorator) for word in PLAIN):
                yield decorator, "(lambda undecorated: undecorated)", reach
        below = child if isinstance(child, ast.FunctionDef | ast.ClassDef | ast.Lambda) else scope
        yield from sites(child, below, inner)


def lines_of(statement: Any, scope: Any) -> tuple[int, int]:
    """Who reaches one of these lines runs the statement; what runs at import concerns all that is in its scope."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return statement.lineno, statement.end_lineno
    if isinstance(scope, ast.FunctionDef | ast.Lambda):
        body = getattr(statement, "body", None)
        return statement.lineno, max(statement.lineno, body[0].lineno - 1) if body else statement.end_lineno
    return getattr(scope, "lineno", 1), getattr(scope, "end_lineno", sys.maxsize)


def module_of(path: Path, root: Path) -> str:
    """The module's name within vaelib: training.loop."""
    return ".".join(path.relative_to(root / "vaelib").with_suffix("").parts)


def mutants(path: Path) -> list[Mutant]:
    """All mutants of a file, in the order of its lines."""
    source, found = path.read_bytes(), []
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    tree = ast.parse(source)
    for node, text, reach in sites(tree, tree, tree):
        start, end = (starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset)
        whole = (source[:start] + text.encode() + source[end:]).decode()
        try:
            compile(whole, path.name, "exec")
        except SyntaxError:
            continue
        found.append(Mutant(module_of(path, ROOT), node.lineno, source[start:end].decode(), text, whole, reach))
    return sorted(set(found), key=lambda mutant: (mutant.line, mutant.old, mutant.new))


# --- Running them -----------------------------------------------------------------------------------------------------


def pool(
    jobs: list[Any], run: Callable[[Path, Any], int], limit: Callable[[Any], float]
) -> Iterator[tuple[Any, int | None]]:
    """(job, its exit status, None if it took too long), each job in a forked process with one of the copies."""
    fork, waiting, running = multiprocessing.get_context("fork"), list(reversed(jobs)), {}
    try:
        while waiting or running:
            for copy in COPIES:
                if waiting and copy not in running:
                    job = waiting.pop()
                    process = fork.Process(target=enter, args=(copy, run, job))
                    process.start()
                    running[copy] = process, job, time.monotonic() + limit(job)
            multiprocessing.connection.wait([process.sentinel for process, *_ in running.values()], timeout=1)
            for copy, (process, job, end) in list(running.items()):
                late = time.monotonic() > end
                if late or not process.is_alive():
                    stop(process)
                    del running[copy]
                    yield job, None if late else process.exitcode
    finally:
        for process, *_ in running.values():
            stop(process)


def stop(process: Any) -> None:
    """Ends a process and all that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.join()


def enter(copy: Path, run: Callable[[Path, Any], int], job: Any) -> None:
    """A job's process: a group of its own, silent, in its copy of the project."""
    import resource

    os.setsid()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for stream in (1, 2):
        os.dup2(os.open(copy / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    os.chdir(copy)
    os.environ["PYTHONPATH"] = str(copy)
    sys.path[:0] = [str(copy)]
    os._exit(run(copy, job))


class Recorder:
    """A plugin of pytest: the seconds of each test that passed, and for coverage the name of the test that runs."""

    def __init__(self, coverage: Any):
        self.coverage, self.seconds, self.failed = coverage, Counter(), set()

    def pytest_runtest_logstart(self, nodeid):
        self.coverage.switch_context(nodeid)
        os.environ["TEST"] = nodeid

    def pytest_runtest_logreport(self, report):
        self.seconds[report.nodeid] += report.duration
        self.failed |= {report.nodeid} if not report.passed else set()


def measure(copy: Path, file: str) -> int:
    """Runs a test file once, and keeps of each test the lines of the library that it reached, and its seconds."""
    import coverage
    import pytest

    folder, settings = copy / "coverage", copy / "coveragerc"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    settings.write_text(
        f"[run]\nsource = {copy}/vaelib\nparallel = true\ncontext = ${{TEST}}\ndata_file = {folder}/lines\n"
    )
    started = copy / "sitecustomize.py"  # the processes that a test starts are covered, too
    started.write_text("import coverage\ncoverage.process_startup()\n")
    os.environ |= {"TEST": "", "COVERAGE_PROCESS_START": str(settings), "COVERAGE_CORE": "ctrace"}
    cover = coverage.Coverage(config_file=str(settings))
    recorder = Recorder(cover)
    with cover.collect():
        pytest.main([*PYTEST, file], plugins=[recorder])
    started.unlink()
    cover.save()
    cover.combine([str(folder)])
    tests = {test: (spent, {}) for test, spent in recorder.seconds.items() if test not in recorder.failed}
    for path in cover.get_data().measured_files():
        for line, contexts in cover.get_data().contexts_by_lineno(path).items():
            for test in tests.keys() & set(contexts):
                tests[test][1].setdefault(module_of(Path(path), copy), []).append(line)
    kept(file).write_text(json.dumps(tests))
    return 0


def kept(file: str) -> Path:
    """Where the measurement of a test file is kept, for as long as neither it nor the library changes."""
    files = [*ROOT.glob("vaelib/**/*.py"), *ROOT.glob("tests/[!t]*.py"), ROOT / "pyproject.toml"]
    files += [ROOT / file] if file.endswith(".py") else []
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(files))).hexdigest()
    return BUILD / "mutants" / f"{file.replace('/', '.')}.{digest[:16]}.json"


def chosen(mutant: Mutant, tests: dict[str, Any]) -> list[str]:
    """The tests that reach a mutant, within the budget, but one at least: first those that reach little else."""
    first, last = mutant.reach
    reach = [
        name for name, (_, at) in tests.items() if any(first <= line <= last for line in at.get(mutant.module, []))
    ]
    reach.sort(key=lambda name: sum(map(len, tests[name][1].values())))
    spent = itertools.accumulate(tests[name][0] for name in reach)
    within = [name for name, seconds in zip(reach, spent, strict=True) if seconds < BUDGET]
    return within or reach[:1]


def judge(copy: Path, job: Job) -> int:
    """The status of pytest on a mutant: 0 if it lives."""
    import pytest

    shutil.copytree(
        ORIGINAL / "vaelib", copy / "vaelib", dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.npz", "*pyc")
    )
    if job.mutant.source is not None:
        path = copy.joinpath("vaelib", *job.mutant.module.split(".")).with_suffix(".py")
        path.write_text(job.mutant.source)
        os.utime(path, (job.number, job.number))  # a time of its own: no bytecode of another mutant is taken for it
    return pytest.main([*PYTEST, "-x", *job.tests])


def judged(jobs: list[Job], limit: Callable[[Job], float]) -> Iterator[tuple[Job, int | None]]:
    """As `pool` has it. What took too long is tried once more: it may have been the machine that paused."""
    slow = []
    for job, status in pool(jobs, judge, limit):
        if status is None:
            slow.append(job)
        else:
            yield job, status
    yield from pool(slow, judge, limit)


def write(jobs: list[Job], total: Counter, survivors: list[Job], late: Counter) -> None:
    """The table for tests/MUTATION.md and each survivor, as a page, as JSON and on the screen."""
    tried, lived = (Counter(job.mutant.module for job in some) for some in (jobs, survivors))
    rows = ["| module | mutants | tried | killed | of these too slow | score |", "|---|---:|---:|---:|---:|---:|"]
    for name in [*tried, "together"]:
        a, b, c, d = (sum(n.values()) if name == "together" else n[name] for n in (total, tried, lived, late))
        rows.append(f"| `{name}` | {a} | {b} | {b - c} | {d} | {100 * (b - c) / b:.1f} % |")
    page = "\n".join([*rows, "", *(f"- {told(job)}" for job in survivors), ""])
    (BUILD / "mutation.md").write_text(page)
    lines = [{**job.mutant._asdict(), "source": None, "tests": job.tests} for job in survivors]
    content = {"mutants": total, "tried": tried, "too slow": late, "survivors": lines}
    (BUILD / "mutation.json").write_text(json.dumps(content, indent=1) + "\n")
    print(page)


def told(job: Job) -> str:
    """A mutant in words."""
    mutant = job.mutant
    return f"`{mutant.module}`, line {mutant.line}: `{mutant.old}` became `{mutant.new}` ({len(job.tests)} tests)"


def measured() -> dict[str, tuple[float, dict[str, list[int]]]]:
    """Each test's seconds and the lines that it reaches in each module; what is known is not measured again."""
    files = ["vaelib", *(str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("tests/test_*.py")))]
    files = [file for file in files if not file.startswith(UNRELATED)]
    for file, _ in pool([file for file in files if not kept(file).exists()], measure, lambda file: 900):
        if not kept(file).exists():
            sys.exit(f"{file} could not be measured: the logs are {COPIES[0].parent}/*/log")
        print(f"measured {file}", flush=True)
    return {name: entry for file in files for name, entry in json.loads(kept(file).read_text()).items()}


def main() -> None:
    """Measures, judges, and writes what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("modules", nargs="*", help="first letters of modules; all unless given")
    parser.add_argument("--most", type=int, default=100, help="of a module, drawn with a fixed seed (100)")
    options = parser.parse_args()
    for copy in (ORIGINAL, *COPIES):
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "build", "__pycache__"))
    for name in PRELOADED:
        importlib.import_module(name)
    tests = measured()

    total, jobs = Counter(), []
    for path in sorted(ROOT.glob("vaelib/**/*.py")):
        found = mutants(path) if module_of(path, ROOT).startswith(tuple(options.modules or [""])) else []
        total[module_of(path, ROOT)] = len(found)
        some = sorted(random.Random(0).sample(found, min(len(found), options.most)))
        jobs += [Job(len(jobs) + number, mutant, chosen(mutant, tests)) for number, mutant in enumerate(some, 1)]
    print(f"{len(jobs)} of {sum(total.values())} mutants, {len(tests)} tests", flush=True)

    def limit(job: Job) -> float:
        return 3 * sum(tests[name][0] for name in job.tests) + 60  # alone, a test pays for what others had cached

    modules = {job.mutant.module: job for job in sorted(jobs, key=lambda job: len(job.tests)) if job.tests}
    unchanged = [job._replace(mutant=job.mutant._replace(source=None)) for job in modules.values()]
    if wrong := {job.mutant.module: status for job, status in judged(unchanged, limit) if status != 0}:
        how = ", ".join(f"{name} ({'too slow' if status is None else 'failed'})" for name, status in wrong.items())
        sys.exit(f"nothing is changed, and tests do not pass: {how}; the logs are {COPIES[0].parent}/*/log")
    survivors, late = [job for job in jobs if not job.tests], Counter()
    for done, (job, status) in enumerate(judged([job for job in jobs if job.tests], limit), 1):
        late[job.mutant.module] += status is None
        if status == 0:
            survivors.append(job)
            print(told(job), flush=True)
        if done % 100 == 0:
            print(f"{done} done, {len(survivors)} live", flush=True)
    write(jobs, total, sorted(survivors), late)


if __name__ == "__main__":
    main()
