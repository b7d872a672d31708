"""What a function of the user's clamps or averages: free bits, several levels, a data set batch by batch."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..mistakes import MISTAKES
from . import probes, verdicts
from .calling import Candidate, as_number, attempted, chosen
from .probes import Arrays, Fit, Form
from .verdicts import Audit, factor, reduction, short, this_is

# --- Free bits: a threshold of nats, at the rate of an example, of a dimension, or of the batch ----------------------


def each_rate(candidate: Candidate, a: Arrays) -> np.ndarray:
    """Nats of every example and dimension, (B, J); of every example, (B, 1), where the rate is given."""
    if "rate" in candidate.takes:
        return a["rate"][:, None]
    return (a["mu"] ** 2 + np.exp(a["logvar"]) - 1 - a["logvar"]) / 2


WAYS: dict[str, Callable[[np.ndarray, Any], np.ndarray]] = {
    "example by example": lambda r, top: np.maximum(top, r.sum(1)),
    "dimension by dimension": lambda r, top: np.maximum(top, r).sum(1),
    "at the mean of the batch": lambda r, top: np.full(len(r), np.maximum(top, r.sum(1).mean())),
    "at the mean of the batch, dimension by dimension": lambda r, top: np.full(
        len(r), np.maximum(top, r.mean(0)).sum()
    ),
}
SCALES: dict[str, Callable[[Arrays], float]] = {
    "1/J": lambda a: 1 / a["mu"].shape[1],
    "1/D": lambda a: 1 / a["x"].shape[1],
    "1/(D J)": lambda a: 1 / a["x"].shape[1] / a["mu"].shape[1],
}


def thresholds(candidate: Candidate) -> dict[str, float]:
    """The positive numbers that the function is given by name."""
    return {k: float(v) for k, v in candidate.fixed.items() if isinstance(v, float | int) and v > 0}


def clamped(candidate: Candidate, columns: Mapping[str, Any]) -> Audit | None:
    """The verdict on a rate with free bits, beside these other columns; None if it is no such thing."""
    for name, nats in thresholds(candidate).items():
        numbers = {k: v for k, v in thresholds(candidate).items() if k != name}
        others = {k: (lambda a, by=v: by) for k, v in numbers.items()}
        others |= {f"1/{k}": (lambda a, by=v: 1 / by) for k, v in numbers.items()}
        scales: dict[str, Callable[[Arrays], float]] = {"1": lambda a: 1.0, **SCALES, **others}
        for scale, by in scales.items():
            for way, clamp in WAYS.items():

                def make(a: Arrays, clamp: Any = clamp, by: Any = by, nats: float = nats) -> np.ndarray:
                    return clamp(by(a) * each_rate(candidate, a), nats)

                if not acts(candidate, make, lambda a, by=by: by(a) * each_rate(candidate, a)):
                    continue
                fit = probes.fitted(candidate, [Form({**columns, "rate": make})])
                if fit is None or not fit.at["rate"]:
                    continue
                evidence = (f"it is {verdicts.listed(fit.at)}, of which the rate is at least {name}, {way}",)
                if scale == "1":
                    return free(candidate, fit, nats, way, evidence)
                least = nats / by({k: v.numpy() for k, v in candidate.draw(0).items()})
                said = f"the rate is multiplied by {scale} and clamped then"
                said += f": {short(least)} nats are free, not {short(nats)}"
                return Audit(False, f"this is E19: {said}", "E19", evidence)
    return None


def acts(candidate: Candidate, clamped: Callable[[Arrays], np.ndarray], free: Callable[[Arrays], np.ndarray]) -> bool:
    """Whether the threshold shows in some drawn inputs, and the rate in some: a constant could be many things."""
    inputs = [probes.numbers(candidate.draw(seed)) for seed in range(6)]
    values = np.concatenate([clamped(a) for a in inputs])
    return bool(np.ptp(values) > 1e-9) and any(clamped(a).sum() > free(a).sum() + 1e-9 for a in inputs)


def free(candidate: Candidate, fit: Fit, nats: float, way: str, evidence: tuple[str, ...]) -> Audit:
    """Free bits as they should be, and the weight of the rate beside another term."""
    rate, other = factor(candidate, fit, "rate"), fit.at.get("reconstruction")
    said = f"free bits of {short(nats)} nats, {way}, {reduction(rate, fit.shape)}"
    if other:
        weight = rate.over(factor(candidate, fit, "reconstruction"))
        number, why = ("", "") if verdicts.same(weight.value, 1) else verdicts.wrong_weight(weight)
        if why or weight.value < 0:
            number, why = ("E18b", "the rate has the wrong sign") if weight.value < 0 else (number, why)
            return Audit(False, f"{this_is(number, why)}, with free bits of {short(nats)} nats", number, evidence)
        said += f"; beta is {short(weight.value)}"
    return Audit(True, f"{said}; no bound where they act: report without them", "", evidence)


# --- Several levels ---------------------------------------------------------------------------------------------------


def judge_levels(candidate: Candidate, levels: list[str], reduced: Callable[[Arrays], np.ndarray]) -> Audit:
    """A bound of a hierarchy, from log p(x|z) and the rates of its levels, the last of which is the top's."""
    columns: dict[str, Any] = {"log_px": reduced} if "log_px" in candidate.takes else {}
    columns |= {level: (lambda a, level=level: a[level]) for level in levels}
    fit = probes.fitted(candidate, [Form(columns)])
    if fit is None:
        return verdicts.unknown(("it is no sum of these terms",), "a bound of several levels")
    evidence = (f"it is {verdicts.listed({**fit.at})}, of which log_px stands for -log p(x|z)",)
    weights = {level: fit.at[level] for level in levels}
    first = fit.at.get("log_px") or next(filter(None, weights.values()), 1.0)
    for level in reversed(levels):
        if weights[level] == 0:
            if probes.moves(candidate, {level}):
                said = f"{level} is there, but too small beside the other terms for its weight to be seen"
                return verdicts.unknown((said, *evidence), "a bound of several levels")
            top = level == levels[-1]
            said = "the top level's rate is left out" if top else f"{level} is left out"
            return Audit(False, f"this is E25b: {said}" if top else said, "E25b" if top else "", evidence)
    if all(verdicts.same(weight, first) for weight in weights.values()):
        what = "minus the ELBO" if first > 0 else "the ELBO (to be maximised; as a loss it would be E18)"
        what = what if "log_px" in columns else "the sum of the rates"
        return Audit(True, f"{what}, {reduction(factor(candidate, fit, levels[0]), fit.shape)}", "", evidence)
    if any(weight / first < 0 for weight in weights.values()):
        return Audit(False, "this is E18b: reconstruction and rates have not the same sign", "E18b", evidence)
    betas = ", ".join(f"{short(weight / first)} for {level}" for level, weight in weights.items())
    return Audit(True, f"each level has a beta of its own: {betas}; a bound only at 1 for all", "", evidence)


# --- A data set, batch by batch ---------------------------------------------------------------------------------------

LAYOUTS = ((4, 4, 1), (3, 3, 3, 2), (5, 2))
TOTALS: dict[str, tuple[str, Callable[[list[np.ndarray]], float]]] = {
    "the mean over all examples": ("", lambda b: float(np.concatenate(b).mean())),
    "the sum over all examples": ("", lambda b: float(np.concatenate(b).sum())),
    "the mean of batch means": ("E21d", lambda b: float(np.mean([each.mean() for each in b]))),
    "the sum of batch means": ("E21d", lambda b: float(np.sum([each.mean() for each in b]))),
    "the mean of the last batch": ("E21c", lambda b: float(b[-1].mean())),
    "the sum of the last batch": ("E21c", lambda b: float(b[-1].sum())),
    "the last batch, over all examples": ("E21c", lambda b: float(b[-1].sum()) / sum(map(len, b))),
    "the mean without the first batch": ("E21c", lambda b: float(np.concatenate(b[1:]).sum()) / sum(map(len, b))),
    "the mean of batch sums": ("E21d", lambda b: float(np.mean([each.sum() for each in b]))),
}


def drawn_batches() -> Iterator[list[Tensor]]:
    """Log-likelihoods (b,) in nats, batch by batch, the last of which is short."""
    rng = np.random.default_rng(0)
    for layout in LAYOUTS:
        yield [torch.from_numpy(rng.normal(-90 - 9 * k, 5, size)) for k, size in enumerate(layout)]


def judge_batches(candidate: Candidate, called: str) -> Audit:
    """An average over a data set: a function of `batches`, a list of log p(x), one tensor (b,) for each batch.

    Raises:
        ValueError: Where it takes more than that, fails, or gives no number.
    """
    if candidate.names:
        said = f"the function takes 'batches' beside {', '.join(map(repr, candidate.names))}"
        raise ValueError(f"{said}: give its value, batches=...")
    drawn = list(drawn_batches())
    results = [
        as_number(chosen(attempted(candidate.function, candidate.fixed | {"batches": batches}))[0]) for batches in drawn
    ]
    if any(result.numel() != 1 for result in results):
        raise ValueError(f"the function returned {tuple(results[0].shape)} for its batches: expected one number")
    values = [result.item() for result in results]
    if not all(map(math.isfinite, values)):
        raise ValueError("the function gives values that are not finite: expected one number, in nats")
    for words, (number, total) in TOTALS.items():
        ratios = [value / total([b.numpy() for b in batches]) for value, batches in zip(values, drawn, strict=True)]
        if not np.allclose(ratios, ratios[0], rtol=1e-6) or ratios[0] == 0:
            continue
        evidence = (f"it is {short(ratios[0])} x {words}",)
        if number:
            return Audit(False, f"this is {number}: {MISTAKES[number].name}", number, evidence)
        if "nll" in called and ratios[0] > 0:
            return Audit(False, "this is E21: the log-likelihood, under the name of an NLL", "E21", evidence)
        what = "minus the log-likelihood" if ratios[0] < 0 else "the log-likelihood"
        return Audit(True, f"{what}, {words}: each example counts once", "", evidence)
    return verdicts.unknown((f"it is {', '.join(map(short, values))} for batches of {LAYOUTS}",), "an average")
