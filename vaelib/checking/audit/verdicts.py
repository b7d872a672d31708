"""What a fit of a function says in words: right up to which factor, which mistake, or none that is known."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..mistakes import MISTAKES
from .probes import Candidate, Fit

NAMES = {"B": "examples", "J": "latent dimensions", "D": "pixels", "K": "samples"}


@dataclass(frozen=True)
class Audit:
    """What a function is.

    Args:
        right: True, False, or None where it is nothing that is known.
        verdict: in words.
        number: the mistake it is, "E1"; nothing if none is known.
        evidence: the numbers behind the verdict, in nats per example.
    """

    right: bool | None
    verdict: str
    number: str = ""
    evidence: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        head = {True: "right", False: "wrong", None: "unknown"}[self.right]
        lines = [f"{head}: {self.verdict}", *(f"  {line}" for line in self.evidence)]
        if self.number and not self.right:
            known = MISTAKES[self.number]
            lines += [f"  {known.number}: {known.name}", f"  wrong where: {known.where}"]
            lines += [f"  legitimate: {known.legitimate}", *(f"  seen: {seen}" for seen in known.seen[:1])]
        return "\n".join(lines)

    def _repr_markdown_(self) -> str:
        head, *rest = str(self).split("\n")
        return f"**{head}**\n\n" + "\n".join(f"- {line.strip()}" for line in rest)


def same(a: float, b: float) -> bool:
    """Equal to four digits: a beta of 0.9999 is nobody's mistake."""
    return math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-12)


def short(value: float) -> str:
    """Four digits, a whole number as one."""
    return f"{value:.0f}" if math.isclose(value, round(value), rel_tol=1e-6) and abs(value) < 1e6 else f"{value:.4g}"


@dataclass(frozen=True)
class Factor:
    """A number times powers of the sizes: 784/D is 784 and D to the power -1.

    Args:
        value: what it is at the user's sizes.
        powers: of B, J, D and K; None where it is no power.
        sizes: the user's.
    """

    value: float
    powers: Mapping[str, int | None]
    sizes: Mapping[str, int]

    @property
    def known(self) -> dict[str, int]:
        """The powers other than 0."""
        return {name: power for name, power in self.powers.items() if power}

    @property
    def number(self) -> float:
        """What is left at sizes of 1."""
        return self.value / math.prod(self.sizes[name] ** power for name, power in self.known.items())

    @property
    def varies(self) -> bool:
        """Whether it depends on the sizes."""
        return any(power != 0 for power in self.powers.values())

    def over(self, other: "Factor") -> "Factor":
        """The ratio of two."""
        powers: dict[str, int | None] = {}
        for name in self.powers.keys() & other.powers.keys():
            mine, theirs = self.powers[name], other.powers[name]
            powers[name] = None if mine is None or theirs is None else mine - theirs
        return Factor(
            self.value / other.value, {name: powers[name] for name in self.powers if name in powers}, self.sizes
        )

    def __str__(self) -> str:
        above = [name + (f"^{p}" if p > 1 else "") for name, p in self.known.items() if p > 0]
        below = [name + (f"^{-p}" if p < -1 else "") for name, p in self.known.items() if p < 0]
        number, sign = abs(self.number), "-" if self.value < 0 else ""
        if 0 < number < 1 and not same(number, 1) and same(1 / number, round(1 / number)):
            below, number = [short(1 / number), *below], 1.0
        top = " ".join([*([] if same(number, 1) and above else [short(number)]), *above])
        bottom = " ".join(below)
        return sign + (f"{top}/({bottom})" if len(below) > 1 else f"{top}/{bottom}" if below else top)


def factor(candidate: Candidate, fit: Fit, name: str) -> Factor:
    """A coefficient of a fit."""
    return Factor(fit.at[name], fit.exponents[name], candidate.sizes)


def reduction(scale: Factor, shape: str) -> str:
    """How a total was formed, in words: the sum or mean over the batch, and what it was divided by besides."""
    if shape == "dimensions":
        return "one number for each example and dimension, to be summed over dimensions"
    total = scale.powers.get("B", 0) or 0
    over = {0: "summed over the batch", -1: "averaged over the batch"}.get(
        total, f"summed over the batch, and divided by B^{-total}"
    )
    if shape == "examples":
        over, total = "one number for each example", 0
    powers = {name: power for name, power in scale.powers.items() if name != "B" or shape == "examples"}
    left = Factor(abs(scale.value) / scale.sizes["B"] ** total, powers, scale.sizes)
    if same(left.number * math.log(2), 1) and set(left.known) <= {"D"}:
        return f"{over}, in bits" + (" per dimension" if left.known else "")
    return over if same(left.value, 1) and not left.known else f"{over}, times {left}: right up to this factor"


# --- A reconstruction and a rate -------------------------------------------------------------------------------------


def judge_loss(candidate: Candidate, fit: Fit, beta: float | None, sigma: float | None, called: str = "") -> Audit:
    """A reconstruction times a plus a rate times b."""
    a, b = factor(candidate, fit, "reconstruction"), factor(candidate, fit, "rate")
    evidence = (
        f"it is {a} x reconstruction + {b} x rate",
        f"reconstruction: {fit.form.words}",
        *constants(candidate, fit),
    )
    if a.value == 0 or b.value == 0:
        missing = "reconstruction" if a.value == 0 else "rate"
        number = "E23b" if b.value == 0 else ""
        return Audit(False, f"the {missing} is missing", number, evidence)
    weight = b.over(a)
    verdict = f"{fit.form.words}; and the rate is weighted as if beta were {weight} = {short(weight.value)}"
    if fit.form.number:
        return Audit(False, f"this is {fit.form.number}: {verdict}", fit.form.number, evidence)
    if "error" in fit.form.words and weight.value > 0:
        return judge_errors(a, b, fit, beta, sigma, evidence)
    if weight.value < 0:
        return Audit(
            False,
            f"this is E18b: reconstruction and rate have opposite signs, beta is {short(weight.value)}",
            "E18b",
            evidence,
        )
    meant = 1.0 if beta is None else beta
    if same(weight.value, meant) and a.value < 0 and "loss" in called:
        return Audit(False, "this is E18: the ELBO, under the name of a loss, which is minimised", "E18", evidence)
    if same(weight.value, meant):
        return Audit(True, said_right(candidate, a, weight, fit.shape, meant), "", evidence)
    if beta is not None and same(weight.value, 1) and not weight.varies:
        return Audit(False, f"this is E23: beta is {short(beta)}, and the rate is counted once", "E23", evidence)
    number, why = wrong_weight(weight)
    if number:
        said = f"this is {number}: {why}; it is as if beta were {weight} = {short(weight.value)}"
        return Audit(False, said, number, evidence)
    if beta is not None:
        return Audit(False, f"beta is {short(weight.value)} where {short(beta)} is meant", "", evidence)
    said = f"a beta-VAE with beta = {short(weight.value)}, {reduction(a, fit.shape)}; minus the ELBO only at beta = 1"
    return Audit(True, said, "", evidence)


def said_right(candidate: Candidate, a: Factor, weight: Factor, shape: str, beta: float) -> str:
    """Minus the ELBO, or the ELBO, with its scale."""
    what = "the ELBO (to be maximised; as a loss it would be E18)" if a.value < 0 else "minus the ELBO"
    if beta != 1:
        what = f"the objective of a beta-VAE with beta = {short(beta)}"
    said = f"{what}, {reduction(a, shape)}" + ("" if beta != 1 else "; your beta is 1")
    if weight.varies:
        stuck = ", ".join(f"{name} = {candidate.sizes[name]}" for name in weight.known)
        said += f" as long as {stuck or 'the sizes stay'}: beta is {weight}"
    return said


def wrong_weight(weight: Factor) -> tuple[str, str]:
    """Which mistake a beta is, by the sizes that it depends on."""
    powers, left = weight.known, weight.number
    if any(power is None for power in weight.powers.values()):
        return "", ""
    b, j, d, k = (powers.get(name, 0) for name in "BJDK")
    if j < 0:
        return "E1", "the rate is a mean over latent dimensions where the sum is meant"
    if k < 0:
        return "E14", "the reconstruction is summed over draws, the rate counted once"
    if b > 0 and d > 0:
        if same(left, 1):
            return "E2b", "the reconstruction is a mean over pixels, the rate a sum over the batch"
        return "E2c", f"the rate alone is scaled by the batch size, over a data set of {short(1 / left)}"
    if b > 0:
        known = "the rate is summed over the batch, the reconstruction is not"
        return (
            ("E3", known)
            if same(left, 1)
            else ("E2c", f"the rate alone is scaled by the batch size over {short(1 / left)}")
        )
    if d > 0:
        return "E2a", "the reconstruction is a mean over pixels, the rate is a sum"
    sizes = weight.sizes
    if not powers and left != 1:
        if same(left, 1 / sizes["J"]):
            return "E1", f"the rate is divided by {sizes['J']}, your latent dimensions"
        if same(left, sizes["D"]):
            return "E2a", f"the reconstruction is divided by {sizes['D']}, your pixels, the rate is not"
    if b < 0 or d < 0:
        return "E2a", "the two terms are divided by different numbers"
    return "", ""


def judge_errors(
    a: Factor, b: Factor, fit: Fit, beta: float | None, sigma: float | None, evidence: tuple[str, ...]
) -> Audit:
    """Squared or absolute error and a rate: the ratio of coefficients is a Gaussian's variance, a Laplace's scale."""
    ratio, squared = b.over(a), fit.form.words.startswith("squared")
    meant = beta or 1.0
    implied = math.sqrt(ratio.value / meant) if squared else ratio.value / meant
    law, power = ("Gaussian decoder with sigma", "sigma^2") if squared else ("Laplace decoder with scale", "scale")
    said = f"a {law} = {short(implied)} ({power} = {ratio if meant == 1 else short(ratio.value / meant)})"
    what = "minus the ELBO" if meant == 1 else f"the objective at beta = {short(meant)}"
    right = f"{what if a.value > 0 else 'the ELBO (to be maximised)'} of {said}"
    if sigma is not None and same(implied, sigma):
        return Audit(True, f"{right}, as stated, {reduction(b, fit.shape)}", "", evidence)
    counted = ratio.value / (sigma**2 if squared else sigma) if sigma else 0.0
    if beta is not None and same(counted, 1):
        return Audit(False, f"this is E23: beta is {short(beta)}, and the rate is counted once", "E23", evidence)
    number, why = wrong_weight(ratio)
    if number == "E2a" or (number and ratio.known.get("D")):
        more = "" if number == "E2a" else f"; besides, {number}: {why}"
        return Audit(False, f"this is E8: a mean error is no likelihood; it is {said}{more}", "E8", evidence)
    if number:
        return Audit(False, f"this is {number}: {why}; it is {said}", number, evidence)
    if sigma is not None:
        return Audit(False, f"it is {said} where sigma = {short(sigma)} is stated", "E8", evidence)
    return Audit(True, f"{right}, {reduction(b, fit.shape)}; say so where you report it", "", evidence)


def constants(candidate: Candidate, fit: Fit) -> tuple[str, ...]:
    """What is said of a constant that was added, and of sizes that are written into the function."""
    found = []
    if fit.at.get("constant"):
        found.append(f"a constant of {short(fit.at['constant'])} is added: gradients do not see it")
    if fit.stuck:
        stuck = ", ".join(f"{name} = {candidate.sizes[name]}" for name in fit.stuck)
        found.append(f"it runs only at {stuck}")
    return tuple(found)


# --- One term --------------------------------------------------------------------------------------------------------


def judge_rate(candidate: Candidate, fit: Fit) -> Audit:
    """A rate alone."""
    b = factor(candidate, fit, "rate")
    evidence = (f"it is {b} x rate", *constants(candidate, fit))
    if fit.form.number:
        return Audit(False, f"this is {fit.form.number}: {fit.form.words}", fit.form.number, evidence)
    constant = fit.at.get("constant", 0.0)
    if constant:
        each = constant / b.value / (candidate.sizes["B"] if fit.shape == "scalar" else 1)
        number = "E4" if same(each, (candidate.sizes["J"] - 1) / 2) else ""
        said = f"gradient right, value {short(each)} nats per example too much"
        return Audit(False, f"this is {number}: {said}" if number else said, number, evidence)
    if (b.powers.get("J") or 0) < 0:
        said = "the mean over latent dimensions where the sum is meant; beside a summed reconstruction beta is"
        return Audit(False, f"this is E1: {said} {short(1 / candidate.sizes['J'])}", "E1", evidence)
    if fit.shape == "examples" and (b.powers.get("B") or 0) != 0:
        return Audit(False, "the rate of one example depends on the batch size", "E3", evidence)
    minus, level = "minus " if b.value < 0 else "", "prior_mu" in candidate.takes
    return Audit(
        True,
        f"{minus}the rate, the KL divergence to {'the prior' if level else 'N(0, I)'}, {reduction(b, fit.shape)}",
        "",
        evidence,
    )


def judge_reconstruction(candidate: Candidate, fit: Fit) -> Audit:
    """A reconstruction term alone."""
    a = factor(candidate, fit, "reconstruction")
    evidence = (f"it is {a} x the sum over pixels", *constants(candidate, fit))
    if fit.form.number:
        return Audit(False, f"this is {fit.form.number}: {fit.form.words}", fit.form.number, evidence)
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
    evidence: tuple[str, ...] = (f"it is {a} x log-density", *constants(candidate, fit))
    if fit.form.number:
        return Audit(False, f"this is {fit.form.number}: {fit.form.words}", fit.form.number, evidence)
    minus = "minus " if a.value < 0 else ""
    if not fit.at.get("constant"):
        return Audit(True, f"{minus}the log-density, {reduction(a, fit.shape)}", "", evidence)
    count, each = candidate.sizes["J"], fit.at["constant"] / a.value
    each /= candidate.sizes["B"] if fit.shape == "scalar" else 1
    unit = math.log(2 * math.pi) / 2
    if same(each, count * unit):
        said = f"{minus}the log-density without its constant: as good in a difference of two, not alone"
        return Audit(True, said, "", evidence)
    return Audit(False, f"gradient right, value {short(each)} nats per example too much", "", evidence)


def judge_bound(candidate: Candidate, fit: Fit, called: str, gradient: str) -> Audit:
    """A bound from log-weights."""
    a = factor(candidate, fit, "bound")
    evidence = (f"it is {a} x {fit.form.words}", *([f"gradient: {gradient}"] if gradient else []))
    number, words = fit.form.number, fit.form.words
    if number:
        honest = number in ("E10b", "E22") and gradient.startswith("that of the importance-weighted bound")
        said = "gradient right, value no bound" if honest else words
        return Audit(False, f"this is {number}: {said}", number, evidence)
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


def unknown(evidence: tuple[str, ...], what: str) -> Audit:
    """Nothing that is known."""
    return Audit(None, f"none of what is known of {what}", "", evidence)


def listed(coefficients: Mapping[str, float], total: Any = "") -> str:
    """A sum in words: 0.5 mu^2 - 1 log sigma^2."""
    terms = [f"{'-' if value < 0 else '+'} {short(abs(value))} {name}" for name, value in coefficients.items() if value]
    return " ".join(terms).removeprefix("+ ") + str(total)
