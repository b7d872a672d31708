"""The data: what is bundled (their sources, licences and traps are in DATA_CARD.md), the Cave, and the user's own.

>>> digits = load("mnist")
>>> digits.train.images.shape, digits.train.labels.shape
(torch.Size([50000, 1, 28, 28]), torch.Size([50000]))
"""

from . import cave
from .bundled import Dataset, Split, load
from .files import load_file
from .pixels import SCALE, binarise, in_unit_interval

__all__ = ["SCALE", "Dataset", "Split", "binarise", "cave", "in_unit_interval", "load", "load_file"]
