"""Training: the loop, the step, its fast form, the folder of a run, and models on disk."""

from .loop import Training, fit
from .run import Epoch, History, Run
from .saving import load_model, save

__all__ = ["Epoch", "History", "Run", "Training", "fit", "load_model", "save"]
