"""Exercises of chapter 6: decoders are distributions."""

import math

import numpy as np

from . import truths_06 as found
from .judge import Exercise, Slip

EXERCISES = (
    Exercise(
        "6.1",
        "by hand",
        4,
        checks="the noise and the beta, to three digits, against the best code of a model that can be solved",
        right=lambda: found.noise_and_beta(1 / found.PIXELS, found.WEIGHT),
        slips={
            "the 1/2 forgotten": Slip(
                lambda: found.noise_and_beta(0.5 / found.PIXELS, found.WEIGHT),
                "A factor of two is missing: a Gaussian has half the squared error in its exponent.",
                "(6.1) and (6.2)",
            ),
            "the square": Slip(
                lambda: [
                    found.noise_and_beta(1 / found.PIXELS, found.WEIGHT)[0] ** 2,
                    found.noise_and_beta(1 / found.PIXELS, found.WEIGHT)[1],
                ],
                "The beta is right. The first is the variance: you are asked for its root.",
                "(6.2) and its last twin",
            ),
            "E8": Slip(
                lambda: found.noise_and_beta(1, 1),
                "This is the noise of the sum of squares with the whole rate: the weights of the loss were ignored.",
                "(6.2) and its first twin",
            ),
            "E2a": Slip(
                lambda: found.noise_and_beta(1, found.WEIGHT),
                "The weight of the rate is in it. But the squares are a mean over the pixels here, not a sum (E2).",
                "the table of popular losses, Section 3",
            ),
            "one channel": Slip(
                lambda: found.noise_and_beta(3 / found.PIXELS, found.WEIGHT),
                "The mean runs over the three colours as well: count the numbers in an image, not its places.",
                "the statement",
            ),
        },
        hints=(
            "Write the loss as a |x - x_hat|^2 + b R, with a *sum* of squares. What are a and b?",
            "What is the mean over everything, seen from the sum? An image has 64 x 64 x 3 numbers.",
            "The loss fixes beta sigma^2 = b / 2a. Once with beta = 1, once with the sigma that is given.",
        ),
        solution="$a = 1/12288$ and $b = 0.00025$, so $\\beta\\sigma^2 = b/2a = 1.536$. With $\\beta = 1$ it is "
        "$\\sigma = 1.239$, on pixels that lie in $[-1, 1]$; with $\\sigma = 0.1$ it is $\\beta = 154$. Nobody has "
        "chosen either. (E8 and E2 of the museum have the place.)",
        tol=3e-3,
    ),
    Exercise(
        "6.2",
        "read off",
        3,
        checks="two multiples of the best sigma, as exactly as a figure can be read, against the bowl of (6.3)",
        right=lambda: found.at_price(1),
        slips={
            "changed over": Slip(
                lambda: found.at_price(1)[::-1],
                "The two are changed over: the one that is too small comes first.",
                "the statement",
            ),
            "not as multiples": Slip(
                lambda: 0.1 * found.at_price(1),
                "These are the two sigmas. They are asked for as multiples of the best one.",
                "the star in the figure of Section 4",
            ),
            "a straight scale": Slip(
                lambda: [0.53, 3.45],
                "The axis is logarithmic: halfway between two marks is their geometric mean.",
                "the axis of the figure of Section 4",
            ),
            "half a bit": Slip(
                lambda: found.at_price(0.5),
                "This is the price of half a bit. Look one mark higher.",
                "the figure's left axis",
            ),
            "two bits": Slip(
                lambda: found.at_price(2), "This is the price of two bits. Look lower.", "the figure's left axis"
            ),
            "nats": Slip(
                lambda: found.at_price(1 / math.log(2)),
                "This is the price of one nat. The axis counts in bits.",
                "(6.3) and the axis of the figure of Section 4",
            ),
        },
        hints=(
            "Go along the height of one bit: it meets the curve twice.",
            "The axis is logarithmic. Where, between two marks, does the curve cross?",
            "The best sigma of the figure is the star. Divide both by it.",
        ),
        solution="About 0.052 and 0.31, that is 0.52 and 3.1 times the best. By (6.3) the price is $\\frac12 "
        "g(1/f^2)$ nats for a multiple $f$, the same for every best $\\sigma$, and one bit is $\\log 2$ nats: exactly "
        "0.520 and 3.134. A $\\sigma$ of half the right size costs as much as one of three and a half times "
        "the right size: if you have to guess, rather guess too high. And the loss shouts at the first and keeps "
        "quiet about the second.",
        tol=0.06,
    ),
    Exercise(
        "6.3",
        "spot the bug",
        7,
        checks="the loss of each image in nats, on 20 drawn batches",
        right=found.loss_of(),
        slips={
            "as printed": Slip(
                found.loss_of(np.exp, np.mean, (1, -1)),
                "These are the lines of the question, with all three mistakes.",
                "(6.1) and (4.4)",
            ),
            "E24": Slip(
                found.loss_of(np.exp),
                "This is E24: a variance was passed as a scale. Look up what Normal takes second.",
                "(6.1) and its fifth twin",
            ),
            "E2a": Slip(
                found.loss_of(gather=np.mean),
                "This is E2: the pixels are averaged beside a rate that is a sum.",
                "(6.1) and its first twin",
            ),
            "E18": Slip(
                found.loss_of(signs=(1, -1)),
                "This is E18: it is the ELBO, and would be made small.",
                "(4.4), the signs",
            ),
            "two left: scale and sign": Slip(
                found.loss_of(np.exp, signs=(1, -1)), "The sum is repaired. Scale and sign are not.", "(6.1) and (4.4)"
            ),
            "two left: scale and mean": Slip(
                found.loss_of(np.exp, np.mean), "The sign is repaired. The scale and the mean are not.", "(6.1)"
            ),
            "two left: mean and sign": Slip(
                found.loss_of(gather=np.mean, signs=(1, -1)), "The scale is repaired. Mean and sign are not.", "(6.1)"
            ),
            "E18b": Slip(
                found.loss_of(signs=(-1, -1)),
                "This is E18b: the rate is subtracted in a loss, and so made large.",
                "(4.4), the signs",
            ),
            "E6": Slip(
                found.loss_of(lambda v: np.exp(2 * v)),
                "The factor before the log-variance is upside down: a standard deviation is the root of a variance.",
                "(6.1)",
            ),
        },
        hints=(
            "Look up the second argument of torch.distributions.Normal. Which of sigma and its square is exp(log_var)?",
            "Which axes are the pixels of one image? What has (6.1) to say of them: a sum or a mean?",
            "A loss is made small. Which sign must the log-density have in it, and which the rate?",
        ),
        solution="```python\nlog_px = Normal(mu, (log_var / 2).exp()).log_prob(x).sum((1, 2, 3))\nloss = rate - "
        "log_px\n```\n\n*E18, the sign*, is given away by the first epoch: the loss runs to $-\\infty$, and the "
        "pictures get worse. *E24, the scale*, never shows in training: the network learns an output that means "
        "$\\log\\sigma$. It shows when somebody else draws with `exp(log_var / 2)`: the noise is then the root of "
        "what was learned. *E2a, the mean*, does not show in the loss, which falls; it shows in the rate, "
        "which goes to nearly nothing: $\\beta = D$, or, at a fixed $\\sigma$, the noise is $\\sqrt D\\,\\sigma$.",
        takes=("x", "mu", "log_var", "rate"),
        draw=found.images,
    ),
    Exercise(
        "6.4",
        "spot the bug",
        5,
        checks="bits per dimension of data in [-1, 1], in 20 cases, by the scaling of the density",
        right=lambda nats, D: (nats + D * math.log(256 / 2)) / (D * math.log(2)),
        slips={
            "as printed": Slip(
                lambda nats, D: nats / (D * math.log(2)) + 8,
                "This is the line of the question: right for data in [0, 1].",
                "(6.5)",
            ),
            "the other way": Slip(
                lambda nats, D: nats / (D * math.log(2)) + 9,
                "The interval is longer, so a cell in it is wider. That makes log h larger, not smaller.",
                "(6.4)",
            ),
            "255 levels": Slip(
                lambda nats, D: nats / (D * math.log(2)) + math.log2(255 / 2),
                "The distance of two levels was taken for a cell. Dequantised, there is a cell for each level.",
                "(6.5) and its second twin",
            ),
            "none": Slip(
                lambda nats, D: nats / (D * math.log(2)),
                "The constant is missing: this is a density's figure, in the unit of the interval.",
                "(6.5) and its first twin",
            ),
            "nats": Slip(
                lambda nats, D: nats / D + 7,
                "Nats are called bits here. The constant is in bits, the density is not.",
                "(6.5) and its third twin",
            ),
            "once per image": Slip(
                lambda nats, D: (nats / math.log(2) + 7) / D,
                "The constant was counted once per image. Every pixel has its cell.",
                "(6.4), the text after it",
            ),
        },
        hints=(
            "How wide is the cell of one level if 256 of them fill the interval from -1 to 1?",
            "(6.4) says + D log h. What is the log of h to base 2?",
            "Check it: a density that is constant on [-1, 1] guesses, and guessing costs 8 bits.",
        ),
        solution="A cell is $2/256 = 2^{-7}$ wide, so $-\\log_2 h = 7$: $\\frac{-\\log p(x)}{D\\log 2} + 7$. The "
        "proof by an example: the constant density $\\frac12$ has $-\\log_2 p = 1$, and guessing costs 8. With $+8$ "
        "the paper reports one bit too many, to its own disadvantage. (6.5) becomes $\\frac{-\\log p(x)}{D\\log 2} + "
        "7 = \\frac{-\\log\\tilde p(128\\,x)}{D\\log 2}$, and in its claim 256 becomes 128 in the density and in both "
        "witnesses; the twin '8 forgotten' gets a neighbour, '8 kept'.",
        takes=("nats", "D"),
        draw=lambda rng: {"nats": rng.normal(0, 500), "D": int(rng.integers(50, 800))},
    ),
    Exercise(
        "6.5",
        "derive",
        7,
        checks="the best value in 20 cases, against a search over the scale of scipy's Laplace density",
        right=found.best_laplace,
        slips={
            "scale 1": Slip(
                found.laplace_at(lambda mean, D: 1),
                "This is the density that l1_loss assumes as it is, with the scale 1. A better scale can be had.",
                "(D6.1) and its table",
            ),
            "no price of its own": Slip(
                lambda x, x_hat: len(x) * math.log(2 * np.abs(x - x_hat).mean()),
                "At the best scale the errors, divided by it, still cost something: one nat for each pixel.",
                "(6.3) and its third twin",
            ),
            "sum for mean": Slip(
                lambda x, x_hat: len(x) * math.log(2 * math.e * np.abs(x - x_hat).sum()),
                "The sum of the errors stands where their mean belongs.",
                "(6.3) and its second twin",
            ),
            "one side": Slip(
                lambda x, x_hat: len(x) * math.log(math.e * np.abs(x - x_hat).mean()),
                "The total was taken over one side only: an error can have either sign.",
                "(D6.1) and its table",
            ),
            "a Gaussian": Slip(
                lambda x, x_hat: len(x) / 2 * math.log(2 * math.pi * math.e * ((x - x_hat) ** 2).mean()),
                "This is (6.3), of squared error. The absolute error belongs to another density.",
                "(D6.1) and its table",
            ),
            "deviation for scale": Slip(
                found.laplace_at(lambda mean, D: math.sqrt(2) * mean),
                "This is the value of the density at a scale equal to its standard deviation. For this density the two "
                "differ, and its best scale is the smaller one.",
                "(D6.1)",
            ),
            "deviation in the best value": Slip(
                lambda x, x_hat: len(x) * math.log(2 * math.e * math.sqrt(2) * np.abs(x - x_hat).mean()),
                "The standard deviation was put into the best value, where the scale stands. For this density the two "
                "differ.",
                "(D6.1)",
            ),
            "per pixel": Slip(
                lambda x, x_hat: math.log(2 * math.e * np.abs(x - x_hat).mean()),
                "This is right for one pixel. The sum over all of them is asked for.",
                "(6.3)",
            ),
        },
        hints=(
            "With a scale tau the loss is |x - y| / tau. What is its total over all real x?",
            "Sum over the pixels, then set the derivative with respect to tau to zero.",
            "At the best tau the first term is one nat per pixel, whatever the errors are.",
        ),
        solution="The total of $e^{-|x - y|/\\tau}$ is $2\\tau$: a Laplace density of scale $\\tau$, whose standard "
        "deviation is $\\sqrt2\\,\\tau$. So `l1_loss` with `reduction='sum'` plus KL assumes $\\tau = 1$, a standard "
        "deviation of 1.41 for pixels in $[0, 1]$: worse than 'sum of squares'. With $\\tau$ free, $-\\log p = "
        "\\frac1\\tau\\sum_d|x_d - \\hat x_d| + D \\log 2\\tau$, least at $\\hat\\tau = \\frac1D\\sum_d |x_d - \\hat "
        "x_d|$, where it is $D\\log(2e\\,\\hat\\tau)$. As in Section 4, one can train with this value alone.",
        takes=("x", "x_hat"),
        draw=found.errors,
    ),
    Exercise(
        "6.6",
        "program",
        12,
        checks="the share of 40 pixels, on 20 drawn sets, against the library's 256 probabilities added up",
        right=found.coverage,
        slips={
            "the ends without tails": Slip(
                found.tails_cut,
                "Black and white own what lies beyond them. Their cells have no outer edge.",
                "(6.10) and its first twin",
            ),
            "the middle counts": Slip(
                found.edges_only(lambda below, above: (above + below > 0.1) & (above + below < 1.9)),
                "Each pixel counts here as inside or outside, by the middle between the probabilities at its two "
                "edges. A cell may lie across the border.",
                "the statement",
            ),
            "the level counts": Slip(
                lambda mu, tau, level: (np.abs(1 / (1 + np.exp(-(level / 255 - mu) / tau)) - 0.5) < 0.45).mean(),
                "Each pixel counts here as inside or outside, by its level alone. Its cell may lie across the border.",
                "the statement",
            ),
            "the whole cell counts": Slip(
                found.edges_only(lambda below, above: (above > 0.05) & (below < 0.95)),
                "A cell that only touches the central part counts as inside here. Take the share of it that lies "
                "inside.",
                "the statement",
            ),
            "the upper edge counts": Slip(
                found.edges_only(lambda below, above: (above >= 0.05) & (above <= 0.95)),
                "Only the upper edge was looked at. A pixel that is black for sure would never be inside.",
                "the statement",
            ),
            "80 %": Slip(
                lambda mu, tau, level: found.coverage(mu, tau, level, 0.1, 0.9),
                "This is the central 80 %: the rest has two sides, and they share it.",
                "the statement",
            ),
            "one side": Slip(
                lambda mu, tau, level: found.coverage(mu, tau, level, 0.0, 0.9),
                "This is everything below the 90 % quantile. The central part leaves out as much on the left.",
                "the statement",
            ),
        },
        hints=(
            "A level's cell has two edges. Write the distribution function at both; what is it at the outer edge of "
            "an end?",
            "Cut both values to the central part. What is left between them is the part of the cell that is inside.",
            "Divide that part by the whole cell's probability, pixel by pixel, and average.",
        ),
        solution="With $F_-$ and $F_+$ at the edges (0 below black, 1 above white) a pixel counts as the share of "
        "$[F_-, F_+]$ inside $[0.05, 0.95]$. Draw a level from $P$, and the mean of this share is exactly 0.9: cells "
        "add up to the whole interval. (A plain yes or no is not 0.9 for a calibrated decoder: with 80 % black it "
        "would be well above.) For the decoders of Section 1, with one code of each of the 200 test thumbnails, it is "
        "1.00 for the Gaussian with $\\sigma = 0.71$, which is much too modest; 0.89 for the best $\\sigma$ and 0.94 "
        "for a $\\sigma$ per pixel, but 0.67 and 0.84 among the pixels that are neither black nor white: too sure "
        "there, too modest on the background. The continuous Bernoulli is too sure with 0.74. The discretised "
        "logistic, 0.90, and the categorical, 0.91, are calibrated. (For a Gaussian use its distribution function at "
        "the edges $i/256$ and $(i+1)/256$.)",
        takes=("mu", "tau", "level"),
        draw=found.pixels,
    ),
    Exercise(
        "6.7",
        "project",
        25,
        checks="three costs in bits, to half a percent, against a search by another method",
        right=lambda: np.array([found.humps()[name] for name in ("one", "two", "histogram")]),
        slips={
            "a needle on black": Slip(
                lambda: [found.humps()[name] for name in ("one", "needle", "histogram")],
                "One component has become a needle on black, the other does all the rest. There is a better division.",
                "the two ends of (6.10)",
            ),
            "one hump died": Slip(
                lambda: [found.humps()[name] for name in ("one", "one", "histogram")],
                "The mixture is no better than one logistic: the weight of a component has gone to zero. Start "
                "elsewhere.",
                "your own starting point",
            ),
            "equal weights": Slip(
                lambda: [found.humps()[name] for name in ("one", "alike", "histogram")],
                "The two components have the same weight here, or the search stopped there. The weight is free as "
                "well.",
                "the statement",
            ),
            "nats": Slip(
                lambda: [math.log(2) * found.humps()[name] for name in ("one", "two", "histogram")],
                "These are nats. You are asked for bits.",
                "(6.5)",
            ),
            "guessing": Slip(
                lambda: [found.humps()["one"], found.humps()["two"], 8],
                "The last is the cost of guessing. The histogram's is the entropy of the observed frequencies.",
                "Section 1, the three yardsticks",
            ),
        },
        hints=(
            "Write the 256 probabilities of (6.10) as a function of mu and log tau, and the cost of a histogram "
            "under them.",
            "For the mixture search over five numbers, the weight as a logit. Try BFGS from several starting points.",
            "Draw both fits over the histogram. Which component takes the black pixels, and how does it do that?",
        ),
        solution="One logistic 6.38 bits, two 4.85, the histogram itself 4.73. One logistic can say 'black or white', "
        "with a large $\\tau$ and both tails; but 'white' on MNIST is mostly 253 and 254, which are no ends. The best "
        "mixture is a wide component ($\\mu = 0.05$, $\\tau = 0.43$), whose left tail is the black and whose middle "
        "is the grey, and a needle at 253. So the categorical decoder can say 'black or 253', one logistic cannot, and "
        "no Gaussian or continuous Bernoulli can.\n\nAs a decoder:\n\n```python\nclass TwoLogistics(nn.Module):\n    "
        "def __init__(self):\n        super().__init__()\n        self.net = nn.Sequential(nn.Linear(20, 200), "
        "nn.ReLU(), nn.Linear(200, 6 * 196))\n\n    def forward(self, z):\n        weight, mu, log_tau = "
        "self.net(z).unflatten(-1, (1, 14, 14, 2, 3)).unbind(-1)\n        each = LogisticGreyLevels(mu + "
        "mu.new_tensor([0.0, 1.0]), log_tau.clamp(-7, 3).exp())\n        both = "
        "td.MixtureSameFamily(td.Categorical(logits=weight), each, validate_args=False)\n        return "
        "td.Independent(both, 3, validate_args=False)\n```\n\n`vl.VAE(vl.Gaussian(196, 20, hidden=(200,)), "
        "TwoLogistics())`, trained as in Section 1, has 2.21 bits where the single logistic has 2.28: ahead by $0.070 "
        "\\pm 0.004$, paired over the 200 test thumbnails (one seed, four epochs).",
        tol=5e-3,
    ),
)
