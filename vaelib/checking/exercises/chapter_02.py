"""Exercises of chapter 2: divergence."""

import math

import numpy as np

from .judge import Exercise, Slip
from .truths_02 import (
    batch,
    coins,
    dearer_than_covering,
    half_width,
    k3_variance,
    lets_go,
    mixing,
    moved_to,
    uniform_half_width,
    wide_or_narrow,
)


def _rate(mu, log_sigma, variance=2, log=2):
    return (mu**2 + np.exp(variance * log_sigma) - 1 - log * log_sigma) / 2


EXERCISES = (
    Exercise(
        "2.1",
        "by hand",
        3,
        checks="the divergence and Pinsker's bound, to three digits",
        right=coins,
        slips={
            "E7": Slip(
                lambda: [coins(q=(1 / 4, 3 / 4), p=(1 / 2, 1 / 2))[0], coins()[1]],
                "This is E7: in the divergence the second coin does the averaging. The one that stands first should.",
                "(D2.1)",
            ),
            "bits": Slip(
                lambda: [coins(log=math.log2)[0], coins()[1]],
                "The divergence is in bits. Pinsker's inequality is asked for in nats.",
                "(2.1)",
            ),
            "half the sum": Slip(
                lambda: coins(half=0.5),
                "The bound takes half the sum of the differences, the total variation. For that the inequality reads "
                "with 2 and not with 1/2.",
                "the statement",
            ),
            "not squared": Slip(
                lambda: coins(power=1),
                "The bound is not squared. As it stands it is larger than the divergence, and so no bound.",
                "the statement",
            ),
            "absolute terms": Slip(
                lambda: [coins(log=lambda t: abs(math.log(t)))[0], coins()[1]],
                "Each term was made positive. One of the two is negative, and stays so.",
                "the first twin of (2.3)",
            ),
        },
        hints=(
            "The divergence has two terms, one for heads and one for tails, each with the probability 1/2 before it.",
            "The first logarithm is that of 2, the second that of 2/3.",
            "Each of the two differences is 1/4. Add them, square, halve.",
        ),
        solution="$\\mathrm{KL} = \\frac12 \\log 2 + \\frac12 \\log \\frac23 = \\frac12 \\log \\frac43 = 0.144$ nats; "
        "the sum of the differences is $\\frac12$ and the bound $\\frac12 \\cdot \\frac14 = 0.125$. Nearer coins come "
        "nearer to it: for $q = \\frac12 + t$ and $p = \\frac12$ the divergence is $2 t^2 + \\frac43 t^4 + \\dots$ "
        "and the bound $2 t^2$. So the $\\frac12$ cannot be replaced by anything larger; as a claim, the twin with 1 "
        "fails at this pair already.",
        tol=2e-3,
    ),
    Exercise(
        "2.2",
        "read off",
        2,
        checks="the mean, as well as it can be read off the map",
        right=moved_to,
        slips={
            "all for the mean": Slip(
                lambda: math.sqrt(2),
                "That is how far the whole nat would move the mean at the prior's width. Part of it is spent on the "
                "width.",
                "(2.7), its second form",
            ),
            "double width": Slip(
                lambda: moved_to(width=2.0),
                "This is read off at twice the prior's width. The axis is logarithmic: look below the prior.",
                "the map of Section 4",
            ),
            "the dashed curve": Slip(
                lambda: math.sqrt(1 - 0.5**2),
                "This is where the dashed curve has this width. The rate there is that of one binary digit, less than "
                "a nat.",
                "the map of Section 4",
            ),
        },
        hints=(
            "Find the line of the map that is labelled 1.",
            "Start at the point below the prior that is marked, and go to the right until you meet the line.",
            "Or reckon: the width costs what stands at the marked point; what is left of the nat is m squared over 2.",
        ),
        solution="To halve the width costs 0.32 nats, so that 0.68 are left for the place, and $m^2 / 2 = 0.68$ gives "
        "$m = 1.17$. The line labelled 1 passes there.",
        tol=3e-2,
    ),
    Exercise(
        "2.3",
        "spot the bug",
        6,
        checks="the rate of each example of a batch, on 20 drawn batches",
        right=lambda mu, log_sigma: _rate(mu, log_sigma).sum(-1),
        slips={
            "E6": Slip(
                lambda mu, log_sigma: _rate(mu, log_sigma, 1, 1).sum(-1),
                "This is the line of the question, E6: the logarithm of the standard deviation stands where that of "
                "the variance belongs.",
                "(2.8)",
            ),
            "one place of two": Slip(
                lambda mu, log_sigma: _rate(mu, log_sigma, 2, 1).sum(-1),
                "The exponential is repaired. The logarithm stands in a second place, too.",
                "(2.8)",
            ),
            "the other place": Slip(
                lambda mu, log_sigma: _rate(mu, log_sigma, 1, 2).sum(-1),
                "The logarithm is repaired. It stands in an exponent, too.",
                "(2.8)",
            ),
            "E5a": Slip(
                lambda mu, log_sigma: _rate(mu, log_sigma, 2, 4).sum(-1),
                "This is E5: the logarithm of the variance lacks its 1/2.",
                "(2.8)",
            ),
            "E1": Slip(
                lambda mu, log_sigma: _rate(mu, log_sigma).mean(-1),
                "This is E1: the mean over the latent dimensions. It was a sum.",
                "(2.8)",
            ),
            "E3": Slip(
                lambda mu, log_sigma: _rate(mu, log_sigma).sum(),
                "This is E3: the sum over the whole batch. One rate for each example is asked for.",
                "(2.8)",
            ),
        },
        hints=(
            "Which width does the sampler give the posterior? And which one does this line charge for?",
            "The formula has v, the logarithm of the variance. What is v here?",
            "Write 2 log_sigma in both places where v stands.",
        ),
        solution="`0.5 * (mu**2 + (2 * log_sigma).exp() - 1 - 2 * log_sigma).sum(1)`. The wrong line is $\\frac12 "
        "\\sum_j (\\mu_j^2 + g(\\sigma_j))$ with $g(t) = t - 1 - \\log t \\ge 0$, the right one has $g(\\sigma_j^2)$. "
        "Both are never negative and zero exactly at the prior: no alarm goes off. Their derivatives with respect to "
        "$\\log \\sigma$ are $\\frac12 (\\sigma - 1)$ and $\\sigma^2 - 1$. The wrong one pulls too weakly by the "
        "factor $2(1 + \\sigma)$: 2 where $\\sigma$ is small, and without limit where it is large.",
        takes=("mu", "log_sigma"),
        draw=batch,
    ),
    Exercise(
        "2.4",
        "predict",
        4,
        checks="your prediction, against a thousand drawn pairs of pairs",
        right=mixing,
        slips={
            "rises": Slip(
                "b",
                "Mixing loses the information which coin was thrown. The data-processing inequality says what a loss "
                "does.",
                "(2.12) in notebook 02b",
            ),
            "the mean": Slip(
                "c",
                "That would be so if the divergence were linear. Try two pairs that are mirror images of each other.",
                "(2.12) in notebook 02b",
            ),
            "either": Slip(
                "d",
                "There is a theorem about this. Keep the name of the coin beside the outcome, and then forget it.",
                "(2.12) in notebook 02b",
            ),
        },
        hints=(
            "Take q1 and p2 to be one coin, and q2 and p1 another. What are the two mixtures?",
            "With the number of the coin kept, the divergence of the pair (coin, outcome) is the mean of the two.",
            "A channel that drops the number of the coin cannot raise a divergence.",
        ),
        solution="Let $z = (i, x)$ with a fair coin $i$, and $x$ from $q_i$ or from $p_i$. The number of the coin is "
        "equally distributed under both, so $\\mathrm{KL}$ of the pair is $\\frac12 \\mathrm{KL}(q_1 \\| p_1) + "
        "\\frac12 \\mathrm{KL}(q_2 \\| p_2)$. The channel that forgets $i$ leads to the mixtures, and by (2.12) it "
        "does not increase the divergence: $\\mathrm{KL}\\big(\\frac{q_1 + q_2}{2} \\| \\frac{p_1 + p_2}{2}\\big)$ is "
        "at most the mean. KL is convex in both arguments together.",
        choices={
            "a": "never more than the mean of the two",
            "b": "never less than the mean of the two",
            "c": "always the mean of the two",
            "d": "sometimes more, sometimes less than the mean of the two",
        },
    ),
    Exercise(
        "2.5",
        "program",
        6,
        checks="half the width of the interval, for 20 prices",
        right=half_width,
        slips={
            "one tail": Slip(
                lambda k: math.sqrt(2) * _erfinv(1 - math.exp(-k)),
                "This interval has the probability 1 - exp(-k). So much is outside of the one that is asked for.",
                "(2.4) in notebook 02b",
            ),
            "the whole width": Slip(
                lambda k: 2 * half_width(k),
                "This is the whole width. Asked for is the distance from 0 to an end.",
                "the statement",
            ),
            "bits": Slip(
                lambda k: math.sqrt(2) * _erfinv(2**-k),
                "This takes the price in bits. It is in nats.",
                "(2.1)",
            ),
            "error function": Slip(
                lambda k: _erfinv(math.exp(-k)),
                "The root of 2 is missing: the error function belongs to a Gaussian of variance 1/2.",
                "(2.4) in notebook 02b",
            ),
            "uniform": Slip(
                uniform_half_width,
                "This is for a uniform q. It costs more than the price of its interval, as p is not constant there.",
                "(2.4) in notebook 02b, on equality",
            ),
        },
        hints=(
            "Which q on the interval costs least? See when Jensen's step is an equality.",
            "Then the price is minus the logarithm of the interval's probability.",
            "The probability of (-c, c) is erf(c / sqrt(2)); solve for c, by a search or by erfinv.",
        ),
        solution="The cheapest $q$ on $A$ is $p$ cut down to $A$ and costs $-\\log P(A)$. So $P(A) = e^{-k}$, and "
        "$\\operatorname{erf}(c / \\sqrt 2) = e^{-k}$: `math.sqrt(2) * torch.erfinv(torch.exp(-k))`. For one nat the "
        "interval has the probability $1/e = 0.368$ and reaches from $-0.479$ to $0.479$. Each further nat makes it "
        "narrower by about a factor $e$.",
        takes=("k",),
        draw=lambda rng: {"k": rng.uniform(0.4, 4)},
    ),
    Exercise(
        "2.6",
        "derive",
        12,
        checks="the variance of one draw of k3 against quadrature, for 20 widths and numbers of dimensions",
        right=k3_variance,
        slips={
            "dimension by dimension": Slip(
                lambda s, J: J * k3_variance(s, 1),
                "This adds up J estimates, each with the ratio of its own dimension. The ratio of the whole vector is "
                "asked for, and that is a product.",
                "(D2.5) in notebook 02b",
            ),
            "uncorrelated": Slip(
                lambda s, J: k3_variance(s, J, covariance=0.0),
                "This takes r and log r for uncorrelated. Where the one is large, so is the other.",
                "(2.16) in notebook 02b",
            ),
            "E7": Slip(
                lambda s, J: k3_variance(s, J, one_way=True),
                "This is E7: one direction of the divergence, counted twice. Both occur.",
                "(2.16) in notebook 02b",
            ),
            "covariance once": Slip(
                lambda s, J: k3_variance(s, J, covariance=1.0),
                "The covariance is there once. In the variance of a difference it comes twice.",
                "(2.16) in notebook 02b",
            ),
            "second moment": Slip(
                lambda s, J: k3_variance(s, J, minus=0.0),
                "This has the second moment of r in place of its variance. The mean of r is 1.",
                "(2.15) in notebook 02b",
            ),
            "k1 of one dimension": Slip(
                lambda s, J: k3_variance(s, J, k1_once=True),
                "The variance of k1 is that of one dimension. There are J, and they are independent.",
                "(2.16) in notebook 02b",
            ),
        },
        hints=(
            "Use (2.16) with m = 0. What does each of its three parts become in J dimensions?",
            "The log-ratio is a sum over the dimensions, the ratio a product: E[r^2] of the vector is a power.",
            "Var(k1) and both divergences are J times those of one dimension; Var(r) is E[r^2] - 1.",
        ),
        solution="$$\\operatorname{Var}(k_3) = \\frac J2 (s^2 - 1)^2 + \\Big(\\frac{s^2}{\\sqrt{2 s^2 - 1}}\\Big)^J - "
        "1 - J \\big(s^2 + s^{-2} - 2\\big),$$ since both directions together are $\\frac12 (s^2 + s^{-2} - 2)$ in "
        "one dimension. $k_1$ is better where the last three terms are positive. At $s = 0.85$ the power grows by "
        "1.083 with each dimension, and that happens at $J = 7$: at six $k_3$ is still a little better. A VAE has "
        "dozens of dimensions.",
        takes=("s", "J"),
        draw=wide_or_narrow,
    ),
    Exercise(
        "2.7",
        "project",
        25,
        checks="three factors, to half a hundredth",
        right=lets_go,
        slips={
            "half distances": Slip(
                lambda: np.multiply(2, lets_go()),
                "These are half the distances of the humps. Asked for are the factors by which the centres are "
                "multiplied.",
                "the statement",
            ),
            "gone means beaten": Slip(
                lambda: [lets_go()[0], lets_go()[2], lets_go()[2]],
                "The second number is the third again. A fit on a hump can still exist when it is no longer the best "
                "one.",
                "Section 5, the figure on the right",
            ),
            "compared with the lighter": Slip(
                lambda: [lets_go()[0], dearer_than_covering(), lets_go()[2]],
                "The second number compares covering both with the fit on the lighter hump. The best fit on one hump "
                "is that on the heavier.",
                "Section 5",
            ),
            "humps exchanged": Slip(
                lambda: lets_go()[::-1],
                "The first and the third number are exchanged. The lighter hump is let go first.",
                "the statement",
            ),
        },
        hints=(
            "Plot the price of all three fits against the factor before you search for anything.",
            "A fit on a hump has gone where a search from that hump ends in the middle: bisect.",
            "For the second number, bisect on whether the fit on the heavier hump costs less than the one in the "
            "middle.",
        ),
        solution="The fit on the lighter hump goes first, at 0.81. A search from there does not jump to the heavier "
        "hump: it slides into the bell over both, which is a third valley and has been there all the time. It is not "
        "the best one yet: the heavier hump costs 0.42 nats, covering both 0.73. At 0.64 the two cost the same, and "
        "the best fit changes at one stroke from a narrow bell to a broad one. At 0.59 the fit on the heavier hump is "
        "gone as well, and a single solution is left. So the reverse fit becomes mass-covering, by a jump, and from "
        "the heavier hump.",
        tol=5e-3,
    ),
)


def _erfinv(t):
    from scipy import special

    return special.erfinv(t)
