"""Checking: claims, witnesses that share no code, wrong twins that they reject, and the ledger of all claims."""

from .claims import Claim
from .reports import MIME, Report
from .witnesses import Outcomes, ball_normal_mean, cases, loguniform, normal, normal_mean, simplex, uniform

__all__ = [
    "MIME",
    "Claim",
    "Outcomes",
    "Report",
    "ball_normal_mean",
    "cases",
    "loguniform",
    "normal",
    "normal_mean",
    "simplex",
    "uniform",
]
