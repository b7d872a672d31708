"""Packs trained rows of the reproduction table as the models that come with `vaelib`, and writes their cards.

    python benchmarks/reproduce.py mhvae-2
    python benchmarks/pretrain.py mnist-two-level    the models of these names; without: all

The weights become float16. What that costs is measured: the NLL of 1,000 test images before and after, by the same 500
importance samples. Writes vaelib/weights/NAME.safetensors and vaelib/weights/MODEL_CARDS.md.
"""

import hashlib
import json
import sys
from pathlib import Path

import torch
from reproduce import BINARISED, KEPT, RESULTS, rows
from reproduce import SAMPLES as PUBLISHED

import vaelib as vl
from vaelib.weights import MODELS, pretrained

WEIGHTS = Path(vl.__file__).parent / "weights"
ROWS = {
    "mnist-2d": "vae-2d",
    "mnist-flat": "vae-1",
    "mnist-two-level": "mhvae-2",
    "mnist-chain": "chain",
    "cave": "cave",
}
IMAGES, SAMPLES = 1000, 500
HEAD = """# The models that come with vaelib

`vl.pretrained(name)` gives them. They are small and of one seed each: for pictures, exercises and comparisons, not for
any decision about anybody. They know 28 x 28 binary images like those they were trained on and no others; their samples
copy the habits of that data. Of the data, see `vaelib/data/DATA_CARD.md`.

Figures are of the test images, binarised from the seed {binarised}: nats per image, {k:,} importance samples, which
are on average too high (for `mnist-2d`, whose encoder misses some posteriors, by some nats). `float16` is what keeping
half of the digits costs: the difference in NLL on {images:,} test images, by the same {samples} importance samples.
"""
CARD = """## {name}

{title}: latents {latents}, hidden layers {hidden}, {weights:,} weights.

| | |
|---|---|
| data | {data}, its training and validation images, binarised anew in every batch |
| command | `{command}`, seed {seed} |
| NLL, -ELBO | {nll:.2f} ± {stderr:.2f} (over the images), {elbo:.2f} |
| float16 | {cost:+.4f} nats |
| file | {size:,} bytes, SHA-256 `{digest}` |
"""


def pack(name: str) -> str:
    """Writes the model's file, and gives its card."""
    row_name = ROWS[name]
    row = rows()[row_name]
    record = next(
        record for record in json.loads((RESULTS / "reproduction.json").read_text()) if record["row"] == row_name
    )
    run = record["runs"][0]
    last = KEPT / f"{row_name}-{run['seed']}" / f"stage-{len(row.stages)}" / "last.safetensors"
    trained = vl.load_model(last, into=row.build(0, torch.zeros(1, 1, 28, 28)))
    model = MODELS[name]().eval()
    model.load_state_dict(trained.state_dict())
    grey = vl.load(row.data).test.images
    chosen = torch.randperm(len(grey), generator=torch.Generator().manual_seed(1))[:IMAGES]
    x = torch.bernoulli(grey[chosen], generator=torch.Generator().manual_seed(BINARISED))
    before = vl.nll(model, x, samples=SAMPLES)
    path = WEIGHTS / f"{name}.safetensors"
    vl.save(model.half(), path)
    after = vl.nll(pretrained(name), x, samples=SAMPLES)
    return CARD.format(
        name=name,
        title=row.title,
        latents=row.latents,
        hidden=row.hidden,
        weights=run["weights"],
        data=row.data,
        command=record["command"],
        seed=run["seed"],
        nll=run["nll"],
        stderr=run["stderr"],
        elbo=-run["elbo"],
        cost=after.mean - before.mean,
        size=path.stat().st_size,
        digest=hashlib.sha256(path.read_bytes()).hexdigest(),
    )


def main(names: list[str]) -> None:
    page = WEIGHTS / "MODEL_CARDS.md"
    _, *there = page.read_text(encoding="utf-8").split("\n## ") if page.exists() else ("",)
    cards = {card.partition("\n")[0]: f"## {card}" for card in there}
    cards |= {name: pack(name) for name in names or MODELS}
    head = HEAD.format(binarised=BINARISED, k=PUBLISHED, images=IMAGES, samples=SAMPLES)
    page.write_text("\n".join([head, *(cards[name].strip() + "\n" for name in MODELS)]), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
