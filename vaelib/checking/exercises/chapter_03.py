"""Exercises of chapter 3: the KL divergence of independent dimensions."""

import math

import numpy as np

from .judge import Exercise, Slip


def _rate(mu, sigma):
    return (mu**2 + sigma**2 - 1 - np.log(sigma**2)) / 2


def _batch(rng):
    return {"mu": rng.normal(size=(3, 4)), "sigma": np.exp(rng.normal(size=(3, 4)))}


def _gauss():
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    return nodes, weights / weights.sum()


def _ratio(z, m=0.0, n=1.0):  # log N(z; m, 1) - log N(z; n, 1)
    return ((z - n) ** 2 - (z - m) ** 2) / 2


def _first_that_fails():
    """Of the three equalities, for an independent q and a correlated p: the letter of the first that does not hold."""
    m, precision = np.array([0.5, -1.0]), np.linalg.inv([[1, 0.6], [0.6, 1]])
    nodes, weights = _gauss()
    z = np.stack(np.meshgrid(m[0] + nodes, m[1] + nodes, indexing="ij"))
    mass = np.outer(weights, weights)
    log_p = -np.einsum("iab,ij,jab->ab", z, precision, z) / 2 + math.log(np.linalg.det(precision)) / 2
    joint = -((z - m[:, None, None]) ** 2).sum(0) / 2 - log_p
    ell = [_ratio(z[j], m[j], 0.0) for j in (0, 1)]  # the marginals of p are standard normal
    means = [(mass * each).sum() for each in ell]
    sides = {
        "a": (joint, sum(ell)),
        "b": ((mass * sum(ell)).sum(), sum(means)),
        "c": (means, [weights @ _ratio(m[j] + nodes, m[j], 0.0) for j in (0, 1)]),
    }
    return next((letter for letter, (left, right) in sides.items() if not np.allclose(left, right)), "d")


def _bracket(z1, z2):  # the integral over z3, by quadrature
    nodes, weights = _gauss()
    return weights @ (_ratio(z1) + _ratio(z2) + _ratio(nodes))


def _table(rng):
    return {"q": rng.dirichlet(np.ones(12)).reshape(3, 4)}


def _apart(q):
    return np.outer(q.sum(1), q.sum(0))


MEANS = ((1, 1), (2, 2), (3, 3), (2, -2))


def _zero(m):  # from the divergence of two Gaussians in two dimensions, on the side where p leans towards q
    from scipy import optimize

    def missed(size):
        m1, m2 = m
        rho = size * math.copysign(1, m1 * m2)
        cov = np.array([[1, rho], [rho, 1]])
        kl = (np.trace(np.linalg.inv(cov)) + m @ np.linalg.solve(cov, m) - 2 + np.linalg.slogdet(cov)[1]) / 2
        return kl - (m1**2 + m2**2) / 2

    lowest = optimize.minimize_scalar(missed, bounds=(1e-6, 0.999), method="bounded").x
    size = optimize.brentq(missed, lowest, 0.9999)
    return math.copysign(1, m[0] * m[1]) * np.array([size, lowest])


def _zeros():
    return np.array([_zero(np.array(m, float))[0] for m in MEANS])


EXERCISES = (
    Exercise(
        "3.1",
        "by hand",
        3,
        checks="one rate of three dimensions, to three digits",
        right=lambda: sum(_rate(m, s) for m, s in ((0, 1), (1, 1), (0, math.e))),
        slips={
            "E1": Slip(
                lambda: sum(_rate(m, s) for m, s in ((0, 1), (1, 1), (0, math.e))) / 3,
                "This is E1: the mean over the dimensions. The theorem has a sum.",
                "(3.5)",
            ),
            "E5a": Slip(
                lambda: 1 / 2 + (math.e**2 - 1) / 2 - 2,
                "This is E5: the logarithm of the variance needs its 1/2, too.",
                "(3.1)",
            ),
            "E6": Slip(
                lambda: 1 / 2 + (math.e - 1 - 1) / 2,
                "This is E6: the standard deviation was put where the variance stands, in both places.",
                "(3.15)",
            ),
        },
        hints=(
            "The rate is a sum over the dimensions: work out each by (3.15), then add.",
            "The first dimension is the prior itself. What does it cost?",
            "In the third, the variance is e squared and its logarithm 2.",
        ),
        solution="The first dimension costs 0, the second $\\frac12 \\cdot 1^2$. The third costs "
        "$\\frac12(e^2 - 1 - 2) = 2.195$. Together 2.695 nats.",
        tol=2e-3,
    ),
    Exercise(
        "3.2",
        "spot the bug",
        5,
        checks="the rate of each example of a batch, on 20 drawn batches",
        right=lambda mu, sigma: _rate(mu, sigma).sum(-1),
        slips={
            "E1": Slip(
                lambda mu, sigma: _rate(mu, sigma).mean(-1),
                "This is E1: the mean over the latent dimensions. It is as if beta were 1/J.",
                "(3.5)",
            ),
            "both axes averaged": Slip(
                lambda mu, sigma: _rate(mu, sigma).mean(),
                "This is the line of the question: it averages over the latent dimensions (E1) and over the batch.",
                "(3.15)",
            ),
            "E3": Slip(
                lambda mu, sigma: _rate(mu, sigma).sum(),
                "This is E3: the sum over the whole batch. The rate of an example would hang on its neighbours.",
                "(3.15)",
            ),
            "the wrong axis": Slip(
                lambda mu, sigma: _rate(mu, sigma).sum(0),
                "This adds up the batch and keeps the latent dimensions. One number for each example is asked for.",
                "(3.15)",
            ),
            "E5a": Slip(
                lambda mu, sigma: ((mu**2 + sigma**2 - 1) / 2 - np.log(sigma**2)).sum(-1),
                "This is E5: the logarithm of the variance needs its 1/2, too.",
                "(3.1)",
            ),
        },
        hints=(
            "Which axis is the batch, and which are the latent dimensions?",
            "The theorem says what happens to the dimensions. The batch is the training loop's business.",
            "What has the shape (B,) has one number for each example.",
        ),
        solution="`.mean()` runs over both axes. The mean over the batch may come last, and does no harm. The mean "
        "over the latent dimensions is E1: it divides the rate by $J$, so that $\\beta = 1/J$ was chosen. Write "
        "`0.5 * (mu**2 + sigma**2 - 1 - torch.log(sigma**2)).sum(-1)`.",
        takes=("mu", "sigma"),
        draw=_batch,
    ),
    Exercise(
        "3.3",
        "predict",
        4,
        checks="the three equalities by quadrature, for one q that factorises and one p that does not",
        right=_first_that_fails,
        choices={
            "a": "the logarithm of the ratio is the sum of the log-ratios of the dimensions",
            "b": "the mean of the sum is the sum of the means",
            "c": "the mean of each log-ratio needs one marginal of q",
            "d": "none fails, since the average is over q, which factorises",
        },
        slips={
            "linearity": Slip(
                "b", "A mean of a sum is the sum of the means for any random numbers. Nothing is asked of p.", "(3.6)"
            ),
            "marginals": Slip(
                "c",
                "Each log-ratio is a function of one dimension, and q does the averaging. What p is plays no part.",
                "(3.6)",
            ),
            "q alone": Slip(
                "d",
                "That q factorises is half of the assumption. The picture has curves for the case without the rest.",
                "(3.14) and the picture of section 5",
            ),
        },
        hints=(
            "Write down what the densities are that stand in the first line of the proof.",
            "Which of the lines speak of p at all, other than through the log-ratios of single dimensions?",
            "A density is the product of its marginals if its dimensions are independent. Is this so for both?",
        ),
        solution="The first. $\\log\\frac{q(z)}{p(z)}$ has $\\log p(z)$ in it, and for a correlated $p$ that is not "
        "$\\sum_j \\log p_j(z_j)$. The other two are about $\\mathbb E_q$ of functions of one dimension, and hold. "
        "What the sum then misses is $\\mathbb E_q\\big[\\sum_j \\log p_j(z_j) - \\log p(z)\\big]$, which may have "
        "either sign: for Gaussians it is (3.14).",
    ),
    Exercise(
        "3.4",
        "derive",
        6,
        checks="the bracket after one step, against an integral over the third dimension, in 20 cases",
        right=_bracket,
        slips={
            "nothing left of the third": Slip(
                lambda z1, z2: 1 - z1 - z2,
                "The third dimension has left nothing behind. Integrating it out is not the same as dropping it.",
                "(3.4)",
            ),
            "the rest is lost": Slip(
                lambda z1, z2: 0.5,
                "This is what the third dimension leaves behind, and it alone. The rest has to be carried along.",
                "(3.4)",
            ),
            "weighted with p": Slip(
                lambda z1, z2: 0.5 - z1 - z2,
                "The third log-ratio was averaged over p. The density that stands first does the averaging.",
                "(3.4) and its first twin",
            ),
            "all at once": Slip(
                lambda z1, z2: 1.5,
                "This is the end of the proof, when all three dimensions are gone. One step is asked for.",
                "step 5",
            ),
        },
        hints=(
            "Two of the three summands do not depend on the third dimension. What does its density integrate to?",
            "The third summand becomes a number. Which one is it, in words?",
            "For unit variances the divergence is half the squared distance of the means.",
        ),
        solution="The first two summands do not depend on $z_3$, and $\\int q_3\\,dz_3 = 1$. The third becomes "
        "$\\mathbb E_{q_3}[\\tfrac12 - z_3] = \\tfrac12 = \\mathrm{KL}(q_3\\,\\|\\,p_3)$. So the bracket is "
        "$\\tfrac32 - z_1 - z_2$.\n\n*The induction.* Claim for $J - 1$: "
        "$\\int q_1 \\cdots q_{J-1} \\sum_{j<J} \\ell_j\\,dz = \\sum_{j<J} \\mathrm{KL}(q_j\\,\\|\\,p_j)$. For $J = 1$ "
        "it is the definition of the divergence. From $J - 1$ to $J$: integrate over $z_J$ first. By (3.4), with "
        "$\\sum_{j<J} \\ell_j$ in the place of $\\ell_1$, the bracket becomes "
        "$\\sum_{j<J} \\ell_j + \\mathrm{KL}(q_J\\,\\|\\,p_J)$. The second summand is a number, and the remaining "
        "densities integrate to one around it. The first is the claim for $J - 1$. Together: the sum up to $J$.",
        takes=("z1", "z2"),
        draw=lambda rng: {"z1": rng.normal(), "z2": rng.normal()},
    ),
    Exercise(
        "3.5",
        "program",
        8,
        checks="the total correlation of 20 drawn tables",
        right=lambda q: (q * (np.log(q) - np.log(_apart(q)))).sum(),
        slips={
            "E7": Slip(
                lambda q: (_apart(q) * np.log(_apart(q) / q)).sum(),
                "This is E7: the arguments are swapped. Here the product of the marginals does the averaging.",
                "(3.13)",
            ),
            "sign": Slip(
                lambda q: (q * np.log(_apart(q) / q)).sum(),
                "The sign is wrong: a divergence is never below zero. Ask which density is on top in the logarithm.",
                "(3.13)",
            ),
            "bits": Slip(
                lambda q: (q * np.log2(q / _apart(q))).sum(),
                "This is in bits. The course counts in nats.",
                "section 1",
            ),
            "a mean over cells": Slip(
                lambda q: (q * np.log(q / _apart(q))).mean(),
                "The cells were averaged after they had been weighted. Their weights add up to one already.",
                "(3.12), the sum over a joint table",
            ),
            "not weighted": Slip(
                lambda q: np.log(q / _apart(q)).mean(),
                "The cells are averaged here, and each counts the same. In a divergence a cell counts as often as its "
                "first density draws it.",
                "(3.12), the sum over a joint table",
            ),
            "weights lost": Slip(
                lambda q: np.log(q / _apart(q)).sum(),
                "Each cell counts once here, with no weight. In a divergence a cell counts as often as its first "
                "density draws it.",
                "(3.12), the sum over a joint table",
            ),
        },
        hints=(
            "The marginals are sums over the rows and over the columns.",
            "The product of the marginals is a table of the same shape as q: an outer product.",
            "What is left is a divergence of two tables. Weigh with the one that stands first, then add up all cells.",
        ),
        solution="`(q * torch.log(q / torch.outer(q.sum(1), q.sum(0)))).sum()`.\n\nIt is a divergence, "
        "$\\mathrm{KL}(q\\,\\|\\,q_1 q_2)$, and a divergence is zero only if its two densities agree (notebook 02): "
        "here only if $q(z_1, z_2) = q_1(z_1)\\,q_2(z_2)$ in every cell that $q$ draws, which says that $z_1$ and "
        "$z_2$ are independent. Zero correlation would say less: a table on a ring has none, and its "
        "total correlation is not zero. In a Gaussian the two are the same.",
        takes=("q",),
        draw=_table,
    ),
    Exercise(
        "3.6",
        "project",
        20,
        checks="four correlations, each to one part in a thousand, against the matrix formula of two Gaussians",
        right=_zeros,
        slips={
            "the zero that is excluded": Slip(
                lambda: np.zeros(4),
                "At zero correlation p factorises, and the sum is right for that reason. Each mean has another zero.",
                "the picture of section 5, second white mark",
            ),
            "the lowest points": Slip(
                lambda: np.array([_zero(np.array(m, float))[1] for m in MEANS]),
                "These are the points where the sum is most too large. The curves come back to zero beyond them.",
                "the picture of section 5, first white mark",
            ),
            "which way p leans": Slip(
                lambda: np.abs(_zeros()),
                "Three are right. In the last, p has to lean the other way to lean towards q: mirror one axis.",
                "the thumbnails of section 5",
            ),
            "no logarithm": Slip(
                lambda: np.array([math.copysign(m[0] ** 2 / (1 + m[0] ** 2), m[1]) for m in MEANS]),
                "Here the fraction is zero, and the logarithm beside it is not. Both belong to the difference.",
                "(3.14)",
            ),
        },
        hints=(
            "Draw (3.14) against the correlation for one of the means. How many zeros has it, and where?",
            "For equal means the curve falls below zero, has one lowest point, and rises: search between that and one.",
            "For the last, put minus z2 in the place of z2. What becomes of the mean, and what of the correlation?",
        ),
        solution="For $m = (c, c)$ (3.14) is zero where $2\\rho^2 + 2c^2\\rho^2 - 2c^2\\rho = -(1 - \\rho^2)\\log(1 - "
        "\\rho^2)$, which has no solution in closed form. Near $\\rho = 0$ the difference is about $-c^2\\rho$, below "
        "zero for small positive $\\rho$; at $\\rho \\to 1$ it goes to $+\\infty$. So there is a zero between, and "
        "`optimize.brentq` from the lowest point to 0.9999 finds 0.6205, 0.8426 and 0.9160 for $c = 1, 2, 3$. The "
        "reflection $z_2 \\to -z_2$ changes no divergence, and turns $(2, 2)$ into $(2, -2)$ and $\\rho$ into "
        "$-\\rho$: the last is $-0.8426$, without a new calculation. The further the means are from zero, "
        "the longer a $p$ that leans towards them makes the sum too large.",
        tol=1e-3,
    ),
)
