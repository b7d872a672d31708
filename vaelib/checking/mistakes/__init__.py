r"""Wrong formulas found in the wild, E1 to E25: each once beside the right one, as LaTeX that is evaluated as it is.

One number, one formula; a letter tells variants apart. `MISTAKES["E5a"]` is one, `variants("E5")` all of a row. What is
said to be E5 can be compared with it: `MISTAKES["E5a"].matches(formula)`, or `named(formula)` for every mistake that it
is. The notation is that of `vaelib.checking.mistakes.twins`; all values are in nats per example unless said otherwise.

"Opened" after a place says that the thread or file was read; "beginning" that only its start was at hand; "code read"
that the file itself was; "retold" that a paper's equation was read in somebody's retyped LaTeX.

    >>> from vaelib.checking.mistakes import MISTAKES, named
    >>> MISTAKES["E6"].name
    'log sigma used as log-variance in the rate'
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from .twins import Mistake, parsed
from .wrong_divergences import ONE_LEVEL, SEVERAL_LEVELS
from .wrong_objectives import OBJECTIVES, SAMPLES


def _order(mistake: Mistake) -> tuple[int, str]:
    return int(mistake.row[1:]), mistake.number


MISTAKES: dict[str, Mistake] = {
    mistake.number: mistake for mistake in sorted((*ONE_LEVEL, *OBJECTIVES, *SAMPLES, *SEVERAL_LEVELS), key=_order)
}


def variants(row: str) -> tuple[Mistake, ...]:
    """The mistakes of one row of the museum: E5a and E5b for "E5"; that one alone for "E5a".

    Raises:
        LookupError: Where there is no such number.
    """
    found = tuple(m for m in MISTAKES.values() if row in (m.number, m.row))
    if not found:
        raise LookupError(f"there is no mistake {row!r}: expected E1 to E25, or one of {', '.join(MISTAKES)}")
    return found


def named(formula: str | Callable[..., Any], **sizes: int) -> tuple[str, ...]:
    """The numbers of the mistakes that a formula is, by evaluation; see `Mistake.matches` for what it may be.

    E25d is the right rate to N(0, I) in the place of another, and is named for every formula of that rate.

    Raises:
        ValueError: Where LaTeX cannot be read, or a formula can be compared with none of the mistakes.
    """
    found, errors = [], []
    if isinstance(formula, str):
        parsed(formula)
    for mistake in MISTAKES.values():
        try:
            if mistake.matches(formula, **sizes):
                found.append(mistake.number)
        except ValueError as error:  # it speaks of other names
            errors.append(error)
    if len(errors) == len(MISTAKES):
        raise errors[0]
    return tuple(found)


class FalseAlarm(NamedTuple):
    """A report that something is wrong which is right."""

    said: str
    why: str
    seen: tuple[str, ...]


FALSE_ALARMS = (
    FalseAlarm(
        "a rate is negative",
        "a sampled log q - log p may have either sign, and below the top of a hierarchy even its mean may; in a flat "
        "VAE its mean may not, and a closed form that is negative is a bug",
        (
            "RuiShu/one-bit-vae #1 (opened)",
            "GlassyWing/nvae #17 (opened)",
            "jmtomczak/vae_vampprior #4 (opened)",
        ),
    ),
    FalseAlarm(
        "the sign of a term is wrong",
        "a loss is minus the bound: -E[log p(x|z)] + KL",
        (
            "tensorflow/probability #189 (opened)",
            "lilianweng/lilianweng.github.io #6 (opened)",
            "pytorch/examples #824, #298 (opened)",
            "tkipf/gae #72 (opened)",
            "keras-team/keras PR #6500 (opened)",
            "wiseodd/generative-models #43 (opened)",
        ),
    ),
    FalseAlarm(
        "log sigma is used as log-variance",
        "the sample is drawn with exp(a / 2), so a is the log-variance",
        (
            "openai/improved-diffusion #119 (opened)",
            "AntixK/PyTorch-VAE #69 (opened)",
            "XMUDeepLIT/VNMT #5 (opened)",
            "fastforwardlabs/vae-tf #3 (opened)",
            "pytorch/examples #225 (opened)",
            "thuhcsi/VAENAR-TTS #8 (opened)",
            "mlvu/worksheets #4 (opened)",
        ),
    ),
    FalseAlarm(
        "the two terms have two scales",
        "both are divided by the same number: minus the ELBO per pixel is right, and so is a sum over the batch",
        (
            "pytorch/examples #234, #294 (opened, beginning)",
            "pytorch/examples #290, #592, #817 (opened)",
            "wiseodd/generative-models #40 (opened)",
            "y0ast/VAE-Torch #9 (opened)",
        ),
    ),
    FalseAlarm(
        "a constant is missing",
        "broadcasting had supplied it; or it belongs to another likelihood",
        (
            "pints-team/pints #1179 (opened; PR #1180 finds the value right)",
            "clementchadebec/benchmark_VAE #123 (opened)",
            "ericjang/draw #2 (opened): its constant was wrong, and not what it was held for",
        ),
    ),
    FalseAlarm(
        "a sum is asked to be a mean, or a term to be halved",
        "it was right; the change that followed was the bug, and was taken back",
        (
            "AppliedDataSciencePartners/WorldModels #2 (opened): mean and mean from dcf22c4 to cca629f",
            "ray-project/ray #2920 (opened): PR #2968 halves the logarithm in an entropy, PR #6475 takes it back",
        ),
    ),
    FalseAlarm(
        "a loss is printed with the other sign",
        "it concerns the report, not what is minimised",
        ("pyro-ppl/pyro #1982, #2798 (opened)",),
    ),
    FalseAlarm(
        "something is added to the rate",
        "an axis argument was read as + 1",
        ("GuHY777/VaDE-pytorch #3 (opened)",),
    ),
    FalseAlarm(
        "no noise is drawn",
        "the layer that samples draws it",
        ("keras-team/keras-io #790 (opened), PR #789 (opened, beginning; not merged)",),
    ),
    FalseAlarm(
        "validation and test take another beta than training",
        "a bound is reported at beta = 1",
        ("jxhe/vae-lagging-encoder #9 (opened)",),
    ),
    FalseAlarm(
        "free bits are clamped in the wrong order",
        "mean then clamp and clamp then mean are both free bits, as long as it is said which",
        ("weipu-zhang/STORM #12 (opened)",),
    ),
    FalseAlarm(
        "the gradient of log q is missing",
        "its mean under q is 0",
        ("deepgenerativemodels/notes #8 (opened)",),
    ),
    FalseAlarm(
        "the importance-weighted bound is not the log of the mean",
        "that line is",
        ("arahuja/generative-tf #1 (opened)",),
    ),
)
