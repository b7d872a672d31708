"""Checking: claims, witnesses that share no code, wrong twins that they reject, and the ledger of all claims."""

from .claims import Claim
from .reports import MIME, Report
from .values import Joint
from .witnesses import ball_normal_mean, cases, loguniform, normal, normal_mean, simplex, uniform

__all__ = [
    "MIME",
    "Claim",
    "Joint",
    "Report",
    "ball_normal_mean",
    "cases",
    "loguniform",
    "normal",
    "normal_mean",
    "simplex",
    "uniform",
]
