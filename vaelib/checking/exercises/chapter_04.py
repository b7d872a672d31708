"""Exercises of chapter 4: the evidence lower bound."""

import math

import numpy as np

from . import truths_04 as found
from .judge import Exercise, Slip

EXERCISES = (
    Exercise(
        "4.1",
        "by hand",
        5,
        checks="the bound and the gap, to three digits, against exact products of fractions",
        right=lambda: found.bar(found.GUESS),
        slips={
            "the log of the mean": Slip(
                lambda: [math.log(found.EVIDENCE), 0],
                "This is the logarithm of the mean weight. The bound takes the two in the other order.",
                "(D4.2) and (4.2)",
            ),
            "the rate for the gap": Slip(
                lambda: [
                    found.bar(found.GUESS)[0],
                    found.mean_log(found.GUESS, lambda z: found.GUESS[z] / found.PRIOR[z]),
                ],
                "The bound is right. The second is the divergence to the prior, the rate: the gap has another one.",
                "(4.1) and the last twin of (4.6)",
            ),
            "E7": Slip(
                lambda: [
                    found.bar(found.GUESS)[0],
                    found.mean_log(found.POSTERIOR, lambda z: found.POSTERIOR[z] / found.GUESS[z]),
                ],
                "The bound is right, and the second is E7: the arguments are swapped. The guess does the averaging.",
                "(4.1) and its first twin",
            ),
            "E23b": Slip(
                lambda: [
                    found.mean_log(found.GUESS, lambda z: found.SQUARE[z] / found.PRIOR[z]),
                    found.bar(found.GUESS)[1],
                ],
                "The first is E23: the reconstruction alone, without the rate. The second is right.",
                "(4.4)",
            ),
            "all alike": Slip(
                lambda: found.bar(found.EVEN),
                "This is the bar of a guess that finds all three solids equally likely. Ours has seen the prior.",
                "the statement",
            ),
        },
        hints=(
            "Which of the five solids can cast a square? A guess that draws any other has a weight of zero.",
            "The three that are left come in the ratio 6 : 1 : 2. Make a distribution of it, and write down the "
            "weights.",
            "The guess is made of ninths: multiply nine weights, take the logarithm, divide by nine.",
        ),
        solution="The sphere and the cone cast no square. The prior draws them in a quarter of all cases, with $\\log "
        "w = -\\infty$, so its ELBO is $-\\infty$. The guess that is left is $q = (\\tfrac69, \\tfrac19, \\tfrac29)$ "
        "for cylinder, cube, pyramid, with the weights $\\tfrac38, \\tfrac34, \\tfrac38$. So $e^{9\\,\\mathrm{ELBO}} "
        "= (\\tfrac38)^8 \\cdot \\tfrac34$, and ELBO = $-0.904$. The posterior is $(\\tfrac35, \\tfrac15, "
        "\\tfrac15)$, and $e^{9\\,\\mathrm{KL}} = (\\tfrac{10}9)^6 \\cdot \\tfrac59 \\cdot (\\tfrac{10}9)^2$: the gap "
        "is 0.028. The product of the two is $(\\tfrac5{12})^9$, exactly: $-0.9038 + 0.0283 = -0.8755 = "
        "\\log\\tfrac5{12}$.",
        tol=2e-3,
    ),
    Exercise(
        "4.2",
        "read off",
        3,
        checks="rate and gap of one choice of q, to a tenth of a nat, against the exact model",
        right=lambda: found.bars(*found.NARROW)[1:],
        slips={
            "changed over": Slip(
                lambda: found.bars(*found.NARROW)[:0:-1],
                "The two are changed over. One of them is drawn in the bar, the other beside it.",
                "the figure of Section 6",
            ),
            "down to the black line": Slip(
                lambda: [
                    found.bars(*found.NARROW)[0] - found.bars(0.8, 5**-0.5)[0] + found.bars(0.8, 5**-0.5)[1],
                    found.bars(*found.NARROW)[2],
                ],
                "The gap is right. The rate was read from the top of the green line to log p(x) only: it ends lower.",
                "the caption of the figure of Section 6",
            ),
            "the other one": Slip(
                lambda: found.bars(*found.WIDE)[1:],
                "This is the q that is too wide. You are asked for the one that is too narrow.",
                "the figure of Section 6",
            ),
            "signs": Slip(
                lambda: -found.bars(*found.NARROW)[1:], "Both are divergences: neither is ever below zero.", "(4.6)"
            ),
        },
        hints=(
            "The green line begins at the reconstruction and ends at the ELBO. What is its length called?",
            "The gap is the orange part of the bar, from the ELBO up to the black line.",
            "Use the scale on the left: read the heights of the three ends, then subtract.",
        ),
        solution="The green line of 'too narrow' reaches from about $-1.1$ to $-2.5$: a rate of 1.4 nats (exactly "
        "$\\tfrac12(0.64 + 0.04 - 1 - \\log 0.04) = 1.449$). The orange part reaches from $-2.5$ to $-2.1$: a gap of "
        "0.4 nats (0.405 by (4.6)). It has the smallest gap but one, and the highest rate of the five: the two "
        "divergences measure different things, and a high rate is no sign of a bad $q$. The smallest rate, 0, is "
        "the prior's: it has not looked at $x$, and so it has the largest gap of the five.",
        tol=0.1,
    ),
    Exercise(
        "4.3",
        "spot the bug",
        6,
        checks="the loss of a batch in nats per example, on 20 drawn batches",
        right=found.loss_of(found.of_each, found.of_each),
        slips={
            "as printed": Slip(
                found.loss_of(lambda error: -error.mean(), np.mean),
                "This is the line of the question, with all of its errors.",
                "(4.4), and the three things to read off it",
            ),
            "sign of the error": Slip(
                found.loss_of(lambda error: -found.of_each(error), found.of_each),
                "The scales are right. The sign of the reconstruction error is still wrong: it would be made large.",
                "(4.4)",
            ),
            "E18": Slip(
                found.loss_of(lambda error: -found.of_each(error), lambda rate: -found.of_each(rate)),
                "This is E18: the ELBO itself. A loss is what an optimiser makes small.",
                "(4.4), the signs",
            ),
            "E18b": Slip(
                found.loss_of(found.of_each, lambda rate: -found.of_each(rate)),
                "This is E18b: the rate is subtracted in a loss, and so made large.",
                "(4.4), the signs",
            ),
            "means left": Slip(
                found.loss_of(np.mean, np.mean),
                "The signs are right. Both terms are still means, over different numbers of things: E2 and E1 at once.",
                "(4.4), the scale",
            ),
            "E2a": Slip(
                found.loss_of(np.mean, found.of_each),
                "This is E2: the error is a mean over the pixels, the rate a sum over the latents.",
                "(4.4), the scale",
            ),
            "E1": Slip(
                found.loss_of(found.of_each, np.mean),
                "This is E1: the rate is a mean over the latent dimensions.",
                "(3.5) and (4.4), the scale",
            ),
            "per pixel": Slip(
                found.loss_of(np.mean, lambda rate: found.of_each(rate) / 6),
                "Both are divided by the number of pixels. That is legitimate, and moves no optimum; but it is not in "
                "nats per example, as asked.",
                "(4.4), the scale",
            ),
            "the batch summed": Slip(
                found.loss_of(np.sum, np.sum),
                "This is the sum over the batch: legitimate as a loss, but not in nats per example, as asked.",
                "(4.4), the scale",
            ),
        },
        hints=(
            "Write minus (4.4): what is minus the reconstruction, in terms of an error?",
            "`reduction='mean'` and `torch.mean` run over all axes. Over which of them may one average?",
            "Each term: first the sum over the last axis, then the mean over the batch.",
        ),
        solution="Three at least. *The ELBO is not minimised*: minus the ELBO is. *The sign*: minus the ELBO is the "
        "reconstruction error **plus** the rate. *The scale*: a mean over $D$ pixels beside a sum over latents makes "
        "$\\beta = D$ (E2); and the rate has no pixels to average over: a mean over its $J$ latents (E1) makes it "
        "$\\beta = D/J$.\n\n`F.binary_cross_entropy(x_hat, x, reduction='none').sum(-1).mean() + 0.5 * (mu**2 + "
        "sigma**2 - 1 - torch.log(sigma**2)).sum(-1).mean()`\n\nThe sign shows in the first epoch, since pictures get "
        "worse; the scales never show, since the loss falls as it should.",
        takes=("x", "x_hat", "mu", "sigma"),
        draw=found.batches,
    ),
    Exercise(
        "4.4",
        "derive",
        10,
        checks="the slope at 20 pairs of a and b, against torch's derivative of the gap itself",
        right=found.slope,
        slips={
            "the gap alone": Slip(
                lambda a, b: (b - a) / (b * (1 - b)),
                "This is the slope of the gap alone. The left side of the inequality has to be subtracted.",
                "the statement",
            ),
            "without the half": Slip(
                lambda a, b: (b - a) * (1 / (b * (1 - b)) - 8),
                "The half is missing from the left side. Where b(1 - b) > 1/8 the bracket is negative: no inequality.",
                "the statement",
            ),
            "without the square": Slip(
                lambda a, b: (b - a) / (b * (1 - b)) - np.sign(b - a),
                "The square is missing from the left side.",
                "the statement",
            ),
            "one state": Slip(
                lambda a, b: (b - a) * (1 / (b * (1 - b)) - 1),
                "The sum has two terms, one for each state, and both are |a - b|.",
                "the statement",
            ),
            "with respect to a": Slip(
                lambda a, b: math.log(a * (1 - b) / (b * (1 - a))) - 4 * (a - b),
                "This is the slope with respect to a. It can be done that way, but you are asked for the other one.",
                "the statement",
            ),
            "E7": Slip(
                lambda a, b: math.log(b * (1 - a) / (a * (1 - b))) - 4 * (b - a),
                "This is E7: it starts from the divergence with the posterior first. The gap has q first.",
                "(4.1)",
            ),
            "sign": Slip(
                lambda a, b: (a - b) * (1 / (b * (1 - b)) - 4),
                "The sign is wrong: left side minus gap, or b and a changed over.",
                "the statement",
            ),
        },
        hints=(
            "Write the gap for two states: a log(a / b), and the same for the rest. The left side is 2 (a - b)^2.",
            "Only two logarithms contain b. Bring their derivatives to a common denominator.",
            "Both summands have the factor b - a. What is left in the bracket, and when is it negative?",
        ),
        solution="Gap minus left side is $a\\log\\frac ab + (1-a)\\log\\frac{1-a}{1-b} - 2(a-b)^2$, with the slope "
        "$-\\frac ab + \\frac{1-a}{1-b} + 4(a-b) = (b-a)\\big(\\frac1{b(1-b)} - 4\\big)$. Since $b(1-b) \\le "
        "\\tfrac14$ the bracket is never negative. So the difference falls up to $b = a$, is zero there, and rises "
        "again: it is never below zero. More states: put those with $q(z) > p(z \\mid x)$ into one, the others into "
        "another. The sum of $|q - p|$ stays, and the divergence does not grow.\n\n```python\npinsker = Claim('4.99', "
        "'Pinsker', source='an exercise', relation='<=',\n                formula=lambda f, q, p: f.sum(f.abs(q - p)) "
        "** 2 / 2)\npinsker.twin('without the half', lambda f, q, p: f.sum(f.abs(q - p)) ** 2)\npinsker.twin('without "
        "the square', lambda f, q, p: f.sum(f.abs(q - p)) / 2)\ntwo = cases(200, q=simplex(2), "
        "p=simplex(2))\npinsker.numeric('gap', lambda q, p: (q * np.log(q / p)).sum(), two)\npinsker.code('torch', "
        "lambda q, p: td.kl_divergence(td.Categorical(q), td.Categorical(p)), two)\npinsker.check()\n```",
        takes=("a", "b"),
        draw=found.pairs_of_states,
    ),
    Exercise(
        "4.5",
        "derive",
        8,
        checks="the average bound at 20 pairs of theta and V, against a search over the width",
        right=found.free_width,
        slips={
            "width of the best model": Slip(
                lambda theta, V: found.average(theta, V, 1 / V),
                "Here the width is held at the one that is right at the best theta. Let it follow every theta.",
                "Section 3, case 2",
            ),
            "width taken for variance": Slip(
                lambda theta, V: found.average(theta, V, 1 / (1 + theta**2) ** 2),
                "The best variance was put where the best width stands. It is the square of s that you have found.",
                "(4.12) and its second twin",
            ),
            "width of the prior": Slip(
                lambda theta, V: found.average(theta, V, 1),
                "This has the prior's width, s = 1, at every theta.",
                "(4.5)",
            ),
            "E11b": Slip(
                lambda theta, V: -(math.log(2 * math.pi) + V / (1 + theta**2)) / 2,
                "This is E11, or a term was lost: the width has left the reconstruction, and so the best one is the "
                "prior's.",
                "(4.5) and its first twin",
            ),
            "constants": Slip(
                lambda theta, V: -(V / (1 + theta**2) + math.log(1 + theta**2)) / 2,
                "Only the constant is missing. It moves no maximum, but it belongs to the value.",
                "(4.5)",
            ),
            "sign": Slip(
                lambda theta, V: -found.free_width(theta, V), "This is minus the average bound: a loss.", "(4.12)"
            ),
        },
        hints=(
            "Take (4.5) with a = theta and sigma = 1, put the best mean in, and average: the text of Section 7 has it.",
            "Which two terms contain s? Set the derivative with respect to the square of s to zero.",
            "At the best s the terms theta^2 s^2 + s^2 - 1 cancel, and one logarithm is left.",
        ),
        solution="With the best mean the average of (4.5) is $-\\tfrac12\\big[\\log 2\\pi + \\frac{V}{1+\\theta^2} + "
        "(1 + \\theta^2)s^2 - 1 - \\log s^2\\big]$. Its derivative with respect to $s^2$ is zero at $s^2 = "
        "\\frac1{1+\\theta^2}$, the posterior's own variance by (4.6). Insert it: $-\\tfrac12\\big[\\log 2\\pi + "
        "\\frac{V}{1+\\theta^2} + \\log(1+\\theta^2)\\big]$. This is the average of $\\log \\mathcal N(x; 0, 1 + "
        "\\theta^2)$: the two curves are the same function (case 1), and its derivative is zero at $1 + \\theta^2 = "
        "V$.",
        takes=("theta", "V"),
        draw=found.theta_and_variance,
    ),
    Exercise(
        "4.6",
        "program",
        15,
        checks="mean, width and gap of the best Gaussian, to half a percent, by Simpson's rule and a search",
        right=lambda: np.array(found.fits()["best"]),
        slips={
            "E11b": Slip(
                lambda: np.array(found.fits()["no noise"]),
                "This is E11: the mean of q was decoded in place of its draws. A gap below zero gives it away.",
                "(4.7) and its last twin",
            ),
            "E7": Slip(
                lambda: np.array(found.fits()["moments"]),
                "These are the posterior's own mean and width. They are best for the divergence with its arguments "
                "swapped (E7).",
                "notebook 02, and (4.1)",
            ),
            "the mode": Slip(
                lambda: np.array(found.fits()["mode"]),
                "This is the Gaussian at the posterior's highest point, with its curvature there (Laplace's method). "
                "The "
                "bound has a better one.",
                "(D4.4)",
            ),
            "unit": Slip(
                lambda: np.array(found.fits()["best"]) * [1, 1, 0.01],
                "Right, but for the unit of the gap: it is asked for in hundredths of a nat.",
                "the statement",
            ),
            "log-width": Slip(
                lambda: np.array([found.fits()["best"][0], math.log(found.fits()["best"][1]), found.fits()["best"][2]]),
                "Mean and gap are right. The second number is the logarithm of the width, over which you searched.",
                "the statement",
            ),
        },
        hints=(
            "Write the reconstruction as a function of m and s first: a mean over 160 Gauss-Hermite nodes, or a fine "
            "grid.",
            "Search over m and log s, so that the width stays positive; subtract the rate of (4.5) in closed form.",
            "The evidence is the same mean with q = prior and without the logarithm. By symmetry it has a simple "
            "value.",
        ),
        solution="The term $\\mathbb E_q[\\log p(x \\mid z)] = -\\mathbb E_q[\\log(1 + e^{-4z})]$ loses its closed "
        "form: the Poisson's was $\\mathbb E_q[e^z]$. The rate keeps its own. By symmetry $p(x = 1) = \\tfrac12$. "
        "With `nodes, weights = hermegauss(160)` and `weights /= weights.sum()` the bound is `weights @ "
        "special.log_expit(4 * (m + s * nodes)) - (m**2 + s**2 - 1 - 2 * log(s)) / 2`, and `optimize.minimize` finds "
        "$m = 0.722$, $s = 0.656$ and a gap of 0.0206 nats. With a slope of 1 in place of 4 the gap is below 0.0001 "
        "nats: a gentle logistic function leaves the posterior nearly Gaussian.",
        tol=5e-3,
    ),
    Exercise(
        "4.7",
        "project",
        20,
        checks="five gaps and their limit, each to one part in a thousand, against the posterior's precision matrix",
        right=found.causes,
        slips={
            "no half": Slip(
                lambda: 2 * found.causes(),
                "Twice too large: the determinant counts variances, and the divergence has a half in front.",
                "(4.10)",
            ),
            "marginal variances": Slip(
                lambda: [
                    *(found.gap_of(np.full(n, math.sqrt(found.SQUARED / n)), True) for n in found.NUMBERS),
                    found.causes()[-1],
                ],
                "These are the posterior's marginal variances. They are larger than those of the best factorised q.",
                "(4.10) and its first twin",
            ),
            "vanishes": Slip(
                lambda: np.array([*found.causes()[:-1], 0]),
                "The five are right. Each correlation goes to zero, but there are more and more of them.",
                "your own row of numbers",
            ),
            "pairs": Slip(
                lambda: [*(found.pairs(n, found.SQUARED / n) for n in found.NUMBERS), found.SQUARED**2 / 4],
                "This adds (4.10) over all pairs. A pair by itself has a posterior of its own: the determinant is "
                "needed.",
                "(4.10), its derivation",
            ),
            "each weight the same": Slip(
                lambda: np.array([*(found.gap_of(np.full(n, math.sqrt(found.SQUARED) / n)) for n in found.NUMBERS), 0]),
                "The weights are too small: their squares add up to r squared, not the weights themselves to r.",
                "the statement",
            ),
            "r squared shared out": Slip(
                lambda: np.array([*(found.gap_of(np.full(n, found.SQUARED / n)) for n in found.NUMBERS), 0]),
                "Here the weights add up to r squared. Their squares should.",
                "the statement",
            ),
        },
        hints=(
            "The best factorised q has the reciprocals of the precision's diagonal for variances. What is the "
            "diagonal?",
            "The determinant of I + a a^T is one plus the sum of the squares of the weights.",
            "For the limit: n log(1 + c / n) goes to c.",
        ),
        solution="As in (4.10), with $n$ weights: $\\frac12\\log\\frac{\\prod_i (1 + a_i^2)}{1 + \\sum_i a_i^2}$; for "
        "three, $\\frac12\\log\\frac{(1+a^2)(1+b^2)(1+c^2)}{1+a^2+b^2+c^2}$. If all are equal, $a_i^2 = r^2/n$, this "
        "is $\\frac12\\big[n\\log(1 + \\frac{r^2}n) - \\log(1 + r^2)\\big]$: 0 for one cause, 0.260 for two, 0.408, "
        "0.748, 0.968, and in the limit $\\frac12\\big[r^2 - \\log(1 + r^2)\\big] = 0.998$. It *grows*, although "
        "every two of the causes become independent: what is lost is that their **sum** is known. A VAE that spreads "
        "one cause over many latents pays the most. `vaelib.exact` agrees: see `library_factorised` in 04b.",
        tol=1e-3,
    ),
)
