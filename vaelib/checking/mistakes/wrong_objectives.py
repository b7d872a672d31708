"""Wrong objectives (E2, E3, E8, E9, E11, E18, E19, E23) and wrong means over samples (E10, E14, E15, E20 to E22)."""

from .twins import Mistake

_IWAE = r"\log \frac1K \sum_{k=1}^K w_k"
_SAMPLE = r"\mu_j + \sigma_j \epsilon_j"
_SCORED = r"-\frac{(y - a z)^2}{2 t^2}"
_LAW = r"\mathbb E_{z \sim \mathcal N(m, s^2)}"
_SCORE = rf"{_LAW}[({_SCORED} - \frac{{z^2}}{{2}} + \frac{{(z - m)^2}}{{2 s^2}}) \frac{{z - m}}{{s^2}}]"
_ONE = r"\log \frac1K \sum_{k=1}^K W_{nk}"
_CROSS = r"\sum_{i=1}^D (-x_i \log \hat x_i - (1 - x_i) \log (1 - \hat x_i)"
_GAUSSIAN = r"\sum_{i=1}^D (\frac{(x_i - \hat x_i)^2}{2 s^2} + \log s + \tfrac12 \log 2\pi)"

OBJECTIVES = (
    Mistake(
        "E2a",
        "two scales: the reconstruction a mean over pixels, the rate a sum",
        r"\frac1N \sum_{n=1}^N (d_n + R_n)",
        r"\frac1N \sum_{n=1}^N (\frac{d_n}{D} + R_n)",
        "D > 1: beta is D, and the rate goes to 0.",
        "both terms divided by the same number; a beta that is stated",
        (
            "keras-team/keras #3373 with merged PR #3383 (opened)",
            "y0ast/VAE-Torch #11 (opened)",
            "AppliedDataSciencePartners/WorldModels #12, commits dcf22c4, cca629f (opened; code read): mean and mean",
        ),
    ),
    Mistake(
        "E2b",
        "two scales: the reconstruction a mean over pixels and batch, the rate summed over the batch",
        r"\frac1N \sum_{n=1}^N (d_n + R_n)",
        r"\frac1N \sum_{n=1}^N \frac{d_n}{D} + \sum_{n=1}^N R_n",
        "beta is N D and depends on the batch size.",
        "sums over the batch in both terms",
        (
            "zdebruine/MMVAE PR #19 (opened, beginning; code read): before it; its fix is E1",
            "orybkin/sigma-vae-pytorch PR #12 (opened, beginning; code read)",
        ),
    ),
    Mistake(
        "E2c",
        "two scales: batch size over data set size on the rate alone",
        r"\frac1N \sum_{n=1}^N (d_n + R_n)",
        r"\frac1N \sum_{n=1}^N (\frac{d_n}{D} + \frac NM R_n)",
        "beta is D N / M and depends on the batch and the data set.",
        "M/N on both terms (Kingma & Welling 2014, eq. 8); 1/M on a rate of weights that the whole data set shares",
        (
            "AntixK/PyTorch-VAE #11, #35 (opened): the code of January 2020 to December 2021; #56 (opened, beginning): "
            "the constant 0.00025 that replaced it",
        ),
    ),
    Mistake(
        "E3",
        "the rate summed over the batch, used as if it were one example's",
        r"d_n + \sum_{j=1}^J r_{nj}",
        r"d_n + \sum_{i=1}^N \sum_{j=1}^J r_{ij}",
        "N > 1 where the other term is per example: beta is N, and an example's value depends on its neighbours.",
        "sums over the batch in both terms",
        (
            "EDAPINENUT/GNTPP #4 (opened; code read; fixed 1bd03d7)",
            "GlassyWing/nvae #3 (opened; code read; fixed 0fd7dd2, d5e0d2b)",
        ),
    ),
    Mistake(
        "E8",
        "the mean squared error called a Gaussian likelihood",
        _GAUSSIAN,
        r"\frac1D \sum_{i=1}^D (x_i - \hat x_i)^2",
        "as a likelihood or in a bound: w_1 |x - x_hat|^2 + w_2 R sets sigma^2 = w_2 / (2 w_1) without a word.",
        "a sigma that is fixed and stated; constants may then be dropped from the loss, not from a reported number",
        (
            "AntixK/PyTorch-VAE vanilla_vae.py lines 139-147, configs/vae.yaml (code read): sigma = 1.24 for "
            "pixels in [-1, 1]",
            "ethanluoyc/pytorch-vae #3 (opened; code read, 7169602)",
        ),
    ),
    Mistake(
        "E8b",
        "log sigma dropped from a Gaussian likelihood although sigma is learned",
        _GAUSSIAN,
        r"\sum_{i=1}^D (\frac{(x_i - \hat x_i)^2}{2 s^2} + \tfrac12 \log 2\pi)",
        "sigma learned: it grows without bound. With sigma fixed only the value is off.",
        "a loss with sigma fixed and stated",
    ),
    Mistake(
        "E8c",
        "half of log sigma in a Gaussian likelihood",
        _GAUSSIAN,
        r"\sum_{i=1}^D (\frac{(x_i - \hat x_i)^2}{2 s^2} + \tfrac12 \log s + \tfrac12 \log 2\pi)",
        "sigma learned: it comes out too large by the square root of 2.",
        "none",
        ("y0ast/VAE-Torch PR #5 (opened; fixed 689c5fa)",),
    ),
    Mistake(
        "E9",
        "the cross-entropy of grey levels reported as a likelihood of the grey image",
        _CROSS + r" + \log \frac{2 \hat x_i - 1}{\log \hat x_i - \log (1 - \hat x_i)})",
        _CROSS + ")",
        "x between 0 and 1: the area below it is less than 1, and beside figures for binary images it is of "
        "other data.",
        "a training loss; with the rate, a bound for the binarised images, if called so; binary x",
        (
            "pytorch/examples #460 and PR #683 (opened; closed unmerged): name it",
            "pyro-ppl/pyro #529, #539 (opened): slightly inflated figures",
            "y0ast/VAE-Torch #17 (opened): an NLL below 80",
        ),
    ),
    Mistake(
        "E11a",
        "no noise: the mean is decoded",
        _SAMPLE,
        r"\mu_j",
        "in training: sigma leaves the reconstruction, and what is left is an autoencoder with a penalty on mu.",
        "reconstructions to look at; a code for a classifier; an autoencoder that is called one",
        ("dmis-lab/VAECox #6 (opened; code read): z is drawn and the mean decoded",),
    ),
    Mistake(
        "E11b",
        "a reported bound with the mean decoded",
        rf"{_LAW}[\frac{{(y - a z)^2}}{{2 t^2}}]",
        r"\frac{(y - a m)^2}{2 t^2}",
        "in evaluation: no bound; here too good by a^2 s^2 / (2 t^2).",
        "a distortion that is called that of the mean",
        ("pytorch/examples PR #419 (opened; by D. P. Kingma; merged 95d5fdd)",),
    ),
    Mistake(
        "E11c",
        "noise scaled by 0.01",
        _SAMPLE,
        r"\mu_j + 0.01 \sigma_j \epsilon_j",
        "where the rate is computed for the whole sigma.",
        "samples to look at, at a temperature that is stated",
        (
            "keras-team/keras PR #4211 (opened, merged)",
            "maxhodak/keras-molecules and mkusner/grammarVAE (code read)",
        ),
    ),
    Mistake(
        "E18",
        "the ELBO minimised",
        r"d_n + R_n",
        r"-d_n - R_n",
        "always, as a loss.",
        "a function that returns the ELBO and says so; 'the ELBO loss' for minus the ELBO",
        ("probml/pml2-book #58 (opened): one line of prose in a list of typos",),
    ),
    Mistake(
        "E18b",
        "the rate subtracted in a loss: it is maximised",
        r"d_n + R_n",
        r"d_n - R_n",
        "always, as a loss.",
        "none",
        ("EderSantana/gumbel #3 (opened, open) and GumbelVAE.ipynb (opened, c1d30e9)",),
    ),
    Mistake(
        "E19",
        "free bits: the clamp after the rescaling",
        r"c \max(\eta, R_n)",
        r"\max(\eta, c R_n)",
        "c other than 1, where eta is quoted in nats of the rate: 1/c times as many free nats.",
        "eta quoted in the rescaled unit; the clamp before or after the mean over the batch, if it is said which",
        ("CAREamics/careamics PR #277 (opened, merged, 0e0bc285)",),
    ),
    Mistake(
        "E23",
        "beta is stored and never used",
        r"d_n + \beta R_n",
        r"d_n + R_n",
        "beta other than 1.",
        "training at any beta, reporting at beta = 1, and saying so",
        (
            "Lightning-Universe/lightning-bolts #328, fix #330 = d4e60963b (opened)",
            "AlexanderVNikitin/tsgm #69, fix #73 (opened)",
            "WenjieDu/PyPOTS #540 and pypots/nn/modules/gpvae/backbone.py (opened, 53b3eac3): for K > 1",
        ),
    ),
    Mistake(
        "E23b",
        "the rate is missing from the loss",
        r"d_n + \beta R_n",
        r"d_n",
        "beta other than 0: an autoencoder.",
        "an autoencoder that is called one",
        ("facebookresearch/irmae #1 (opened): from 4f848c1 to 05feed7",),
    ),
)

SAMPLES = (
    Mistake(
        "E10a",
        "the mean of the logs for the log of the mean",
        _IWAE,
        r"\frac1K \sum_{k=1}^K \log w_k",
        "K > 1, under the name IWAE or as an estimate of log p(x): it is the ELBO's estimate, too low.",
        "the ELBO, called so",
        (
            "OpenSourceEconomics/respy PR #288 (opened, merged)",
            "nuclear-multimessenger-astronomy/jester PR #47 (opened, beginning, merged)",
        ),
    ),
    Mistake(
        "E10b",
        "log K missing",
        _IWAE,
        r"\log \sum_{k=1}^K w_k",
        "K > 1, wherever the value counts: too high by log K, no bound. The gradient is right.",
        "a loss that is not reported",
        ("scVI-dev #8 = scvi-tools #13 (opened): of the losses, log K missing; the edited copy is right",),
    ),
    Mistake(
        "E10c",
        "a softmax of the losses, not of the log-weights",
        _IWAE,
        r"\sum_{k=1}^K \frac{1 / w_k}{\sum_{l=1}^K 1 / w_l} \cdot \log w_k",
        "K > 1: the worst sample weighs most; value and gradient wrong.",
        "none",
        (
            "AntixK/PyTorch-VAE iwae.py lines 149-158, miwae.py lines 153-162 (code read)",
            "phlippe/CategoricalNF #2 (opened; the author agrees)",
        ),
    ),
    Mistake(
        "E14",
        "the reconstruction summed over L draws, the rate counted once",
        r"\frac1L \sum_{l=1}^L g_l - R_n",
        r"\sum_{l=1}^L g_l - R_n",
        "L > 1: beta is 1/L, and the optimum moves.",
        "L = 1",
        (
            "Luo 2022 (arXiv 2208.11970), eq. 22 (retold)",
            "MegaGatlingPea/Toys diffusion/diffusion.md (opened)",
        ),
    ),
    Mistake(
        "E14b",
        "the whole integrand summed over K draws, not averaged",
        r"\frac1K \sum_{k=1}^K \log w_k",
        r"\sum_{k=1}^K \log w_k",
        "K > 1: K times the ELBO; the optimum stays.",
        "a loss that is not reported, under an optimiser that does not see scales",
        ("pyro-ppl/numpyro #1724 (opened; maintainer agrees), fix PR #1728 = 977cbc24 (opened)",),
    ),
    Mistake(
        "E15",
        "the score function's sign flipped, and the divergence's gradient left out",
        _SCORE,
        rf"-{_LAW}[({_SCORED}) \frac{{z - m}}{{s^2}}]",
        "unless the two slips cancel, where m = 2 a (y - a m) / t^2.",
        "with a closed-form rate: E[log p(x|z) grad log q] - grad KL; a baseline",
        (
            "phlippe/uvadlc_notebooks DL2 tutorial_2a.ipynb, tutorial_2b.ipynb (opened): the text; the code beside "
            "it is right",
        ),
    ),
    Mistake(
        "E15b",
        "the sign of the divergence's gradient reversed",
        _SCORE,
        rf"{_LAW}[({_SCORED} + \frac{{z^2}}{{2}} - \frac{{(z - m)^2}}{{2 s^2}}) \frac{{z - m}}{{s^2}}]",
        "unless m = 0, where the divergence is level.",
        "none",
        ("Kaixhin/Autoencoders #9 (opened; the owner agrees)",),
    ),
    Mistake(
        "E15c",
        "the score term missing: the mean of grad f alone",
        _SCORE,
        rf"-{_LAW}[\frac{{z - m}}{{s^2}}]",
        "for draws that are held fixed: its mean is 0, right at the best m alone.",
        "reparameterised draws, through which the gradient flows",
        ("NVIDIA-NeMo/RL PR #2506 (opened, merged)",),
    ),
    Mistake(
        "E15d",
        "the sign of the reconstruction's gradient flipped, the divergence's right",
        _SCORE,
        rf"{_LAW}[({_SCORED[1:]} - \frac{{z^2}}{{2}} + \frac{{(z - m)^2}}{{2 s^2}}) \frac{{z - m}}{{s^2}}]",
        "unless y = a m, where the reconstruction is level: one half of E15.",
        "a gradient of the loss, where the divergence's has that sign as well",
    ),
    Mistake(
        "E15e",
        "the divergence's gradient left out, the reconstruction's right",
        _SCORE,
        rf"{_LAW}[({_SCORED}) \frac{{z - m}}{{s^2}}]",
        "unless m = 0, where the divergence is level: the other half of E15.",
        "with a closed-form rate, whose gradient is added; where f does not depend on q, as in reinforcement learning",
    ),
    Mistake(
        "E20",
        "an estimate printed as the exact value",
        r"e^{m + s^2 / 2}",
        r"\frac1L \sum_{l=1}^L e^{m + s \xi_l}",
        "at every digit beyond the standard error.",
        "an estimate with its standard error; a seeded output for readers to compare with",
        (
            "udlbook/udlbook Notebooks/Chap17/17_2_Reparameterization_Trick.ipynb (opened): 10^7 and 10^8 draws; "
            "printed 2.76508 for 2.765933",
        ),
    ),
    Mistake(
        "E21",
        "the log-likelihood, without the minus, returned as the NLL",
        rf"-\frac1N \sum_{{n=1}}^N {_ONE}",
        rf"\frac1N \sum_{{n=1}}^N {_ONE}",
        "always, under that name.",
        "a log-likelihood that is called one",
        (
            "clementchadebec/benchmark_VAE src/pythae/models/vae/vae_model.py get_nll and others (opened, "
            "6419e21; not run)",
        ),
    ),
    Mistake(
        "E21b",
        "the likelihood of a second draw, and a mean divergence, in the weight",
        r"\log \frac1K \sum_{k=1}^K e^{\log h_k + \log o_k}",
        r"\log \frac1K \sum_{k=1}^K e^{\log v_k + \log o_k - R_n}",
        "always: no bound on either side. Here h_k is p(x|z_k), v_k that of another draw, o_k the other factors.",
        "none",
        ("scverse/scvi-tools #369, fix PR #370 = 8a8e3f5d9 (opened)",),
    ),
    Mistake(
        "E21c",
        "the last batch alone",
        rf"-\frac1N \sum_{{n=1}}^N {_ONE}",
        rf"-\frac{{1}}{{N - C}} \sum_{{n > C}} {_ONE}",
        "more than one batch; C examples come before the last.",
        "none",
        ("scverse/scvi-tools #1032, fix 5cb414511; #1854 (the first counted as 0), fix 1ac9c0cda (opened)",),
    ),
    Mistake(
        "E21d",
        "the mean of batch means, although the last batch is short",
        rf"-\frac1N \sum_{{n=1}}^N {_ONE}",
        rf"-\tfrac12 (\frac1C \sum_{{n \le C}} {_ONE} + \frac{{1}}{{N - C}} \sum_{{n > C}} {_ONE})",
        "batches of unequal sizes, here C and N - C.",
        "training; equal batches",
        ("clementchadebec/benchmark_VAE src/pythae/trainers/base_trainer/base_trainer.py (opened; no drop_last)",),
    ),
    Mistake(
        "E21e",
        "the number of samples that was asked for is ignored below the batch size",
        r"-\log \frac1I \sum_{i=1}^I w_i",
        r"-\log \frac1K \sum_{k=1}^K w_k",
        "fewer samples asked for, I, than a batch holds, K: all figures are the same.",
        "none",
        (
            "clementchadebec/benchmark_VAE src/pythae/models/vae/vae_model.py get_nll and others (opened, "
            "6419e21; not run)",
        ),
    ),
    Mistake(
        "E22",
        "normalised weights times log-weights reported as the bound",
        _IWAE,
        r"\sum_{k=1}^K \frac{w_k}{\sum_{l=1}^K w_l} \cdot \log w_k",
        "K > 1 and unequal weights: IWAE + KL(normalised weights to uniform), up to log K too high, hence no bound.",
        "a surrogate whose gradient is wanted, the weights detached: the gradient is right",
        (
            "clementchadebec/benchmark_VAE iwae_model.py, miwae, piwae, ciwae (opened, 6419e21; detached since "
            "e5fe37c)",
            "AntixK/PyTorch-VAE #34, PR #53 (opened)",
        ),
    ),
)
