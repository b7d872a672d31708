"""What students hand in who make the mistakes of chapter 2, written from the messages alone."""

import math

import sympy
import torch
from scipy import special

LIGHTER, BEST, HEAVIER = 0.8082, 0.6424, 0.5892  # the right factors of exercise 2.7


def uniform_half_width(k):
    """c where (1/2) log(2 pi) - log(2 c) + c^2 / 6, the divergence of a uniform q on (-c, c), is k."""
    known = math.log(2 * math.pi) / 2 - math.log(2)
    return math.sqrt(-3 * special.lambertw(-math.exp(2 * (known - float(k))) / 3).real)


def variance_of_k3(k1, r, covariance):
    return k1 + r - 2 * covariance


def k1(s, J):
    return J * (s**2 - 1) ** 2 / 2


def moment(s, J):
    """The second moment of r."""
    return (s**2 / sympy.sqrt(2 * s**2 - 1)) ** J


def both(s, J):
    """The sum of both directions."""
    return J * (s**2 + 1 / s**2 - 2) / 2


def reverse(s, J):
    """KL(q || p), one of the two directions."""
    return J * ((s**2 - 1) / 2 - sympy.log(s))


WRONG = {
    "2.1": {
        "E7": (1 / 4 * math.log((1 / 4) / (1 / 2)) + 3 / 4 * math.log((3 / 4) / (1 / 2)), 0.5 * (1 / 4 + 1 / 4) ** 2),
        "bits": (0.5 * math.log2(4 / 3), 0.5 * (1 / 4 + 1 / 4) ** 2),
        "half the sum": (0.5 * math.log(4 / 3), 0.5 * ((1 / 4 + 1 / 4) / 2) ** 2),
        "not squared": (0.5 * math.log(4 / 3), 0.5 * (1 / 4 + 1 / 4)),
        "absolute terms": (0.5 * abs(math.log(2)) + 0.5 * abs(math.log(2 / 3)), 0.5 * (1 / 4 + 1 / 4) ** 2),
    },
    "2.2": {
        "all for the mean": math.sqrt(2),
        "double width": math.sqrt(2 * (1 - (2**2 - 1 - math.log(2**2)) / 2)),
        "the dashed curve": math.sqrt(1 - 0.5**2),
    },
    "2.3": {
        "E6": lambda mu, log_sigma: -0.5 * (1 + log_sigma - mu**2 - log_sigma.exp()).sum(1),
        "one place of two": lambda mu, log_sigma: -0.5 * (1 + log_sigma - mu**2 - (2 * log_sigma).exp()).sum(1),
        "the other place": lambda mu, log_sigma: -0.5 * (1 + 2 * log_sigma - mu**2 - log_sigma.exp()).sum(1),
        "E5a": lambda mu, log_sigma: (0.5 * (mu**2 + (2 * log_sigma).exp() - 1) - 2 * log_sigma).sum(1),
        "E1": lambda mu, log_sigma: -0.5 * (1 + 2 * log_sigma - mu**2 - (2 * log_sigma).exp()).mean(1),
        "E3": lambda mu, log_sigma: -0.5 * (1 + 2 * log_sigma - mu**2 - (2 * log_sigma).exp()).sum(),
    },
    "2.5": {
        "one tail": lambda k: math.sqrt(2) * torch.erfinv(1 - torch.exp(-k)),
        "the whole width": lambda k: 2 * math.sqrt(2) * torch.erfinv(torch.exp(-k)),
        "bits": lambda k: math.sqrt(2) * torch.erfinv(2**-k),
        "error function": lambda k: torch.erfinv(torch.exp(-k)),
        "uniform": uniform_half_width,
    },
    "2.6": {
        "dimension by dimension": lambda s, J: J * variance_of_k3(k1(s, 1), moment(s, 1) - 1, both(s, 1)),
        "uncorrelated": lambda s, J: variance_of_k3(k1(s, J), moment(s, J) - 1, 0),
        "E7": lambda s, J: variance_of_k3(k1(s, J), moment(s, J) - 1, 2 * reverse(s, J)),
        "covariance once": lambda s, J: k1(s, J) + moment(s, J) - 1 - both(s, J),
        "second moment": lambda s, J: variance_of_k3(k1(s, J), moment(s, J), both(s, J)),
        "k1 of one dimension": lambda s, J: variance_of_k3(k1(s, 1), moment(s, J) - 1, both(s, J)),
    },
    "2.7": {
        "half distances": (2 * LIGHTER, 2 * BEST, 2 * HEAVIER),
        "gone means beaten": (LIGHTER, HEAVIER, HEAVIER),
        "compared with the lighter": (LIGHTER, 0.9287, HEAVIER),  # where KL of fit(factor, 2, 0.7) and (0, 1.4) agree
        "humps exchanged": (HEAVIER, BEST, LIGHTER),
    },
}
