"""What a fit of a function says in words: right up to which factor, which mistake, or none that is known."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..mistakes import MISTAKES
from . import probes
from .calling import SPREADS, Candidate
from .probes import Fit

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


def noted(found: Audit, line: str) -> Audit:
    """With one more line of evidence."""
    return replace(found, evidence=(*found.evidence, line))


def this_is(number: str, said: str) -> str:
    """What is wrong, with its number where it has one."""
    return f"this is {number}: {said}" if number else said


def elsewhere(fit: Fit, found: Audit) -> Audit:
    """The verdict, unless it is one on a form that holds only near what was drawn."""
    if not fit.changed:
        return found
    line = f"at {' and '.join(fit.changed)} it is another form"
    if found.right and "constant" not in fit.at:
        return noted(found, line)
    return Audit(None, f"none of what is known: {line}", "", found.evidence)


def of_several(candidate: Candidate, found: Audit) -> Audit:
    """The verdict on the first of several results: that it lacks a term is no mistake, as another may be the loss."""
    if not candidate.several:
        return found
    line = f"judged: its first result of {candidate.several}"
    if found.right is False and "is missing" in found.verdict:
        said = f"its first result lacks a term: {found.verdict.partition(': ')[2] or found.verdict}"
        return Audit(None, f"{said}; return the loss first, or alone", "", (*found.evidence, line))
    return noted(found, line)


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
        return judge_missing(candidate, fit, "reconstruction" if a.value == 0 else "rate", evidence)
    weight = b.over(a)
    verdict = f"{fit.form.words}; and the rate is weighted as if beta were {weight} = {short(weight.value)}"
    if fit.form.number:
        return Audit(False, f"this is {fit.form.number}: {verdict}", fit.form.number, evidence)
    if "error" in fit.form.words and weight.value > 0:
        found = judge_errors(a, b, fit, beta, sigma, evidence)
        return minimised(found, called) if a.value < 0 else found
    if weight.value < 0:
        return Audit(
            False,
            f"this is E18b: reconstruction and rate have opposite signs, beta is {short(weight.value)}",
            "E18b",
            evidence,
        )
    meant = 1.0 if beta is None else beta
    if same(weight.value, meant):
        found = Audit(True, said_right(candidate, a, weight, fit.shape, meant), "", evidence)
        return minimised(found, called) if a.value < 0 else found
    if None in weight.powers.values():
        return unclear(weight, evidence)
    if beta is not None and same(weight.value, 1) and not weight.varies:
        return Audit(False, f"this is E23: beta is {short(beta)}, and the rate is counted once", "E23", evidence)
    number, why = wrong_weight(weight)
    if why:
        said = f"{this_is(number, why)}; it is as if beta were {weight} = {short(weight.value)}"
        return Audit(False, said, number, evidence)
    if beta is not None:
        return Audit(False, f"beta is {short(weight.value)} where {short(beta)} is meant", "", evidence)
    bound = "minus the ELBO" if a.value > 0 else "to be maximised, and the ELBO"
    said = f"a beta-VAE with beta = {short(weight.value)}, {reduction(a, fit.shape)}; {bound} only at beta = 1"
    found = Audit(True, said, "", evidence)
    return minimised(found, called) if a.value < 0 else found


TERMS = {
    "rate": {"mu", *SPREADS, "z", "rate"},
    "reconstruction": {"x", "logits", "x_hat", "x_logvar", "log_px"},
}


def judge_missing(candidate: Candidate, fit: Fit, missing: str, evidence: tuple[str, ...]) -> Audit:
    """A loss in which a term does not show: it is missing, unless the value depends on it."""
    if probes.moves(candidate, TERMS[missing]):
        said = f"the {missing} is there, but too small beside the other term for its weight to be seen"
        precision = f"less than {short(10 * fit.tol)} of the value: let it return a tensor in float64, or its terms"
        return unknown((f"{said}, {precision}", *evidence[1:]), "a loss")
    return Audit(False, f"the {missing} is missing", "E23b" if missing == "rate" else "", evidence)


def minimised(found: Audit, called: str) -> Audit:
    """E18 where what is to be maximised is called a loss."""
    if not found.right or "loss" not in called:
        return found
    return Audit(False, "this is E18: the ELBO, under the name of a loss, which is minimised", "E18", found.evidence)


def unclear(weight: Factor, evidence: tuple[str, ...]) -> Audit:
    """A beta that changes with the sizes, by no power of them, or that rounding blurs."""
    sizes = " and ".join(name for name, power in weight.powers.items() if power is None)
    said = f"at these sizes beta is {short(weight.value)}, but it changes with {sizes}, and not as a power"
    return unknown((*evidence, f"{said}; in float32 rounding may do that: return a tensor in float64"), "a loss")


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
    """Which mistake a beta is, by the sizes that it depends on; in words alone where it has no number."""
    powers, left = weight.known, weight.number
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
        return "", "the two terms are divided by different numbers"
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
    if None in ratio.powers.values():
        return unclear(ratio, evidence)
    number, why = wrong_weight(ratio)
    if number == "E2a" or (number and ratio.known.get("D")):
        more = "" if number == "E2a" else f"; besides, {number}: {why}"
        return Audit(False, f"this is E8: a mean error is no likelihood; it is {said}{more}", "E8", evidence)
    if why:
        return Audit(False, f"{this_is(number, why)}; it is {said}", number, evidence)
    if sigma is not None:
        return Audit(False, f"it is {said} where sigma = {short(sigma)} is stated", "E8", evidence)
    return Audit(True, f"{right}, {reduction(b, fit.shape)}; say so where you report it", "", evidence)


def constants(candidate: Candidate, fit: Fit) -> tuple[str, ...]:
    """What is said of a constant that was added, and of sizes that are written into the function."""
    found = []
    if fit.at.get("constant"):
        added = fit.at["constant"] * (candidate.sizes["B"] if fit.shape == "scalar" else 1)
        found.append(f"a constant of {short(added)} is added: gradients do not see it")
    for words, names in (("it runs only at", fit.stuck), ("its constant is right only at", fit.tied)):
        if names:
            found.append(f"{words} {', '.join(f'{name} = {candidate.sizes[name]}' for name in names)}")
    return tuple(found)


def off(each: float) -> str:
    """A constant that is wrong."""
    return f"gradient right, value {short(abs(each))} nats per example too {'much' if each > 0 else 'little'}"


def unknown(evidence: tuple[str, ...], what: str) -> Audit:
    """Nothing that is known."""
    return Audit(None, f"none of what is known of {what}", "", evidence)


def listed(coefficients: Mapping[str, float], total: Any = "") -> str:
    """A sum in words: 0.5 mu^2 - 1 log sigma^2."""
    terms = [f"{'-' if value < 0 else '+'} {short(abs(value))} {name}" for name, value in coefficients.items() if value]
    return " ".join(terms).removeprefix("+ ") + str(total)
