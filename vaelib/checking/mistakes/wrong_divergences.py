"""Wrong densities, divergences and rates: of one level (E1, E4 to E7, E16, E17, E24) and of several (E12, E13, E25)."""

from .twins import Mistake

_RATE = r"\sum_{j=1}^J \tfrac12 (\mu_j^2 + \sigma_j^2 - 1 - \log \sigma_j^2)"
_LEVEL = r"\sum_{j=1}^J (\log \frac{\tau_j}{\sigma_j} + \frac{\sigma_j^2 + (\mu_j - \nu_j)^2}{2 \tau_j^2} - \tfrac12)"
_SAMPLE = r"\mu_j + \sigma_j \epsilon_j"
_NORMAL = r"-\tfrac12 \sum_{j=1}^J (\log 2\pi + z_j^2)"
_LVAE, _HVAE = "AntixK/PyTorch-VAE models/lvae.py", "AntixK/PyTorch-VAE models/hvae.py"

ONE_LEVEL = (
    Mistake(
        "E1",
        "the mean over latent dimensions where the sum is meant",
        _RATE,
        r"\frac1J " + _RATE,
        "J > 1: the rate is divided by J. Beside a reconstruction summed over pixels beta is 1/J; beside one that is "
        "divided by s it is s/J.",
        "a mean over the batch; R/J called nats per dimension; both terms divided by one number; a beta "
        "of 1/J that is stated",
        (
            "keras-team/keras-io #270 (opened, beginning): J = 2",
            "keras-team/keras #6015 (opened, beginning): J = 2 and BCE a mean over 784, so beta = 392",
            "maxhodak/keras-molecules #59 (opened; code read): J = 292",
            "mkusner/grammarVAE #2 (opened; code read)",
            "podgorskiy/VAE #1 (opened, beginning; code read): J = 512",
            "oriondollar/TransVAE PR #3 (opened, beginning; code read; not merged): J = 128",
            "orybkin/sigma-vae-tensorflow #2 (opened; the owner calls it wrong and keeps it for teaching)",
        ),
    ),
    Mistake(
        "E4",
        "the constant of the rate once per vector, not once per dimension",
        r"\tfrac12 \sum_{j=1}^J (\mu_j^2 + \sigma_j^2 - \log \sigma_j^2) - \tfrac J2",
        r"\tfrac12 \sum_{j=1}^J (\mu_j^2 + \sigma_j^2 - \log \sigma_j^2) - \tfrac12",
        "J > 1, wherever the value counts: (J - 1)/2 nats too much. The gradient is right.",
        "a loss that is called a loss may drop constants",
        (
            "ericjang/draw #8 and the present draw.py line 191 (opened; code read): 45 nats per image at J = T = 10; "
            "PR #6 (open) has it right",
            "scalanlp/breeze #554 (opened): J/2 as an integer division, a neighbour",
        ),
    ),
    Mistake(
        "E4b",
        "the constant log 2 pi of a density once per vector",
        _NORMAL,
        r"-\tfrac12 \log 2\pi - \tfrac12 \sum_{j=1}^J z_j^2",
        "J > 1: 0.919 (J - 1) nats too much for a density that stands alone. The gradient is right.",
        "it cancels where prior and posterior both have it so",
    ),
    Mistake(
        "E4c",
        "the constant of a Gaussian's entropy once per vector",
        r"\sum_{j=1}^J (\log \sigma_j + \tfrac12 + \tfrac12 \log 2\pi)",
        r"\tfrac12 (\log 2\pi + 1) + \sum_{j=1}^J \log \sigma_j",
        "J > 1, wherever the value counts. The gradient is right.",
        "a bonus in a loss may drop constants",
        (
            "JuliaReinforcementLearning/ReinforcementLearningZoo.jl PR #169 (opened, beginning): before it; the "
            "fix halves log sigma",
        ),
    ),
    Mistake(
        "E5a",
        "1/2 missing on the log-variance",
        _RATE,
        r"\sum_{j=1}^J (\tfrac12 (\mu_j^2 + \sigma_j^2 - 1) - \log \sigma_j^2)",
        "sigma other than 1: least at sigma^2 = 2, where it is 1/2 - log 2 = -0.193 per dimension; negative, and sigma "
        "too large.",
        "none; -log sigma is -1/2 log sigma^2 and right",
        (
            f"{_LVAE} line 193 (code read)",
            "KarenUllrich/Tutorial_BayesianCompressionForDL #8 (opened; the author confirms)",
            "google-deepmind/torch-distributions PR #34 (opened, merged): this or E5b",
        ),
    ),
    Mistake(
        "E5b",
        "1/2 missing on the quadratic terms",
        _RATE,
        r"\sum_{j=1}^J (\mu_j^2 + \sigma_j^2 - \log \sigma_j - \tfrac12)",
        "always: it is the divergence to N(0, 1/2), and a constant, at least 0.347 per dimension; sigma too small.",
        "none",
        ("SupaeroDataScience/deep-learning PR #6 (opened; code read; merged)",),
    ),
    Mistake(
        "E6",
        "log sigma used as log-variance in the rate",
        _RATE,
        r"\sum_{j=1}^J \tfrac12 (\mu_j^2 + \sigma_j - 1 - \log \sigma_j)",
        "where the sample is drawn with this sigma: never negative, so no alarm; its pull on log sigma is too weak by "
        "a factor of 2 (1 + sigma). Seen from the sampler it is E24.",
        "the same lines where the sample is mu + exp(a / 2) noise: then a is the log-variance, whatever its name",
        (
            "pyg-team/pytorch_geometric PR #1368 (opened, beginning; code before and after read; merged)",
            "keras-team/keras #3169, #3283 (opened), merged PR #3220",
            "KarenUllrich/Tutorial_BayesianCompressionForDL #1 (opened; confirmed, fixed)",
            "hill-a/stable-baselines #1059, PR #1060 (opened; a log-density; merged)",
            "DaehanKim/vgae_pytorch #2, its last comment (opened): proposes it",
        ),
    ),
    Mistake(
        "E6b",
        "sigma for sigma squared, the logarithm right",
        _RATE,
        r"\sum_{j=1}^J \tfrac12 (\mu_j^2 + \sigma_j - 1 - \log \sigma_j^2)",
        "sigma other than 1: least at sigma = 2, where it is -0.193 per dimension.",
        "none",
        ("DaehanKim/vgae_pytorch #2 (opened; its code before 568c20f)",),
    ),
    Mistake(
        "E6c",
        "the log-variance halved once too often",
        _RATE,
        r"\sum_{j=1}^J \tfrac12 (\mu_j^2 + \sigma_j^2 - 1 - \log \sigma_j)",
        "sigma other than 1: least at sigma^2 = 1/2, where it is -0.077 per dimension.",
        "none",
    ),
    Mistake(
        "E7",
        "the arguments swapped: the prior first",
        _RATE,
        r"\sum_{j=1}^J (\log \sigma_j + \frac{1 + \mu_j^2}{2 \sigma_j^2} - \tfrac12)",
        "unless the variances are equal: with it the sum is no bound.",
        "the forward divergence on purpose (maximum likelihood, wake phase, expectation propagation); libraries whose "
        "signature has the target first",
        (
            "kumar-shridhar/PyTorch-BayesianCNN #28 (opened, beginning), #73 (opened), layers/BBB_LRT (code "
            "read, 16e2462)",
            "probml/pml-book #11 (opened, confirmed): a printed equation",
            "psanch21/VAE-GMVAE #6 (opened; the author agrees)",
        ),
    ),
    Mistake(
        "E16",
        "sorted samples used as if they were probabilities (in bits)",
        r"\frac{(m - u)^2}{2 \log 2}",
        r"\frac{1}{\log 2} |\sum_{i} p_i \log \frac{p_i}{q_i}|",
        "always: it grows with the number of draws.",
        "the same sum, without the bars, for two probability vectors over the same states",
        (
            "d2l-ai/d2l-en chapter_appendix-mathematics-for-deep-learning/information-theory.md (opened, 23d7a5a)",
            "stats.stackexchange 594064 (opened): notices it",
        ),
    ),
    Mistake(
        "E17",
        "the constant of each dimension times the number of dimensions",
        r"-\tfrac12 \sum_{j=1}^J (\log 2\pi + \log \sigma_j^2 + \frac{(z_j - \mu_j)^2}{\sigma_j^2})",
        r"-\tfrac12 \sum_{j=1}^J (J \log 2\pi + \log \sigma_j^2 + \frac{(z_j - \mu_j)^2}{\sigma_j^2})",
        "J > 1 and a density that stands alone: (J^2 - J)/2 log 2 pi nats too little.",
        "it cancels in log p(z) - log q(z|x), as in the file named here, whose figures are unharmed",
        ("jmtomczak/intro_dgm vaes/vae_example.ipynb (opened, 28bbc85) and PR #8 (opened; the author agrees)",),
    ),
    Mistake(
        "E24",
        "the variance passed where the standard deviation is expected",
        _SAMPLE,
        r"\mu_j + \sigma_j^2 \epsilon_j",
        "sigma other than 1, where the rate reads sigma^2 as the variance.",
        "MultivariateNormal(loc, covariance_matrix)",
        (
            "rachtsingh/ibp_vae #3, src/models/common.py (opened, 9941451)",
            "bjlkeng/sandbox #10, fix a26a271 (opened)",
            "twairball/keras_lstm_vae #4 (opened)",
            "CyberPoint/libpgm #10 (opened)",
            "keras-team/keras PR #9970, #9972 (opened; closed: the scale is said to be irrelevant, but the rate "
            "reads it)",
            "huggingface/diffusion-models-class #18 (opened): in a text",
        ),
    ),
    Mistake(
        "E24b",
        "(log sigma)^2 written for -log sigma^2",
        _RATE,
        r"\sum_{j=1}^J \tfrac12 (\mu_j^2 + \sigma_j^2 - 1 + (\log \sigma_j)^2)",
        "sigma other than 1: least at sigma = 0.653, where it is -0.196 per dimension.",
        "none",
        ("FluxML/model-zoo vision/mnist/vae.jl (opened): until PR #76 = 33cd471, and again from 70b04ec to PR #147",),
    ),
    Mistake(
        "E24c",
        "a scale of 1 passed where a log-scale is expected: the prior is N(0, e^2)",
        _NORMAL,
        r"-\tfrac12 \sum_{j=1}^J (\log 2\pi + 2 + z_j^2 e^{-2})",
        "always.",
        "none",
        ("HIPS/autograd PR #266 = b4a9f16 (opened)",),
    ),
    Mistake(
        "E24d",
        "+ log sigma^2 for - log sigma^2",
        _RATE,
        r"\sum_{j=1}^J \tfrac12 (\mu_j^2 + \sigma_j^2 - 1 + 2 \log \sigma_j)",
        "sigma other than 1: it falls without bound as sigma goes to 0.",
        "none",
        ("FluxML/model-zoo PR #76 = 33cd471 (opened): the first fix of E24b",),
    ),
)

SEVERAL_LEVELS = (
    Mistake(
        "E12",
        "the outer expectation missing: the mean of z_1 put in",
        r"\mathbb E_{z \sim \mathcal N(m, s^2)}[\tfrac12 (a^2 z^2 + t^2 - 1 - \log t^2)]",
        r"\tfrac12 (a^2 m^2 + t^2 - 1 - \log t^2)",
        "unless the inner divergence is affine in z_1, here a = 0; q(z_2|z_1) is N(a z_1, t^2), the prior N(0, 1).",
        "the divergence at one draw of z_1: an unbiased estimate",
        (
            "callummcdougall/arena-v1-ldn-streamlit-new ch5/pages/3, W5D3 (code read, 138de25)",
            "probml/pml2-book #160 (opened; fixed): the diffusion loss, its expectation over x_t missing",
        ),
    ),
    Mistake(
        "E13",
        "a middle level drawn afresh, not coupled to the level above",
        r"\tfrac12 \log \frac{t^2}{s^2} + \tfrac12 - \frac{(1 - a b)^2 (m^2 + t^2) + b^2 \beta^2}{2 s^2}",
        r"\tfrac12 \log \frac{t^2}{s^2} + \tfrac12 - \frac{(1 - a b)^2 m^2 + t^2 + a^2 b^2 t^2 + b^2 \beta^2}{2 s^2}",
        "unless a b = 0: off by a b t^2 / s^2, either way. Here q(z_1|x) = N(m, t^2), q(z_2|z_1) = N(a z_1, beta^2), "
        "p(z_1|z_2) = N(b z_2, s^2), and the term is E[log p(z_1|z_2) - log q(z_1|x)].",
        "a posterior that goes from the top down: there z_1 is drawn given z_2",
        (
            "Luo 2022 (arXiv 2208.11970), eq. 44 to 45 (retold); ai.stackexchange 46566 (opened)",
            "arXiv 2403.18103, p. 17 (quoted in ai.stackexchange 46303, opened)",
            "RuiShu/one-bit-vae #1 (opened, open): proposed as a remedy",
        ),
    ),
    Mistake(
        "E25",
        "a level's divergence taken to the bottom-up encoder, not to the top-down prior",
        _LEVEL,
        _LEVEL.replace(r"\tau", r"\rho").replace(r"\nu", r"\kappa"),
        "unless the encoder is the prior; kappa and rho are the encoder's mean and standard deviation.",
        "none",
        (f"AntixK/PyTorch-VAE #25 (opened, open) and {_LVAE} (opened, a6896b9)",),
    ),
    Mistake(
        "E25b",
        "the top level's divergence left out",
        r"R_1 + R_2",
        r"R_1",
        "unless the top posterior is the prior.",
        "none",
        (f"{_LVAE}, forward (opened): the line is commented out",),
    ),
    Mistake(
        "E25c",
        "the squared distance of the means not divided by the prior's variance",
        _LEVEL,
        _LEVEL.replace(r"+ (\mu_j - \nu_j)^2}{2 \tau_j^2}", r"}{2 \tau_j^2} + \frac{(\mu_j - \nu_j)^2}{2}"),
        "a prior variance other than 1.",
        "the top level, whose prior is N(0, I)",
        (f"{_HVAE}, z1_p_kld (opened): neither term divided, and with a minus sign in the loss",),
    ),
    Mistake(
        "E25d",
        "a level's divergence taken to N(0, I), not to the top-down prior",
        _LEVEL,
        _RATE,
        "unless that is the prior of the level.",
        "the top level; levels that are independent under the prior",
        (f"{_HVAE}, z1_kld (opened)",),
    ),
)
