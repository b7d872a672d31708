"""What is wrong with your VAE: a loss, a divergence, a bound or a sampler from elsewhere, judged by evaluation.

>>> from vaelib.checking.audit import audit
>>> print(audit(lambda mu, logvar: 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum()))
right: the rate, the KL divergence to N(0, I), summed over the batch
  it is 1 x rate
>>> audit(lambda mu, logvar: 0.5 * (mu**2 + logvar.exp() - 1 - logvar).mean()).number
'E1'

Free bits are found where their threshold is given by name; an average over a data set as a function of `batches`,
a list of log p(x), (b,) for each; an estimator of the gradient as a function of mu, a spread and
`log_likelihood`, a function of z, that gives what is to be differentiated:

>>> def late(rate, free_bits, pixels):
...     return (rate / pixels).clamp_min(free_bits).mean()
>>> audit(late, free_bits=2.0, pixels=64).verdict
'this is E19: the rate is multiplied by 1/pixels and clamped then: 128 nats are free, not 2'
>>> audit(lambda batches: -sum(b.mean() for b in batches) / len(batches), called="nll").verdict
'this is E21d: the mean of batch means, although the last batch is short'
>>> import torch
>>> def score(mu, sigma, log_likelihood):
...     q = torch.distributions.Normal(mu, sigma)
...     z = q.sample()
...     return (log_likelihood(z).detach() * q.log_prob(z).sum(1)).mean()
>>> audit(score).verdict
"this is E15e: the divergence's gradient is left out"
"""

import importlib.util
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ..mistakes import MISTAKES
from . import averages, estimators, gradients, probes, terms, verdicts
from .calling import AXES, SPREADS, Candidate, needs, prepared, probed, with_stated
from .gradients import with_gradient
from .probes import Form
from .samplers import judge_sample, looks_like_a_sample
from .verdicts import Audit, noted


def audit(
    function: Callable[..., Any],
    *,
    beta: float | None = None,
    sigma: float | str | None = None,
    called: str = "",
    encode: Callable[..., Any] | None = None,
    decode: Callable[..., Any] | None = None,
    **inputs: Any,
) -> Audit:
    """Says what a function is: right up to which factor, one of the mistakes E1 to E25, or none that is known.

    It is called with drawn inputs of several sizes, and what it gives is written as a sum of terms whose right and
    wrong forms are known; value and gradient are judged apart. Its parameters' names say what it takes: x, logits or
    x_hat (B, D); mu, logvar, log_sigma, sigma or var (B, J); z (B, J); x_logvar (B, D); log_w or log_px (K, B); rate
    (B,), or of several levels rate_1, rate_2, the last the top's.

        vl.audit(loss, x=x, mu=mu, logvar=logvar)        tensors, or their shapes, say the sizes that you use
        vl.audit(loss, x="target", mu="loc")             your names of what the function takes
        vl.audit(loss, x=x, encode=model.encode, decode=model.decode)      a whole model, that is called as it is

    Of `input` and `target` the input is x_hat. A parameter with a number as its default keeps it unless you give one.

    What it cannot see: E9 and E20 are about what a number is called, E16 draws its own samples, and E12, E13, E21b,
    E21e and E25 need the draws of all levels, or the number of samples that was asked for. A gradient is seen where
    tensors come out, not numbers, and numpy has none. In float32 a term below 1/1000 of the value is not weighed.

    Args:
        function: returns one number, or one for each example; of several results the one called "loss" or
            "total_loss" is judged, or the first, which is said.
        beta: the weight of the rate that is meant, 1 unless given; also given to a parameter `beta` of the function.
        sigma: the standard deviation of a Gaussian decoder that is stated beside a squared error; also given to a
            parameter `sigma` that is not the posterior's. Or the function's name for the posterior's sigma.
        called: what it is meant to be, such as "iwae" or "nll"; its own name unless given.
        encode: of a whole model: x to (mu, logvar), as a method or module that `function` calls.
        decode: of a whole model: z to logits, likewise.
        inputs: shapes or names of what is drawn, and values for its other parameters, such as `kld_weight=1.0`.

    Returns:
        The verdict, which prints itself.
    Raises:
        ValueError: Where it takes what nobody has said, does not take what is given, fails, or gives no numbers.
    """
    if (encode is None) != (decode is None):
        raise ValueError("encode and decode: expected both, or neither")
    inputs = with_stated(function, inputs, beta, sigma)
    beta, sigma = (None if given is None or isinstance(given, str) else float(given) for given in (beta, sigma))
    if encode is not None and decode is not None:
        from .recorded import audit_model

        return audit_model(function, encode, decode, inputs, beta, sigma)
    called = (called or getattr(function, "__name__", "")).lower()
    if needs(function, "batches", inputs):
        return averages.judge_batches(prepared(function, inputs | {"batches": "batches"}), called)
    if needs(function, "log_likelihood", inputs):
        candidate = prepared(function, inputs | {"log_likelihood": "log_likelihood"})
        return estimators.judge_estimator(function, candidate.names | candidate.fixed)
    candidate = prepared(function, inputs)
    probed(candidate)
    return verdicts.of_several(candidate, judged(candidate, called, beta, sigma))


def judged(candidate: Candidate, called: str, beta: float | None, sigma: float | None) -> Audit:
    """The verdict, by what the function takes."""
    takes, spreads = candidate.takes, candidate.takes & {"mu", *SPREADS}
    likelihood = bool(takes & {"logits", "x_hat"})
    if takes <= {"mu", *SPREADS} and looks_like_a_sample(candidate):
        return judge_sample(candidate)
    if "log_w" in takes:
        return bound(candidate, called)
    if takes & {"prior_mu", "prior_logvar"}:
        return rate(candidate, called, probes.level_rates())
    if "z" in takes and not likelihood:
        return density(candidate, called)
    levels = sorted(name for name in takes if name.startswith("rate_"))
    if levels:
        return with_gradient(candidate, averages.judge_levels(candidate, levels, reduced), called)
    if takes in ({"rate"}, {"log_px"}):
        return given(candidate, called)
    if takes & {"rate", "log_px"}:
        terms = Form({"reconstruction": reduced, "rate": lambda a: a["rate"]}, "", "log p(x|z), as it is given")
        return whole_loss(candidate, [terms], beta, sigma, called)
    if likelihood and spreads:
        return whole_loss(candidate, probes.losses(candidate, drawn="z" in takes), beta, sigma, called)
    if likelihood:
        return reconstruction(candidate, called)
    if spreads:
        return rate(candidate, called)
    raise ValueError(
        f"the function takes {', '.join(sorted(takes)) or 'nothing'}: expected names such as {', '.join(AXES)}"
    )


def reconstruction(candidate: Candidate, called: str) -> Audit:
    """A likelihood alone."""
    known = probes.reconstructions(candidate)
    forms = [Form({"reconstruction": make}, number, words) for number, words, make in known]
    fit = probes.fitted(candidate, forms) or probes.fitted(candidate, forms, constant=True)
    if fit is None:
        return unexplained(candidate, "a likelihood", forms[0])
    found = terms.judge_reconstruction(candidate, fit, called)
    return with_gradient(candidate, verdicts.elsewhere(fit, found), called)


def given(candidate: Candidate, called: str) -> Audit:
    """A rate or a log-likelihood as it is given, summed or averaged."""
    (name,) = candidate.takes
    column = {"rate": lambda a: a["rate"]} if name == "rate" else {"reconstruction": reduced}
    fit = probes.fitted(candidate, [Form(column, "", "a given likelihood")])
    found = averages.clamped(candidate, {}) if fit is None and name == "rate" else None
    if fit is None:
        return found or unexplained(candidate, "an average", Form(column))
    judge = terms.judge_rate if name == "rate" else terms.judge_reconstruction
    return with_gradient(candidate, verdicts.elsewhere(fit, judge(candidate, fit, called)), called)


def reduced(a: probes.Arrays) -> np.ndarray:
    """Minus the mean of log p(x|z) over samples: (B,)."""
    return -a["log_px"].mean(0)


def whole_loss(
    candidate: Candidate, forms: list[Form], beta: float | None, sigma: float | None, called: str = ""
) -> Audit:
    """A reconstruction and a rate."""
    fit = probes.fitted(candidate, forms) or probes.fitted(candidate, forms, constant=True)
    if fit is None or fit.changed:
        first = {"reconstruction": forms[0].columns["reconstruction"]}
        found = with_batch_totals(candidate, forms) or averages.clamped(candidate, first)
        if found:
            return with_gradient(candidate, found, called)
    if fit is None:
        return unexplained(candidate, "a loss", forms[0])
    found = verdicts.elsewhere(fit, verdicts.judge_loss(candidate, fit, beta, sigma, called))
    if candidate.grey and "Bernoulli" in fit.form.words and "continuous" not in fit.form.words:
        found = noted(found, "your x is grey: a training loss, but reported as a likelihood of grey images it is E9")
    if probes.ONE_DRAW in fit.form.words and "z" not in candidate.takes:
        return found  # with its own z, a gradient that leaves the score out has the right mean, too
    return with_gradient(candidate, found, called)


def with_batch_totals(candidate: Candidate, forms: list[Form]) -> Audit | None:
    """E3: one number for each example, in which the rate is that of the batch."""
    first = forms[0].columns
    total = {"rate": lambda a: np.full(len(first["rate"](a)), first["rate"](a).sum())}
    forms = [Form({**form.columns, **total}, form.number, form.words) for form in forms[:3]]
    fit = probes.fitted(candidate, forms)
    if fit is None or fit.shape != "examples":
        return None
    said = "this is E3: the rate is summed over the batch, and each example has that of its neighbours, too"
    return Audit(False, f"{said}; it is as if beta were B = {candidate.sizes['B']}", "E3")


def rate(candidate: Candidate, called: str, known: list[Any] | None = None) -> Audit:
    """A divergence of q(z|x) and N(0, I), or the prior that a level above gives."""
    forms = [Form({"rate": make}, number, words) for number, words, make in known or probes.rates()]
    fit = probes.fitted(candidate, forms) or probes.fitted(candidate, forms, constant=True)
    if fit is None or fit.changed:
        found = averages.clamped(candidate, {})
        if found:
            return with_gradient(candidate, found, called)
    if fit is None:
        return unexplained(candidate, "a rate", forms[0])
    found = verdicts.elsewhere(fit, terms.judge_rate(candidate, fit, called))
    return with_gradient(candidate, found, called)


def density(candidate: Candidate, called: str) -> Audit:
    """A log-density of z: N(0, I), or the posterior's; or their difference, a rate by one draw."""
    latex, prior = MISTAKES["E17"], not candidate.takes & {"mu", *SPREADS}

    def form(text: str, number: str, words: str, power: float = 1.0) -> Form:
        def make(a: probes.Arrays) -> np.ndarray:
            standard = {"mu": 0 * a["mu"], "logvar": 0 * a["logvar"]} if prior else {}
            return probes.by_formula(text, {**a, **standard}, power)

        return Form({"density": make}, number, words)

    forms = [form(latex.right, "", "the log-density"), form(latex.wrong, "E17", latex.name)]
    forms += [form(MISTAKES[n].wrong, n, MISTAKES[n].name) for n in (("E4b", "E24c") if prior else ())]
    if not prior:
        forms.append(form(latex.right, "E24", "the variance passed where the standard deviation is expected", 2.0))
        forms.append(form(latex.right, "E6", "log sigma read as log-variance", 0.5))
        forms.append(Form({"rate": probes.one_draw}, "", probes.ONE_DRAW))
    fit = probes.fitted(candidate, forms) or probes.fitted(candidate, forms[:1], constant=True)
    if fit is None:
        return unexplained(candidate, "a log-density", forms[0])
    one_draw = "rate" in fit.at
    found = terms.judge_rate(candidate, fit, called) if one_draw else terms.judge_density(candidate, fit)
    return with_gradient(candidate, verdicts.elsewhere(fit, found), called)


def bound(candidate: Candidate, called: str, transposed: bool = False) -> Audit:
    """A function of log-weights (K, B)."""
    if candidate.sizes["K"] < 2:
        raise ValueError(f"log_w has {candidate.sizes['K']} samples: expected 2 or more, as for 1 all bounds are one")
    right = MISTAKES["E10a"].right
    forms = [
        Form({"bound": lambda a: probes.one_sample(right, a)}, "", "the importance-weighted bound"),
        Form({"bound": lambda a: a["log_w"].mean(0)}, "", "the ELBO's estimate"),
    ]
    for number in ("E10b", "E10c", "E22"):
        wrong = MISTAKES[number]
        forms.append(Form({"bound": lambda a, text=wrong.wrong: probes.one_sample(text, a)}, number, wrong.name))
    try:
        fit = probes.fitted(candidate, forms) or probes.fitted(candidate, forms[:1], constant=True)
    except ValueError:  # a shape that is none of ours
        fit = None
    if fit is None and not transposed:  # it may take (B, K)

        def turned(log_w: Tensor) -> Any:
            return candidate.function(**{own: log_w.T for own in candidate.names}, **candidate.fixed)

        other = bound(replace(candidate, function=turned, names={"log_w": "log_w"}, fixed={}), called, transposed=True)
        if other.right is not None:
            return noted(other, "it takes log-weights of shape (B, K)")
    if fit is None:
        return unexplained(candidate, "a bound", forms[0])
    seen = gradients.slopes(candidate)
    if isinstance(seen, str):
        found = verdicts.elsewhere(fit, terms.judge_bound(candidate, fit, called, ""))
        return gradients.without(found, seen, called)
    found = terms.judge_bound(candidate, fit, called, gradients.whose(seen, fit, forms))
    return verdicts.elsewhere(fit, found)


PARTS: dict[str, Callable[[probes.Arrays], np.ndarray]] = {
    "mu^2": lambda a: (a["mu"] ** 2).sum(1),
    "sigma^2": lambda a: np.exp(a["logvar"]).sum(1),
    "log sigma^2": lambda a: a["logvar"].sum(1),
    "sigma": lambda a: np.exp(a["logvar"] / 2).sum(1),
    "(log sigma^2)^2": lambda a: (a["logvar"] ** 2).sum(1),
    "1/sigma^2": lambda a: np.exp(-a["logvar"]).sum(1),
    "mu^2/sigma^2": lambda a: (a["mu"] ** 2 * np.exp(-a["logvar"])).sum(1),
    "mu": lambda a: a["mu"].sum(1),
    "|mu|": lambda a: np.abs(a["mu"]).sum(1),
}


def unexplained(candidate: Candidate, what: str, right: Form) -> Audit:
    """What can be said of a function that is nothing that is known: its parts, or how the difference grows."""
    takes = candidate.takes
    posterior = bool(takes & {"mu", *SPREADS}) and "z" not in takes
    columns = dict(PARTS) if posterior else {}
    for number, words, make in probes.reconstructions(candidate) if takes & {"logits", "x_hat"} else []:
        columns |= {} if number else {words.removeprefix("a "): make}
    if columns:
        fit = probes.fitted(candidate, [Form(columns)], constant=True)
        if fit is not None:
            return verdicts.unknown((f"it is {verdicts.listed(fit.at)}", *right_form(posterior)), what)
    inputs, values = probes.observed(candidate, range(60))
    shape = probes.shape_of(values[0], candidate.sizes)
    lines, seen = probes.equations(right, inputs, values, shape, True)
    gap = np.abs(seen - lines @ np.linalg.lstsq(lines, seen, rcond=None)[0])
    told = [f"off the right form, with the best coefficients for it, by {gap.mean():.4g} on average"]
    if columns:
        lines, _ = probes.equations(Form(columns), inputs, values, shape, False)
        along = {name: np.corrcoef(line, gap)[0, 1] for name, line in zip(columns, lines.T, strict=True)}
        most = max(along, key=lambda name: abs(along[name]))
        told.append(
            f"the difference {'grows' if along[most] > 0 else 'falls'} with {most} (correlation {along[most]:.2f})"
        )
    return verdicts.unknown(tuple(told), what)


def right_form(posterior: bool) -> tuple[str, ...]:
    """The rate in the same words, for comparison."""
    return ("the rate is 0.5 mu^2 + 0.5 sigma^2 - 0.5 log sigma^2 - 0.5, summed over dimensions",) if posterior else ()


def from_file(place: str) -> Callable[..., Any]:
    """The function that FILE.py:name stands for. The file is executed, and may import what lies beside it.

    Raises:
        ValueError: Where there is no such file, no such function in it, or the file ends in an error.
    """
    file, _, name = place.rpartition(":")
    path = Path(file).expanduser()
    if not file or not path.is_file():
        raise ValueError(f"{place!r}: expected FILE.py:function, with a file that exists")
    spec = importlib.util.spec_from_file_location(f"audited_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{file}: expected a file of Python, FILE.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    sys.path.insert(0, str(path.parent.absolute()))  # as of a program
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever the file runs into
        lines = [f", line {at.lineno}" for at in traceback.extract_tb(error.__traceback__) if at.filename == str(path)]
        raise ValueError(f"{file}{''.join(lines[-1:])}: {type(error).__name__}: {error}") from error
    found = getattr(module, name, None)
    if not callable(found):
        raise ValueError(f"{file} has no function {name!r}")
    return found
