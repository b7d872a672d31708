"""What a fit of one term says in words: a rate, a reconstruction, a log-density, or a bound of log-weights."""

import math

from .calling import Candidate
from .probes import Fit
from .verdicts import Audit, Factor, constants, factor, off, reduction, same, short, this_is, unknown


def recognised(size: Factor, fit: Fit, evidence: tuple[str, ...], what: str) -> Audit | None:
    """The verdict of the form alone: on a term that does not show, or one that is a mistake whatever its size."""
    if size.value == 0:
        return unknown(evidence, what)
    if fit.form.number:
        return Audit(False, this_is(fit.form.number, fit.form.words), fit.form.number, evidence)
    return None


def judge_rate(candidate: Candidate, fit: Fit, called: str) -> Audit:
    """A rate alone."""
    b = factor(candidate, fit, "rate")
    evidence = (f"it is {b} x rate", *constants(candidate, fit))
    if found := recognised(b, fit, evidence, "a rate"):
        return found
    constant = fit.at.get("constant", 0.0)
    if constant:
        each = constant / b.value  # the column of a constant is 1 for each example, as those of the terms are
        number = "E4" if same(each, (candidate.sizes["J"] - 1) / 2) else ""
        return Audit(False, this_is(number, off(each)), number, evidence)
    if (b.powers.get("J") or 0) < 0:
        said = "the mean over latent dimensions where the sum is meant; beside a summed reconstruction beta is"
        return Audit(False, f"this is E1: {said} {short(1 / candidate.sizes['J'])}", "E1", evidence)
    if fit.shape == "examples" and (b.powers.get("B") or 0) != 0:
        return Audit(False, "the rate of one example depends on the batch size", "E3", evidence)
    if b.value < 0 and "loss" in called:
        said = "this is E18: minus the rate, under the name of a loss, which is minimised"
        return Audit(False, said, "E18", evidence)
    minus, prior = "minus " if b.value < 0 else "", "the prior" if "prior_mu" in candidate.takes else "N(0, I)"
    kind = fit.form.words if "one draw" in fit.form.words else f"the rate, the KL divergence to {prior}"
    return Audit(True, f"{minus}{kind}, {reduction(b, fit.shape)}", "", evidence)


def judge_reconstruction(candidate: Candidate, fit: Fit, called: str) -> Audit:
    """A reconstruction term alone."""
    a = factor(candidate, fit, "reconstruction")
    evidence = (f"it is {a} x the sum over pixels", *constants(candidate, fit))
    if found := recognised(a, fit, evidence, "a likelihood"):
        return found
    if a.value < 0 and "loss" in called:
        said = "this is E18: minus a reconstruction term, under the name of a loss, which is minimised"
        return Audit(False, said, "E18", evidence)
    if "error" in fit.form.words:
        if a.powers.get("D") == -1:
            said = f"the mean {fit.form.words} is no likelihood; beside a rate it sets sigma without a word"
            return Audit(False, f"this is E8: {said}", "E8", evidence)
        spread = short(abs(a.number) ** -0.5) if fit.form.words.startswith("squared") else short(1 / abs(a.number))
        law = "Gaussian without its constant, sigma" if fit.form.words.startswith("squared") else "Laplace, scale"
        said = f"{fit.form.words}, {reduction(a, fit.shape)}: a {law} = {spread}"
        return Audit(True, f"{said}; say so where you report it", "", evidence)
    sign = "minus the log-likelihood" if a.value > 0 else "the log-likelihood"
    law = fit.form.words.removesuffix(" likelihood")
    return Audit(True, f"{sign} under {law}, {reduction(a, fit.shape)}", "", evidence)


def judge_density(candidate: Candidate, fit: Fit) -> Audit:
    """A log-density."""
    a = factor(candidate, fit, "density")
    evidence = (f"it is {a} x log-density", *constants(candidate, fit))
    if found := recognised(a, fit, evidence, "a log-density"):
        return found
    minus = "minus " if a.value < 0 else ""
    if not fit.at.get("constant"):
        return Audit(True, f"{minus}the log-density, {reduction(a, fit.shape)}", "", evidence)
    count, each = candidate.sizes["J"], fit.at["constant"] / a.value
    unit = math.log(2 * math.pi) / 2
    if same(each, count * unit):
        said = f"{minus}the log-density without its constant: as good in a difference of two, not alone"
        return Audit(True, said, "", evidence)
    return Audit(False, off(each), "", evidence)


def judge_bound(candidate: Candidate, fit: Fit, called: str, gradient: str) -> Audit:
    """A bound from log-weights."""
    a = factor(candidate, fit, "bound")
    noted = (f"gradient: {gradient}",) if gradient else ()
    evidence = (f"it is {a} x {fit.form.words}", *noted, *constants(candidate, fit))
    if a.value == 0:
        return unknown(evidence, "a bound")
    number, words = fit.form.number, fit.form.words
    if number:
        honest = number in ("E10b", "E22") and gradient.startswith("that of the importance-weighted bound")
        said = "gradient right, value no bound" if honest else words
        return Audit(False, f"this is {number}: {said}", number, evidence)
    if fit.at.get("constant"):
        return Audit(False, off(fit.at["constant"] / a.value), "", evidence)
    sign, scale = ("minus " if a.value < 0 else ""), reduction(a, fit.shape)
    if words.startswith("the ELBO"):
        if (a.powers.get("K") or 0) > 0:
            return Audit(
                False,
                f"this is E14b: {short(candidate.sizes['K'])} times {words}: a sum over samples",
                "E14b",
                evidence,
            )
        if "iwae" in called or "importance" in called:
            return Audit(
                False,
                "this is E10a: the mean of the logs, the ELBO, under the name of the importance-weighted bound",
                "E10a",
                evidence,
            )
        return Audit(
            True, f"{sign}{words}, {scale}; where the importance-weighted bound is meant it is E10a", "", evidence
        )
    if "nll" in called and a.value > 0:
        return Audit(
            False, "this is E21: the log-likelihood, without the minus, under the name of an NLL", "E21", evidence
        )
    if gradient and not gradient.startswith("that of"):
        return Audit(False, f"value right, gradient not: {gradient}", "", evidence)
    return Audit(True, f"{sign}{words}, {scale}", "", evidence)
