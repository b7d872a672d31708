"""Exercises of chapter 8: how good is log p."""

import math

import numpy as np

from . import truths_08 as found
from .judge import Exercise, Slip

EXERCISES = (
    Exercise(
        "8.1",
        "by hand",
        4,
        checks="both gaps, to three digits, against torch's divergence of two Gaussians",
        right=found.prices,
        slips={
            "arguments swapped": Slip(
                lambda: found.prices(swapped=True),
                "These are the divergences the other way round: the bound averages over q.",
                "(8.2) and its first twin",
            ),
            "c for a width": Slip(
                lambda: found.prices(power=2),
                "Here the factor multiplies the standard deviations. It is the variances that are multiplied.",
                "(8.2) and its second twin",
            ),
            "one latent": Slip(
                lambda: found.prices(latents=1), "This is the price of one latent. There are more.", "(8.2)"
            ),
            "no half": Slip(lambda: 2 * found.prices(), "Twice too large: a half is missing.", "(8.2)"),
            "changed over": Slip(
                lambda: found.prices()[::-1],
                "The two are changed over: the quarter comes first.",
                "the statement",
            ),
            "sign of the logarithm": Slip(
                lambda: np.array([1.5 * (c - 1 + math.log(c)) for c in (1 / 4, 3)]),
                "The sign of the logarithm is wrong.",
                "the divergence of two Gaussians in 02",
            ),
        },
        hints=(
            "(2.7) with equal means, or (8.2): which number is c in the two cases?",
            "The logarithm of 1/4 is minus two times log 2; log 2 is 0.6931, log 3 is 1.0986.",
            "Work out one latent, then multiply by their number.",
        ),
        solution="With (2.7) and equal means each latent pays $\\tfrac12(c - 1 - \\log c)$; three pay $\\tfrac32(c - "
        "1 - \\log c)$. For $c = \\tfrac14$ that is $\\tfrac32(-\\tfrac34 + 2 \\log 2) = 0.954$ nats, for $c = 3$ it "
        "is $\\tfrac32(2 - \\log 3) = 1.352$. The ELBO finds the wide one worse. By (8.5) the wide one's weights have "
        "the variance $(\\tfrac95)^{3/2} - 1 = 1.4$, the narrow one's an infinite one: as a means to estimate $\\log "
        "p(x)$ it is the narrow one that is no good.",
        tol=5e-3,
    ),
    Exercise(
        "8.2",
        "read off",
        4,
        checks="two ratios of gaps, to 15 percent, against exact values",
        right=found.factors,
        slips={
            "the other way round": Slip(
                lambda: 1 / found.factors(),
                "These are the ratios the other way round.",
                "the statement",
            ),
            "decades": Slip(
                lambda: np.log10(found.factors()),
                "These are decades on the axis. A decade is a factor of ten.",
                "the axis of the figure of Section 4 of 08",
            ),
            "a decade to the left": Slip(
                lambda: found.factors((10, 1000)),
                "Read at K = 10 and K = 1,000. The marks of the lower axis are powers of ten.",
                "the axis of the figure of Section 4 of 08",
            ),
        },
        hints=(
            "Read the two heights at each K. On a logarithmic axis 3 stands about halfway between 1 and 10.",
            "For the wide encoder you may take the dashed line: 1/(6 K).",
            "The ratio is the vertical distance: measure it in decades, and take ten to that power.",
        ),
        solution="At $K = 100$ the lines stand at about 0.010 and 0.0017: a factor of 6. At $K = 10{,}000$ they stand "
        "at 0.00021 and 0.000017: a factor of 12.6. The factor grows without end: the wide one's gap falls like "
        "$1/K$, the narrow one's more slowly, since the variance of its weights is infinite.",
        tol=0.15,
    ),
    Exercise(
        "8.3",
        "spot the bug",
        7,
        checks="the estimate for three images from 20 sets of log-weights, some near -1000, one weight at a time",
        right=found.one_by_one,
        slips={
            "E22": Slip(
                lambda log_w: (found.softmax(log_w) * log_w).sum(0),
                "This is the line of the question, E22: normalised weights times log-weights.",
                "(8.3) and its third twin, and the text before Section 4 of 08",
            ),
            "E10a": Slip(
                lambda log_w: log_w.mean(0),
                "This is E10: the mean of the logarithms, which is the ELBO again.",
                "(D8.1), and the first twin of (8.3)",
            ),
            "E10b": Slip(
                lambda log_w: found.one_by_one(log_w) + math.log(len(log_w)),
                "This is E10b: log K is missing, and the number grows with the number of samples.",
                "(D8.1), and the second twin of (8.3)",
            ),
            "E10c": Slip(
                lambda log_w: (found.softmax(-log_w) * log_w).sum(0),
                "This is E10c: a softmax of the negative log-weights, so that the worst sample counts most.",
                "E10 in the museum of errors (appendix A2)",
            ),
            "averaged": Slip(
                lambda log_w: found.one_by_one(log_w).mean(),
                "Right, and then averaged over the images. One number for each image is asked for.",
                "the statement",
            ),
            "the other axis": Slip(
                lambda log_w: found.one_by_one(log_w.T),
                "The average ran over the images. The samples are the first axis.",
                "the statement",
            ),
            "E21": Slip(
                lambda log_w: -found.one_by_one(log_w),
                "This is the NLL, with the minus. A bound on log p(x) is asked for.",
                "(D8.1) and (D8.3)",
            ),
        },
        hints=(
            "Which function of the weights is (D8.1), before the mean over draws?",
            "The logarithm of a sum of exponentials has a function of its own in torch.",
            "And what must be taken off, so that equal weights give their own logarithm back?",
        ),
        solution="`torch.logsumexp(log_w, 0) - math.log(len(log_w))`. (`log_w.exp().mean(0).log()` is the same on "
        "paper, but the weights of an image are near $e^{-100}$, or far below, and vanish.) What was printed is "
        "$\\sum_k \\tilde w_k \\log w_k = \\log \\bar w + \\log K - H(\\tilde w)$: too high by up to $\\log K$, the "
        "more the worse the encoder is. With the normalised weights held fixed its *gradient* is $\\sum_k \\tilde w_k "
        "\\nabla \\log w_k$, which is just the gradient of $\\log \\bar w$: so the training was right, and only the "
        "number was wrong. It is right for $K = 1$, and where all weights of an image are equal, as they are with the "
        "exact posterior for encoder.",
        takes=("log_w",),
        draw=found.log_weights,
    ),
    Exercise(
        "8.4",
        "by hand",
        5,
        checks="two numbers of images, to two percent, from the table of Section 5",
        right=found.images,
        slips={
            "one error": Slip(
                lambda: found.images(errors=1),
                "These are for one standard error. The statement asks for two.",
                "the statement",
            ),
            "one of two": Slip(
                lambda: found.images(unpaired=1.3),
                "The second is right. In the first both means have an error: those of independent sets add, squared.",
                "the table of Section 5 of 08, its second column",
            ),
            "errors added": Slip(
                lambda: found.images(unpaired=2.6),
                "The second is right. In the first the errors were added as they are: it is their squares that add.",
                "the table of Section 5 of 08, its second column",
            ),
            "no square": Slip(
                lambda: np.sqrt(500 * found.images()),
                "A standard error falls with the square root of the number of images, not with the number itself.",
                "the text below (D7.5)",
            ),
            "changed over": Slip(
                lambda: found.images()[::-1],
                "The two are changed over: differences image by image are known far better.",
                "Section 5 of 08, the third lesson",
            ),
        },
        hints=(
            "What is the standard error of a difference of two means, if they come from different images?",
            "Image by image the table has it: the last column.",
            "How does a standard error change with the number of images? Set it to half of 0.62.",
        ),
        solution="Two independent means differ with a standard error of $\\sqrt{1.3^2 + 1.3^2} = 1.84$ nats on 500 "
        "images each, image by image it is 0.06. Both fall like $1/\\sqrt N$ and have to come down, or may rise, to "
        "0.31: $N = 500\\,(1.84/0.31)^2 \\approx 17{,}600$ against $500\\,(0.06/0.31)^2 \\approx 19$. Some images are "
        "simply hard for every model, and this is most of the spread; the difference does not see it. (Nineteen are "
        "too few to trust a standard error, but the point stands.)",
        tol=0.02,
    ),
    Exercise(
        "8.5",
        "derive",
        8,
        checks="the error at 20 sizes and means of batches, against lists of all their images",
        right=found.listed,
        slips={
            "sign": Slip(
                lambda m, B, r, a, b: -found.listed(m, B, r, a, b),
                "The sign: asked for is the mean of means less the NLL.",
                "the statement",
            ),
            "two batches": Slip(
                lambda m, B, r, a, b: (a + b) / 2 - (m * B * a + r * b) / (m * B + r),
                "Here the full batches count as one. Each of them has a mean of its own.",
                "the statement",
            ),
            "E21c": Slip(
                lambda m, B, r, a, b: b - (m * B * a + r * b) / (m * B + r),
                "This is the error of another mistake, E21c: the last batch alone.",
                "(8.7) and its third twin",
            ),
            "dropped": Slip(
                lambda m, B, r, a, b: a - (m * B * a + r * b) / (m * B + r),
                "This is the error if the last batch is dropped. Here it counts, and too much.",
                "the statement",
            ),
            "not counted": Slip(
                lambda m, B, r, a, b: (b - a) * (1 / m - r / (m * B)),
                "The two shares have forgotten the last batch: it is one of the batches, and its images are images.",
                "the statement",
            ),
        },
        hints=(
            "Both are weighted means of a and b. Which weight has b in each of them?",
            "The weights of a and b add up to one. So a difference of two such means is a multiple of b - a.",
            "Among m + 1 batches the last has one share; among all images it has r of m B + r.",
        ),
        solution="In the mean of means $b$ has the weight $\\frac1{m+1}$, in the NLL $\\frac r{mB + r}$. So the error "
        "is $(b - a)\\big(\\frac1{m+1} - \\frac r{mB+r}\\big)$: zero if $r = B$, or if the batches are alike, and "
        "largest if a single image is left over. In Section 5 of 08 there are five batches of 96 and twenty zeros: "
        "$\\frac16 - \\frac{20}{500} = 0.127$. The error of a nat that is printed there says that these zeros cost "
        "about eight nats more than the others.",
        takes=("m", "B", "r", "a", "b"),
        draw=found.batches,
    ),
    Exercise(
        "8.6",
        "program",
        12,
        checks="the place, both gaps there and two limits, to 0.001, by quadrature over the distance",
        right=found.race,
        slips={
            "no half": Slip(
                lambda: found.race() * [1, 1, 1, 2, 2],
                "The first three are right. The limits are the variances of the weights: (8.6) has something before.",
                "(8.6) and its first twin",
            ),
            "one latent": Slip(
                lambda: [*found.race()[:3], *((math.sqrt(1 + 2 * v) - 1) / 2 for v in found.race()[3:])],
                "The first three are right. The limits are those of one latent.",
                "(8.5), its exponent",
            ),
            "at the start": Slip(
                lambda: [1, found.gap(0.6, 1), found.gap(1.6, 1), *found.race()[3:]],
                "The limits are right. But at K = 1 it is the narrow one that is ahead.",
                "(8.2)",
            ),
            "changed over": Slip(
                lambda: found.race()[[0, 2, 1, 4, 3]],
                "Narrow and wide are changed over.",
                "the statement",
            ),
            "c for a width": Slip(
                lambda: found.race()[:3].tolist() + [(c**4 / (2 * c**2 - 1) - 1) / 2 for c in (0.6, 1.6)],
                "The first three are right. In the limits c was taken for the factor of the standard deviation, and "
                "one of them came out below zero, which no variance can be.",
                "(8.5) and its first twin",
            ),
        },
        hints=(
            "A model whose posterior is N(0, I), whatever it is, will do: the gap depends on c and J alone.",
            "On a grid of two latents, `exact.Table(log_joint, log_q, log_volume).iwae(K)` is exact for every K.",
            "The limits are (8.6) with (8.5) put in.",
        ),
        solution="At $K = 1$ the narrow one is ahead, 0.111 against 0.130 nats (8.2). At $K = 2$ the wide one has "
        "passed it, 0.0506 against 0.0734. By (8.5) and (8.6) $K$ times the gap goes to "
        "$\\tfrac12\\big(\\frac{0.36}{0.2} - 1\\big) = 0.4$ for $c = 0.6$ and to $\\tfrac12\\big(\\frac{2.56}{2.2} - "
        "1\\big) = 0.0818$ for $c = 1.6$: in the end the wide one needs a fifth of the samples. Compare $c = "
        "\\tfrac12$, where there is no limit: the narrow one comes late even if its variance exists, and $c = 0.6$ "
        "has come to 0.391 by $K = 10{,}000$, the wide one to its limit by $K = 100$.",
        tol=1e-3,
    ),
    Exercise(
        "8.7",
        "project",
        20,
        checks="six numbers, to 0.005 nats, by quadrature",
        right=found.jaws,
        slips={
            "no exact draw": Slip(
                lambda: found.jaws()[:, [0, 0]],
                "Both columns are the lower bound. One draw of the second has to come from somewhere else.",
                "(8.8) and its first twin",
            ),
            "all exact": Slip(
                lambda: found.wrong_jaws()["all exact"],
                "The first column is right. In the second all draws are from the posterior: (8.8) asks for one.",
                "(8.8)",
            ),
            "E10a": Slip(
                lambda: found.wrong_jaws()["means of logs"],
                "This is E10: the means of the logarithms. They do not close in.",
                "(D8.1)",
            ),
            "E10b": Slip(
                lambda: found.wrong_jaws()["no log K"],
                "This is E10b: log K is missing in both columns.",
                "(8.8) and its second twin",
            ),
            "positive": Slip(
                lambda: np.abs(found.jaws()),
                "Right, but for a sign: the lower bound is below log p(x).",
                "the statement",
            ),
            "changed over": Slip(lambda: found.jaws()[:, ::-1], "The two columns are changed over.", "(8.8)"),
        },
        hints=(
            "Draw u from N(0, 2 I) for q and from N(0, I) for the posterior, and use the formula of the statement.",
            "`torch.logsumexp(log_w, 0) - log K` for each repetition, then the mean over repetitions.",
            "The upper side: replace the first of the K draws by one from the posterior, in every repetition.",
        ),
        solution="```python\ndef log_w(u):  # (K, n, 2) -> (K, n)\n    return math.log(2) - u.pow(2).sum(-1) / "
        "4\n\ntorch.manual_seed(0)\nfor K, n in ((1, 1_000_000), (10, 200_000), (100, 20_000)):\n    u = math.sqrt(2) "
        "* torch.randn(K, n, 2)\n    lower = (log_w(u).logsumexp(0) - math.log(K)).mean()\n    u[0] = torch.randn(n, "
        "2)\n    upper = (log_w(u).logsumexp(0) - math.log(K)).mean()\n```\n\n$-0.307$ and $+0.193$ at $K = 1$: (8.2) "
        "for $c = 2$, and with the arguments swapped. Then $-0.0176$ and $+0.0170$, then $-0.0017$ and $+0.0017$. Two "
        "divergences of the same pair of distributions become equal when the two come close, so the jaws close "
        "evenly, each like $\\tfrac12 \\operatorname{Var}/K = \\frac1{6K}$. They are a hundredth of a nat apart from "
        "$K = 34$ on.",
        tol=5e-3,
    ),
)
