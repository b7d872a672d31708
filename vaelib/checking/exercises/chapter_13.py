"""Exercises of chapter 13: from MHVAE to diffusion."""

import math

import numpy as np

from . import truths_13 as found
from .judge import Exercise, Slip


def _without(part):
    """The step back of 13.3 with one thing wrong; functions of `takes`."""
    wrong = {
        "abar": lambda z, noise, alpha, abar: (z - (1 - alpha) / np.sqrt(1 - alpha) * noise) / np.sqrt(alpha),
        "growth": lambda z, noise, alpha, abar: z - (1 - alpha) / np.sqrt(1 - abar) * noise,
        "sign": lambda z, noise, alpha, abar: (z + (1 - alpha) / np.sqrt(1 - abar) * noise) / np.sqrt(alpha),
        "data": lambda z, noise, alpha, abar: (z - np.sqrt(1 - abar) * noise) / np.sqrt(abar),
    }
    return wrong[part]


EXERCISES = (
    Exercise(
        "13.1",
        "by hand",
        4,
        checks="the share of signal and the ratio, to three digits, step by step",
        right=found.after_three,
        slips={
            "noise added up": Slip(
                lambda: [found.after_three()[0], found.after_three()[0] / (0.1 + 0.2 + 0.5)],
                "The share is right. The noise of the first step has been through the other two steps as well.",
                "(13.1) and its first twin",
            ),
            "roots": Slip(
                lambda: [math.sqrt(found.after_three()[0]), found.after_three()[1]],
                "The ratio is right. The first is the factor of x itself; a share of the variance is asked for.",
                "(13.1)",
            ),
            "the last step alone": Slip(
                lambda: [0.5, 1.0],
                "This is what the last step does to its own input. What came in was no pure signal any more.",
                "(13.1)",
            ),
            "share for ratio": Slip(
                lambda: [found.after_three()[0], found.after_three()[0]],
                "The share is right. For the ratio divide by what the noise has.",
                "Section 2 of 13",
            ),
        },
        hints=(
            "Each step multiplies what is there by a number, signal and noise alike, and adds new noise.",
            "Multiply the three numbers.",
            "Whatever is no signal is noise, and the two shares add up to one.",
        ),
        solution="$\\bar\\alpha_3 = 0.9 \\cdot 0.8 \\cdot 0.5 = 0.36$, and $\\gamma_3 = 0.36 / 0.64 = 0.5625$. (Step "
        "by step the noise is 0.1, then $0.8 \\cdot 0.1 + 0.2 = 0.28$, then $0.5 \\cdot 0.28 + 0.5 = 0.64$.)",
        tol=1e-3,
    ),
    Exercise(
        "13.2",
        "predict",
        3,
        checks="your choice, against exact chains of 50 and of 200 levels",
        right=found.fraction,
        slips={
            "as much": Slip(
                "a",
                "That would be so if each step lost in proportion to its length. It loses less than that.",
                "the right panel of the figure in Section 4 of 13",
            ),
            "half": Slip("b", "It falls faster. Read two points off the line.", "the left panel in Section 4 of 13"),
            "a sixteenth": Slip(
                "d",
                "So much less is lost by each step, but there are more of them now.",
                "the answer in Section 4 of 13",
            ),
        },
        hints=(
            "How does what one step loses depend on its length?",
            "The correlation that a step leaves out is proportional to its length, and the loss to its square.",
            "Each loses a sixteenth; now count the steps.",
        ),
        solution="A step of a quarter of the length leaves a correlation of about a quarter, and $-\\frac12\\log(1 - "
        "\\rho^2) \\approx \\rho^2 / 2$ is a sixteenth. There are four times as many steps: a quarter in all. That is "
        "the slope of $-1$ in the figure.",
        choices={
            "a": "As much: the same way is walked.",
            "b": "About half.",
            "c": "About a quarter.",
            "d": "About a sixteenth.",
        },
    ),
    Exercise(
        "13.3",
        "spot the bug",
        8,
        checks="the mean of 20 steps back, by way of the guess at the data, to 0.000001",
        right=found.mean_back,
        slips={
            "as printed": Slip(
                _without("abar"),
                "This is the line of the question. In z there is the noise of all steps, not that of one.",
                "(13.7) and (13.1)",
            ),
            "not grown back": Slip(
                _without("growth"),
                "The noise is taken out. But a step up has also shrunk its input.",
                "(D13.1)",
            ),
            "sign": Slip(_without("sign"), "This adds the noise once more.", "(13.7)"),
            "the guess itself": Slip(
                _without("data"),
                "This is the guess at the data. A step back goes a part of the way only.",
                "(13.2)",
            ),
        },
        hints=(
            "Two different shares are at work: what one step does, and what all steps have done.",
            "Put the guess at x from (13.7) into a x + h z, with (13.2).",
            "One of the three places where alpha stands has to be abar.",
        ),
        solution="`(z - (1 - alpha) / (1 - abar) ** 0.5 * noise) / alpha ** 0.5`. With $\\hat x = (z - "
        "\\sqrt{1-\\bar\\alpha}\\,\\hat\\varepsilon)/\\sqrt{\\bar\\alpha}$ the mean of (13.2) is $a\\hat x + hz = "
        "\\frac{1}{\\sqrt\\alpha}\\big(z - \\frac{1-\\alpha}{\\sqrt{1-\\bar\\alpha}}\\,\\hat\\varepsilon\\big)$. As "
        "printed it takes out too much: $\\sqrt{1-\\alpha}$ is larger than $(1-\\alpha)/\\sqrt{1-\\bar\\alpha}$ "
        "wherever the step is not the first one, and the samples draw together about the likeliest places.",
        takes=("z", "noise", "alpha", "abar"),
        draw=found.noise_and_step,
    ),
    Exercise(
        "13.4",
        "derive",
        8,
        checks="the rate at 20 variances and pairs of ends, by quadrature, to 0.000001",
        right=found.endless,
        slips={
            "no half": Slip(
                lambda ell, first, last: math.log((1 + ell * first) / (1 + ell * last)),
                "Twice too large: a half stands before the integral.",
                "(13.6) and its first twin",
            ),
            "the lower end": Slip(
                lambda ell, first, last: math.log(1 + ell * first) / 2,
                "This is what the first latent knows. What the last one still knows has been paid elsewhere.",
                "(13.6) and its second twin",
            ),
            "error at the noisy end": Slip(
                lambda ell, first, last: (first - last) * ell / (1 + ell * last) / 2,
                "This is one step with no room for the error, (13.3). In the limit the error falls along the way.",
                "the right side of (13.4)",
            ),
            "variance one": Slip(
                lambda ell, first, last: math.log((1 + first) / (1 + last)) / 2,
                "Right for a variance of one. The error of the guess depends on the variance of the data.",
                "Section 4 of 13",
            ),
        },
        hints=(
            "What is the least mean squared error of x, given a z of signal-to-noise ratio gamma?",
            "Precisions add: that of the data is 1 over its variance, that of z is gamma.",
            "Integrate ell / (1 + ell gamma) between the two ends.",
        ),
        solution="Precisions add, so the error is $\\Delta(\\gamma) = 1/(1/\\ell + \\gamma) = \\ell / (1 + "
        "\\ell\\gamma)$, and $\\frac12\\int \\Delta\\,d\\gamma = \\frac12 \\log\\frac{1 + \\ell\\gamma_1}{1 + "
        "\\ell\\gamma_T}$: the information of $z_1$ less that of $z_T$. (One step with the right variance has the very "
        "same rate, (13.4): a Gaussian entry on its own loses nothing, however few the steps are.)",
        takes=("ell", "first", "last"),
        draw=found.variance_and_ends,
    ),
    Exercise(
        "13.5",
        "program",
        8,
        checks="the three constants at 20 pairs of ratios, from precisions",
        right=found.constants,
        slips={
            "noise of the step up": Slip(
                lambda below, above: (
                    found.constants(below, above) * [1, 1, 0] + [0, 0, 1 - above * (1 + below) / (below * (1 + above))]
                ),
                "The first two are right. The third is the variance of the step up.",
                "(13.2) and its twin",
            ),
            "exchanged": Slip(
                lambda below, above: found.constants(below, above)[[1, 0, 2]],
                "The weights of x and of the latent above have changed places.",
                "(D13.2)",
            ),
            "a deviation": Slip(
                lambda below, above: found.constants(below, above) ** [1, 1, 0.5],
                "The third is a standard deviation; the variance is asked for.",
                "(D13.2)",
            ),
            "ratios for shares": Slip(
                found.reverse,
                "Ratios were put where shares belong. A share lies between 0 and 1.",
                "Section 2 of 13",
            ),
        },
        hints=(
            "The share of signal at a ratio gamma is gamma / (1 + gamma).",
            "alpha of the step is the quotient of the two shares.",
            "Then (13.2) as it stands, with the share of z_t and that of z_{t+1}.",
        ),
        solution="```python\nlow, high = above / (1 + above), below / (1 + below)\nalpha = low / high\nreturn "
        "[high**0.5 * (1 - alpha) / (1 - low), alpha**0.5 * (1 - high) / (1 - low), (1 - alpha) * (1 - high) / (1 - "
        "low)]\n```\n\nA check worth having: $a^2/\\tau = \\gamma_t - \\gamma_{t+1}$, the weight of (13.3).",
        takes=("below", "above"),
        draw=found.two_ratios,
    ),
    Exercise(
        "13.6",
        "project",
        20,
        checks="a number of levels, against exact chains",
        right=lambda: found.fewest(),
        slips={
            "the weaker tie": Slip(
                lambda: found.fewest(0.9),
                "This is enough for the pair of the chapter. This pair is tied more tightly.",
                "the statement",
            ),
            "one too few": Slip(
                lambda: found.fewest() - 1, "One level fewer, and slightly more than this is lost.", "the statement"
            ),
            "one too many": Slip(lambda: found.fewest() + 1, "One level fewer would do.", "the statement"),
            "a nat": Slip(
                lambda: found.fewest(nats=1.0),
                "So many levels lose a whole nat. A tenth is asked for.",
                "the statement",
            ),
            "the last step counted": Slip(
                lambda: found.fewest(first=0),
                "The last step, from z_1 to x, is the same for every number of levels. Leave it out.",
                "the statement, and the end of Section 4 of 13",
            ),
        },
        hints=(
            "Copy the function `losses` of Section 4, with the other correlation. Which entry is the last step?",
            "Sum what is left, for T = 2, 3, 4, and so on, until it is small enough.",
            "In float32 the sum of many small losses is rough; use float64, or the formula for 1 plus and minus rho.",
        ),
        solution="```python\ndef lost(T, rho=0.99):\n    gamma = np.exp(np.linspace(5, -7, T))\n    share = gamma / "
        "(1 + gamma)\n    alpha = share[1:] / share[:-1]\n    a = np.sqrt(share[:-1]) * (1 - alpha) / (1 - "
        "share[1:])\n    tau = (1 - alpha) * (1 - share[:-1]) / (1 - share[1:])\n    u = [tau + a**2 * v / (1 + v * "
        "gamma[1:]) for v in (1 + rho, 1 - rho)]\n    return np.sum(np.log((u[0] + u[1]) / 2) - np.log(u[0] * u[1]) / "
        "2)\n\nT = 2\nwhile lost(T) > 0.1:\n    T += 1\n```\n\nMore than twice as many as the chapter's pair needs. "
        "The tighter the tie, the more of it every step leaves out.",
    ),
)
