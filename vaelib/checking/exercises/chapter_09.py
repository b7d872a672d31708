"""Exercises of chapter 9: hierarchies."""

import math

import numpy as np

from . import truths_09 as found
from .judge import Exercise, Slip

EXERCISES = (
    Exercise(
        "9.1",
        "by hand",
        5,
        checks="the rates of both levels, to three digits, by quadrature over joint draws",
        right=lambda: found.rates(**found.SMALL),
        slips={
            "E13": Slip(
                lambda: [found.afresh(**found.SMALL), found.rates(**found.SMALL)[1]],
                "The top rate is right. The first is E13: the covariance of the two levels is lost, as if z2 came from "
                "another z1.",
                "(9.9), its last term",
            ),
            "E12": Slip(
                lambda: [found.rates(**found.SMALL)[0], (1 + 1 / 4 - 1 - math.log(1 / 4)) / 2],
                "The first rate is right. The top one is E12: the divergence at the mean of z1, not its average.",
                "(9.8) and its twin",
            ),
            "E13 and E12": Slip(
                lambda: [found.afresh(**found.SMALL), (1 + 1 / 4 - 1 - math.log(1 / 4)) / 2],
                "Both are wrong: the lower level is drawn afresh (E13), and the upper sees only its mean (E12).",
                "(9.8) and (9.9)",
            ),
            "set to zero": Slip(
                lambda: [0, found.rates(**found.SMALL)[1]],
                "The top rate is right. The lower one may not be set to zero: it is no KL divergence.",
                "(9.9), its first twin",
            ),
            "E24": Slip(
                lambda: found.rates(**found.squared(found.SMALL)),
                "This is E24: the second argument of N is a variance here, and you took it for a standard deviation.",
                "(D9.2)",
            ),
            "changed over": Slip(
                lambda: found.rates(**found.SMALL)[::-1],
                "The two are changed over: level 1 is the one next to x.",
                "(D9.8)",
            ),
        },
        hints=(
            "Write down m1, m2, V2 and C first: the second line of (D9.7).",
            "For the lower level only the mean square of z1 - z2 under q is needed. How is z2 made from z1?",
            "z2 is z1 plus a noise of its own. So the mean square of the difference is that noise's variance.",
        ),
        solution="$m_1 = m_2 = 1$, $V_2 = 1 + \\tfrac14$, $C = 1$. Top, (9.8): $\\tfrac12(1 + 1 + \\tfrac14 - 1 - "
        "\\log\\tfrac14) = 1.318$. Below, (9.9): the fraction is $(0 + 1 + \\tfrac54 - 2)/\\tfrac12 = \\tfrac12$, so "
        "$R_1 = \\tfrac12(\\log\\tfrac12 - 1 + \\tfrac12) = -0.597$. Shorter: $z_1 - z_2$ is minus the noise of "
        "$q(z_2 \\mid z_1)$, so its mean square is $\\tfrac14$. The lower rate is negative because the decoder, which "
        "has been told $z_2$, knows $z_1$ better than the encoder, which has been told $x$ alone. The sum, 0.722, is a "
        "KL divergence and positive.",
        tol=2e-3,
    ),
    Exercise(
        "9.2",
        "read off",
        4,
        checks="the three rates of the shortened chain, to a few hundredths, against its exact posterior",
        right=found.without_the_top,
        slips={
            "nothing changes": Slip(
                lambda: found.heights(found.UP_AND_DOWN)[:3],
                "The first two are right. But level 3 is the top now, and its rate has lost a part.",
                "(9.10) at the top level",
            ),
            "the old top": Slip(
                lambda: found.heights(found.UP_AND_DOWN)[[0, 1, 3]],
                "The third is the rate of the level that was taken off. The new top has its own tie downwards.",
                "(9.10)",
            ),
            "sign": Slip(
                lambda: found.without_the_top() * [1, 1, -1],
                "The rate of a top level is an average KL divergence, and never negative.",
                "(9.8)",
            ),
            "grey bars": Slip(
                lambda: found.ties(found.UP_AND_DOWN)[:3],
                "These are the grey bars, the ties. A rate is the height by which the arrow falls.",
                "the caption of the figure",
            ),
            "the other chart": Slip(
                lambda: found.ties(found.FALL)[:3] - [*found.ties(found.FALL)[1:3], 0],
                "This is read from the left chart. You are asked for the right one.",
                "the figure",
            ),
        },
        hints=(
            "By (9.10) a rate is made of two ties. Which rates have the tie of z3 and z4 in them?",
            "The two lower levels do not notice. The third loses what was subtracted from it.",
            "Where does the arrow of a top level end? Read the grey bar over level 3.",
        ),
        solution="$R_1$ and $R_2$ have no part of level 4 in them: $-0.83$ and $0.94$ as before. Level 3 is the top "
        "now, and $R_3 = I(z_2; z_3) = 0.22$, the grey bar (also $-0.61 + 0.83$). The sum is 0.34 as before, $I(x; "
        "z_1)$. *All rates but the top one negative*: (9.10) says, where the ties get stronger from level to level, "
        "$|\\rho_1| < |\\rho_2| < \\dots < |\\rho_T|$. Who prunes 'the levels with a negative rate' would cut all but "
        "the top, and with them every connection to the image. The negative number is no sign of uselessness: here "
        "$z_1$ is the only way from $z_2$ to $x$.",
        tol=0.03,
    ),
    Exercise(
        "9.3",
        "spot the bug",
        5,
        checks="the rate of each of three draws, in nats, on 20 drawn batches",
        right=found.of_each(found.log_ratio),
        slips={
            "E13": Slip(
                found.of_each(found.divergence),
                "This is the line of the question, E13: `kl_divergence` averages over a z1 of its own, which is not "
                "the one that z2 was drawn from.",
                "(9.9), and Section 2 of 09b",
            ),
            "sign": Slip(
                lambda **case: -found.of_each(found.log_ratio)(**case),
                "The draw is used, as it should be. The sign is wrong: this is what enters the log-weight.",
                "(D9.6) and (D9.8)",
            ),
            "E1": Slip(
                lambda **case: found.log_ratio(**case).mean(-1),
                "This is E1: a mean over the latent dimensions.",
                "(3.5)",
            ),
            "set to zero": Slip(
                lambda **case: np.maximum(found.of_each(found.log_ratio)(**case), 0),
                "Right, up to the clamp. A draw of this rate, and even its mean, may be negative.",
                "(9.9), its first twin",
            ),
            "the entropy is known": Slip(
                found.of_each(
                    lambda z, mu, sigma, nu, tau: (
                        -0.5 - np.log(2 * math.pi * sigma**2) / 2 - found.log_normal(z, nu, tau**2)
                    )
                ),
                "This puts the known entropy in place of log q at the draw. Its mean is right, and you may train on "
                "it; you are asked for the rate of the draws themselves.",
                "Section 5 of 09b",
            ),
            "E24": Slip(
                found.of_each(lambda z, mu, sigma, nu, tau: found.log_ratio(z, mu, sigma**0.5, nu, tau**0.5)),
                "This is E24 the other way round: sigma and tau are standard deviations, not variances.",
                "the statement",
            ),
            "no scales": Slip(
                found.of_each(lambda z, mu, sigma, nu, tau: ((z - nu) / tau) ** 2 / 2 - ((z - mu) / sigma) ** 2 / 2),
                "The logarithms of the two scales are missing: each density has its own.",
                "(D9.8)",
            ),
        },
        hints=(
            "What does `kl_divergence` average over? And from which z1 was z2 drawn?",
            "The z1 from which z2 was made is at hand. The rate has to be scored there.",
            "Two log-densities at the same z1, one subtracted from the other, summed over the last axis.",
        ),
        solution="The middle term of line 45, (D9.10): `kl_divergence` runs over all $z_1$ of $q(z_1 \\mid x)$, while "
        "$z_2$ came from one of them.\n\n`(Normal(mu, sigma).log_prob(z) - Normal(nu, tau).log_prob(z)).sum(-1)`\n\nIt "
        "may be negative, and nothing is wrong with that. The buggy line pays a fine for every nat by which the noise "
        "of $z_1$ shows in $z_2$. The cheapest way not to pay is to have no noise: training squeezes it (09b, "
        "Section 4: from 0.360 to 0.135 in the example), and nobody sees it, since the reported rates are all "
        "positive.",
        takes=("z", "mu", "sigma", "nu", "tau"),
        draw=found.drawn_levels,
    ),
    Exercise(
        "9.4",
        "derive",
        8,
        checks="height above the bound and coupling, for 20 negative weights, by quadrature and from determinants",
        right=found.above_and_fine,
        slips={
            "sign": Slip(
                lambda a2, tau1, tau2, b2, u2: [b2 * a2 * tau1 / u2, math.log1p(a2**2 * tau1 / tau2) / 2],
                "The coupling is right. The first has the sign of (9.12), the bound minus line 45; you are asked for "
                "line 45 minus the bound.",
                "(9.12)",
            ),
            "twice": Slip(
                lambda a2, tau1, tau2, b2, u2: [-2 * b2 * a2 * tau1 / u2, math.log1p(a2**2 * tau1 / tau2) / 2],
                "The coupling is right. The first has lost the half that stands before the bracket of (9.9).",
                "(9.9)",
            ),
            "the half of the fine": Slip(
                lambda a2, tau1, tau2, b2, u2: [-b2 * a2 * tau1 / u2, math.log1p(a2**2 * tau1 / tau2)],
                "The first is right. The mutual information of two Gaussians has a half before its logarithm.",
                "Section 5 of 09, I of a Gaussian chain",
            ),
            "the wrong noise": Slip(
                lambda a2, tau1, tau2, b2, u2: [-b2 * a2 * tau1 / u2, math.log1p(tau2 / (a2**2 * tau1)) / 2],
                "The first is right. In the second signal and noise are changed over: it grows where z2 is noisier.",
                "(D9.7)",
            ),
            "the conditional entropy": Slip(
                lambda a2, tau1, tau2, b2, u2: [-b2 * a2 * tau1 / u2, math.log(a2**2 * tau1 + tau2) / 2],
                "The first is right. In the second only the variance of z2 is left: information compares it with what "
                "remains once z1 is known.",
                "(D9.7) and (9.13)",
            ),
        },
        hints=(
            "(9.12) has one of the two already. Mind which line is subtracted from which.",
            "For two Gaussian variables I = 1/2 log of: variance of one over its variance given the other.",
            "The variance of z2 given x is V2; given z1 as well, only its own noise is left.",
        ),
        solution="Line 45 minus the bound is $-b_2 a_2 \\tau_1/u_2$: positive for $b_2 < 0 < a_2$, so line 45 is then "
        "*above* the bound. The coupling is $I_q(z_1; z_2 \\mid x) = \\tfrac12\\log\\frac{V_2}{\\tau_2} = "
        "\\tfrac12\\log\\big(1 + \\frac{a_2^2\\tau_1}{\\tau_2}\\big)$. Above $\\log p(x)$ it never gets: by (9.13), "
        "$\\log p(x) - \\mathcal L_{45} = \\mathrm{KL}(\\tilde q \\,\\|\\, p(z_1, z_2 \\mid x)) + I_q(z_1; z_2 \\mid "
        "x)$, and neither is negative. An encoder that couples the levels with the wrong sign is simply worse than one "
        "that does not couple them, and line 45 scores the second, less the fine.",
        takes=("a2", "tau1", "tau2", "b2", "u2"),
        draw=found.negative_weights,
    ),
    Exercise(
        "9.5",
        "derive",
        10,
        checks="the gain of the reconstruction for 20 arrows, by quadrature over both levels",
        right=found.gained,
        slips={
            "E13": Slip(
                lambda **case: found.gain(**case, product=0),
                "The covariance is missing: this treats z1 and z2 as if they had been drawn apart, as in E13.",
                "(D9.7), C",
            ),
            "E12": Slip(
                lambda **case: found.gain(**case, product=0, spread=0),
                "This puts the means of both levels in: E12. The square of a random number has a mean of its own.",
                "(D9.7)",
            ),
            "the spread": Slip(
                lambda **case: found.gain(**case, spread=0),
                "The product term is right. The mean of the square of z2 is more than the square of its mean.",
                "(D9.7), V2",
            ),
            "sign of C": Slip(
                lambda **case: found.gain(**case, product=-1),
                "The covariance is there, with the wrong sign: it comes from -b1 z1 times z2.",
                "the square that you expand",
            ),
            "sign": Slip(
                lambda **case: -found.gain(**case),
                "The sign is wrong: a larger square makes the log-density smaller.",
                "(D9.2)",
            ),
            "without the half": Slip(
                lambda **case: 2 * found.gain(**case),
                "A factor of two too much: the square in a log-density is divided by twice the variance.",
                "(D9.2)",
            ),
        },
        hints=(
            "Expand (x - b1 z1 - g z2)^2 and throw away what does not contain g.",
            "You need the means of z2, of z2 squared and of z1 z2 under q. The last two are not products of means.",
            "The mean of z1 z2 is m1 m2 plus the covariance; that of z2 squared is m2 squared plus V2.",
        ),
        solution="$2T + 1 = 7$ log-densities: $p(x \\mid z_1, z_2, z_3)$, $p(z_1 \\mid z_2, z_3)$, $p(z_2 \\mid z_3)$, "
        "$p(z_3)$, and $q(z_1 \\mid x)$, $q(z_2 \\mid z_1, x)$, $q(z_3 \\mid z_1, z_2, x)$. Four of them, $2(T - 1)$, "
        "see more than in the chain. With one more arrow, $g$, $(x - b_1 z_1 - g z_2)^2 = (x - b_1 z_1)^2 - 2g\\,(x - "
        "b_1 z_1)\\,z_2 + g^2 z_2^2$, so the gain is $\\frac{1}{2u_1}\\big[2g\\big((x - b_1 m_1)\\,m_2 - b_1 C\\big) - "
        "g^2(m_2^2 + V_2)\\big]$. (9.7) does not survive: $p(x \\mid z_1, z_2)$ contains $z_2$ and cannot be taken out "
        "of the inner bound, whose data would be $z_1$ *and* $x$. What survives is (9.6), and that the whole bound "
        "is the mean of one log-weight.",
        takes=("x", "b1", "u1", "g", "m1", "m2", "V2", "C"),
        draw=found.skips,
    ),
    Exercise(
        "9.6",
        "program",
        12,
        checks="the log-weights of three draws, for 20 chains of one to four levels, against `vaelib.MHVAE`",
        right=found.by_the_library,
        slips={
            "E24": Slip(
                lambda **case: found.log_weight(
                    **case, log_density=lambda y, mean, variance: found.log_normal(y, mean, variance**2)
                ),
                "This is E24: tau and u are variances, and torch's `Normal` wants standard deviations.",
                "(D9.2)",
            ),
            "no prior": Slip(
                lambda **case: found.log_weight(**case, prior=False),
                "The density of the top level is missing: no decoder makes it.",
                "(D9.6)",
            ),
            "every encoder looks at x": Slip(
                lambda **case: found.log_weight(**case, blind=True),
                "Every encoder looks at x here. In the chain only the lowest does.",
                "(9.5)",
            ),
            "minus": Slip(
                lambda **case: -found.log_weight(**case),
                "The sign: log p comes first, and log q is subtracted.",
                "(D9.5)",
            ),
            "added": Slip(
                lambda **case: found.log_weight(**case, encoders=1),
                "The encoder's log-densities are added. They have to be subtracted.",
                "(D9.6)",
            ),
            "constants": Slip(
                lambda **case: found.log_weight(**case) + math.log(2 * math.pi) / 2,
                "A constant is missing. Those of most levels cancel, but p has one density more than q.",
                "(D9.6)",
            ),
            "added up": Slip(
                lambda **case: found.log_weight(**case).sum(),
                "You have added up over the draws. Each draw has a log-weight of its own, (B,).",
                "the statement",
            ),
        },
        hints=(
            "Put x in front of the levels: y = (x, z1, ..., zT). Then every level is treated alike.",
            "Level t gives two terms: the decoder's log-density of y[t-1] and the encoder's of y[t].",
            "At the end add the log-density of the last of them under N(0, 1). Use the root of each variance as a "
            "scale.",
        ),
        solution="With $z_0 = x$, (D9.6) is $\\log p(z_T) + \\sum_{t=1}^T \\big[\\log p(z_{t-1} \\mid z_t) - \\log "
        "q(z_t \\mid z_{t-1})\\big]$: only the brackets differ from the printed form.\n\n```python\ny = "
        "torch.cat([x[None], z])\nlog_w = Normal(0.0, 1.0).log_prob(y[-1])\nfor t in range(len(z)):\n    log_w = "
        "log_w + Normal(b[t] * y[t + 1], u[t] ** 0.5).log_prob(y[t])\n    log_w = log_w - Normal(a[t] * y[t], tau[t] "
        "** 0.5).log_prob(y[t + 1])\n```\n\nThe same two lines in the loop train a chain of any depth. At one level "
        "it is the log-weight of a flat VAE.",
        takes=("x", "z", "a", "tau", "b", "u"),
        draw=found.chains,
    ),
    Exercise(
        "9.7",
        "project",
        20,
        checks="both decoders and the nats lost, to one in a hundred, from exact moments and by quadrature",
        right=found.both_lines,
        slips={
            "changed over": Slip(
                lambda: found.both_lines()[[2, 3, 0, 1, 4, 5]],
                "The two lines are changed over. One of them scores a z1 from which z2 was not drawn.",
                "(D9.9) and (D9.10)",
            ),
            "scales": Slip(
                lambda: np.sqrt(found.both_lines()) ** [2, 1, 2, 1, 2, 2],
                "The weights are right. You give the standard deviations of the noise: the question has variances.",
                "(D9.2)",
            ),
            "the top counted": Slip(
                lambda: found.both_lines() * [1, 1, 1, 1, 1, 10 / 9],
                "All but the last are right. Not every decoder of ten levels is trained on a term that differs.",
                "equation 45 in Section 1 of 09b",
            ),
            "one level": Slip(
                lambda: found.both_lines() / [1, 1, 1, 1, 1, 9],
                "All but the last are right. The last is the loss at a single one of the levels.",
                "the statement",
            ),
            "lost by its own measure": Slip(
                found.by_its_own_measure,
                "The decoders are right. The losses compare each line at its own optimum; take the *right* bound with "
                "both decoders.",
                "the statement",
            ),
        },
        hints=(
            "Only the middle term contains b2 and u2. Averaged over x it is the mean of log p(z1 | z2) over pairs: a "
            "regression of z1 on z2.",
            "Under both lines z1 and z2 have variance one. What is their covariance if z1 is the one that z2 came "
            "from, and what if it is another z1 of the same x?",
            "With correlation c the best weight is c and the best noise variance 1 - c^2. For the loss put the second "
            "decoder into the first line.",
        ),
        solution="All of $x, z_1, z_2$ have variance 1. Line 44 trains on joint pairs, $\\mathrm{Cov}(z_1, z_2) = "
        "\\sqrt{\\alpha_2}$: $b_2 = \\sqrt{\\alpha_2} = 0.707$ and $u_2 = 1 - \\alpha_2 = 0.5$, the exact posterior "
        "of the forward chain. Line 45 trains on a second $z_1$ of the same $x$; the two share only "
        "$\\sqrt{\\alpha_1}\\,x$, so the covariance is $\\alpha_1\\sqrt{\\alpha_2}$: $b_2 = 0.424$, $u_2 = 1 - "
        "\\alpha_1^2\\alpha_2 = 0.82$. Its decoder is the blurrier one: it shrinks towards zero and adds the rest as "
        "noise. With it the right bound is lower by $\\tfrac12\\big[\\log\\frac{u'}{u} + \\frac{1 - "
        "2b'\\sqrt{\\alpha_2} + b'^2}{u'} - 1\\big] = 0.101$ nats. Ten levels with $\\alpha = 0.8$ have nine "
        "middle terms, 0.184 nats each: 1.65 nats. (The variances come out as 1 under both, so for Gaussian data the "
        "draws look right, one level at a time: $b^2 + u = 1$. The loss is in how levels hang together.)",
        tol=1e-2,
    ),
)
