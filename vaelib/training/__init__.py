"""Training: the loop, the step, its fast form, the folder of a run, and models on disk."""

from .loop import fit
from .run import History
from .saving import load_model, save

__all__ = ["History", "fit", "load_model", "save"]
