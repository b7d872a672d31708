"""Exercises of chapter 12: why a hierarchy?"""

import math

import numpy as np

from . import truths_12 as found
from .judge import Exercise, Slip

EXERCISES = (
    Exercise(
        "12.1",
        "by hand",
        5,
        checks="the variance of x and the weight, to three digits, noise by noise",
        right=found.flattened,
        slips={
            "noises lost": Slip(
                lambda: found.flattened(noises=(2.0, 0.0, 0.0)),
                "Only the noise of the last step is in this. The upper ones are decoded as well, and reach x.",
                "(12.1) and its first twin",
            ),
            "standard normal below": Slip(
                lambda: np.array([2 + 0.5**2, 0.5]),
                "Here the lowest latent is a standard normal. It has a variance of its own, from the steps above it.",
                "(12.1) and its second twin",
            ),
            "a variance for a weight": Slip(
                lambda: found.flattened() ** [1, 2],
                "The variance is right. A weight is squared where it meets a variance, and this is the square.",
                "(12.1)",
            ),
            "the noise of x as well": Slip(
                lambda: found.flattened()[0] ** np.array([1, 0.5]),
                "The variance is right. The flat model has the noise of x besides; leave it out of the weight.",
                "the right side of (12.1)",
            ),
        },
        hints=(
            "Go down from the top: what is the variance of the middle latent?",
            "Each step multiplies a variance by the square of its weight and adds its noise.",
            "The flat weight is the root of what the lowest latent brings into the variance of x.",
        ),
        solution="$z_2$ has the variance $1 + 0.25 = 1.25$, $z_1$ has $4 \\cdot 1.25 + 1 = 6$, and $x$ has $0.25 "
        "\\cdot 6 + 2 = 3.5$. Of that $1.5$ comes from $z_1$, so the flat weight is $\\sqrt{1.5} = 1.2247$.",
        tol=5e-3,
    ),
    Exercise(
        "12.2",
        "derive",
        8,
        checks="the gain at 20 encoders and variances of the data, by quadrature, to 0.000001",
        right=found.best_gain,
        slips={
            "no half": Slip(
                lambda a, s, ell: 2 * found.best_gain(a, s, ell),
                "Twice too large: a half stands before the divergence of two Gaussians.",
                "(2.8)",
            ),
            "arguments swapped": Slip(
                lambda a, s, ell: (1 / (a**2 * ell + s**2) - 1 + math.log(a**2 * ell + s**2)) / 2,
                "These are the right two densities, the wrong way round. The mean is taken over the codes.",
                "(12.3) and its first twin",
            ),
            "one posterior": Slip(
                lambda a, s, ell: (s**2 - 1 - math.log(s**2)) / 2,
                "This is of a single posterior about its mean. The means are spread over the data as well.",
                "the aggregated posterior above (12.3)",
            ),
            "the rate": Slip(
                lambda a, s, ell: (a**2 * ell + s**2 - 1 - math.log(s**2)) / 2,
                "This is the average rate. A part of it is information, which no prior can win.",
                "(11.1)",
            ),
        },
        hints=(
            "What is the law of z, when x is drawn from the data and z from its posterior?",
            "A sum of two independent Gaussians is one; their variances add.",
            "Then the most that a prior wins is the divergence of that law from the standard normal.",
        ),
        solution="$\\bar q = \\mathcal N(0, V)$ with $V = a^2 \\ell + s^2$, and with $r = \\bar q$ the gain is "
        "$\\mathrm{KL}(\\bar q \\,\\|\\, p) = \\tfrac12 (V - 1 - \\log V)$. It is zero at $V = 1$: an encoder whose "
        "codes fill the prior leaves nothing to win. (The rate minus this is $\\tfrac12 \\log(V / s^2)$, the "
        "information.)",
        takes=("a", "s", "ell"),
        draw=found.encoder_and_data,
    ),
    Exercise(
        "12.3",
        "spot the bug",
        7,
        checks="mean and half-width for 20 pairs of models with five seeds each, to three digits",
        right=found.paired_interval,
        slips={
            "as printed": Slip(
                lambda first, second: np.array(
                    [
                        (first - second).mean(),
                        1.96 * math.sqrt(first.var(ddof=1) / 5 + second.var(ddof=1) / 5),
                    ]
                ),
                "This is the line of the question. What the seed does to both models is in it twice.",
                "Section 6 of 10",
            ),
            "paired, with 1.96": Slip(
                lambda first, second: found.paired_interval(first, second) * [1, 1.959964 / 2.776445],
                "It is paired now. But 1.96 supposes that the spread is known, and it is estimated from five numbers.",
                "Section 1 of 12",
            ),
            "the whole spread": Slip(
                lambda first, second: found.paired_interval(first, second) * [1, math.sqrt(5)],
                "This holds the difference of a single seed. The mean of several is less uncertain than that.",
                "Section 6 of 10",
            ),
            "divided by five": Slip(
                lambda first, second: found.paired_interval(first, second) * [1, math.sqrt(4 / 5)],
                "The spread is that of five numbers about their own mean: one of them is spent on the mean.",
                "Section 1 of 12",
            ),
        },
        hints=(
            "Both models were trained with the same five seeds. What is one observation?",
            "Take the five differences first, then their spread.",
            "With four degrees of freedom the factor is that of Student's t, 2.776.",
        ),
        solution="```python\ngaps = first - second\nreturn gaps.mean(), 2.776 * gaps.std() / 5**0.5\n```\n\n(torch's "
        "`std` divides by four; numpy's needs `ddof=1`.) The pairing takes out what a seed does to both models, and "
        "makes the interval much narrower for such numbers; in the table of 12 it does not, as networks of different "
        "shape have little in common. Student's factor makes it wider, as five seeds say little about their own "
        "spread.",
        takes=("first", "second"),
        draw=found.two_models,
        tol=1e-3,
    ),
    Exercise(
        "12.4",
        "predict",
        3,
        checks="your choice, against an enumerated chain",
        right=found.asleep,
        slips={
            "a price": Slip(
                "a",
                "A level that carries nothing has a rate of zero, and costs nothing else either.",
                "(12.5)",
            ),
            "a gain": Slip("c", "A latent that nobody looks at cannot help.", "(12.2)"),
            "the rate of z1": Slip(
                "d",
                "The rate of the lower level is the same as before: its prior is.",
                "(12.5)",
            ),
        },
        hints=(
            "What is the posterior of z_2 given z_1 in such a model?",
            "It is the prior. What is then the best upper encoder, and its divergence from that posterior?",
            "Look at the last term of (12.2).",
        ),
        solution="If $p(z_1 \\mid z_2) = p(z_1)$, then $p(z_2 \\mid z_1) = p(z_2)$. The best upper encoder is "
        "$q(z_2 \\mid z_1) = p(z_2)$, so the last term of (12.2) is zero: the bound is the same, to the last digit.",
        choices={
            "a": "Lower, by what the sleeping level costs.",
            "b": "The same.",
            "c": "Higher: there is one more latent.",
            "d": "Lower, because the rate of z1 rises.",
        },
    ),
    Exercise(
        "12.5",
        "program",
        10,
        checks="the law at the end of 20 chains, from the equations that it solves, to 0.000001",
        right=found.kept,
        slips={
            "the model's p(x)": Slip(
                lambda encoder, decoder, prior: prior @ decoder,
                "This is p(x) of the model. The chain would end there if the encoder were the exact posterior.",
                "(12.4) and its first twin",
            ),
            "the other side": Slip(
                lambda encoder, decoder, prior: np.full(5, 0.2),
                "The matrix of a step was used from its other side, where each row adds up to one.",
                "the cells of Section 4 of 12",
            ),
            "one step": Slip(
                lambda encoder, decoder, prior: np.full(5, 0.2) @ encoder @ decoder,
                "This is one step from an even start. Go on until nothing changes any more.",
                "the figure of Section 4 of 12",
            ),
        },
        hints=(
            "Write down the probabilities to go from one image to another, as a matrix.",
            "Apply it to the probabilities of the images again and again.",
            "One of the three arguments is not needed.",
        ),
        solution="```python\nstep = encoder @ decoder\nreturn torch.linalg.matrix_power(step, 1000)[0]\n```\n\nThe "
        "prior has no part in it: to and fro knows nothing of it, unless the encoder does. With the exact posterior "
        "for `encoder` the result is `prior @ decoder`, for every prior: that is (12.4).",
        takes=("encoder", "decoder", "prior"),
        draw=found.pair_and_prior,
    ),
    Exercise(
        "12.6",
        "project",
        20,
        checks="a number of steps, against an exact chain",
        right=lambda: found.remembered(),
        slips={
            "half steps": Slip(
                lambda: found.remembered(half_steps=2),
                "To encode and to decode were counted as two steps. To and fro together is one.",
                "the statement",
            ),
            "a worse code": Slip(
                lambda: found.remembered(rho=0.9),
                "So fast forgets a chain whose code is much worse than this one.",
                "the statement",
            ),
            "a whole nat": Slip(
                lambda: found.remembered(nats=1.0),
                "At this step it still differs from p(x) by nearly a nat. A hundredth is asked for.",
                "the statement",
            ),
            "one too few": Slip(lambda: found.remembered() - 1, "One step more is needed.", "the statement"),
            "one too many": Slip(lambda: found.remembered() + 1, "One step fewer would do.", "the statement"),
        },
        hints=(
            "After a step the correlation with the start is the square of that of x and its code.",
            "Keep a mean and a variance. Each half step multiplies the mean by 0.99 and mixes fresh noise in.",
            "Then the divergence of a Gaussian from the standard normal, in a loop.",
        ),
        solution="```python\nmean, variance, steps = 3.0, 0.0, 0\nwhile steps == 0 or (mean**2 + variance - 1 - "
        "np.log(variance)) / 2 >= 0.01:\n    for _ in range(2):\n        mean, variance = 0.99 * mean, 0.99**2 * "
        "variance + 1 - 0.99**2\n    steps += 1\n```\n\nThe better the code, the more it remembers, and the longer the "
        "chain takes: with a correlation of 0.9 it is ten times as fast. Zhao's argument is about where the chain "
        "ends, and says nothing of how long that takes.",
    ),
)
