"""What the pictures of trained models need of them, as numbers that fit into a script: halves and bits in base64."""

import base64
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from vaelib.checking.mistakes import MISTAKES

from . import twins


def halves(values: Tensor) -> str:
    """Numbers in half precision, as `numbers.js` reads them."""
    return base64.b64encode(values.detach().half().contiguous().numpy().astype("<f2").tobytes()).decode()


def bits(image: Tensor) -> str:
    """An image of zeros and ones."""
    return base64.b64encode(np.packbits(image.flatten().to(torch.uint8).numpy()).tobytes()).decode()


def twin_trainings() -> dict[str, Any]:
    """The four trainings that `twins` has kept."""
    with safe_open(twins.FILE, "pt") as file:
        judged = json.loads(file.metadata()["twins"])
        kept = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    trainings = [
        {
            "number": number,
            "name": MISTAKES[number].name if number in MISTAKES else "the right formula",
            "decoder": [
                {"weight": halves(kept[f"{number}.{part}.weight"]), "bias": halves(kept[f"{number}.{part}.bias"])}
                for part in ("body.0", "heads.0")
            ],
            "means": halves(kept[f"{number}.mean"]),
            "sds": halves(kept[f"{number}.sd"]),
        }
        | judged[number]
        for number in twins.FORMULAS
    ]
    return {"images": [bits(image) for image in kept["images"]], "trainings": trainings}


DATA: dict[str, Callable[[], dict[str, Any]]] = {
    "twins": twin_trainings,
}


def script(name: str) -> str:
    """The data of one picture, as a script that leaves them where `main.js` looks."""
    return f'(window.livingData ||= {{}})["{name}"] = {json.dumps(DATA[name]())};\n'
