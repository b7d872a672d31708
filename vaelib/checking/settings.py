r"""The known errors in the settings of the claims: other formulas of theirs, and what their letters are there.

`kinship` holds the twins of the claims against this. What is written here is evaluated: a formula or a letter that is
not so makes the claim fail.
"""

import typing

import numpy as np

# The same error in other terms than in `mistakes`: right and wrong, of which only the difference counts. `page` is a
# side of the page. R is any rate, a and b are the slopes of reconstruction and rate, g(z) is averaged over N(m, s^2).
FORMS: dict[str, tuple[tuple[str, str], ...]] = {
    "E1": ((r"R", r"\frac1J R"),),
    "E2c": ((r"\frac1N \sum_{n=1}^N R_n", r"\frac{1}{N} \frac{N}{M} \sum_{n=1}^N R_n"),),
    "E3": ((r"R_n", r"\sum_{i=1}^N R_i"), (r"\frac1N \sum_{n=1}^N R_n", r"\sum_{n=1}^N R_n")),
    "E4": ((r"0", r"\frac{J - 1}{2}"),),
    "E4b": ((r"0", r"\frac{J - 1}{2} \log 2\pi"),),
    "E7": (
        (r"\mathrm{KL}(q \| p)", r"\mathrm{KL}(p \| q)"),
        (
            r"\sum_{i=1}^D (x_i \log \frac{x_i}{\hat x_i} + (1 - x_i) \log \frac{1 - x_i}{1 - \hat x_i})",
            r"\sum_{i=1}^D (\hat x_i \log \frac{\hat x_i}{x_i} + (1 - \hat x_i) \log \frac{1 - \hat x_i}{1 - x_i})",
        ),
    ),
    "E9": ((r"\frac{2 \hat x_1 - 1}{\log \hat x_1 - \log (1 - \hat x_1)}", r"1"),),
    "E10a": (
        (
            r"\mathbb E_{z_1, \dots, z_k \sim q}[\log \frac1k \sum_{i=1}^k w(z_i)]",
            r"\mathbb E_{z_1, \dots, z_k \sim q}[\frac1k \sum_{i=1}^k \log w(z_i)]",
        ),
    ),
    "E10b": ((r"0", r"\log K"),),
    "E11b": ((r"\mathbb E_{z \sim \mathcal N(m, s^2)}[g(z)]", r"g(m)"), (r"a", r"0")),
    "E12": (
        (r"\mathbb E_{z \sim \mathcal N(m, s^2)}[g(z)]", r"g(m)"),
        (r"\sum_{i} q_i g_i", r"\sum_{i} g_i"),
    ),
    "E13": ((r"\frac{a b t^2}{s^2}", r"0"),),
    "E14": ((r"a", r"L a"), (r"\frac1L a", r"L a")),
    "E14b": ((r"F", r"K F"),),
    "E15": ((r"a - b", r"-a"),),
    "E15b": ((r"a - b", r"a + b"),),
    "E15d": ((r"a - b", r"-a - b"),),
    "E15e": ((r"a - b", r"a"),),
    "E17": ((r"0", r"-\tfrac12 (J^2 - J) \log 2\pi"),),
    "E18": ((r"F", r"-F"),),
    "E19": (
        (
            r"\sum_{n=1}^N \sum_{j=1}^J c \max(\eta, r_{nj})",
            r"\sum_{n=1}^N \sum_{j=1}^J \max(\eta, c r_{nj})",
        ),
    ),
    "E20": ((r"\mathbb E_{z \sim \mathcal N(m, s^2)}[g(z)]", r"\frac1L \sum_{l=1}^L g(m + s \xi_l)"),),
    "E21": ((r"\frac1N \sum_{n=1}^N R_n", r"-\frac1N \sum_{n=1}^N R_n"),),
    "E21c": ((r"\frac1N \sum_{n=1}^N R_n", r"\frac{1}{N - C} \sum_{n > C} R_n"),),
    "E21d": (
        (
            r"\frac1N \sum_{n=1}^N R_n",
            r"\frac{1}{M + 1} (\frac MC \sum_{n \le C} R_n + \frac{1}{N - C} \sum_{n > C} R_n)",
        ),
    ),
    "E22": (
        (
            r"\mathbb E_{z_1, \dots, z_k \sim q}[\log \frac1k \sum_{i=1}^k w(z_i)]",
            r"\mathbb E_{z_1, \dots, z_k \sim q}[\frac{\sum_{i=1}^k w(z_i) \log w(z_i)}{\sum_{j=1}^k w(z_j)}]",
        ),
    ),
    "E24": ((r"a", r"a^2"),),
    "E25b": ((r"R", r"0"),),
}

# What an error puts in the place of a letter, whatever the formula.
ACTIONS: dict[str, dict[str, str]] = {
    "E6": {"sigma": r"\sqrt{\sigma}", "tau": r"\sqrt{\tau}"},
    "E7": {"mu": r"\nu", "nu": r"\mu", "sigma": r"\tau", "tau": r"\sigma", "q": "p", "p": "q"},
    "E11a": {"sigma": r"0 \sigma"},
    "E24": {"sigma": r"\sigma^2", "tau": r"\tau^2"},
}

Reading = dict[str, typing.Any]
_NOISE = np.random.default_rng(0).standard_normal(1000)
_PAIR: Reading = {"mu": r"\frac{m_1 - m_2}{s_2}", "sigma": r"\frac{s_1}{s_2}"}
_TWO: Reading = {"mu": "m_1", "sigma": "s_1", "nu": "m_2", "tau": "s_2"}
_LISTS: Reading = {"mu": "m", "sigma": "s", "nu": "n", "tau": "t"}
_LINEAR: Reading = {
    "a": (r"\frac{a (x - a\mu)}{s^2}", r"-\frac{a^2 \sigma}{s^2}"),
    "b": (r"\mu", r"\sigma - \frac1\sigma"),
    "L": "10",
}
_PIXELS: Reading = {
    "a": (r"\sum_d a_d (x_d - \mathbb E_q[\pi_d(z)])", r"-\sigma \sum_d a_d^2 \mathbb E_q[\pi_d(z) (1 - \pi_d(z))]"),
    "b": _LINEAR["b"],
    "L": "10",
}

_TERMS: Reading = {"d": r"-\mathbb E_q[\log p(x \mid z)]", "R": r"\mathrm{KL}(q(z) \| p(z))", "N": "1", "D": "784"}

# What the letters are in a claim, "2.7", or in its twins of one error, "2.7 E5": LaTeX in the names of the claim, a
# tuple where the claim says several formulas. `times` is a factor of the difference, `change` what becomes of the case.
READINGS: dict[str, Reading] = {
    "2.1": {"q": "a", "p": "b", "change": {"a": "b", "b": "a"}},
    "2.5": {"sigma": "a", "tau": "b"},
    "2.6": {"sigma": "s"},
    "2.7": _PAIR,
    "2.7 E6": _TWO,
    "2.7 E7": _TWO,
    "2.7 E24": _TWO,
    "2.8": {"mu": "m", "sigma": "e^{v/2}"},
    "2.9 E5": {"mu": "0", "sigma": r"\sqrt{\frac{\det \Sigma_1}{\det \Sigma_2}}"},
    "2.9 E7": {"mu": "m_1", "nu": "m_2", "sigma": r"\Sigma_1", "tau": r"\Sigma_2"},
    "2.9 E4": {"sigma": "m_1"},
    "2.13": {"q": r"\mathcal N(m, v)", "p": r"\mathcal N(\mu, \sigma^2)"},
    "2.15": {"g(z)": (r"\frac{z^2}{2} - \frac{(z - m)^2}{2 s^2} - \log s", "0 z"), "xi": _NOISE},
    "2.16": {"q": r"\mathcal N(0, 1)", "p": r"\mathcal N(m, s^2)", "times": "2"},
    "3.1": _PAIR,
    "3.1 E7": _TWO,
    "3.2": {"R": "page", "J": "3"},
    "3.5": _LISTS | {"R": "page"},
    "3.7": {"R": "page", "J": "2"},
    "3.8": {"R": "page", "J": "2", "mu": "a", "sigma": "r", "nu": "c", "tau": "u"},
    "3.9": {"R": "page", "J": "2", "mu": "a", "sigma": "r", "nu": "c", "tau": "u"},
    "3.10": {"R": "page", "mu": "m", "sigma": "s", "nu": "a", "tau": "c"},
    "3.11": {"R": "page", "J": "3"},
    "3.15": {"R": "page", "J": "2"},
    "3.15 E3": {"R_c": r"\sum_{i=1}^2 \tfrac12 (m_{ci}^2 + s_{ci}^2 - 1 - \log s_{ci}^2)", "n": "b"},
    "4.2 E2a": _TERMS,
    "4.2 E23b": _TERMS | {"d": "0", "beta": "1"},
    "4.4 E2a": _TERMS,
    "4.4 E18b": _TERMS,
    "4.5": {"mu": "m", "sigma": "s", "y": "x", "t": r"\sigma"},
    "4.7 E11b": {"g(z)": "e^z"},
    "4.7 E14": {"a": r"x m - e^{m + s^2/2} - \log x!", "L": "10"},
    "6.1 E4b": {"J": "D"},
    "4.4 E7": {"q": "q(z)", "p": "p(z)"},
    "4.4 E18": {"F": "page"},
    "4.7 E20": {
        "g(z)": r"x z - e^z - \log x! - \frac{z^2}{2} + \log s + \frac{(z - m)^2}{2 s^2}",
        "xi": _NOISE,
    },
    "4.16 E3": {"R": r"\frac12 (m^2 + s^2 - 1 - \log s^2)"},
    "4.16 E5a": {"times": r"\frac1N"},
    "5.6": _LINEAR,
    "5.6 E11b": {"a": ("0", _LINEAR["a"][1])},
    "5.13": _PIXELS,
    "5.13 E11b": {"a": ("0", _PIXELS["a"][1]), "g(z)": (r"\sum_d a_d (x_d - \pi_d(z))", "0")},
    "6.1 E17": {"J": "D"},
    "6.7": {"x_hat": r"\frac{1}{1 + e^{-\eta}}"},
    "7.3": {"R": r"\mathrm{KL}(q_\phi(z \mid x) \| p(z))", "d": "0"},
    "8.3": {"k": "K"},
    "8.4": {"k": "K"},
    "8.7": {"R_n": r"-\log p(x_n)", "C": "6", "M": "2"},
    "9.6": {"q": r"q(z \mid x)", "p": r"p(z \mid x)"},
    "9.7": {
        "m": "a_1 x",
        "s": r"\sqrt{\tau_1}",
        "t": r"\sqrt{\tau_2}",
        "a": r"\sqrt{a_2^2 + \frac{(1 - a_2 b_2)^2}{u_2}}",
    },
    "9.8": {"m": "a_1 x", "s": r"\sqrt{\tau_1}", "a": "a_2", "t": r"\sqrt{\tau_2}"},
    "9.9": {"a": "a_2", "b": "b_2", "t": r"\sqrt{\tau_1}", "s": r"\sqrt{u_2}"},
    "9.12": {"a": "a_2", "b": "b_2", "t": r"\sqrt{\tau_1}", "s": r"\sqrt{u_2}"},
    "9.14 E13": {"a": "a_2", "b": "b_2", "t": r"\sqrt{\tau_1}", "s": r"\sqrt{u_2}"},
    "9.14 E25": {
        "mu": r"\sqrt{(m_1 - b_2 m_2)^2 + (\kappa - b_2)^2 V_2}",
        "nu": "0",
        "sigma": r"\sqrt{\frac{\tau_1 \tau_2}{V_2}}",
        "tau": r"\sqrt{u_2}",
        "kappa": r"\sqrt{(m_1 - b_2 m_2)^2 + (\kappa - b_2)^2 V_2} - \sqrt{\kappa^2 V_2}",
        "rho": r"\sqrt{\tau_1}",
    },
    "9.14 E25b": {"R": r"\frac12 (m_2^2 + V_2 - 1 - \log V_2)"},
    "9.14 E25c": {
        "mu": r"\sqrt{(m_1 - b_2 m_2)^2 + (\kappa - b_2)^2 V_2}",
        "nu": "0",
        "sigma": r"\sqrt{\frac{\tau_1 \tau_2}{V_2}}",
        "tau": r"\sqrt{u_2}",
    },
    "10.1a": {"q": r"q(z_1, z_2 \mid x)", "p": r"p(z_1, z_2 \mid x)"},
    "10.3": {
        "mu": r"\frac{s^2 \mu + \sigma^2 m}{s^2 + \sigma^2}",
        "sigma": r"\frac{s \sigma}{\sqrt{s^2 + \sigma^2}}",
        "nu": r"\mu",
        "tau": r"\sigma",
    },
    "10.3 E5": {"mu": "0", "sigma": r"\frac{s}{\sqrt{s^2 + \sigma^2}}"},
    "10.4 E12": {
        "a": r"\frac{b}{\sqrt{\frac{r^2}{a^2} + \sigma^2}}",
        "s": r"\sqrt{\frac{a^2 \sigma^2 + r^2}{a^2 (b^2 + \sigma^2) + r^2}}",
        "m": "0",
        "t": "1",
    },
    "11.4": {"r": "R", "eta": r"\lambda", "c": r"\frac{1}{784}", "times": r"\frac{784}{B}"},
    "a2.1": {"s": r"\sigma"},
    "a2.2": {"x_hat": r"\pi"},
    "a2.7": {"u": "n"},
    "a2.4": {"r": "R", "eta": r"\lambda", "times": r"\frac1B"},
    "a2.5": {"R_n": r"\log K - \operatorname{logsumexp}_k \log w_{kn}", "C": "6", "M": "2"},
}

# Twins that have the name of an error and that no evaluation compares with it, each with the reason; the ledger shows
# them. A twin that is another error than its name says is not for this list: it gets another name.
_DRAWS = "it draws samples of its own, inside a function, and the entry has them as p and q"
UNMATCHED: dict[tuple[str, str], str] = {
    ("2.6", "E16: sorted samples taken for probabilities"): _DRAWS,
    (
        "2.13",
        "E7: arguments swapped",
    ): "its arguments are moments that have no name in a formula",
    ("3.12", "E12: no outer expectation"): "the divergences given z_1, which lose their weights, have no name",
    ("5.2", "E24: covariance passed as Cholesky factor"): "the same for matrices: C C^T in the place of C",
    ("9.6", "E7: KL with its arguments swapped"): "the posterior has no name that a formula can take",
    (
        "9.11",
        "E13: line 45, z1 drawn afresh",
    ): "the entry is Gaussian, as 9.9 is, and this is any table",
    (
        "10.2",
        "E24: the variance handed over as the scale",
    ): "the page has the density of the merger, inside which its scale stands",
    ("9.13", "E13: line 45 is the bound of the chain"): "the other way round: here the wrong line is on the page",
    (
        "10.4",
        "E25: rate of z1 against N(0, 1)",
    ): "the mean of E25d over a z_2 that has no name; 10.3 has one z_2",
}
