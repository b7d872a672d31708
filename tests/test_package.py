import doctest
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import vaelib as vl

MODULES = sorted(path.stem for path in Path(vl.__file__).parent.glob("*.py") if path.stem != "__init__")


def test_import_is_light():
    """Who only trains a model does not wait for matplotlib, scipy or the checks' tools."""
    code = "import sys, torch; before = set(sys.modules); import vaelib; print(*sorted(set(sys.modules) - before))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {name.split(".")[0] for name in loaded} & {"matplotlib", "scipy", "sympy", "flint", "IPython", "pandas"}
    assert "vaelib.models" in loaded
    assert not heavy


@pytest.mark.parametrize("name", vl.__all__)
def test_every_public_name_is_there_and_documented(name):
    assert inspect.getdoc(getattr(vl, name))


def test_a_misspelt_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'ebo'"):
        vl.ebo  # noqa: B018


@pytest.mark.parametrize("name", ["__init__", *MODULES])
def test_docstring_examples_run(name):
    module = importlib.import_module("vaelib" if name == "__init__" else f"vaelib.{name}")
    assert doctest.testmod(module).failed == 0
