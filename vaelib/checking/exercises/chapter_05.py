"""Exercises of chapter 5: gradients through a sample."""

import math

import numpy as np

from .judge import Exercise, Slip


def _gauss():
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    return nodes, weights / weights.sum()


def _moments(f, slope, mu, sigma):
    """Means and second moments of four gradients of one draw: rows path and score, columns by mu and by sigma."""
    u, weights = _gauss()
    z = mu + sigma * u
    path = [slope(z), slope(z) * u]
    score = [f(z) * u / sigma, f(z) * (u**2 - 1) / sigma]
    return np.array([[(weights @ g, weights @ g**2) for g in row] for row in (path, score)]).transpose(2, 0, 1)


def _variances(f, slope, mu=1.0, sigma=0.5):
    means, squares = _moments(f, slope, mu, sigma)
    return squares - means**2


def _of_z():
    return _variances(lambda z: z, np.ones_like)


def _scores(sigma, epsilon):
    return np.array([epsilon / sigma, (epsilon**2 - 1) / sigma])


def _log_px(mu, sigma, epsilon):
    return -((1 - mu - sigma * epsilon) ** 2) / 2


def _log_q(sigma, epsilon):
    return -math.log(sigma) - epsilon**2 / 2 - math.log(2 * math.pi) / 2


def _moving(sigma):  # the slope of log q where z moves along
    return np.array([0, -1 / sigma])


def _path(mu, sigma, epsilon):
    return (1 - mu - sigma * epsilon) * np.array([1, epsilon])


def _pairs_that_help():
    """The letter of the gradients whose variance is lower in antithetic pairs than in independent ones, everywhere."""
    u, weights = _gauss()
    always = np.ones((2, 2), bool)
    for mu in np.linspace(0, 8, 81):
        z, mirrored = mu + u, mu - u
        for row, g in enumerate(((2 * z, 2 * z * u), (z**2 * u, z**2 * (u**2 - 1)))):
            other = ((2 * mirrored, -2 * mirrored * u), (-(mirrored**2) * u, mirrored**2 * (u**2 - 1)))[row]
            for column in (0, 1):
                mean, pair = weights @ g[column], (g[column] + other[column]) / 2
                alone = weights @ g[column] ** 2 - mean**2
                always[row, column] &= weights @ pair**2 - mean**2 < alone / 2 - 1e-9
    letters = {"1111": "a", "1010": "b", "1100": "c", "0000": "d"}
    return letters["".join(str(int(each)) for each in always.ravel())]


def _matrices(rng):
    return {
        "B": rng.normal(size=(3, 3)),
        "C": np.tril(rng.normal(size=(3, 3)), -1) + np.diag(np.exp(rng.normal(size=3))),
    }


def _slope_of_mean(B, C):
    """Central differences of E[z' B z] = tr(B C C'), exact for a quadratic function but for rounding."""
    slope = np.empty_like(C)
    for at in np.ndindex(C.shape):
        step = np.zeros_like(C)
        step[at] = 0.5
        slope[at] = np.trace(B @ (C + step) @ (C + step).T) - np.trace(B @ (C - step) @ (C - step).T)
    return slope


def _draws(rng):
    return {"f": 5 + rng.normal(size=4), "epsilon": rng.normal(size=4), "sigma": math.exp(rng.normal())}


def _leave_one_out(f, epsilon, sigma):
    baselines = np.array([np.delete(f, k).mean() for k in range(len(f))])
    return ((f - baselines) * epsilon / sigma).mean()


def _best_k(price):
    """Where the price of a bias and a variance is least, for the path through sigmoid(k z) at mu = 1/2, sigma = 1."""
    from scipy import optimize

    u = np.linspace(-9, 9, 20_001)
    mass = np.exp(-(u**2) / 2) * (u[1] - u[0]) / math.sqrt(2 * math.pi)
    exact = math.exp(-1 / 8) / math.sqrt(2 * math.pi)  # (5.12)

    def of(log_k):
        soft = 1 / (1 + np.exp(-math.exp(log_k) * (0.5 + u)))
        g = math.exp(log_k) * soft * (1 - soft)
        mean = mass @ g
        return price(mean - exact, mass @ g**2 - mean**2)

    found = optimize.minimize_scalar(
        of, bounds=(math.log(0.3), math.log(30)), method="bounded", options={"xatol": 1e-8}
    )
    return math.exp(found.x)


EXERCISES = (
    Exercise(
        "5.1",
        "by hand",
        4,
        checks="four variances, against quadrature",
        right=_of_z,
        slips={
            "second moments": Slip(
                lambda: _moments(lambda z: z, np.ones_like, 1.0, 0.5)[1],
                "These are second moments. The square of the mean has to be taken off: the means are 1 and 0.",
                "the derivation under (5.7)",
            ),
            "a path without noise": Slip(
                lambda: _of_z() * [[0, 0], [1, 1]],
                "The slope of f is constant, but one of the two entries of the path has a further factor in it.",
                "(5.3)",
            ),
            "the variances of z squared": Slip(
                lambda: _variances(lambda z: z**2, lambda z: 2 * z),
                "These are the variances for the square of z, as in the text. Here f is z itself.",
                "(5.7)",
            ),
            "the variance in place of sigma": Slip(
                lambda: _variances(lambda z: z, np.ones_like, 1.0, 0.25),
                "This is the mix-up of E24: the variance was put where the standard deviation stands.",
                "(D5.1)",
            ),
        },
        hints=(
            "Write each gradient in terms of the noise first. For the path, what is the slope of f?",
            "One entry of the path has no noise in it, and the other is the noise itself.",
            "The moments of the noise are 1, 3 and 15 for the powers 2, 4 and 6; those of odd powers are zero.",
        ),
        solution="Path: $f' = 1$, so the gradient with respect to $\\mu$ is 1 for every draw, with variance 0, and "
        "with respect to $\\sigma$ it is $\\varepsilon$, with variance 1. Score, with respect to $\\mu$: "
        "$z\\varepsilon/\\sigma = \\frac\\mu\\sigma\\varepsilon + \\varepsilon^2$, with variance $\\mu^2/\\sigma^2 + "
        "2$. With respect to $\\sigma$: $(\\frac\\mu\\sigma + \\varepsilon)(\\varepsilon^2 - 1)$, with mean 0 and "
        "variance $2\\mu^2/\\sigma^2 + 15 - 6 + 1$. At $\\mu = 1$, $\\sigma = \\frac12$: 0, 1; 6, 18.",
        tol=2e-3,
    ),
    Exercise(
        "5.2",
        "spot the bug",
        6,
        checks="the score-function gradient of one draw, for 20 drawn ones",
        right=lambda mu, sigma, epsilon: _log_px(mu, sigma, epsilon) * _scores(sigma, epsilon),
        slips={
            "z moves along": Slip(
                lambda mu, sigma, epsilon: _log_px(mu, sigma, epsilon) * _moving(sigma),
                "This is the program of the question. Where z moves with the mean, log q does not change at all.",
                "(D5.2)",
            ),
            "the path": Slip(
                lambda mu, sigma, epsilon: _path(mu, sigma, epsilon),
                "This is the path: right on average, but not what these lines were meant to be. They use no f'.",
                "(5.3) and (5.5)",
            ),
            "both at once": Slip(
                lambda mu, sigma, epsilon: (
                    _log_px(mu, sigma, epsilon) * _moving(sigma) + _log_q(sigma, epsilon) * _path(mu, sigma, epsilon)
                ),
                "Nothing is held fixed here: it is the slope of a product of log p and log q, which nobody wants.",
                "(5.5)",
            ),
            "normaliser": Slip(
                lambda mu, sigma, epsilon: (
                    _log_px(mu, sigma, epsilon) * np.array([epsilon / sigma, epsilon**2 / sigma])
                ),
                "The density has a factor in front that depends on sigma. Its derivative is missing.",
                "(5.5), its second twin",
            ),
            "sign": Slip(
                lambda mu, sigma, epsilon: -_log_px(mu, sigma, epsilon) * _scores(sigma, epsilon),
                "The sign is flipped, as in the first half of E15. The reconstruction is to grow along this gradient.",
                "(5.5), its first twin",
            ),
        },
        hints=(
            "Which of the two routes multiplies a value that is held fixed by log q?",
            "Put z into log q and simplify. On what does the result depend, and on what does it not?",
            "The score is the slope of log q at a draw that stays where it is. What holds a tensor where it is?",
        ),
        solution="The score function was intended: $\\log p(x \\mid z)$ is held fixed and multiplies $\\log q(z)$. "
        "But with $z = \\mu + \\sigma\\varepsilon$ inside, $\\log q(z) = -\\log\\sigma - \\frac12\\varepsilon^2 - "
        "\\frac12\\log 2\\pi$ does not depend on $\\mu$, so the gradient with respect to $\\mu$ is zero, and that "
        "with respect to $\\sigma$ is $-\\log p(x \\mid z) / \\sigma$. The repair is one word: `z = (mu + sigma * "
        "epsilon).detach()`; where the program draws, `q.sample()` in place of `q.rsample()`.",
        takes=("mu", "sigma", "epsilon"),
        draw=lambda rng: {"mu": rng.normal(), "sigma": math.exp(rng.normal() / 2), "epsilon": rng.normal()},
    ),
    Exercise(
        "5.3",
        "predict",
        6,
        checks="the variances of pairs, by quadrature, for 81 ratios of mu and sigma",
        right=_pairs_that_help,
        choices={
            "a": "all four",
            "b": "both with respect to the mean, by either route",
            "c": "both of the path, with respect to either parameter",
            "d": "none of them",
        },
        slips={
            "all": Slip(
                "a",
                "A pair helps where its two gradients err in opposite directions. An even function errs twice alike.",
                "the text under (D5.2)",
            ),
            "the path": Slip(
                "c",
                "The route does not decide it. Look at the path with respect to sigma where the mean is zero.",
                "(5.3)",
            ),
            "none": Slip(
                "d",
                "One of the four is linear in the noise. Work out the mean of its pair.",
                "(5.3)",
            ),
        },
        hints=(
            "Write each gradient as a polynomial in the noise, and split it into its even and its odd part.",
            "The mean of a pair is the even part. Two independent draws have half the variance of both parts together.",
            "A pair helps where the odd part varies more than the even one. Let sigma be 1, and try the means 0 and 4.",
        ),
        solution="A pair's mean is the even part of the gradient, so its variance is $V_{\\text{even}}$, against "
        "$\\frac12(V_{\\text{even}} + V_{\\text{odd}})$ for two independent draws: a pair helps where "
        "$V_{\\text{even}} < V_{\\text{odd}}$. With $\\sigma = 1$:\n\n"
        "| gradient | even part varies by | odd part varies by | a pair helps |\n"
        "|---|---|---|---|\n"
        "| path, $\\mu$ | 0 | 4 | always: it is exact |\n"
        "| path, $\\sigma$ | 8 | $4\\mu^2$ | for $\\mu^2 > 2$ |\n"
        "| score, $\\mu$ | $8\\mu^2$ | $\\mu^4 + 6\\mu^2 + 15$ | always |\n"
        "| score, $\\sigma$ | $2\\mu^4 + 20\\mu^2 + 74$ | $40\\mu^2$ | never |\n\n"
        "The rows add up to (5.7). The score with respect to $\\mu$ is odd, the one with respect to $\\sigma$ even, "
        "and a pair takes the level of $f$ away from the first and leaves it in the second.",
    ),
    Exercise(
        "5.4",
        "derive",
        8,
        checks="the matrix of mean gradients in 20 drawn cases, against differences of the mean of f",
        right=_slope_of_mean,
        slips={
            "B taken for symmetric": Slip(
                lambda B, C: 2 * B @ C,
                "This is right for a symmetric B. The slope of the form has B in it twice, not in the same way.",
                "the chain rule under (5.3)",
            ),
            "one of two": Slip(
                lambda B, C: B @ C,
                "The quadratic form has z in it twice, and each of the two has a derivative.",
                "the chain rule under (5.3)",
            ),
            "the other order": Slip(
                lambda B, C: C @ (B + B.T),
                "This belongs to the covariance with its two factors exchanged. It is another covariance.",
                "(5.2) in the side room",
            ),
            "transposed": Slip(
                lambda B, C: ((B + B.T) @ C).T,
                "Rows and columns are exchanged: the entry i, j belongs to the entry i, j of C.",
                "(5.2) in the side room",
            ),
        },
        hints=(
            "What is the gradient of f with respect to z, if B need not be symmetric?",
            "An entry of C moves one entry of z, and by one entry of the noise. So there is an outer product.",
            "Take the mean: the noise has mean zero, and the mean of its outer product with itself is the identity.",
        ),
        solution="The gradient of $f$ is $(B + B^\\top)z$, and $\\partial z_i/\\partial C_{ij} = \\varepsilon_j$. So "
        "the pathwise gradient of one draw is the outer product $(B + B^\\top)(m + "
        "C\\varepsilon)\\,\\varepsilon^\\top$, with mean $(B + B^\\top)C$, as $\\mathbb E[\\varepsilon] = 0$ and "
        "$\\mathbb E[\\varepsilon\\varepsilon^\\top] = I$: `(B + B.T) @ C`. It is the derivative of $\\mathbb E[f] = "
        "m^\\top Bm + \\operatorname{tr}(BCC^\\top)$. If the covariance were $C^\\top C$, it would be the derivative "
        "of $\\operatorname{tr}(BC^\\top C)$, which is $C(B + B^\\top)$: another matrix, unless the two commute.",
        takes=("B", "C"),
        draw=_matrices,
    ),
    Exercise(
        "5.5",
        "program",
        10,
        checks="the gradient from four draws, in 20 cases",
        right=_leave_one_out,
        slips={
            "a baseline that knows its own draw": Slip(
                lambda f, epsilon, sigma: ((f - f.mean()) * epsilon / sigma).mean(),
                "The baseline contains the value that it is taken off. It depends on the same draw as the score, and "
                "so the mean is too small, by a factor of 3/4.",
                "(5.4) and what follows (5.7)",
            ),
            "no baseline": Slip(
                lambda f, epsilon, sigma: (f * epsilon / sigma).mean(),
                "There is no baseline in it: unbiased, and as noisy as the level of f makes it.",
                "(5.9b)",
            ),
            "E14": Slip(
                lambda f, epsilon, sigma: _leave_one_out(f, epsilon, sigma) * len(f),
                "This is E14: a sum over the draws where a mean belongs.",
                "(5.9) in the side room",
            ),
            "divided twice": Slip(
                lambda f, epsilon, sigma: _leave_one_out(f, epsilon, sigma) / sigma,
                "The score was divided by the variance although the noise is standardised already.",
                "(D5.2)",
            ),
            "the others divided by L": Slip(
                lambda f, epsilon, sigma: ((f - (f.sum() - f) / len(f)) * epsilon / sigma).mean(),
                "The others are one fewer than all, and so their mean has another divisor.",
                "what follows (5.9b)",
            ),
        },
        hints=(
            "For each draw, what may the baseline depend on, so that the score still averages it to zero?",
            "The mean of the other values is the sum of all less one's own, divided by their number.",
            "Four baselines, one for each draw: subtract, multiply by the score of the draw, take the mean.",
        ),
        solution="`((f - (f.sum() - f) / (len(f) - 1)) * epsilon / sigma).mean()`.\n\n"
        "The baseline of draw $l$ depends on the other draws alone, so $\\mathbb E[c_l\\,g_l] = \\mathbb "
        "E[c_l]\\,\\mathbb E[g_l] = 0$ by (5.4): the mean of the gradient stays right. With the mean over all $L$ "
        "values, one $L$-th of $f(z_l)$ is taken off as well, and the mean shrinks by $(L - 1)/L$. (Since $f_l - c_l "
        "= \\frac{L}{L - 1}(f_l - \\bar f)$, the two differ by just this factor.)",
        takes=("f", "epsilon", "sigma"),
        draw=_draws,
    ),
    Exercise(
        "5.6",
        "project",
        25,
        checks="the best k, to one part in a hundred, against sums on a fine grid",
        right=lambda: _best_k(lambda bias, variance: bias**2 + variance / 100),
        slips={
            "one draw": Slip(
                lambda: _best_k(lambda bias, variance: bias**2 + variance),
                "This is best for one draw. A mean over more draws may take a steeper sigmoid, as its noise is less.",
                "(5.9) in the side room",
            ),
            "noise not squared": Slip(
                lambda: _best_k(lambda bias, variance: bias**2 + math.sqrt(variance) / 100),
                "A squared bias was added to a standard deviation, and that was divided by the number of draws. What "
                "is added has to have the same unit.",
                "(5.9) in the side room",
            ),
            "noise of the mean not squared": Slip(
                lambda: _best_k(lambda bias, variance: bias**2 + math.sqrt(variance / 100)),
                "A squared bias was added to the standard deviation of the mean. What is added has to have the same "
                "unit.",
                "(5.9) in the side room",
            ),
            "bias not squared": Slip(
                lambda: _best_k(lambda bias, variance: abs(bias) + variance / 100),
                "The bias was not squared. A mean squared error is the squared bias and the variance.",
                "the statement of the exercise",
            ),
            "root of the number": Slip(
                lambda: _best_k(lambda bias, variance: bias**2 + variance / 10),
                "The variance was divided by the root of the number of draws: that is for the standard error.",
                "(5.9) in the side room, its second twin",
            ),
        },
        hints=(
            "The gradient of one draw is k times s times (1 - s), where s is the sigmoid at k times z.",
            "Take its mean and its second moment as sums over a fine grid of the noise, weighted with the normal "
            "density.",
            "The exact gradient is (5.12). Draw the squared bias, the variance over 100 and their sum against log k.",
        ),
        solution="With $s = \\mathrm{sigmoid}(kz)$ the gradient of a draw is $g = k\\,s\\,(1 - s)$. For large $k$ it "
        "is nearly always zero and now and then as large as $k/4$: its bias falls like $k^{-2}$ and its variance "
        "grows like $k$. The sum of bias² and variance/100 is least at $k = 3.94$, and is 0.0018 there, a root mean "
        "squared error of 0.042 on a gradient of 0.352. For comparison, by the score function with the exact jump: "
        "0.0039 plain, and 0.0013 with its best baseline (5.9b). The soft path beats the plain score function, not "
        "the one with a baseline, which has no bias either; and with more draws its own bias remains.",
        tol=1e-2,
    ),
)
