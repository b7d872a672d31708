import ast
import doctest
import graphlib
import importlib
import inspect
import os
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


def test_import_is_light():
    """Who only trains a model does not wait for matplotlib, scipy or the checks' tools."""
    code = "import sys, torch; before = set(sys.modules); import vaelib; print(*sorted(set(sys.modules) - before))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {name.split(".")[0] for name in loaded} & {"matplotlib", "scipy", "sympy", "flint", "IPython", "pandas"}
    assert "vaelib.models" in loaded
    assert not heavy


@pytest.mark.parametrize(("own", "want"), [(None, "1000"), ("7", "7")])
def test_openmp_does_not_spin_unless_the_user_says_so(own, want):
    environment = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    environment |= {"GOMP_SPINCOUNT": own} if own else {}
    code = "import os, sys, vaelib; print(os.environ['GOMP_SPINCOUNT'])"
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == want


@pytest.mark.parametrize("name", vl.__all__)
def test_every_public_name_is_there_and_documented(name):
    assert inspect.getdoc(getattr(vl, name))


@pytest.mark.parametrize("name", MODULES)
def test_every_public_function_class_and_method_is_documented(name):
    """A method may inherit its docstring; a layer's `forward` and a constraint's `check` are torch's and need none."""
    module = importlib.import_module(f"vaelib.{name}")
    here = [value for key, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
    for value in here:
        if not hasattr(value, "__name__") or value.__name__.startswith("_") or name.startswith("_"):
            continue
        assert value.__doc__, f"{name}.{value.__name__}"
        for key, method in vars(value).items() if inspect.isclass(value) else ():
            if inspect.isfunction(method) and not key.startswith("_") and key not in {"forward", "check"}:
                assert inspect.getdoc(getattr(value, key)), f"{name}.{value.__name__}.{key}"


def file_of(name: str) -> Path:
    path = PACKAGE.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


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


def test_modules_stay_short():
    lengths = {name: len(file_of(name).read_text().splitlines()) for name in MODULES}
    assert {name: length for name, length in lengths.items() if length > 400} == {}


def test_a_misspelt_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'ebo'"):
        vl.ebo  # noqa: B018


@pytest.mark.parametrize("name", ["__init__", *MODULES])
def test_docstring_examples_run(name):
    module = importlib.import_module("vaelib" if name == "__init__" else f"vaelib.{name}")
    assert doctest.testmod(module).failed == 0
