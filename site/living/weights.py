"""What the pictures of trained models need of them, as numbers that fit into a script: halves and bits in base64."""

import base64
import functools
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor, nn

import vaelib as vl
from vaelib.checking.mistakes import MISTAKES

from . import twins

DIGITS = ("a zero", "a one", "a two", "a three", "a four", "a five", "a six", "a seven", "an eight", "a nine")
POINTS = 500  # codes of test images on the map
REACH = 4.5  # the map's half-width; the prior has 1e-5 beyond it
NODES = 181  # along each side of the grid on which a window is looked for
SIDE = 121  # nodes along each side of a window


def halves(values: Tensor) -> str:
    """Numbers in half precision, as `numbers.js` reads them."""
    return base64.b64encode(values.detach().half().contiguous().numpy().astype("<f2").tobytes()).decode()


def bits(image: Tensor) -> str:
    """An image of zeros and ones."""
    return base64.b64encode(np.packbits(image.flatten().to(torch.uint8).numpy()).tobytes()).decode()


def layers(conditional: Any) -> list[dict[str, str]]:
    """The linear layers of a conditional with tanh between them; its heads become one layer, one after the other."""
    linear = [layer for layer in conditional.body if isinstance(layer, nn.Linear)]
    if len(conditional.body) != 2 * len(linear) or not isinstance(conditional.body[1], nn.Tanh):
        raise ValueError(f"the network is {conditional.body}: expected linear layers, each followed by tanh")
    pairs = [(layer.weight, layer.bias) for layer in linear]
    pairs.append((torch.cat([h.weight for h in conditional.heads]), torch.cat([h.bias for h in conditional.heads])))
    return [{"weight": halves(weight), "bias": halves(bias)} for weight, bias in pairs]


@functools.cache
def test_images() -> tuple[Tensor, Tensor, Tensor]:
    """The first test image of each digit, (10, 1, 28, 28), the first POINTS of all, and the labels of these."""
    test = vl.load("mnist").test
    binary = torch.bernoulli(test.images[:POINTS], generator=torch.Generator().manual_seed(0))
    labels = test.labels[:POINTS]
    first = [int((labels == digit).nonzero()[0]) for digit in range(10)]
    return binary[first], binary, labels


@torch.no_grad()
def latent_map() -> dict[str, Any]:
    """The plane of "mnist-2d": its decoder, codes of test images, and ten images, each with q(z|x) and its posterior.

    The posterior is log p(x, z) on the nodes of a window, row by row from the top, less its largest value; the sum over
    the nodes is log p(x), `evidence`.
    """
    model = vl.pretrained("mnist-2d")
    shown, many, labels = test_images()
    q = model.posterior(shown)
    images = []
    for i, (centre, reach) in enumerate(zip(*windows(model, shown), strict=True)):
        joint, evidence = on_window(model, shown[i], centre, reach)
        images.append(
            {
                "name": DIGITS[i],
                "pixels": bits(shown[i]),
                "mean": q.mean[i].tolist(),
                "sd": q.stddev[i].tolist(),
                "centre": centre.tolist(),
                "reach": reach.item(),
                "joint": halves(joint - joint.max()),
                "evidence": evidence,
            }
        )
    codes = model.posterior(many).mean
    return {
        "decoder": layers(model.decoders[0]),
        "codes": halves(codes),
        "labels": "".join(map(str, labels.tolist())),
        "images": images,
    }


def on_window(model: vl.VAE, x: Tensor, centre: Tensor, reach: Tensor, side: int = SIDE) -> tuple[Tensor, float]:
    """log p(x, z) on the nodes of a window, row by row from the top, (side^2,), and log p(x), by their sum."""
    line = torch.linspace(-1, 1, side) * reach
    up, right = torch.meshgrid(centre[1] + line.flip(0), centre[0] + line, indexing="ij")
    z = torch.stack([right.flatten(), up.flatten()], 1)
    log_px, log_pz = model.log_joint(x[None], [z[:, None]])
    joint = (log_px + log_pz).double().flatten()
    return joint, torch.logsumexp(joint, 0).item() + 2 * math.log(line[1] - line[0])


def windows(model: vl.VAE, x: Tensor) -> tuple[Tensor, Tensor]:
    """For each image the square of the plane that has its posterior and q(z|x): centres (B, 2), half-widths (B,)."""
    line = torch.linspace(-REACH, REACH, NODES)
    grid = torch.cartesian_prod(line, line)  # (NODES^2, 2)
    logits = model.decode(grid).base_dist.logits.flatten(1)
    log_joint = x.flatten(1) @ logits.T - nn.functional.softplus(logits).sum(1) - grid.square().sum(1) / 2
    seen = log_joint > log_joint.amax(1, keepdim=True) - 12  # all but some 1e-5 of a Gaussian
    q = model.posterior(x)
    step = line[1] - line[0]
    low = torch.stack([grid[row].amin(0) for row in seen]) - step
    high = torch.stack([grid[row].amax(0) for row in seen]) + step
    low, high = torch.minimum(low, q.mean - 4 * q.stddev), torch.maximum(high, q.mean + 4 * q.stddev)
    return (low + high) / 2, (high - low).amax(1) / 2


@torch.no_grad()
def levels() -> dict[str, Any]:
    """The chain "mnist-two-level": its decoders, the encoder of z_2, and ten images with a draw of z_1 and z_2 each."""
    model = vl.pretrained("mnist-two-level")
    shown, _, _ = test_images()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        below, above = (z[0] for z in model.encode(shown))
    images = [
        {"name": name, "pixels": bits(x), "below": halves(a), "above": halves(b)}
        for name, x, a, b in zip(DIGITS, shown, below, above, strict=True)
    ]
    return {
        "decoder": layers(model.decoders[0]),  # p(x | z_1)
        "prior": layers(model.decoders[1]),  # p(z_1 | z_2)
        "encoder": layers(model.encoders[1]),  # q(z_2 | z_1)
        "images": images,
    }


def twin_trainings() -> dict[str, Any]:
    """The four trainings that `twins` has kept."""
    with safe_open(twins.FILE, "pt") as file:
        judged = json.loads(file.metadata()["twins"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    trainings = [
        {
            "number": number,
            "name": MISTAKES[number].name if number in MISTAKES else "the right formula",
            "decoder": [
                {"weight": halves(tensors[f"{number}.{part}.weight"]), "bias": halves(tensors[f"{number}.{part}.bias"])}
                for part in ("body.0", "heads.0")
            ],
            "means": halves(tensors[f"{number}.mean"]),
            "sds": halves(tensors[f"{number}.sd"]),
        }
        | judged[number]
        for number in twins.FORMULAS
    ]
    return {"images": [bits(image) for image in tensors["images"]], "trainings": trainings}


DATA: dict[str, Callable[[], dict[str, Any]]] = {
    "latent-map": latent_map,
    "levels": levels,
    "twins": twin_trainings,
}


def script(name: str) -> str:
    """The data of one picture, as a script that leaves them where `main.js` looks."""
    return f'(window.livingData ||= {{}})["{name}"] = {json.dumps(DATA[name]())};\n'
