"""Settings for `pytest --nbval --nbval-current-env notebooks`."""

import os

import run  # tools/run.py
from nbval.plugin import IPyNbCell

# The kernels get the environment in which the stored outputs were computed.
os.environ.update(run.SETTINGS)


def pytest_collection_modifyitems(items):
    """With VAELIB_COMPARE_PICTURES=1, compares pictures as well: byte for byte, so only where they were drawn."""
    if os.environ.get("VAELIB_COMPARE_PICTURES") == "1":
        for item in items:
            if isinstance(item, IPyNbCell):
                item.parent.skip_compare = tuple(key for key in item.parent.skip_compare if key != "image/png")
