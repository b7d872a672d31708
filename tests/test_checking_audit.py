"""What `audit` says of public formulas, each restated in words of our own: right ones right, wrong ones by number."""

import doctest
import inspect
import itertools
import math
import re
from collections import namedtuple
from types import SimpleNamespace

import pytest
import run  # tools/run.py
import torch
from torch import distributions as td
from torch import nn
from torch.nn import functional as F

import vaelib as vl
from vaelib.__main__ import main
from vaelib.checking.audit import audit, from_file
from vaelib.checking.audit.verdicts import Factor


def rate(mu, logvar):
    """Nats per example: (B,)."""
    return 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum(1)


def bce(logits, x):
    """Nats per example: (B,)."""
    return F.binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(1).sum(1)


def sse(x_hat, x):
    """The squared error per example: (B,)."""
    return ((x - x_hat) ** 2).flatten(1).sum(1)


def lse(log_w):
    """The importance-weighted bound: (B,)."""
    return torch.logsumexp(log_w, 0) - math.log(len(log_w))


def by_torch(mu, logvar):
    prior = td.Normal(torch.zeros_like(mu), torch.ones_like(mu))
    return td.kl_divergence(td.Independent(td.Normal(mu, (logvar / 2).exp()), 1), td.Independent(prior, 1))


def between_two(mu, logvar):
    """The difference of two Gaussians by their log-variances, here with that of the prior, per dimension."""
    zero = torch.zeros_like(mu)
    return 0.5 * (zero - 1 - logvar + (logvar - zero).exp() + (mu - zero) ** 2 * (-zero).exp())


def library(log_px, rate):
    terms = vl.Terms(
        log_px, torch.zeros(1, *log_px.shape), torch.zeros(1, *log_px.shape), rate.expand(1, *log_px.shape)
    )
    return -vl.elbo(terms).mean()


Output = namedtuple("Output", "reconstruction loss")
MNIST = {"x": (16, 784), "mu": (16, 20)}
TWO = {"x": (16, 784), "mu": (16, 2)}
# Where it is from, the formula, what else is said to `audit`, and a phrase of the verdict.
RIGHT = {
    "pytorch/examples vae/main.py": (
        lambda recon_x, x, mu, logvar: (
            F.binary_cross_entropy(recon_x, x.view(-1, 784), reduction="sum")
            - 0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
        ),
        MNIST,
        "minus the ELBO, summed over the batch; your beta is 1",
    ),
    "pytorch/examples #290, its code of 2017: both terms over batch and pixels": (
        lambda recon_x, x, mu, logvar: F.binary_cross_entropy(recon_x, x) + rate(mu, logvar).sum() / (16 * 784),
        MNIST,
        "times 1/D: right up to this factor; your beta is 1 as long as B = 16, D = 784",
    ),
    "keras-io vae.py, today": (
        lambda x_hat, x, z_mean, z_log_var: (
            F.binary_cross_entropy(x_hat, x, reduction="none").sum((1, 2, 3)).mean()
            + (-0.5 * (1 + z_log_var - z_mean**2 - z_log_var.exp())).sum(1).mean()
        ),
        {"x": (8, 1, 28, 28), "mu": (8, 2)},
        "minus the ELBO, averaged over the batch; your beta is 1",
    ),
    "AntixK/PyTorch-VAE vanilla_vae.py, its KL": (
        lambda mu, log_var: torch.mean(-0.5 * torch.sum(1 + log_var - mu**2 - log_var.exp(), dim=1), dim=0),
        {},
        "the rate, the KL divergence to N(0, I), averaged over the batch",
    ),
    "pytorch_geometric since PR #1368": (
        lambda mu, logstd: -0.5 * torch.mean(torch.sum(1 + 2 * logstd - mu**2 - logstd.exp() ** 2, dim=1)),
        {},
        "the rate",
    ),
    "openai/improved-diffusion #119: log-variances, 1/2 on them": (between_two, {}, "to be summed over dimensions"),
    "torch.distributions": (by_torch, {}, "one number for each example"),
    "vaelib.elbo": (library, {}, "minus the ELBO, averaged over the batch"),
    "tensorflow/probability #189: the ELBO itself": (
        lambda logits, x, mu, logvar: (-bce(logits, x) - rate(mu, logvar)).mean(),
        {},
        "the ELBO (to be maximised",
    ),
    "bits per dimension": (
        lambda logits, x, mu, logvar: (bce(logits, x) + rate(mu, logvar)).mean() / (x[0].numel() * math.log(2)),
        {},
        "in bits per dimension",
    ),
    "yburda/iwae: the log of the mean": (
        lambda log_w: ((log_w - log_w.amax(0)).exp().mean(0).log() + log_w.amax(0)).mean(),
        {},
        "the importance-weighted bound, averaged over the batch",
    ),
    "vaelib.iwae as an NLL": (lambda log_w: -lse(log_w), {"called": "nll"}, "minus the importance-weighted bound"),
    "the ELBO from log-weights": (lambda log_w: log_w.mean(), {}, "the ELBO's estimate, averaged over the batch"),
    "ericjang/draw PR #6": (
        lambda mu, sigma: 0.5 * (mu**2 + sigma**2 - 2 * sigma.log()).sum(1) - 0.5 * mu.shape[1],
        {},
        "the rate",
    ),
    "continuous Bernoulli, pytorch/examples #460": (
        lambda logits, x, mu, logvar: (
            rate(mu, logvar) - td.ContinuousBernoulli(logits=logits, lims=(0.5, 0.5)).log_prob(x).sum(1)
        ),
        {},
        "minus the ELBO, one number for each example",
    ),
    "a summed squared error": (
        lambda x_hat, x, mu, logvar: (sse(x_hat, x) + rate(mu, logvar)).mean(),
        {},
        "a Gaussian decoder with sigma = 0.7071",
    ),
    "squared error with its sigma stated": (
        lambda x_hat, x, mu, logvar: (sse(x_hat, x) / (2 * 0.1**2) + rate(mu, logvar)).mean(),
        {"sigma": 0.1},
        "sigma = 0.1 (sigma^2 = 1/100), as stated",
    ),
    "sigma-VAE: a variance for each pixel": (
        lambda x_hat, x, x_logvar, mu, logvar: (
            0.5 * ((x - x_hat) ** 2 / x_logvar.exp() + x_logvar + math.log(2 * math.pi)).sum(1) + rate(mu, logvar)
        ).sum(),
        {},
        "minus the ELBO",
    ),
    "a Gaussian beta-VAE that says sigma and beta": (
        lambda x_hat, x, mu, logvar: (2 * rate(mu, logvar) - td.Normal(x_hat, 0.5).log_prob(x).sum(1)).mean(),
        {"beta": 2.0, "sigma": 0.5},
        "the objective at beta = 2 of a Gaussian decoder with sigma = 0.5",
    ),
    "the ELBO of a Gaussian decoder": (
        lambda x_hat, x, mu, logvar: -sse(x_hat, x) / 2 - rate(mu, logvar),
        {},
        "the ELBO (to be maximised) of a Gaussian decoder with sigma = 1",
    ),
    "a beta-VAE that says so": (
        lambda logits, x, mu, logvar, beta=4.0: (bce(logits, x) + beta * rate(mu, logvar)).mean(),
        {"beta": 4.0},
        "the objective of a beta-VAE with beta = 4",
    ),
    "keras-io Sampling": (lambda mu, logvar: mu + (0.5 * logvar).exp() * torch.randn_like(mu), {}, "draws of N(mu"),
    "torch rsample": (lambda mu, sigma: td.Normal(mu, sigma).rsample(), {}, "draws of N(mu, sigma^2)"),
    "a prior's density": (lambda z: -0.5 * (z**2 + math.log(2 * math.pi)).sum(1), {}, "the log-density"),
    "a posterior's density": (
        lambda z, mu, logvar: td.Normal(mu, (logvar / 2).exp()).log_prob(z).sum(-1),
        {},
        "density",
    ),
    "a density's kernel": (lambda z: -0.5 * (z**2).sum(1), {}, "without its constant"),
    "a density's kernel, summed over the batch": (lambda z: -0.5 * (z**2).sum(), {}, "without its constant"),
    "a density's kernel, averaged": (
        lambda z, mu, logvar: (-0.5 * ((z - mu) ** 2 / logvar.exp() + logvar)).sum(1).mean(),
        {},
        "without its constant",
    ),
    "torch's names: the input is compared with the target": (
        lambda input, target, mu, logvar: (
            F.binary_cross_entropy(input, target, reduction="sum") + rate(mu, logvar).sum()
        ),
        {},
        "minus the ELBO, summed over the batch",
    ),
    "torch's names, told the other way round": (
        lambda input, target, mu, logvar: (bce(target, input) + rate(mu, logvar)).mean(),
        {"x": "input", "logits": "target"},
        "minus the ELBO, averaged over the batch",
    ),
    "a beta of its own, with no default": (
        lambda logits, x, mu, logvar, beta: (bce(logits, x) + beta * rate(mu, logvar)).mean(),
        {"beta": 4.0},
        "the objective of a beta-VAE with beta = 4",
    ),
    "a beta of its own, with another default": (
        lambda logits, x, mu, logvar, *, beta=1.0: (bce(logits, x) + beta * rate(mu, logvar)).mean(),
        {"beta": 4.0},
        "the objective of a beta-VAE with beta = 4",
    ),
    "the posterior's sigma by another name": (
        lambda loc, s: td.kl_divergence(td.Normal(loc, s), td.Normal(0.0, 1.0)).sum(1),
        {"mu": "loc", "sigma": "s"},
        "the rate",
    ),
    "the decoder's sigma as a parameter": (
        lambda x_hat, x, mu, logvar, sigma=1.0: (sse(x_hat, x) / (2 * sigma**2) + rate(mu, logvar)).mean(),
        {"sigma": 0.1, "x": (6, 5), "mu": (6, 5)},
        "sigma = 0.1 (sigma^2 = 1/100), as stated",
    ),
    "the decoder's sigma beside no posterior": (
        lambda x_hat, x, sigma: sse(x_hat, x).sum() / (2 * sigma**2),
        {"sigma": 0.5},
        "sigma = 0.5",
    ),
    "an option that is called as an input is": (
        lambda mu, logvar, mean=True: rate(mu, logvar).mean() if mean else rate(mu, logvar).sum(),
        {"mean": False},
        "summed over the batch",
    ),
    "a weight called kld": (
        lambda logits, x, mu, logvar, kld=1.0: (bce(logits, x) + kld * rate(mu, logvar)).mean(),
        {"kld": 0.5},
        "a beta-VAE with beta = 0.5",
    ),
    "a weight that is not said, for each pixel": (
        lambda logits, x, mu, logvar: (bce(logits, x) + 4 * rate(mu, logvar)).mean() / x.shape[1],
        {},
        "times 1/D: right up to this factor; minus the ELBO only at beta = 1",
    ),
    "the same, to be maximised": (
        lambda logits, x, mu, logvar: -(bce(logits, x) + 4 * rate(mu, logvar)).mean() / x.shape[1],
        {"called": "elbo"},
        "times 1/D: right up to this factor; to be maximised, and the ELBO only at beta = 1",
    ),
    "a weight that is looked up, as in PyTorch-VAE": (
        lambda logits, x, mu, log_var, **kwargs: (bce(logits, x) + kwargs["M_N"] * rate(mu, log_var)).mean(),
        {"M_N": 1.0},
        "your beta is 1",
    ),
    "as a Python number": (
        lambda recon_x, x, mu, logvar: (
            F.binary_cross_entropy(recon_x, x, reduction="sum") + 1e-3 * rate(mu, logvar).mean()
        ).item(),
        {**MNIST, "beta": 1e-3 / 16},
        "the objective of a beta-VAE",
    ),
    "as a Python number, in float32": (
        lambda logits, x, mu, logvar: (bce(logits.float(), x.float()) + rate(mu.float(), logvar.float())).sum().item(),
        {},
        "your beta is 1",
    ),
    "in place": (
        lambda recon_x, x, mu, logvar: (
            F.binary_cross_entropy(recon_x.clamp_(1e-7, 1 - 1e-7), x, reduction="sum")
            - 0.5 * (1 + logvar - mu.pow_(2) - logvar.exp()).sum()
        ),
        {},
        "your beta is 1",
    ),
    "in numpy": (
        lambda mu, logvar: -0.5 * (1 + logvar.numpy() - mu.numpy() ** 2 - logvar.exp().numpy()).sum(-1),
        {},
        "the rate",
    ),
    "its total has another name": (
        lambda logits, x, mu, logvar: {
            "recon_loss": bce(logits, x).mean(),
            "Total_Loss": (bce(logits, x) + rate(mu, logvar)).mean(),
        },
        {},
        "your beta is 1",
    ),
    "its loss is a field that is not the first": (
        lambda logits, x, mu, logvar: Output(bce(logits, x).mean(), (bce(logits, x) + rate(mu, logvar)).mean()),
        {},
        "your beta is 1",
    ),
    "its loss is an attribute": (
        lambda mu, logvar: SimpleNamespace(loss=rate(mu, logvar).mean()),
        {},
        "the rate",
    ),
    "the rate by one draw of z": (
        lambda z, mu, logvar: (td.Normal(mu, (logvar / 2).exp()).log_prob(z) - td.Normal(0.0, 1.0).log_prob(z)).sum(1),
        {},
        "the rate by its one draw of z, one number for each example",
    ),
    "a loss with one draw of z": (
        lambda logits, x, z, mu, logvar: (
            bce(logits, x) + (td.Normal(mu, (logvar / 2).exp()).log_prob(z) - td.Normal(0.0, 1.0).log_prob(z)).sum(1)
        ).mean(),
        {},
        "minus the ELBO, averaged over the batch; your beta is 1",
    ),
    "a loss that takes z, with the rate in closed form": (
        lambda x_hat, x, z, mu, logvar: F.binary_cross_entropy(x_hat, x, reduction="sum") + rate(mu, logvar).sum(),
        {},
        "minus the ELBO, summed over the batch",
    ),
    "log K written out": (
        lambda log_w: (torch.logsumexp(log_w, 0) - math.log(4)).mean(),
        {},
        "the importance-weighted bound",
    ),
    "a likelihood that is reported": (
        lambda log_w: -lse(log_w).mean().detach(),
        {"called": "nll"},
        "minus the importance-weighted bound",
    ),
    "a cross-entropy per pixel": (
        lambda logits, x: F.binary_cross_entropy_with_logits(logits, x),
        {},
        "minus the log-lik",
    ),
    "improved-diffusion, normal_kl": (
        lambda mean1, logvar1, mean2, logvar2: (
            0.5 * (logvar2 - logvar1 - 1 + (logvar1 - logvar2).exp() + (mean1 - mean2) ** 2 * (-logvar2).exp())
        ),
        {},
        "the KL divergence to the prior",
    ),
    "log-weights (B, K)": (
        lambda log_w: torch.logsumexp(log_w, 1) - math.log(log_w.shape[1]),
        {},
        "the importance-weighted bound",
    ),
    "latent diffusion: absolute error, a weight of 1e-6": (
        lambda recon, x, mu, logvar: ((x - recon).abs().sum((1, 2, 3)) + 1e-6 * rate(mu, logvar)).mean(),
        {"x": (2, 3, 8, 8)},
        "a Laplace decoder with scale = 1e-06",
    ),
    "an image beside flat logits": (
        lambda logits, x, mu, logvar: (bce(logits, x.flatten(1)) + rate(mu, logvar)).mean(),
        {"x": (4, 1, 6, 6), "logits": (4, 36)},
        "your beta is 1",
    ),
    "in float32": (
        lambda logits, x, mu, logvar: (bce(logits.float(), x.float()) + rate(mu.float(), logvar.float())).mean(),
        {},
        "your beta is 1",
    ),
    "logarithms with an epsilon": (
        lambda x_hat, x, mu, logvar: (
            rate(mu, logvar) - (x * (x_hat + 1e-8).log() + (1 - x) * (1 - x_hat + 1e-8).log()).sum(1)
        ).mean(),
        {},
        "minus the ELBO",
    ),
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_right_comes_out_right(name):
    function, said, phrase = RIGHT[name]
    found = audit(function, **said)
    assert found.right, str(found)
    assert found.number == ""
    assert phrase in found.verdict


def keras_molecules(logits, x, mu, logvar):
    return x[0].numel() * F.binary_cross_entropy_with_logits(logits, x) - 0.5 * torch.mean(
        1 + logvar - mu**2 - logvar.exp()
    )


def last_batch(log_w):
    w = log_w.softmax(0).detach()
    return -(w * log_w).sum(0).mean()


WRONG = {
    "E1: keras-io #270": (
        lambda x_hat, x, z_mean, z_log_var: (
            784 * F.binary_cross_entropy(x_hat, x) - 0.5 * (1 + z_log_var - z_mean**2 - z_log_var.exp()).mean()
        ),
        TWO,
        "beta were D/(784 J) = 0.5",
    ),
    "E1: keras #6015": (
        lambda x_hat, x, mu, logvar: F.binary_cross_entropy(x_hat, x) + rate(mu, logvar).mean() / mu.shape[1],
        TWO,
        "beta were D/J = 392",
    ),
    "E1: keras-molecules #59": (keras_molecules, {"x": (8, 120), "mu": (8, 292)}, "beta were 1/J = 0.003425"),
    "E1: a rate alone": (lambda mu, logvar: 0.5 * (mu**2 + logvar.exp() - 1 - logvar).mean(), {"mu": (4, 20)}, "0.05"),
    "E2a: keras #3373": (
        lambda x_hat, x, mu, logvar: F.binary_cross_entropy(x_hat, x) + rate(mu, logvar).mean(),
        MNIST,
        "beta were D = 784",
    ),
    "E2a: torch's names": (
        lambda input, target, mu, logvar: F.binary_cross_entropy(input, target) + rate(mu, logvar).mean(),
        {},
        "beta were D = 10",
    ),
    "E1: as a Python number": (
        lambda recon_x, x, mu, logvar: float(
            F.binary_cross_entropy(recon_x, x, reduction="sum").detach()
            + len(x) * (-0.5 * (1 + logvar - mu**2 - logvar.exp())).mean().detach()
        ),
        {"x": (128, 784), "mu": (128, 20)},
        "beta were 1/J = 0.05",
    ),
    "E1: a rate by one draw": (
        lambda z, mu, logvar: (td.Normal(mu, (logvar / 2).exp()).log_prob(z) - td.Normal(0.0, 1.0).log_prob(z)).mean(),
        {},
        "the mean over latent dimensions",
    ),
    "E2b: MMVAE PR #19, before it": (
        lambda logits, x, mu, logvar: F.binary_cross_entropy_with_logits(logits, x) + rate(mu, logvar).sum(),
        {},
        "beta were B D = 60",
    ),
    "E2c: PyTorch-VAE #11": (
        lambda logits, x, mu, logvar: (
            F.binary_cross_entropy_with_logits(logits, x) + len(x) / 162_770 * rate(mu, logvar).mean()
        ),
        {},
        "over a data set of 162770",
    ),
    "E3: GNTPP #4": (
        lambda logits, x, mu, logvar: bce(logits, x) + rate(mu, logvar).sum(),
        {},
        "as if beta were B = 6",
    ),
    "E3: nvae #3": (
        lambda logits, x, mu, logvar: bce(logits, x).mean() + rate(mu, logvar).sum(),
        {},
        "beta were B = 6",
    ),
    "E4: ericjang/draw line 191": (
        lambda mu, sigma: 0.5 * (mu**2 + sigma**2 - 2 * sigma.log()).sum(1) - 0.5,
        {"mu": (5, 10)},
        "constant of the rate",
    ),
    "E4b: log 2 pi once": (lambda z: -0.5 * math.log(2 * math.pi) - 0.5 * (z**2).sum(1), {}, "once per vector"),
    "E5a: PyTorch-VAE lvae.py": (
        lambda mu, logvar: (-logvar + (logvar.exp() + mu**2) / 2 - 0.5).sum(1).mean(),
        {},
        "1/2 missing on the log-variance",
    ),
    "E5b: SupaeroDataScience PR #6": (
        lambda mu, sigma: (sigma**2 + mu**2 - sigma.log() - 0.5).sum(),
        {},
        "1/2 missing on the quadratic terms",
    ),
    "E6: pytorch_geometric before PR #1368": (
        lambda mu, log_sigma: -0.5 * torch.mean(torch.sum(1 + log_sigma - mu**2 - log_sigma.exp(), dim=1)),
        {},
        "log sigma used as log-variance",
    ),
    "E6: a log-variance squared": (
        lambda mu, logvar: 0.5 * (mu**2 + (2 * logvar).exp() - 1 - 2 * logvar).sum(1),
        {},
        "the log-variance read as log sigma",
    ),
    "E6b: vgae_pytorch #2": (
        lambda mu, log_sigma: 0.5 * (mu**2 + log_sigma.exp() - 1 - 2 * log_sigma).sum(1).mean(),
        {},
        "sigma for sigma squared",
    ),
    "E6c: half of the logarithm": (
        lambda mu, sigma: 0.5 * (mu**2 + sigma**2 - 1 - sigma.log()).sum(1),
        {},
        "halved once too often",
    ),
    "E7: PyTorch-BayesianCNN #73": (
        lambda mu, sigma: (
            td.kl_divergence(td.Normal(torch.zeros_like(mu), torch.ones_like(sigma)), td.Normal(mu, sigma))
            .sum(1)
            .mean()
        ),
        {},
        "the prior first",
    ),
    "E8: PyTorch-VAE vanilla_vae.py with configs/vae.yaml": (
        lambda recons, input, mu, log_var, kld_weight: (
            F.mse_loss(recons, input) + kld_weight * torch.mean(rate(mu, log_var), dim=0)
        ),
        {"x": (2, 3, 64, 64), "mu": (2, 128), "kld_weight": 0.00025},
        "sigma = 1.239",
    ),
    "E8: a mean squared error alone": (lambda x_hat, x: F.mse_loss(x_hat, x), {}, "sets sigma"),
    "E8: sigma stated as 1, not that": (
        lambda x_hat, x, mu, logvar: (sse(x_hat, x) + rate(mu, logvar)).mean(),
        {"sigma": 1.0},
        "where sigma = 1 is stated",
    ),
    "E8c: VAE-Torch PR #5": (
        lambda x_hat, x, x_logvar: (
            0.5 * ((x - x_hat) ** 2 / x_logvar.exp() + x_logvar / 2 + math.log(2 * math.pi)).sum(1)
        ),
        {},
        "half of log sigma",
    ),
    "E10a: respy PR #288": (lambda log_w: log_w.mean(0), {"called": "iwae"}, "the mean of the logs"),
    "E10b: scVI-dev #8": (lambda log_w: torch.logsumexp(log_w, 0).mean(), {}, "gradient right, value no bound"),
    "E10c: PyTorch-VAE iwae.py": (
        lambda log_w: ((-log_w).softmax(0) * -log_w).sum(0).mean(),
        {},
        "a softmax of the losses",
    ),
    "E11c: keras PR #4211": (
        lambda mu, logvar: mu + (logvar / 2).exp() * 0.01 * torch.randn_like(mu),
        {},
        "the noise is scaled by 0.01",
    ),
    "E11a: no noise": (lambda mu, logvar: mu, {}, "no noise is drawn"),
    "E14: Luo, eq. 22": (lambda log_px, kl: kl - log_px.sum(0), {}, "beta were 1/K = 0.25"),
    "E14b: numpyro #1724": (lambda log_w: -log_w.sum(0).mean(), {}, "4 times the ELBO's estimate"),
    "E17: intro_dgm": (
        lambda z: (-0.5 * z.shape[1] * math.log(2 * math.pi) - 0.5 * z**2).sum(-1),
        {},
        "the constant of each dimension",
    ),
    "E18: pml2-book #58": (
        lambda logits, x, mu, logvar: (-bce(logits, x) - rate(mu, logvar)).mean(),
        {"called": "loss"},
        "under the name of a loss",
    ),
    "E18: a beta-VAE's": (
        lambda logits, x, mu, logvar: (-bce(logits, x) - 2 * rate(mu, logvar)).mean(),
        {"called": "vae_loss"},
        "under the name of a loss",
    ),
    "E18: a Gaussian decoder's": (
        lambda x_hat, x, mu, logvar: -sse(x_hat, x) / 2 - rate(mu, logvar),
        {"called": "loss"},
        "under the name of a loss",
    ),
    "E18: a rate": (
        lambda mu, logvar: 0.5 * (1 + logvar - mu**2 - logvar.exp()).sum(),
        {"called": "kl_loss"},
        "minus the rate, under the name of a loss",
    ),
    "E18: a reconstruction": (
        lambda logits, x: -bce(logits, x).mean(),
        {"called": "recon_loss"},
        "minus a reconstruction term",
    ),
    "E18b: EderSantana/gumbel #3": (
        lambda logits, x, mu, logvar: 10 * F.binary_cross_entropy_with_logits(logits, x) - rate(mu, logvar).mean(),
        {},
        "opposite signs",
    ),
    "E21: pythae get_nll": (lambda log_w: lse(log_w).mean(), {"called": "get_nll"}, "without the minus"),
    "E22: pythae iwae_model.py": (last_batch, {}, "gradient right, value no bound"),
    "E22: not detached": (lambda log_w: (log_w.softmax(0) * log_w).sum(0), {}, "normalised weights"),
    "E23: lightning-bolts #328": (
        lambda logits, x, mu, logvar: (bce(logits, x) + rate(mu, logvar)).mean(),
        {"beta": 0.1},
        "beta is 0.1, and the rate is counted once",
    ),
    "E23: beside a stated sigma": (
        lambda x_hat, x, mu, logvar: (rate(mu, logvar) - td.Normal(x_hat, 0.5).log_prob(x).sum(1)).mean(),
        {"beta": 4.0, "sigma": 0.5},
        "beta is 4, and the rate is counted once",
    ),
    "E23: with a beta of its own that it does not use": (
        lambda logits, x, mu, logvar, beta=1.0: (bce(logits, x) + rate(mu, logvar)).mean(),
        {"beta": 4.0},
        "beta is 4, and the rate is counted once",
    ),
    "E23b: in float32": (
        lambda logits, x, mu, logvar: bce(logits.float(), x.float()).mean() + 0 * mu.sum().float(),
        {},
        "the rate is missing",
    ),
    "E23b: irmae #1": (lambda logits, x, mu, logvar: bce(logits, x).mean() + 0 * mu.sum(), {}, "the rate is missing"),
    "E24: ibp_vae #3": (
        lambda mu, logvar: mu + torch.randn_like(mu) * logvar.exp(),
        {},
        "variance is used as standard",
    ),
    "E24: in a density": (
        lambda z, mu, logvar: td.Normal(mu, logvar.exp()).log_prob(z).sum(1),
        {},
        "the variance passed",
    ),
    "E24b: FluxML model-zoo": (
        lambda mu, log_sigma: 0.5 * (mu**2 + (2 * log_sigma).exp() - 1 + log_sigma**2).sum(),
        {},
        "(log sigma)^2",
    ),
    "E24c: HIPS/autograd PR #266": (lambda z: td.Normal(0.0, math.e).log_prob(z).sum(1), {}, "N(0, e^2)"),
    "E24d: FluxML PR #76": (
        lambda mu, log_sigma: 0.5 * (mu**2 + (2 * log_sigma).exp() - 1 + 2 * log_sigma).sum(),
        {},
        "+ log sigma^2",
    ),
    "E25c: PyTorch-VAE hvae.py, had it divided the variance": (
        lambda mu, logvar, prior_mu, prior_logvar: (
            0.5 * ((mu - prior_mu) ** 2 + (logvar - prior_logvar).exp() - 1 - logvar + prior_logvar).sum(1)
        ),
        {},
        "not divided by the prior's variance",
    ),
    "E25d: PyTorch-VAE hvae.py, z1_kld": (
        lambda mu, logvar, prior_mu, prior_logvar: rate(mu, logvar) + 0 * (prior_mu + prior_logvar).sum(1),
        {},
        "taken to N(0, I)",
    ),
    "E5a: in a whole loss": (
        lambda logits, x, mu, logvar: (bce(logits, x) + (0.5 * (mu**2 + logvar.exp() - 1) - logvar).sum(1)).mean(),
        {},
        "1/2 missing on the log-variance",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named(name):
    function, said, phrase = WRONG[name]
    found = audit(function, **said)
    assert (found.right, found.number) == (False, name.partition(":")[0]), str(found)
    assert phrase in found.verdict


REDUCTIONS = {
    "examples": lambda value: value,
    "column": lambda value: value[:, None],
    "sum": lambda value: value.sum(),
    "mean": lambda value: value.mean(),
    "minus": lambda value: -value.mean(),
    "percent": lambda value: 100 * value.mean(),
    "list": lambda value: (value.sum(), value),
    "dict": lambda value: {"kl": 0 * value, "loss": value.mean()},
}
TERMS = {
    "bce": lambda logits, x, x_hat: bce(logits, x),
    "probabilities": lambda logits, x, x_hat: F.binary_cross_entropy(x_hat, x, reduction="none").sum(1),
    "distribution": lambda logits, x, x_hat: -td.Bernoulli(logits=logits).log_prob(x).sum(1),
    "squares": lambda logits, x, x_hat: sse(x_hat, x) / 2,
    "normal": lambda logits, x, x_hat: -td.Normal(x_hat, 1.0).log_prob(x).sum(1),
}
RATES = {"closed": rate, "torch": by_torch, "softplus": lambda mu, logvar: rate(mu, 2 * (logvar / 2).exp().log())}


@pytest.mark.slow
@pytest.mark.parametrize(("reduction", "term", "kl"), [*itertools.product(REDUCTIONS, TERMS, RATES)])
def test_no_false_alarm(reduction, term, kl):
    def loss(logits, x, x_hat, mu, logvar):
        return REDUCTIONS[reduction](TERMS[term](logits, x, x_hat) + RATES[kl](mu, logvar))

    found = audit(loss, called="objective")
    assert found.right, str(found)


@pytest.mark.parametrize(("reduction", "kl"), [*itertools.product(REDUCTIONS, RATES)])
def test_no_false_alarm_for_a_rate(reduction, kl):
    assert audit(lambda mu, logvar: REDUCTIONS[reduction](RATES[kl](mu, logvar))).right


@pytest.mark.parametrize(("examples", "latents", "pixels"), [(1, 1, 1), (2, 2, 2), (3, 3, 9), (7, 20, 28), (4, 4, 4)])
def test_equal_sizes_confuse_nothing(examples, latents, pixels):
    sizes = {"x": (examples, pixels), "mu": (examples, latents)}
    right = audit(lambda logits, x, mu, logvar: (bce(logits, x) + rate(mu, logvar)).mean(), **sizes)
    assert right.right
    assert "as long as" not in right.verdict
    for number in ("E1", "E2a", "E3"):
        wrong = {
            "E1": lambda logits, x, mu, logvar: bce(logits, x).mean() + rate(mu, logvar).mean() / mu.shape[1],
            "E2a": lambda logits, x, mu, logvar: bce(logits, x).mean() / x.shape[1] + rate(mu, logvar).mean(),
            "E3": lambda logits, x, mu, logvar: bce(logits, x).mean() + rate(mu, logvar).sum(),
        }[number]
        found = audit(wrong, **sizes)
        size = {"E1": latents, "E2a": pixels, "E3": examples}[number]
        assert found.number == number or (size == 1 and found.right and "as long as" in found.verdict)


def test_names_shapes_and_values_are_said_by_keyword():
    def criterion(target, out, loc, spread, weight):
        return bce(out, target).mean() + weight * rate(loc, spread).mean()

    named = {"x": "target", "logits": "out", "mu": "loc", "logvar": "spread"}
    assert audit(criterion, **named, weight=1.0).right
    assert "beta = 3" in audit(criterion, **named, weight=3.0).verdict
    with pytest.raises(ValueError, match=r"the function takes 'out': expected one of mu, .* logits='out'|mu='out'"):
        audit(criterion, x="target")
    with pytest.raises(ValueError, match=r"mu has shape \(4,\): expected \(B, J\)"):
        audit(rate, mu=(4,))
    with pytest.raises(ValueError, match=r"fails on mu \(6, 3\), logvar \(6, 3\): .*; say the shapes that it is for"):
        audit(lambda mu, logvar: mu.view(-1, 7))
    with pytest.raises(ValueError, match=r"returned \(3,\) for B = 6, J = 3"):
        audit(lambda mu, logvar: rate(mu.T, logvar.T)[:3])
    with pytest.raises(ValueError, match="values that are not finite"):
        audit(lambda mu, logvar: (mu - 100).log().sum())
    with pytest.raises(ValueError, match="log_w has 1 samples: expected 2 or more"):
        audit(lse, log_w=(1, 5))
    with pytest.raises(ValueError, match="the function takes nothing"):
        audit(lambda: torch.zeros(()))
    with pytest.raises(ValueError, match="expected both, or neither"):
        audit(rate, encode=rate)


def test_grey_data_are_mentioned():
    found = audit(lambda logits, x, mu, logvar: (bce(logits, x) + rate(mu, logvar)).mean(), x=torch.rand(5, 10))
    assert found.right
    assert "reported as a likelihood of grey images it is E9" in found.evidence[-1]


def test_two_divisors_that_have_no_number():
    found = audit(lambda logits, x, mu, logvar: bce(logits, x).sum() + rate(mu, logvar).mean())
    assert (found.right, found.number) == (False, "")
    assert "divided by different numbers; it is as if beta were 1/B = 0.1667" in found.verdict
    found = audit(lambda x_hat, x, mu, logvar: sse(x_hat, x).sum() + rate(mu, logvar).mean())
    assert (found.right, found.number) == (False, "")
    assert "mean error" not in found.verdict


def test_value_and_gradient_are_judged_apart():
    found = audit(lambda logits, x, mu, logvar: (bce(logits, x) + rate(mu.detach(), logvar)).mean())
    assert found.right is None
    assert "something is detached, which is right only if it is meant" in found.verdict
    found = audit(lambda log_w: lse(log_w).detach() + 0 * log_w.sum())
    assert "value right, gradient not" in found.verdict


def test_what_is_not_known_is_described():
    clamped = audit(lambda mu, logvar: rate(mu, logvar).mean().clamp_min(0.5))
    assert (clamped.right, clamped.number) == (None, "")  # free bits: no rate, and no mistake
    found = audit(lambda mu, logvar: (mu.abs() + 2 * logvar.exp() - logvar).sum())
    assert found.right is None
    assert "it is 2 sigma^2 - 1 log sigma^2 + 1 |mu|" in str(found)
    found = audit(lambda mu, logvar: rate(mu, logvar) + (logvar > 0.5).double().sum(1) * logvar.exp().sum(1))
    assert found.right is None
    assert "grows with sigma^2" in str(found)


@pytest.mark.parametrize(
    ("sampler", "phrase"),
    [
        (lambda mu, sigma: mu + sigma * torch.randn(1, mu.shape[1], dtype=mu.dtype), "all examples of a batch share"),
        (lambda mu, sigma: mu + sigma * torch.randn(len(mu), 1, dtype=mu.dtype), "all dimensions share one noise"),
        (lambda mu, sigma: mu + sigma * torch.rand_like(mu), "the noise is not centred"),
        (lambda mu, sigma: mu + 2 * sigma * torch.randn_like(mu), "the noise is scaled by 2"),
        (lambda mu, logvar: mu + (logvar / 4).exp() * torch.randn_like(mu), "log sigma is read as log-variance"),
    ],
)
def test_noise_is_looked_at(sampler, phrase):
    found = audit(sampler)
    assert found.right is False
    assert phrase in found.verdict


CONSTANTS = {
    "no - 1": (lambda mu, logvar: -0.5 * (logvar - mu**2 - logvar.exp()).sum(1), "1.5 nats per example too much"),
    "a prior's constant, twice": (
        lambda z: -0.5 * (z**2 + 2 * math.log(2 * math.pi)).sum(1),
        f"{1.5 * math.log(2 * math.pi):.4g} nats per example too little",
    ),
    "log 5 for K = 4": (
        lambda log_w: torch.logsumexp(log_w, 0) - math.log(5),
        "0.2231 nats per example too little",
    ),
}


@pytest.mark.parametrize(("name", "total"), [*itertools.product(CONSTANTS, ("examples", "sum", "mean"))])
def test_a_constant_is_counted_per_example_whatever_the_total(name, total):
    one, phrase = CONSTANTS[name]

    def function(**given):
        return REDUCTIONS[total](one(**given))

    function.__signature__ = inspect.signature(one)
    found = audit(function)
    assert (found.right, found.number) == (False, ""), str(found)
    assert f"gradient right, value {phrase}" in found.verdict


def test_a_constant_is_printed_as_it_is_added():
    found = audit(lambda logits, x, mu, logvar: (bce(logits, x) + rate(mu, logvar)).mean() + 5)
    assert "a constant of 5 is added" in str(found)
    found = audit(RIGHT["log K written out"][0])
    assert "its constant is right only at K = 4" in str(found)


SAID = {
    "swapped": (
        lambda recon_x, x, mu, logvar: F.binary_cross_entropy(x, recon_x, reduction="sum") + rate(mu, logvar).sum(),
        {},
        "as where the two arguments of a cross-entropy are swapped",
    ),
    "detached": (
        lambda logits, x, mu, logvar: (bce(logits, x) + rate(mu, logvar)).mean().detach(),
        {},
        "no gradient reaches what it takes, which is right only if it is meant",
    ),
    "a bound, detached": (lambda log_w: lse(log_w).detach(), {}, "no gradient reaches what it takes"),
    "free bits, detached": (
        lambda mu, logvar, free_bits: rate(mu, logvar).clamp_min(free_bits).mean().detach(),
        {"free_bits": 0.5},
        "no gradient reaches what it takes",
    ),
    "a likelihood, half detached": (
        lambda x_hat, x: F.binary_cross_entropy(x_hat.detach(), x) + 0 * x_hat.sum(),
        {},
        "something is detached",
    ),
    "a sampler with .sample()": (
        lambda mu, logvar: td.Normal(mu, (logvar / 2).exp()).sample(),
        {},
        "no gradient reaches mu and sigma",
    ),
    "a sampler with its mean detached": (
        lambda mu, logvar: mu.detach() + (logvar / 2).exp() * torch.randn_like(mu),
        {},
        "its gradient in mu is not that of mu + sigma epsilon",
    ),
    "a sampler with its spread detached": (
        lambda mu, var: mu + var.detach().sqrt() * torch.randn_like(mu),
        {},
        "its gradient in sigma is not that of mu + sigma epsilon",
    ),
    "a capacity that no rate reaches": (
        lambda logits, x, mu, logvar: bce(logits, x).mean() + 1000 * (rate(mu, logvar).mean() - 25).abs(),
        {"x": (16, 64), "mu": (16, 10)},
        "at larger means it is another form",
    ),
    "a capacity that the rate of 3 dimensions does not reach": (
        lambda logits, x, mu, logvar: bce(logits, x).mean() + 1000 * (rate(mu, logvar).mean() - 5).abs(),
        {},
        "at J = 6 and larger means it is another form",
    ),
    "free bits above every rate": (
        lambda logits, x, mu, logvar: (bce(logits, x) + rate(mu, logvar).clamp_min(80.0)).mean(),
        {},
        "at larger means it is another form",
    ),
    "a sampled rate per dimension": (
        lambda mu, logvar: sampled_rate(mu, (logvar / 2).exp()),
        {},
        "random, with a spread that is none of those that are known",
    ),
    "in float32, a rate that rounding hides": (
        lambda logits, x, mu, logvar: bce(logits.float(), x.float()).sum() + 1e-5 * rate(mu, logvar).sum().float(),
        {},
        "too small beside the other term for its weight to be seen",
    ),
    "with an epsilon, a rate that it hides": (
        lambda x_hat, x, mu, logvar: (
            1e-6 * rate(mu, logvar) - (x * (x_hat + 1e-8).log() + (1 - x) * (1 - x_hat + 1e-8).log()).sum(1)
        ),
        {},
        "too small beside the other term for its weight to be seen",
    ),
    "E1 in float32": (
        lambda logits, x, mu, logvar: (
            bce(logits.float(), x.float()).sum() + rate(mu, logvar).sum().float() / mu.shape[1]
        ),
        {"x": (16, 784), "mu": (16, 20)},
        "",
    ),
    "a beta that is no power of J": (
        lambda logits, x, mu, logvar: (bce(logits, x) + rate(mu, logvar) / (mu.shape[1] + 1)).mean(),
        {},
        "it changes with J, and not as a power",
    ),
    "free bits above every rate, alone": (lambda mu, logvar: rate(mu, logvar).clamp_min(80.0), {}, "it is 0 x rate"),
    "nothing of a rate": (lambda mu, logvar: 0 * (mu + logvar).sum(), {}, "it is 0 x rate"),
    "nothing of a likelihood": (lambda x_hat, x: 0 * (x_hat + x).sum(), {}, "it is 0 x the sum over pixels"),
    "nothing of a density": (lambda z: 0 * z.sum(1), {}, "it is 0 x log-density"),
    "nothing of a bound": (lambda log_w: 0 * log_w.sum(0), {}, "it is 0 x"),
    "the terms, not their sum": (
        lambda logits, x, mu, logvar: (bce(logits, x).mean(), rate(mu, logvar).mean()),
        {},
        "judged: its first result of 2",
    ),
}


def sampled_rate(mu, sigma):
    q = td.Normal(mu, sigma)
    z = q.rsample()
    return q.log_prob(z) - td.Normal(0.0, 1.0).log_prob(z)


@pytest.mark.parametrize("name", SAID)
def test_what_is_not_known_is_neither_right_nor_wrong(name):
    function, given, phrase = SAID[name]
    found = audit(function, **given)
    assert (found.right, found.number) == (None, ""), str(found)
    assert phrase in str(found)


def test_numbers_have_no_gradient_and_it_is_said():
    for function in (lambda mu, logvar: rate(mu, logvar).sum().item(), RIGHT["in numpy"][0]):
        assert "it has no gradient" in audit(function).evidence[-1]
    found = audit(lambda mu, logvar: (rate(mu, logvar), mu, logvar))
    assert found.right
    assert found.evidence[-1] == "judged: its first result of 3"


class Loss(nn.Module):
    """A loss as a module."""

    def forward(self, recon_x, x, mu, logvar):
        return F.binary_cross_entropy(recon_x, x, reduction="sum") + rate(mu, logvar).sum()


def test_a_module_is_audited_as_it_is_called():
    assert "minus the ELBO, summed over the batch" in audit(Loss()).verdict
    with pytest.raises(ValueError, match="Loss is a class: give an instance"):
        audit(Loss)


def raising(error):
    def function(mu, logvar):
        raise error

    return function


REFUSED = {
    "two for x": (
        lambda x, target, mu, logvar: bce(x, target) + rate(mu, logvar),
        {},
        "'x' and 'target', which are both",
    ),
    "two for mu": (lambda mean, mu, logvar: rate(mean, logvar), {}, "'mean' and 'mu', which are both read as mu"),
    "a name that is mistyped": (
        lambda logits, x, mu, logvar, weight=1.0: (bce(logits, x) + weight * rate(mu, logvar)).mean(),
        {"wieght": 4.0},
        "wieght=4.0: the function does not take it; it takes logits, x, mu, logvar, weight",
    ),
    "a name of nothing": (rate, {"mu": "loc"}, "mu='loc': the function does not take it"),
    "a number for a shape": (
        lambda x, logits: bce(logits, x),
        {"x": 5},
        r"x is 5: expected a tensor or its shape, \(B, D\)",
    ),
    "no size": (lambda x, logits: bce(logits, x), {"x": (0, 5)}, r"x is \(0, 5\): expected"),
    "no results": (lambda mu, logvar: {}, {}, r"returned \{\}: expected a number or a tensor"),
    "nothing": (lambda mu, logvar: None, {}, "returned NoneType: expected a number or a tensor"),
    "*args": (lambda *args: rate(*args[:2]), {}, r"takes \*args: wrap it in a lambda"),
    "batches beside others": (
        lambda mu, logvar, batches: rate(mu, logvar).mean() / batches,
        {},
        "takes 'batches' beside 'mu', 'logvar': give its value",
    ),
    "a layer in float32": (lambda mu, logvar: nn.Linear(3, 1)(mu), {}, r"what is drawn is float64: .*double\(\)"),
    "values that are finite at first": (
        lambda mu, logvar: rate(mu, logvar).mean() / (mu[0, 0] > 0.4).double(),
        {},
        "values that are not finite on some drawn inputs",
    ),
    **{
        type(error).__name__: (raising(error), {}, f"fails on mu .*: {type(error).__name__}: ")
        for error in (
            KeyError("M_N"),
            AssertionError(),
            NameError("x"),
            ZeroDivisionError(),
            ValueError(),
            StopIteration(),
        )
    },
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_judged_is_refused_in_words(name):
    function, given, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        audit(function, **given)


class Model(nn.Module):
    """A small VAE with an error to choose."""

    def __init__(self, error: str = ""):
        super().__init__()
        self.error, self.inner, self.outer = error, nn.Linear(12, 6), nn.Linear(3, 12)

    def encode(self, x):
        return self.inner(x.view(-1, 12)).chunk(2, 1)

    def decode(self, z):
        return torch.sigmoid(self.outer(z))

    def loss(self, x, weight=1.0):
        mu, spread = self.encode(x)
        sigma = spread.exp() if self.error.startswith(("E24", "log sigma")) else (spread / 2).exp()
        z = mu if self.error == "E11a" else mu + sigma * torch.randn_like(mu)
        z = z.detach() if self.error.endswith("z detached") else z
        kl = {"E1": rate(mu, spread) / 3, "log sigma": rate(mu, 2 * spread)}.get(
            self.error.partition(",")[0], rate(mu, spread)
        )
        if self.error == "one draw":
            kl = (td.Normal(mu, sigma).log_prob(z) - td.Normal(0.0, 1.0).log_prob(z)).sum(1)
        if self.error == "score left out":
            kl = (td.Normal(mu.detach(), sigma.detach()).log_prob(z) - td.Normal(0.0, 1.0).log_prob(z)).sum(1)
        kl = kl.detach() if self.error == "rate detached" else kl
        out = self.decode(z)
        return (F.binary_cross_entropy(out, x.view(-1, 12), reduction="none").sum(1) + weight * kl).mean()


DATA = torch.linspace(0, 1, 60).view(5, 12).round()


@pytest.mark.slow
@pytest.mark.parametrize("error", ["", "log sigma", "one draw", "score left out", "E24", "E11a", "E1"])
def test_a_whole_model_is_called_as_it_is(error):
    model = Model(error)
    before = dict(model.__dict__)
    found = audit(model.loss, x=DATA, encode=model.encode, decode=model.decode)
    assert model.__dict__ == before
    if error.startswith("E"):
        assert found.number == error
    else:
        assert found.right, str(found)
    assert audit(model.loss, x=DATA, encode=model.encode, decode=model.decode, weight=0.0).right is False
    if error == "E11a":
        assert audit(model.eval().loss, x=DATA, encode=model.encode, decode=model.decode).number == "E11b"


@pytest.mark.parametrize(
    ("error", "phrase"),
    [
        ("z detached", "in z no gradient reaches"),
        ("log sigma, z detached", "in z no gradient reaches"),
        ("rate detached", "something is detached"),
    ],
)
def test_a_whole_model_that_is_detached(error, phrase):
    model = Model(error)
    found = audit(model.loss, x=DATA, encode=model.encode, decode=model.decode)
    assert found.right is None, str(found)
    assert f"value right, gradient not: {'minus' if error.endswith('z detached') else 'its'}" in found.verdict
    assert phrase in found.verdict


def test_a_whole_model_that_cannot_be_called_is_refused_in_words():
    model = Model()
    asked = {"x": DATA, "encode": model.encode, "decode": model.decode}
    refused = [
        ({"x": DATA.to(torch.uint8)}, r"encode fails on \(5, 12\) uint8: "),
        ({"foo": 3}, "foo=3: the function does not take it; it takes x, weight"),
        ({"decode": lambda z: (z, z)}, "decode returned tuple: wrap it"),
        ({"encode": lambda x: ("a", "b")}, "encode returned no pair of tensors"),
    ]
    for changed, message in refused:
        with pytest.raises(ValueError, match=message):
            audit(model.loss, **asked | changed)


def test_a_model_of_modules_or_of_functions_that_are_handed_in():
    encoder, decoder = nn.Linear(12, 3), nn.Linear(3, 12)

    def loss(x, encode, decode):
        mu, logvar = encode(x)
        return bce(decode(mu + (logvar / 2).exp() * torch.randn_like(mu)), x) + rate(mu, logvar)

    def both(x):
        return encoder(x), encoder(x)

    assert audit(loss, x=DATA, encode=both, decode=decoder).right

    def fixed(x):
        mu, logvar = both(x)
        return bce(decoder(mu + (logvar / 2).exp() * torch.randn_like(mu)), x) + rate(mu, logvar)

    with pytest.raises(ValueError, match="encode is a plain function: expected a method or a module, or a loss with"):
        audit(fixed, x=DATA, encode=both, decode=decoder)
    with pytest.raises(ValueError, match="encode returned no pair"):
        audit(fixed, x=DATA, encode=encoder, decode=decoder)
    with pytest.raises(ValueError, match="a model is audited with a tensor of data"):
        audit(fixed, x=(5, 12), encode=both, decode=decoder)


def test_nothing_is_drawn_from_the_users_random_numbers():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    audit(lambda mu, logvar: mu + (logvar / 2).exp() * torch.randn_like(mu))
    model = Model()
    torch.manual_seed(0)
    audit(model.loss, x=DATA, encode=model.encode, decode=model.decode)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("value", "powers", "words"),
    [
        (1.0, {}, "1"),
        (-1 / 6, {"B": -1}, "-1/B"),
        (1 / 60, {"B": -1, "D": -1}, "1/(B D)"),
        (78.4, {"D": -1}, "784/D"),
        (10 / 8000, {"D": 1}, "D/8000"),
        (0.25, {}, "1/4"),
        (2.5, {}, "2.5"),
        (600.0, {"D": 2, "B": 1}, "B D^2"),
    ],
)
def test_factors_are_written_as_fractions(value, powers, words):
    assert str(Factor(value, dict.fromkeys("BJDK", 0) | powers, {"B": 6, "J": 3, "D": 10, "K": 4})) == words


def test_the_verdict_has_the_mistakes_conditions_and_a_source():
    found = audit(WRONG["E5a: PyTorch-VAE lvae.py"][0])
    assert "wrong where: sigma other than 1" in str(found)
    assert "seen: AntixK/PyTorch-VAE models/lvae.py line 193 (code read)" in str(found)
    assert found._repr_markdown_().startswith("**wrong: this is E5a")
    assert vl.audit(rate).right


def test_from_the_shell(tmp_path, capsys):
    file = tmp_path / "losses.py"
    file.write_text(
        "def kl(mu, logvar):\n    return 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum()\n\n"
        "def mean(mu, logvar):\n    return kl(mu, logvar) / mu.numel()\n\n"
        "def nll(batches):\n    return -sum(b.sum() for b in batches) / sum(map(len, batches))\n"
    )
    assert main(["audit", f"{file}:kl"]) == 0
    assert capsys.readouterr().out.startswith("right: the rate, the KL divergence to N(0, I), summed over the batch\n")
    assert main(["audit", f"{file}:mean", "--latents", "20"]) == 3
    assert "beta is 0.05" in capsys.readouterr().out
    assert main(["audit", f"{file}:nll", "--latents", "20"]) == 0
    assert "each example counts once" in capsys.readouterr().out
    assert main(["audit", f"{file}:absent"]) == 1
    assert "has no function 'absent'" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"expected FILE.py:function, with a file that exists"):
        from_file(str(tmp_path / "no.py:kl"))


def test_a_file_may_be_as_other_programs_are(tmp_path):
    """It imports its neighbour, and has dataclasses whose annotations are text."""
    (tmp_path / "neighbour.py").write_text("def halved(x):\n    return x / 2\n")
    text = "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom neighbour import halved\n"
    text += "@dataclass\nclass Weight:\n    beta: float = 1.0\n"
    text += "def kl(mu, logvar):\n    return Weight().beta * halved((mu**2 + logvar.exp() - logvar - 1).sum(1))\n"
    (tmp_path / "losses.py").write_text(text)
    assert audit(from_file(f"{tmp_path}/losses.py:kl")).right


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "x = 1\nimport nobody_has_this\n",
            "losses.py, line 2: ModuleNotFoundError: No module named 'nobody_has_this'",
        ),
        ("x = 1 / 0\n", "losses.py, line 1: ZeroDivisionError: division by zero"),
        ("def kl(mu:\n", "losses.py: SyntaxError: "),
        ("def f():\n    raise KeyError('a')\n\nf()\n", "losses.py, line 2: KeyError: 'a'"),
    ],
)
def test_a_file_that_ends_in_an_error_is_one_line(text, says, tmp_path):
    (tmp_path / "losses.py").write_text(text)
    with pytest.raises(ValueError, match=re.escape(says)):
        from_file(f"{tmp_path}/losses.py:kl")


def test_the_example_in_the_readme():
    readme = (run.ROOT / "README.md").read_text()
    (example,) = re.findall(r"```pycon\n(.*?)```", readme, re.DOTALL)
    test = doctest.DocTestParser().get_doctest(example, {}, "README", None, 0)
    assert len(test.examples) >= 3
    result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test)
    assert result.failed == 0
