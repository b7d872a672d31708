"""Settings for `pytest --nbval notebooks`, from wherever it is started, also in a copy of this folder."""

import os

# The kernels get the environment in which the stored outputs were computed: SETTINGS of tools/run.py once more, as a
# copied folder has no tools/ beside it.
os.environ.update(
    OMP_NUM_THREADS="1",
    MKL_ENABLE_INSTRUCTIONS="AVX2",
    CUDA_VISIBLE_DEVICES="",
    PYTHONHASHSEED="0",
    TQDM_DISABLE="1",
    VAELIB_STILL="1",
    MPLBACKEND="module://matplotlib_inline.backend_inline",
)


def pytest_configure(config):
    """Kernels run in the Python that runs pytest, unless another is asked for by name."""
    if not config.getoption("nbval_kernel_name", None):
        config.option.nbval_current_env = True


def pytest_collection_modifyitems(items):
    """With VAELIB_COMPARE_PICTURES=1, compares pictures as well: byte for byte, so only where they were drawn."""
    if os.environ.get("VAELIB_COMPARE_PICTURES") == "1":
        from nbval.plugin import IPyNbCell

        for item in items:
            if isinstance(item, IPyNbCell):
                item.parent.skip_compare = tuple(key for key in item.parent.skip_compare if key != "image/png")
