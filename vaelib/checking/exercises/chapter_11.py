"""Exercises of chapter 11: what the codes carry."""

import math

import numpy as np

from . import truths_11 as found
from .judge import Exercise, Slip


def _loss(clamped, scale=True):
    """A function of `takes` from the clamped rates of a batch, (T, B), (B,) or (T, 1)."""

    def of(d, R, lam, D):
        values = d.mean() + clamped(R, lam, D).sum(0).mean()
        return values / D if scale else values

    return of


EXERCISES = (
    Exercise(
        "11.1",
        "by hand",
        4,
        checks="the rate, to three digits, and the number of units, by quadrature",
        right=found.unit,
        slips={
            "no half": Slip(
                lambda: found.unit(half=1),
                "The half before the logarithm is missing.",
                "(7.2), and Section 1 of 11 on the black line",
            ),
            "the part": Slip(
                lambda: found.unit(varies=1 / 16),
                "Here the part that varies and the rest have changed places: a unit that varies much carries much.",
                "Section 1 of 11 on the black line",
            ),
            "bits": Slip(
                lambda: found.unit() / [math.log(2), 1],
                "The number of units is right. The rate is in bits; the course counts in nats.",
                "the statement",
            ),
            "rounded down": Slip(
                lambda: found.unit() - [0, 1],
                "The rate is right. So few units do not reach log N yet.",
                "(11.2)",
            ),
        },
        hints=(
            "The variance of each posterior is 1 - A. Of the three other terms of (7.2), what is left on average?",
            "On average the squared mean is A, so that the terms without the logarithm cancel.",
            "log N is 11.0 nats. How often does the rate go into it?",
        ),
        solution="Each posterior has the variance $1 - A = \\tfrac1{16}$, and the means have the variance $A$. On "
        "average (7.2) is $\\tfrac12(A + (1 - A) - 1 - \\log(1 - A)) = -\\tfrac12 \\log \\tfrac1{16} = 2 \\log 2 = "
        "1.386$ nats (two bits). $\\log 60{,}000 = 11.0$ nats, and $11.0 / 1.386 = 7.9$: eight such units, "
        "independent of each other, have as much to say as it takes to name an image. For the thousand images "
        "that the chapter looks at, the code of its model says enough: its information *is* $\\log N$. For all of "
        "them it was not measured.",
        tol=5e-3,
    ),
    Exercise(
        "11.2",
        "read off",
        4,
        checks="a number of units and a noise level, to two percent, against the eigenvalues",
        right=found.read_off,
        slips={
            "sigma for its square": Slip(
                lambda: [(found.variances()[:8] > 1.5).sum(), found.variances()[0]],
                "The bars are variances. A noise level is a standard deviation.",
                "(11.3), and the axis of the figure",
            ),
            "the bar": Slip(
                lambda: [found.read_off()[0], found.variances()[0]],
                "The first is right. The second is the height of a bar, a variance; a noise level is asked for.",
                "(11.3)",
            ),
            "the first": Slip(
                lambda: [found.read_off()[0], found.variances()[7] ** 0.5],
                "The first is right. At this noise the first of the eight units dies. Asked for is the last.",
                "the statement",
            ),
            "the dead": Slip(
                lambda: [8 - found.read_off()[0], found.read_off()[1]],
                "The second is right. The first counts the units that have collapsed.",
                "(11.3)",
            ),
        },
        hints=(
            "At a noise of 1.5, at which height do you have to draw the dashed line?",
            "A unit lives if its bar is higher than the line.",
            "Which bar is the last to be drowned? Take the root of its height.",
        ),
        solution="$\\sigma^2 = 2.25$: three bars are higher (5.8, 4.1 and 3.0), the fourth, 1.7, is not. Three units "
        "live. The highest bar is drowned at $\\sigma = \\sqrt{5.8} = 2.41$. (So the chapter's 2.5 is just enough to "
        "kill them all.)",
        tol=0.02,
    ),
    Exercise(
        "11.3",
        "predict",
        3,
        checks="your choice, against the logarithms of the two numbers of images",
        right=found.measured,
        slips={
            "more information": Slip("a", "Neither of the two numbers could have come out higher.", "(11.2)"),
            "mismatch": Slip(
                "c",
                "The rate has no such limit, and these two numbers are suspiciously close to one.",
                "(11.1) and (11.2)",
            ),
            "overfitting": Slip(
                "d",
                "The number of images does matter, but for a simpler reason.",
                "(11.2), and the figure of Section 2 of 11",
            ),
        },
        hints=(
            "What is the largest value that the information can have, for 1,000 images?",
            "Work out two logarithms.",
            "Compare them with the two numbers, to the digits that are given.",
        ),
        solution="$\\log 2000 = 7.6$ and $\\log 1000 = 6.9$. Both codes tell every image from every other, and both "
        "numbers say how many images were looked at. Nothing has been measured about the models. With the same number "
        "of images for both, the numbers would be the same. To compare the two one would have to report the rates and "
        "the likelihoods, or take so many images that their codes overlap.",
        choices={
            "a": "Its codes carry more information about an image than the baseline's.",
            "b": "How many images were looked at: both codes name their image, and nothing else has been measured.",
            "c": "The rates of the two models, which contain the mismatch with the prior.",
            "d": "That the model overfits less, since it was measured on more images.",
        },
    ),
    Exercise(
        "11.4",
        "spot the bug",
        7,
        checks="the loss of 20 batches in nats per pixel, by a loop over images and levels",
        right=found.looped,
        slips={
            "E19": Slip(
                _loss(lambda R, lam, D: D * np.maximum(lam, R / D)),
                "This is the line of the question, E19: the clamp comes after the rescaling.",
                "(11.4) and its first twin",
            ),
            "averaged, then clamped": Slip(
                _loss(lambda R, lam, D: np.maximum(lam, R.mean(1, keepdims=True))),
                "The scale is right. Here the rates are averaged over the batch first, as in the original paper: "
                "another number.",
                "(11.4) and its second twin",
            ),
            "levels added": Slip(
                _loss(lambda R, lam, D: np.maximum(lam, R.sum(0, keepdims=True))),
                "The scale is right. But each level has its free nats, not all of them together.",
                "(11.4) and its third twin",
            ),
            "not rescaled": Slip(
                _loss(lambda R, lam, D: np.maximum(lam, R), scale=False),
                "Right in nats per image. The statement asks for nats per pixel.",
                "the statement",
            ),
            "capped": Slip(
                _loss(lambda R, lam, D: np.minimum(lam, R)),
                "Here the clamp holds the rate down. It should hold what is counted up, to the free nats.",
                "(11.4)",
            ),
            "only what is above": Slip(
                _loss(lambda R, lam, D: np.maximum(0, R - lam)),
                "Here only what lies above the free nats is counted. Its gradient is the same, but not its value.",
                "(11.4)",
            ),
        },
        hints=(
            "In which unit is `lam` given, and in which unit are the rates when they are clamped?",
            "Two operations have to change places.",
            "Clamp the rates in nats, image by image and level by level; divide last.",
        ),
        solution="`(d + R.clamp(min=lam).sum(0)).mean() / D`. As printed, each level has $D\\lambda$ free nats: for "
        "$D = 784$ and $\\lambda = 1$ these are more than any level of the chapter's models ever uses. So the clamp "
        "is always active, the gradient of every rate is zero, and the program trains an autoencoder. The loss falls "
        "nicely.",
        takes=("d", "R", "lam", "D"),
        draw=found.levels,
    ),
    Exercise(
        "11.5",
        "derive",
        10,
        checks="the rate at 20 values of variance, noise and weight, by a search over linear decoders, to 0.00001",
        right=found.weighted,
        slips={
            "beta forgotten": Slip(
                lambda ell, sigma, beta: math.log(max(1, ell / sigma**2)) / 2,
                "This is (11.3): the weight has no part in it.",
                "the statement",
            ),
            "the wrong way": Slip(
                lambda ell, sigma, beta: math.log(max(1, beta * ell / sigma**2)) / 2,
                "Here a larger weight gives more rate. Rate that costs more is bought less.",
                "the statement",
            ),
            "beta squared": Slip(
                lambda ell, sigma, beta: math.log(max(1, ell / (beta * sigma) ** 2)) / 2,
                "The weight was put beside the standard deviation. Divide the loss by it and see where it goes.",
                "the density of a Gaussian decoder, (6.1)",
            ),
            "no half": Slip(
                lambda ell, sigma, beta: math.log(max(1, ell / (beta * sigma**2))),
                "Twice too large: (11.3) has a half.",
                "(11.3)",
            ),
            "no floor": Slip(
                lambda ell, sigma, beta: math.log(ell / (beta * sigma**2)) / 2,
                "Right where the unit lives. Where it has collapsed, this is a rate below zero.",
                "(11.3)",
            ),
            "no noise to take off": Slip(
                lambda ell, sigma, beta: math.log(1 + ell / (beta * sigma**2)) / 2,
                "The variance of the data contains the noise already; here it is counted twice.",
                "(11.3) and its first twin",
            ),
        },
        hints=(
            "Divide the loss by beta: no optimum moves. What has become of the reconstruction?",
            "A squared error divided by 2 beta sigma^2 belongs to a Gaussian decoder of another noise. Of which?",
            "Its normalising constant does not matter, as long as the noise is fixed. Then (11.3) has the answer.",
        ),
        solution="Distortion $+ \\beta\\,$rate, divided by $\\beta$, is $\\frac{\\|x - \\hat "
        "x\\|^2}{2\\beta\\sigma^2} + $ rate, but for constants: a VAE of the noise $\\sqrt\\beta\\,\\sigma$. By "
        "(11.3) its unit has the rate $\\tfrac12 \\log\\max\\big(1, \\frac{\\ell}{\\beta\\sigma^2}\\big)$. It lives as "
        "long as $\\beta < \\ell/\\sigma^2$. So a *warm-up* that begins at $\\beta = 0$ begins with all units awake, "
        "and they fall asleep one by one, the weakest first, if it goes too far; those with $\\ell > \\sigma^2$ stay "
        "to the end. And a mean over $D$ pixels ($\\beta = D$) is a noise $\\sqrt D$ times as large. (Only for a "
        "*fixed* $\\sigma$: one that is learned sees the constants.)",
        takes=("ell", "sigma", "beta"),
        draw=found.variance_noise_weight,
        tol=1e-5,
    ),
    Exercise(
        "11.6",
        "program",
        12,
        checks="a noise level and three rates, to one part in a thousand, from exact posteriors",
        right=found.collapse,
        slips={
            "sigma for its square": Slip(
                lambda: found.collapse() * [found.collapse()[0], 1, 1, 1],
                "The rates are right. The first is a variance, an eigenvalue; a noise level is asked for.",
                "(11.3)",
            ),
            "no half": Slip(
                lambda: found.collapse() * [1, 2, 2, 2], "The rates are twice too large: (11.3) has a half.", "(11.3)"
            ),
            "no floor": Slip(
                lambda: [found.collapse()[0], *found.unfloored(), found.collapse()[3]],
                "The first and the last are right. A rate is never below zero: a unit whose eigenvalue lies below the "
                "noise has another branch of (11.3).",
                "(11.3)",
            ),
            "next variance": Slip(
                lambda: [*found.collapse()[:3], found.other_noise()[0]],
                "The first three are right. For the last the first variance that is left out was taken for the noise.",
                "(8.1) and its second twin",
            ),
            "mean over all": Slip(
                lambda: [*found.collapse()[:3], found.other_noise()[1]],
                "The first three are right. For the last the variances that are left out were added up, but divided by "
                "the number of all pixels; only so many of them are left out.",
                "(8.1)",
            ),
        },
        hints=(
            "`exact.ppca(x, 20).eigenvalues` has the variances, and `.sigma` the noise that is best.",
            "The last unit dies when the noise has reached the largest of them.",
            "The rates are sums of (11.3) over the 20 units, with the noise that goes with each question.",
        ),
        solution="```python\nfitted = exact.ppca(x, 20)\nvalues = fitted.eigenvalues[:20]\nlast = "
        "values[0].sqrt()\n\ndef rate(sigma):\n    return (values / sigma**2).clamp(min=1).log().sum() / "
        "2\n```\n\nThe largest eigenvalue is 1.26, so the last unit dies at $\\sigma = 1.123$. A tenth below "
        "that, this unit carries $-\\log 0.9 = 0.105$ nats, and it is alone: the second eigenvalue, 0.84, is less than "
        "$0.81 \\cdot 1.26$. A tenth above, none carries anything. The common $\\sigma = 1$ is only just "
        "below. A noise that is *learned* goes down to 0.12, the root of the mean variance that is left out, and all "
        "twenty units live, with 30.0 nats in all.",
        tol=1e-3,
    ),
    Exercise(
        "11.7",
        "project",
        20,
        checks="three shares of 40,000 pairs, to one in a hundred",
        right=found.shares,
        slips={
            "shifts for one side": Slip(
                lambda: found.shares(judges=0),
                "A new digit is no copy. The test images, too, have to be moved before they are compared.",
                "Section 5 of 11 ('near compared with what?')",
            ),
            "plain throughout": Slip(
                lambda: found.shares(reach=0, judges=0),
                "The second is the first again, and the third was measured likewise: the distance moved nothing.",
                "the statement",
            ),
            "two pixels": Slip(
                lambda: found.shares(2),
                "The copies were moved by two pixels. The distance that looks for one does not find them.",
                "the statement",
            ),
            "the other way round": Slip(
                lambda: 1 - found.shares(),
                "These are the shares of pairs in which the *test image* is nearer.",
                "Section 5 of 11",
            ),
        },
        hints=(
            "`diagnostics.nearest(images, train)[0][:, 0]` has the distances; compare all pairs with a broadcast `<`.",
            "For the better distance move the images in all nine ways (not at all included), and keep the least.",
            "All that is compared has to be measured with the same distance: copies, new digits, test images.",
        ),
        solution="```python\ndef distance(images, moves):\n    each = [diagnostics.nearest(torch.roll(images, move, "
        "(-2, -1)), train)[0][:, 0] for move in moves]\n    return torch.stack(each).amin(0)\n\ndef share(images, "
        "moves):\n    return (distance(images, moves)[:, None] < distance(test, moves)).double().mean()\n```\n\nWith "
        "`moves = [(0, 0)]` copies are nearer than test images in 53 % of pairs: a perfect thief, and the plain "
        "distance sees nothing. (With 20,000 training images it is even 44 %: innocence beyond doubt.) With all nine "
        "moves it is 100 %, since every copy has a distance of zero. The control says that the distance is fair: new "
        "digits get 52 %. A copy that is moved by *two* pixels gets away again, with 48 %: each distance finds the "
        "thefts it was made for.",
        tol=0.01,
    ),
)
