"""Checking: claims, witnesses that share no code, wrong twins that they reject, and the ledger of all claims."""

from .claims import Claim
from .noise import OverNoise
from .reader.arithmetics import Outcomes, normal_mean
from .reader.chains import Joint
from .reports import MIME, Report
from .witnesses import ball_normal_mean, cases, loguniform, normal, simplex, uniform

__all__ = [
    "MIME",
    "Claim",
    "Joint",
    "Outcomes",
    "OverNoise",
    "Report",
    "ball_normal_mean",
    "cases",
    "loguniform",
    "normal",
    "normal_mean",
    "simplex",
    "uniform",
]
