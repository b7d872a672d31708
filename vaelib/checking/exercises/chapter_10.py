"""Exercises of chapter 10: training an MHVAE."""

import math

import numpy as np

from . import truths_10 as found
from .judge import Exercise, Slip

EXERCISES = (
    Exercise(
        "10.1",
        "by hand",
        5,
        checks="mean, standard deviation and rate of the merged Gaussian, to three digits, from a product on a grid",
        right=lambda: found.with_rate(found.on_a_grid(**found.TWO)),
        slips={
            "variances added": Slip(
                lambda: found.with_rate([found.merged(**found.TWO)[0], math.sqrt(1.25)]),
                "The mean is right. You have added the variances: the result would be wider than either of the two.",
                "(10.2), its first twin",
            ),
            "plain mean": Slip(
                lambda: found.with_rate([0.5, found.merged(**found.TWO)[1]]),
                "The width is right. The mean is the plain one of the two: the sharper one has to count for more.",
                "(10.2), its second twin",
            ),
            "crossed": Slip(
                lambda: found.with_rate(found.crossed(**found.TWO)),
                "The width is right. Each mean counts by its variance here, so the vaguer one prevails.",
                "(10.2), its third twin",
            ),
            "E24": Slip(
                lambda: found.with_rate([found.merged(**found.TWO)[0], found.variance(0.5, 1.0)]),
                "The mean is right. This is E24: you give the variance for the standard deviation.",
                "(10.2), its last twin",
            ),
            "E25": Slip(
                lambda: [*found.merged(**found.TWO), found.rate_of(*found.merged(**found.TWO), 0, 1)],
                "Mean and width are right. Its rate is E25: it is taken against N(0, 1), and not against the prior "
                "that comes from above.",
                "(10.3) and its first twin",
            ),
            "E7": Slip(
                lambda: [*found.merged(**found.TWO), found.rate_of(-1, 1, *found.merged(**found.TWO))],
                "Mean and width are right. The rate is E7: its arguments are swapped.",
                "(10.3)",
            ),
        },
        hints=(
            "Precisions first: one over the square of each standard deviation. They add.",
            "The evidence has four times the precision of the prior, so its mean counts four times as much.",
            "The rate is the KL divergence of two Gaussians, the merged one first, the prior second.",
        ),
        solution="Precisions: $4 + 1 = 5$, so $\\kappa = \\tfrac15$. Mean: $\\tfrac15(4 \\cdot 2 - 1) = 1.4$. "
        "Standard deviation: $\\sqrt{1/5} = 0.447$. The rate, $\\alpha = \\tfrac45$ in (10.3): "
        "$\\tfrac12\\big[\\tfrac{16}{25} \\cdot 9 - \\tfrac45 + \\log 5\\big] = 3.285$ nats. The merged Gaussian is "
        "narrower than both: two witnesses together know more than either. Most of the rate, 2.88 nats, is paid for "
        "the way from $-1$ to 1.4.",
        tol=2e-3,
    ),
    Exercise(
        "10.2",
        "predict",
        3,
        checks="your letter, against the likelihood of a chain whose upper levels were exchanged",
        right=found.what_moves,
        choices={
            "a": "Nothing: each picture is what it was.",
            "b": "The kind of digit moves; how it is written stays.",
            "c": "How it is written moves; the kind of digit stays.",
            "d": "The pictures become blends of the two digits.",
        },
        slips={
            "b": Slip(
                "b",
                "That z2 knows the kind of digit does not mean that the pixels see it. Follow the arrows of this "
                "decoder.",
                "the first figure of 10, and (D10.1)",
            ),
            "c": Slip(
                "c",
                "How a digit is written is in z1, and z1 was kept. Follow the arrows of this decoder.",
                "the first figure of 10, and (D10.1)",
            ),
            "d": Slip(
                "d",
                "A blend would need a decoder that looks at both levels. This is an MHVAE.",
                "the first figure of 10, and (D10.1)",
            ),
        },
        hints=(
            "Which variables stand behind the bar in p(x | ...) of an MHVAE?",
            "In the first figure of the chapter: how many blue arrows end in x?",
            "Compare with the HVAE, where two arrows end in x.",
        ),
        solution="(a). $p(x \\mid z_1)$ sees $z_1$ alone, so with $z_1$ kept nothing moves, whatever becomes of "
        "$z_2$. To see what the top decides, $z_1$ has to be drawn anew from $p(z_1 \\mid z_2)$: "
        "`model.decode(z_2.flip(0), level=2)`. Then the *kind* tends to go along with $z_2$ (in Section 3 in about "
        "half of the cases), and how the digit was written is lost. In an HVAE the decoder has an arrow from $z_2$: "
        "there the experiment means what it seems to mean.",
    ),
    Exercise(
        "10.3",
        "read off",
        5,
        checks="both counts, against the results in benchmarks/results/hierarchies.json",
        right=lambda: found.findings(*found.STEPS),
        slips={
            "one standard error": Slip(
                lambda: found.findings(*found.STEPS, errors=1),
                "This counts whatever is more than *one* standard error from zero.",
                "the statement",
            ),
            "the fourth row": Slip(
                lambda: found.findings(*found.STEPS, ("ladder", "flat")),
                "You have counted the fourth row as well. It is the sum of the first two, and no finding of its own.",
                "the statement",
            ),
            "all of the rows": Slip(
                lambda: [found.findings(*found.STEPS)[0], 6],
                "The first is right. The second counts all differences of the rows in which the sign changes, not the "
                "findings alone.",
                "the statement",
            ),
            "means over seeds": Slip(
                lambda: [1, 0],
                "This is what the last column says, the means over three seeds. Somebody who trains once has no such "
                "column.",
                "the statement",
            ),
            "none overturned": Slip(
                lambda: [found.findings(*found.STEPS)[0], 0],
                "The first is right. Now compare the sign of each finding with those of the other two seeds in its "
                "row.",
                "the statement",
            ),
        },
        hints=(
            "Divide each difference by its standard error; nine quotients.",
            "The third row has one finding for each seed, all of one sign. Look at the other two rows.",
            "In each of the first two rows the sign changes. Does either have a quotient beyond two?",
        ),
        solution="Findings: one in the first row (seed 1: $0.50 \\pm 0.16$), one in the second (seed 0: $0.55 \\pm "
        "0.13$), three in the third: 5 of nine, where chance alone would give not even half of one. The first two are "
        "overturned: another seed has the other sign. So of the findings about the first two steps *every one* is: "
        "the error over the images says how well these two trained networks were compared, and nothing about the "
        "next pair. The third step survives, because its effect is some ten times as large as the scatter between "
        "seeds.",
        tol=1e-9,
    ),
    Exercise(
        "10.4",
        "spot the bug",
        8,
        checks="mean, standard deviation and nats lost, for 20 pairs of Gaussians, on a fine grid",
        right=found.repaired,
        slips={
            "E24": Slip(
                lambda m, s, mu, sigma: [
                    found.merged(m, s, mu, sigma)[0],
                    found.variance(s, sigma),
                    found.cost(found.variance(s, sigma)),
                ],
                "The loss is right. The second is still the variance: E24, the bug itself.",
                "(10.2), its last twin",
            ),
            "crossed": Slip(
                lambda m, s, mu, sigma: [
                    *found.crossed(m, s, mu, sigma),
                    found.cost(found.variance(s, sigma)),
                ],
                "Scale and loss are right. But in your mean each of the two counts by its variance.",
                "(10.2), its third twin",
            ),
            "E7": Slip(
                lambda m, s, mu, sigma: [
                    *found.merged(m, s, mu, sigma),
                    (1 / found.variance(s, sigma) - 1 + math.log(found.variance(s, sigma))) / 2,
                ],
                "The repair is right. The loss is E7: the gap of a bound has q first, and the posterior second.",
                "(4.1) and (10.1a)",
            ),
            "without the half": Slip(
                lambda m, s, mu, sigma: [
                    *found.merged(m, s, mu, sigma),
                    2 * found.cost(found.variance(s, sigma)),
                ],
                "The repair is right. The loss is twice too large: a half has gone.",
                "(2.8)",
            ),
            "the rate": Slip(
                lambda m, s, mu, sigma: [
                    *found.merged(m, s, mu, sigma),
                    found.rate_of(*found.merged(m, s, mu, sigma), mu, sigma),
                ],
                "The repair is right. The third is the rate, the divergence from the prior. What is lost is the "
                "divergence from the true posterior.",
                "(10.1a) and (10.3)",
            ),
            "the squares": Slip(
                lambda m, s, mu, sigma: [
                    *found.merged(m, s, mu, sigma),
                    found.cost(found.variance(s, sigma) ** 2),
                ],
                "The repair is right. In the loss one square too many: the ratio of the two variances is meant.",
                "(2.8)",
            ),
        },
        hints=(
            "What is the second argument of torch's `Normal`? And what is kappa?",
            "The true posterior is N(mean, kappa); the buggy q has the same mean and the variance kappa squared.",
            "In the KL divergence of two Gaussians with one mean only the ratio of the variances counts.",
        ),
        solution="`Normal(mean, variance.sqrt())`: the bug is E24, the last twin of (10.2). It draws from $\\mathcal "
        "N(\\cdot, \\kappa^2)$, and if $\\mathcal N(\\cdot, \\kappa)$ is the true posterior, the bound lies lower by "
        "$\\tfrac12\\big[\\frac{\\kappa^2}{\\kappa} - 1 - \\log\\frac{\\kappa^2}{\\kappa}\\big] = \\tfrac12(\\kappa - "
        "1 - \\log\\kappa)$: nothing at $\\kappa = 1$, and much where the evidence is sharp: 1.8 nats in *every* "
        "dimension at $\\kappa = 0.01$. It remains a lower bound, since (10.1a) holds for every $q$, as long as the "
        "draw and $\\log q$ use the same one. For that reason nothing alarms: the evidence network learns to report "
        "other scales and makes up for part of it.",
        takes=("m", "s", "mu", "sigma"),
        draw=found.two_gaussians,
    ),
    Exercise(
        "10.5",
        "derive",
        8,
        checks="mean and scale of the evidence in 20 cases, from covariances of the exact posterior",
        right=found.from_the_posterior,
        slips={
            "blind": Slip(
                lambda x, z2, a, c, r: [x / a, r / a],
                "The scale is right. This evidence has seen x alone; it is what the merge of the chapter does, and "
                "where it loses.",
                "(D10.7) and (10.5) of 10b",
            ),
            "sign": Slip(
                lambda x, z2, a, c, r: [(x + c * z2) / a, r / a],
                "The scale is right. What z2 adds to the image has to be taken off, not put on.",
                "(D10.7)",
            ),
            "undivided": Slip(
                lambda x, z2, a, c, r: [x - c * z2, r],
                "This is the Gaussian of a z1: what is left of the image, in units of the image. Solve for z1.",
                "(D10.7)",
            ),
            "the scale of the image": Slip(
                lambda x, z2, a, c, r: [(x - c * z2) / a, r],
                "The mean is right. The scale is still that of the image: the same division applies to it.",
                "(D10.6), the sentence before it",
            ),
            "E24": Slip(
                lambda x, z2, a, c, r: [(x - c * z2) / a, (r / a) ** 2],
                "The mean is right. The second is the variance: E24.",
                "(10.2), its last twin",
            ),
            "merged already": Slip(
                lambda x, z2, a, c, r: [(x - c * z2) * a / (a**2 + r**2), r / math.hypot(a, r)],
                "This has been merged with N(0, 1) already. The evidence is what the image alone says.",
                "(10.2)",
            ),
        },
        hints=(
            "As a function of z1 the likelihood is a Gaussian. Where is its peak, given x and z2?",
            "Set the square in the exponent to zero and solve for z1.",
            "Write the square as (z1 - peak)^2 times something over r squared. That something gives the width.",
        ),
        solution="$p(x \\mid z_1, z_2) \\propto \\exp\\big(-\\frac{(x - c z_2 - a z_1)^2}{2r^2}\\big) = "
        "\\exp\\big(-\\frac{(z_1 - (x - c z_2)/a)^2}{2 (r/a)^2}\\big)$, so the evidence is $\\mathcal N\\big(\\frac{x "
        "- c z_2}{a}, \\frac{r^2}{a^2}\\big)$. Merged with *any* Gaussian $p(z_1 \\mid z_2)$ it is Bayes' rule: "
        "$q(z_1 \\mid z_2, x)$ is exact, and (10.5) becomes zero, with the exact $q(z_2 \\mid x)$ at the top. Only "
        "the mean needs $z_2$, not the scale. In the ladder $c = 0$, and the evidence may stay blind. Later "
        "hierarchies let the evidence see the levels above (NVAE, VDVAE).",
        takes=("x", "z2", "a", "c", "r"),
        draw=found.seen_from_above,
    ),
    Exercise(
        "10.6",
        "program",
        10,
        checks="the estimate of each image for 20 drawn tables of log-densities, added up pair by pair",
        right=found.nll,
        slips={
            "the closed form": Slip(
                lambda **case: -found.log_mean(found.with_closed_form(**case)),
                "This is your colleague's estimate. A mean over z2 was taken inside the logarithm, so what is averaged "
                "are no importance weights.",
                "(D10.2), and Section 2 of 10 on log w",
            ),
            "ELBO": Slip(
                lambda **case: -found.log_weights(**case).mean(0),
                "These are the right weights, in the wrong order: the mean of the logarithms is the bound.",
                "(D9.5)",
            ),
            "no division": Slip(
                lambda **case: found.nll(**case) - math.log(7),
                "The mean has become a sum: the division by the number of draws is missing.",
                "IWAE in Section 6 of 09b",
            ),
            "sign": Slip(
                lambda **case: -found.nll(**case),
                "This is the log-likelihood. NLL has a minus before it.",
                "the statement",
            ),
            "level by level": Slip(
                lambda log_px, log_pz, log_qz, kl2: (
                    -found.log_mean(log_px) - sum(found.log_mean(p - q) for p, q in zip(log_pz, log_qz, strict=True))
                ),
                "Each part is averaged on its own here. They belong to one joint draw: add them up before the mean.",
                "(D9.6)",
            ),
            "one level": Slip(
                lambda log_px, log_pz, log_qz, kl2: -found.log_mean(log_px + log_pz[0] - log_qz[0]),
                "The upper level is left out of the weights.",
                "(D9.6)",
            ),
            "all images": Slip(
                lambda **case: found.nll(**case).mean(),
                "You have averaged over the images. One number for each is asked, (B,).",
                "the statement",
            ),
        },
        hints=(
            "One log-weight for each draw and image: which five log-densities are in it?",
            "p(x) is the mean of the weights themselves. Their logarithms are near -900: exp gives zero.",
            "torch.logsumexp over the draws, less the logarithm of their number. Which input was not needed?",
        ),
        solution="`log_w = log_px + (log_pz - log_qz).sum(0)`, then `math.log(len(log_w)) - torch.logsumexp(log_w, "
        "0)`; `kl2` is not needed.\n\nThe closed form is welcome in the *bound*, which is a mean of logarithms: there "
        "it leaves the mean as it is. Inside a mean of *weights* it is an error. The weights are unbiased, $\\mathbb "
        "E[w] = p(x)$, only if $q(z_2 \\mid z_1)/p(z_2)$ is taken at the $z_2$ that was drawn. In the example of 09b "
        "the colleague's figure converges as well, but to an NLL that is 0.22 nats *lower* than the truth; with the "
        "exact posterior, whose every log-weight is $\\log p(x)$, it is still 0.13 too low, and never too high "
        "(Jensen). With a poor $q(z_2 \\mid z_1)$ it can be too high as well: in the example with $\\tau_2 = 0.05$ "
        "by 0.46. No bound protects it, on either side; where the encoder is good, it flatters the model.",
        takes=("log_px", "log_pz", "log_qz", "kl2"),
        draw=found.log_densities,
    ),
    Exercise(
        "10.7",
        "project",
        20,
        checks="rate, loss of log p(x) and loss of the bound, to a thousandth of a nat, by formulas",
        right=found.free_nats,
        slips={
            "always at the allowance": Slip(
                lambda: np.array([found.settled(allowance) for allowance in found.ALLOWANCES]),
                "Three rows are right. In the first the rate sits at its allowance: there it would pay to use more.",
                "(D10.4)",
            ),
            "changed over": Slip(
                lambda: found.free_nats()[:, [0, 2, 1]],
                "The last two columns are changed over. One of the two contains the gap of the encoder as well.",
                "the statement",
            ),
            "the gap": Slip(
                lambda: found.free_nats() - np.pad(found.free_nats()[:, 1:2], ((0, 0), (2, 0))),
                "The first two columns are right. The last one is the gap alone: the bound loses what log p(x) loses, "
                "and the gap on top of it.",
                "(4.1)",
            ),
            "sign": Slip(
                lambda: found.free_nats() * [1, -1, -1],
                "The losses are asked as positive numbers: the value without free bits minus the value with them.",
                "the statement",
            ),
            "nothing happens": Slip(
                lambda: np.array([found.settled(math.log(found.V) / 2)] * 4),
                "This is the model without free bits, four times. Where the allowance is larger than its rate, more "
                "rate costs nothing.",
                "(D10.4)",
            ),
        },
        hints=(
            "Without free bits the best w has w^2 + 1 = V, and the encoder is its posterior. What is its rate?",
            "Below that rate the clamp is idle. Above it the rate is free up to the allowance: make the "
            "reconstruction as good as it can be at this rate.",
            "At the best encoder of a given rate z has variance one over the data: a^2 V + tau = 1, so the rate is "
            "-1/2 log tau. Then choose w.",
        ),
        solution="Without free bits $w^2 + 1 = V$, and the rate is $\\tfrac12\\log V = 0.347$. An allowance of 0.1 "
        "changes nothing. A larger one is used up: the best encoder of rate $\\lambda$ has $\\tau = e^{-2\\lambda}$ "
        "and $a^2 V = 1 - \\tau$, the best weight is $w^2 = V(1 - \\tau)$, and the mean squared error is $V\\tau$. So "
        "the bound loses $\\lambda + \\tfrac12\\log 2\\pi + \\tfrac12 V e^{-2\\lambda}$ against $\\tfrac12(\\log "
        "2\\pi V + 1)$: 0.021, 0.289 and 2.156 nats at $\\lambda = 0.5, 1, 3$. The model itself, $\\mathcal N(0, V(1 "
        "- \\tau) + 1)$, is too wide, but loses only 0.004, 0.022 and 0.036. The rest is the gap: the decoder's noise "
        "asks for a wider posterior than the sharp one that nobody has to pay for. The best allowance is the one that "
        "is not felt at the optimum; its use is on the way there. (This model cannot die on the way; a network's "
        "level can.)",
        tol=1e-3,
    ),
)
