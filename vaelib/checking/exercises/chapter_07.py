"""Exercises of chapter 7: the variational autoencoder."""

import math

import numpy as np

from . import truths_07 as found
from .judge import Exercise, Slip

EXERCISES = (
    Exercise(
        "7.1",
        "by hand",
        6,
        checks="log p(x|z), the rate and the bound of one draw, to three digits, against torch.distributions",
        right=found.three_pixels,
        slips={
            "E11a": Slip(
                lambda: found.three_pixels(z=1),
                "This is E11: the mean of the cloud was decoded. The draw lies elsewhere.",
                "(7.1)",
            ),
            "E24": Slip(
                lambda: found.three_pixels(z=0.75),
                "This is E24: the variance stands where the standard deviation belongs, in the draw.",
                "(7.1) and its second twin",
            ),
            "E5a": Slip(
                lambda: found.three_pixels(logarithms=2),
                "The first is right. In the rate the 1/2 is missing on the logarithm (E5).",
                "(7.2) and its first twin",
            ),
            "E6c": Slip(
                lambda: found.three_pixels(logarithms=0.5),
                "The first is right. In the rate the logarithm of sigma stands for that of its square (E6).",
                "(7.2) and its third twin",
            ),
            "E18b": Slip(
                lambda: found.three_pixels() * [1, 1, 0] + [0, 0, found.three_pixels()[:2].sum()],
                "The first two are right. The rate has to be paid, not earned (E18).",
                "(7.3) and its second twin",
            ),
            "E2a": Slip(
                lambda: (lambda log_px, rate, bound: [log_px / 3, rate, log_px / 3 - rate])(*found.three_pixels()),
                "The rate is right. The first is a mean over the pixels (E2).",
                "(D7.2), and the text below (7.3)",
            ),
        },
        hints=(
            "First the draw, by (7.1). Then the three logits, and from them the probabilities of ink.",
            "A logit of log 3 is a probability of 3/4. The probability of the image is a product of three fractions.",
            "The rate by (7.2): the mean is 1, the variance 1/4, and its logarithm is a multiple of log 2.",
        ),
        solution="The draw is $z = 1 - \\tfrac12 = \\tfrac12$. The logits are $0, -\\log 3, \\log 3$, so the "
        "probabilities of ink are $\\tfrac12, \\tfrac14, \\tfrac34$, and $p(x \\mid z) = \\tfrac12 \\cdot \\tfrac34 "
        "\\cdot \\tfrac34 = \\tfrac9{32}$: $\\log p(x \\mid z) = -1.269$. The rate is $\\tfrac12(1 + \\tfrac14 - 1 + "
        "2 \\log 2) = \\tfrac18 + \\log 2 = 0.818$. The bound, from this one draw, is $-1.269 - 0.818 = -2.087$ nats. "
        "Another draw gives another value: only the mean over draws is the ELBO.",
        tol=5e-3,
    ),
    Exercise(
        "7.2",
        "predict",
        5,
        checks="four counts, against ten pairs of shadows that the Cave renders",
        right=found.turned,
        slips={
            "round solids": Slip(
                lambda: [4, 4, 2, 2],
                "Some of these solids are round about their own axis: think again of yaw, for upright ones.",
                "the solids in the docstring of vaelib.data.cave",
            ),
            "upright for tipped": Slip(
                lambda: [4, 2, 4, 2],
                "The last pair: the axis points at the wall now. Think of what the prisoners see of each solid.",
                "'Many z, one x' in the docstring of vaelib.data.cave",
            ),
            "no yaw": Slip(
                lambda: [4, 2, 2, 0],
                "With the base to the fire yaw still turns the base.",
                "the order of yaw, pitch and roll in the docstring of vaelib.data.cave",
            ),
            "the sphere": Slip(
                lambda: [5, 2, 2, 2],
                "One of the five looks the same from everywhere.",
                "the solids in the docstring of vaelib.data.cave",
            ),
            "changed over": Slip(
                lambda: [2, 4, 2, 2],
                "Roll turns the solid as the prisoners see it, yaw about its own axis.",
                "the docstring of vaelib.data.cave",
            ),
        },
        hints=(
            "Upright, the axis points to the ceiling. Roll tilts it, yaw spins the solid about it.",
            "Which of the solids are round about their axis? And which is round about all of them?",
            "Base to the fire: two shadows are discs, two are squares. Which of them can you turn unseen?",
        ),
        solution="Upright, roll tilts the axis, and the shadows of all but the sphere show it: 4. Yaw spins a solid "
        "about its axis: only cube and pyramid have edges that show it: 2. With the base to the fire, cylinder and "
        "cone cast discs, cube and pyramid squares. A disc shows no turn, whether it is called roll or yaw: 2 and 2, "
        "and for these poses the two angles do the same. Two $z$ with equal shadows have *equal codes*: $q(z \\mid "
        "x)$ is a function of $x$. No encoder can tell them apart; the best it could do is to say that it does not "
        "know.",
    ),
    Exercise(
        "7.3",
        "spot the bug",
        6,
        checks="draws and rates of 20 batches, against a distribution's quantiles and torch's divergence",
        right=found.by_torch,
        slips={
            "as printed": Slip(
                found.draw_and_rate(1, mean=True),
                "These are the lines of the question, with both errors.",
                "(7.1) and (7.2)",
            ),
            "E24": Slip(
                found.draw_and_rate(1),
                "The rate is right. The draw is E24 still: the network gives the logarithm of the *variance*.",
                "(7.1) and its second twin",
            ),
            "E1": Slip(
                found.draw_and_rate(mean=True),
                "The draw is right. The rate is E1 still: what belongs to one image is summed.",
                "(7.2), and the text above it",
            ),
            "log sigma": Slip(
                found.draw_and_rate(read_as=2),
                "Draw and rate agree with each other, but they take the output for log sigma. It has another name.",
                "the statement",
            ),
            "E5a": Slip(
                found.draw_and_rate(logarithm=1),
                "The draw is right. In the rate the 1/2 is missing on the logarithm (E5).",
                "(7.2) and its first twin",
            ),
        },
        hints=(
            "By its name, the second output is the logarithm of the variance. What, then, is sigma?",
            "Do the draw and the rate speak of the same sigma?",
            "The rate of an image in nats: is it a sum over the latent dimensions, or a mean?",
        ),
        solution="Two. *The draw*: $\\sigma = e^{\\texttt{log\\_var}/2}$, so `z = mu + torch.exp(log_var / 2) * "
        "noise`. As printed, clouds of variance $\\sigma^4$ are decoded while the rate is charged for $\\sigma^2$ "
        "(E24). *The rate*: `.sum(-1)`, not `.mean(-1)` (E1). Neither stops the training, and neither shows in the "
        "loss. The first shows if one compares the variance of draws with `exp(log_var)`; the second if one compares "
        "the rate with `kl_divergence` of `torch.distributions`.",
        takes=("mu", "log_var", "noise"),
        draw=found.codes,
    ),
    Exercise(
        "7.4",
        "predict",
        4,
        checks="your choice, against a linear model that is trained with such a weight",
        right=found.letter,
        slips={
            "over": Slip(
                "a",
                "The weight is the other way round: see which of the two terms has been made small.",
                "(7.3), and E1 in the museum of errors (appendix A2)",
            ),
            "less": Slip(
                "c",
                "You have the weight right. But a term that counts little is not made small by the optimiser.",
                "Section 9 of 07, on what draws the aggregate towards the prior",
            ),
            "the same": Slip(
                "d",
                "That would hold if both terms were divided by the same number.",
                "the text below (7.3)",
            ),
        },
        hints=(
            "Write the loss that is minimised as distortion + beta times rate.",
            "A mean over 50 dimensions is the sum divided by 50.",
            "What is cheap is bought: what happens to the rate if each nat costs little?",
        ),
        solution="A mean over 50 dimensions is a fiftieth of the sum: $\\beta = \\tfrac1{50}$ (E1). Nats of rate are "
        "cheap, so the model buys many: clouds get narrow and move apart, and the aggregated posterior strays "
        "further from the prior. Reconstructions look better, and draws from the prior worse. In a linear model of "
        "one pixel, noise 1 and data of variance $v$ the best rate is $\\tfrac12 \\log(v/\\beta)$ (for $\\beta < v$): "
        "that is $\\tfrac12 \\log 50$, almost two nats, more in *every* dimension that is used.",
        choices={
            "a": "It is a VAE with β = 50: the rate goes to almost nothing, and all samples look alike.",
            "b": "It is a VAE with β = 1/50: the rate rises, and draws from the prior decode worse.",
            "c": "It is a VAE with β = 1/50: the rate falls, since its term counts for little.",
            "d": "Nothing: a constant factor moves no optimum.",
        },
    ),
    Exercise(
        "7.5",
        "derive",
        10,
        checks="the excess at 20 pairs of a and s, against a search and the library's exact model",
        right=found.excess,
        slips={
            "E11b": Slip(
                lambda a, s: a**2 / (a**2 + s**2) / 2,
                "Here sigma keeps the width of the true posterior. The rate alone prefers another.",
                "(7.2): which sigma makes it least?",
            ),
            "no half": Slip(
                lambda a, s: math.log(1 + a**2 / s**2),
                "Twice too large: a log density has a half before the logarithm of its variance.",
                "the two densities of the statement",
            ),
            "widths added": Slip(
                lambda a, s: math.log(1 + a / s),
                "Standard deviations were added. It is variances that add.",
                "the density p(x) of the statement",
            ),
            "sign": Slip(
                lambda a, s: -math.log(1 + a**2 / s**2) / 2,
                "The sign is wrong. Asked for is the printed number less log p(x), not the other way round.",
                "the statement",
            ),
            "the wrong way up": Slip(
                lambda a, s: math.log(1 + s**2 / a**2) / 2,
                "Weight and noise are changed over. Try a decoder that ignores its code, a = 0.",
                "the statement",
            ),
        },
        hints=(
            "Without noise sigma stands in the rate alone. Which sigma makes it least, and what is left of the rate?",
            "Then maximise over m. The best m is a x / (a^2 + s^2): put it in, and bring the two squares together.",
            "The terms with x agree with those of log p(x). What is left are two logarithms of variances.",
        ),
        solution="Under (7.2) alone $\\sigma \\to 1$, and $\\tfrac12 m^2$ is left: an autoencoder with a penalty on "
        "its codes, and no VAE. Its best code is $m = \\frac{ax}{a^2 + s^2}$, the posterior mean. Put in, "
        "$-\\tfrac12\\log 2\\pi s^2 - \\frac{x^2}{2(a^2 + s^2)}$ is printed, and $\\log p(x) = -\\tfrac12 \\log "
        "2\\pi(a^2 + s^2) - \\frac{x^2}{2(a^2 + s^2)}$. The excess is $\\tfrac12\\log\\frac{a^2 + s^2}{s^2}$ whatever "
        "$x$ is: what is printed is no bound. It is also what training would make large: more weight, less noise, "
        "without end. (For $x$ from the model, the average rate of the *true* posterior is just this number: the "
        "information that noiseless codes carry for nothing.)",
        takes=("a", "s"),
        draw=found.weight_and_noise,
    ),
    Exercise(
        "7.6",
        "program",
        15,
        checks="two differences in nats per image, to 0.0001, against torch's multivariate normal",
        right=lambda: np.array([found.gaussians()["unit"], found.gaussians()["fitted"]]),
        slips={
            "changed over": Slip(
                lambda: [found.gaussians()["fitted"], found.gaussians()["unit"]],
                "The two are changed over: only one of the rules knows where the codes lie.",
                "Section 10 of 07",
            ),
            "widths": Slip(
                lambda: [found.gaussians()["unit"], found.gaussians()["widths"]],
                "The first is right. In the second standard deviations stand where variances belong.",
                "the statement",
            ),
            "less noise": Slip(
                lambda: [found.gaussians()["unit"], found.gaussians()["less noise"]],
                "The first is right. For the second the noise was taken off the codes' variances: that is the best "
                "model itself, and no Gaussian fitted to codes.",
                "the statement, and (8.1)",
            ),
            "bits": Slip(
                lambda: np.array([found.gaussians()["unit"], found.gaussians()["fitted"]]) / math.log(2),
                "Right, but in bits. The course counts in nats.",
                "the statement",
            ),
            "sign": Slip(
                lambda: -np.array([found.gaussians()["unit"], found.gaussians()["fitted"]]),
                "The sign: an NLL above the best is positive.",
                "the statement",
            ),
        },
        hints=(
            "The directions are the columns of `best.weight`, each divided by its length: U, (16, 2).",
            "If codes have the covariance C, then x has the covariance U C U^T + sigma^2 I, and the mean `best.mean`.",
            "`MultivariateNormal(mean, covariance).log_prob(x).mean()`, three times; `best.log_px` is one of them.",
        ),
        solution="```python\naxes = best.weight / best.weight.norm(dim=0)\ncodes = (x - best.mean) @ axes\nfor C in "
        "(torch.eye(2), torch.cov(codes.T, correction=0)):\n    covariance = axes @ C @ axes.T + best.sigma**2 * "
        "torch.eye(16)\n    print(best.log_px - MultivariateNormal(best.mean, "
        "covariance).log_prob(x).mean())\n```\n\n(all in float64). Codes from $\\mathcal N(0, I)$ cost 0.871 nats "
        "more than the best model, codes from the fitted Gaussian 0.0088: as for the digits of Section 10, the second "
        "step repairs nearly everything. What is left is noise that is counted twice: the codes' variances $\\ell_i$ "
        "contain it already. Per latent it is $\\tfrac12\\big[\\log\\frac{\\ell_i + \\sigma^2}{\\ell_i} + "
        "\\frac{\\ell_i}{\\ell_i + \\sigma^2} - 1\\big]$; with $\\ell_i - \\sigma^2$ it would be zero.",
        tol=1e-4,
    ),
    Exercise(
        "7.7",
        "project",
        20,
        checks="the size that is best on the validation images, and three NLLs, to one part in a thousand",
        right=found.latent_size,
        slips={
            "chosen on few": Slip(
                lambda: found.latent_size(by=0),
                "Chosen was the size that is best on the images that it was trained on: there more is always better.",
                "the statement",
            ),
            "chosen on test": Slip(
                lambda: found.latent_size(by=2),
                "Chosen was the size that is best on the test images. They may not be used for a choice.",
                "Section 8 of 08",
            ),
            "reported on valid": Slip(
                lambda: found.latent_size(shown=1, last=1),
                "The size is right. But the NLLs are those of the validation images, on which it was chosen.",
                "Section 8 of 08",
            ),
            "sign": Slip(
                lambda: found.latent_size() * [1, -1, -1, -1],
                "The size is right. These are log-likelihoods: an NLL has a minus (E21).",
                "(D7.5), and the text below it",
            ),
            "full ink": Slip(
                lambda: found.latent_size() - np.array([0, 1, 1, 1]) * 49 * math.log(10),
                "The size is right. The NLLs are of densities per unit of full ink; the statement counts in tenths.",
                "the statement, and Section 5 of 06 (one unit for all)",
            ),
        },
        hints=(
            "`exact.ppca(few, J)` fits; `.chain().log_px(images)` gives log p(x) of any images, (B,).",
            "Three rows of 30 numbers: draw them. Two of the curves turn around.",
            "Choose with the validation row, then read the other two rows: once where you chose, once at the end.",
        ),
        solution="```python\nfits = [exact.ppca(few, J) for J in range(1, 31)]\nseen, choice, new = "
        "([-fit.chain().log_px(part).mean().item() for fit in fits] for part in (few, valid, test))\nbest = "
        "min(range(30), key=choice.__getitem__)\n```\n\nOn the fifty images the NLL falls with every latent, to 17 "
        "nats at 30. On new ones it is least at 7 (89.1 nats on the test images) and then rises, to 308. The small "
        "noise that is left to a big model is right for images it has seen and ruinous for others. (8 would be a "
        "little better on the test images, 88.98: to report that would be to choose on test data.) In a VAE with "
        "networks something else comes first: superfluous latents fall silent, as in Section 9, since the rate "
        "charges for them; here nothing is charged, the optimum is exact.",
        tol=1e-3,
    ),
)
