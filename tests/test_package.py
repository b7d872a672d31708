"""The package as a whole: light to import, layered, short, documented."""

import ast
import graphlib
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import vaelib as vl

PACKAGE = Path(vl.__file__).parent
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    if path != PACKAGE / "__init__.py"
)
HEAVY = {"matplotlib", "scipy", "sympy", "flint", "IPython", "nbformat", "pandas", "PIL", "datasets"}


def file_of(name: str) -> Path:
    path = PACKAGE.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@pytest.mark.slow
def test_every_module_is_light_to_import():
    """Who only trains a model does not wait for matplotlib, scipy or the checks' tools, nor needs them installed."""
    names = ["vaelib", *(f"vaelib.{name}" for name in MODULES)]
    code = f"import importlib, os, sys; before = dict(os.environ); list(map(importlib.import_module, {names}))"
    code += "; print(*sys.modules); assert dict(os.environ) == before"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"vaelib.models", "vaelib.checking.ledger"} <= set(loaded)
    assert not {name.partition(".")[0] for name in loaded} & HEAVY


def imports(name: str) -> set[str]:
    """The modules of vaelib that a module imports as it is loaded itself (not within a function)."""
    path, found = file_of(name), set()
    package = list(path.relative_to(PACKAGE).parent.parts)
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) + 1 - node.level] + (node.module or "").split(".") * bool(node.module)
            within = [".".join([*base, alias.name]) for alias in node.names]
            found |= {target if target in MODULES else ".".join(base) for target in within}
    return found - {name}


def test_imports_have_no_cycle():
    graphlib.TopologicalSorter({name: imports(name) for name in MODULES}).prepare()
    with pytest.raises(graphlib.CycleError):
        graphlib.TopologicalSorter({name: imports(name) for name in MODULES} | {"bounds": {"training.loop"}}).prepare()


def test_modules_stay_under_400_lines_and_functions_under_60():
    lengths = {}
    for name in ["__init__", *MODULES]:
        source = file_of(name).read_text()
        lengths[name] = len(source.splitlines()) / 400
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lengths[f"{name}.{node.name}, line {node.lineno}"] = (node.end_lineno - node.lineno + 1) / 60
    assert len(lengths) > 200
    assert {name: f"{100 * share:.0f} %" for name, share in lengths.items() if share > 1} == {}


@pytest.mark.parametrize("name", vl.__all__)
def test_every_public_name_is_there_and_documented(name):
    assert inspect.getdoc(getattr(vl, name))


@pytest.mark.parametrize("name", MODULES)
def test_every_public_method_is_documented(name):
    """It may inherit its docstring, which ruff cannot see; a layer's `forward` and a constraint's `check` are torch's.

    Modules, classes and functions are ruff's (D100, D101, D103, D104).
    """
    module = importlib.import_module(f"vaelib.{name}")
    for kind in vars(module).values():
        if inspect.isclass(kind) and kind.__module__ == module.__name__ and not kind.__name__.startswith("_"):
            public = {key for key in vars(kind) if not key.startswith("_") and key not in {"forward", "check"}}
            methods = {key for key in public if inspect.isroutine(getattr(kind, key))}
            methods |= {key for key in public if isinstance(vars(kind)[key], property)}
            assert {f"{kind.__name__}.{key}" for key in methods if not inspect.getdoc(getattr(kind, key))} == set()


def test_a_misspelt_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'ebo'"):
        vl.ebo  # noqa: B018
