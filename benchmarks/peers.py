"""The workloads of `speed.py` in other libraries, written as their own tutorials write them, and in plain JAX.

Each contender takes the images (N, 784), the batch size and the number of levels, and returns a function which trains
one epoch and gives its seconds and its mean loss (-ELBO, nats per image). One whose package is missing is left out.
"""

import importlib.util
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

Epoch = Callable[[], tuple[float, float]]

# The layers: (inputs, hidden, outputs) of the encoders from x upwards, of the decoders likewise.
WIDTHS = {1: [(784, 200, 50)], 2: [(784, 200, 100), (100, 100, 50)]}


def available() -> dict[str, Callable[[Tensor, int, int], Epoch]]:
    """The contenders whose package is here."""
    peers = {"NumPyro, jitted epoch": ("numpyro", numpyro_epochs), "JAX by hand, jitted epoch": ("jax", jax_epochs)}
    peers |= {"Pyro": ("pyro", pyro_epochs), "pythae": ("pythae", pythae_epochs)}
    return {name: make for name, (package, make) in peers.items() if importlib.util.find_spec(package)}


class Net(nn.Module):
    """Two tanh layers and one linear head for each parameter."""

    def __init__(self, inputs: int, hidden: int, outputs: int, heads: int):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh())
        self.heads = nn.ModuleList(nn.Linear(hidden, outputs) for _ in range(heads))

    def forward(self, inputs: Tensor) -> list[Tensor]:
        features = self.body(inputs)
        return [head(features) for head in self.heads]


def pyro_epochs(images: Tensor, batch: int, levels: int) -> Epoch:
    import pyro
    import pyro.distributions as dist
    from pyro.infer import SVI, TraceMeanField_ELBO
    from pyro.optim import Adam

    pyro.clear_param_store()
    pyro.enable_validation(False)
    encoders = nn.ModuleList(Net(a, h, b, 2) for a, h, b in WIDTHS[levels])
    decoders = nn.ModuleList(Net(b, h, a, 2 if t else 1) for t, (a, h, b) in enumerate(WIDTHS[levels]))

    def model(x: Tensor) -> None:
        pyro.module("decoders", decoders)
        with pyro.plate("data", len(x)):
            zeros = x.new_zeros(len(x), WIDTHS[levels][-1][2])
            z = pyro.sample(f"z{levels}", dist.Normal(zeros, torch.ones_like(zeros)).to_event(1))
            for level in range(levels - 1, 0, -1):
                mean, log_scale = decoders[level](z)
                z = pyro.sample(f"z{level}", dist.Normal(mean, log_scale.exp()).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=decoders[0](z)[0]).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        pyro.module("encoders", encoders)
        with pyro.plate("data", len(x)):
            below = x
            for level, encoder in enumerate(encoders, start=1):
                mean, log_scale = encoder(below)
                below = pyro.sample(f"z{level}", dist.Normal(mean, log_scale.exp()).to_event(1))

    # Levels below the top have no closed form under the joint posterior, but this estimator takes it all the same
    # where it can; with one level it is exact.
    svi = SVI(model, guide, Adam({"lr": 1e-3}), TraceMeanField_ELBO() if levels == 1 else pyro.infer.Trace_ELBO())

    def epoch() -> tuple[float, float]:
        start, loss = time.perf_counter(), 0.0
        for index in torch.randperm(len(images)).split(batch):
            loss += svi.step(torch.bernoulli(images[index]))
        return time.perf_counter() - start, loss / len(images)

    return epoch


def numpyro_epochs(images: Tensor, batch: int, levels: int) -> Epoch:
    import jax
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist
    from numpyro.infer import SVI, Trace_ELBO, TraceMeanField_ELBO
    from numpyro.optim import Adam

    def net(name: str, inputs: int, hidden: int, outputs: int, heads: int) -> Callable[[Any], list[Any]]:
        def dense(part: str, a: int, b: int) -> Callable[[Any], Any]:
            bound = a**-0.5
            draw = lambda shape: lambda key: jax.random.uniform(key, shape, minval=-bound, maxval=bound)  # noqa: E731
            weight = numpyro.param(f"{name}.{part}.w", draw((a, b)))
            bias = numpyro.param(f"{name}.{part}.b", draw((b,)))
            return lambda x: x @ weight + bias

        first, second = dense("0", inputs, hidden), dense("1", hidden, hidden)
        last = [dense(f"head{i}", hidden, outputs) for i in range(heads)]

        def forward(x: Any) -> list[Any]:
            features = jnp.tanh(second(jnp.tanh(first(x))))
            return [head(features) for head in last]

        return forward

    def model(x: Any) -> None:
        nets = [net(f"d{t}", b, h, a, 2 if t else 1) for t, (a, h, b) in enumerate(WIDTHS[levels])]
        with numpyro.plate("data", batch):
            zeros = jnp.zeros((batch, WIDTHS[levels][-1][2]))
            z = numpyro.sample(f"z{levels}", dist.Normal(zeros, 1.0).to_event(1))
            for level in range(levels - 1, 0, -1):
                mean, log_scale = nets[level](z)
                z = numpyro.sample(f"z{level}", dist.Normal(mean, jnp.exp(log_scale)).to_event(1))
            numpyro.sample("x", dist.Bernoulli(logits=nets[0](z)[0]).to_event(1), obs=x)

    def guide(x: Any) -> None:
        nets = [net(f"e{t}", a, h, b, 2) for t, (a, h, b) in enumerate(WIDTHS[levels])]
        with numpyro.plate("data", batch):
            below = x
            for level, encoder in enumerate(nets, start=1):
                mean, log_scale = encoder(below)
                below = numpyro.sample(f"z{level}", dist.Normal(mean, jnp.exp(log_scale)).to_event(1))

    svi = SVI(model, guide, Adam(1e-3), TraceMeanField_ELBO() if levels == 1 else Trace_ELBO())
    return scanned(svi.update, svi.init(jax.random.PRNGKey(0), jnp.zeros((batch, 784))), images, batch)


def jax_epochs(images: Tensor, batch: int, levels: int) -> Epoch:
    """By hand: the loss of the bare loop, its gradient, and Adam over all weights."""
    import jax
    import jax.numpy as jnp

    keys = iter(jax.random.split(jax.random.PRNGKey(0), 200))

    def dense(a: int, b: int) -> tuple[Any, Any]:
        return tuple(
            jax.random.uniform(next(keys), shape, minval=-(a**-0.5), maxval=a**-0.5) for shape in ((a, b), (b,))
        )

    def net(inputs: int, hidden: int, outputs: int, heads: int) -> list[tuple[Any, Any]]:
        return [dense(inputs, hidden), dense(hidden, hidden), *(dense(hidden, outputs) for _ in range(heads))]

    def forward(layers: list[tuple[Any, Any]], x: Any) -> list[Any]:
        (w1, b1), (w2, b2), *heads = layers
        features = jnp.tanh(jnp.tanh(x @ w1 + b1) @ w2 + b2)
        return [features @ w + b for w, b in heads]

    weights = {
        "encoders": [net(a, h, b, 2) for a, h, b in WIDTHS[levels]],
        "decoders": [net(b, h, a, 2 if t else 1) for t, (a, h, b) in enumerate(WIDTHS[levels])],
    }

    def loss(weights: Any, x: Any, key: Any) -> Any:
        below, latents, total = x, [], 0.0
        for encoder, noise_key in zip(weights["encoders"], jax.random.split(key, levels), strict=True):
            mean, log_scale = forward(encoder, below)
            noise = jax.random.normal(noise_key, mean.shape)
            below = mean + jnp.exp(log_scale) * noise
            latents.append((mean, log_scale, noise, below))
        for level, decoder in enumerate(weights["decoders"][1:]):
            mean, log_scale = forward(decoder, latents[level + 1][3])
            _, own_scale, noise, z = latents[level]
            total += jnp.sum(0.5 * ((z - mean) / jnp.exp(log_scale)) ** 2 + log_scale - 0.5 * noise**2 - own_scale)
        mean, log_scale, _, _ = latents[-1]
        total += 0.5 * jnp.sum(mean**2 + jnp.exp(2 * log_scale) - 1 - 2 * log_scale)
        (logits,) = forward(weights["decoders"][0], latents[0][3])
        return total + jnp.sum(jax.nn.softplus(logits) - x * logits)

    def update(state: Any, x: Any) -> tuple[Any, Any]:
        weights, first, second, t, key = state
        key, noise_key = jax.random.split(key)
        value, slopes = jax.value_and_grad(lambda w: loss(w, x, noise_key) / batch)(weights)
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, slopes)
        second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, slopes)
        size, width = 1e-3 / (1 - 0.9**t), jnp.sqrt(1 - 0.999**t)
        weights = jax.tree.map(lambda w, m, v: w - size * m / (jnp.sqrt(v) / width + 1e-8), weights, first, second)
        return (weights, first, second, t + 1, key), value * batch

    zeros = jax.tree.map(jnp.zeros_like, weights)
    return scanned(update, (weights, zeros, zeros, jnp.array(1.0), next(keys)), images, batch)


def scanned(update: Callable[[Any, Any], tuple[Any, Any]], state: Any, images: Tensor, batch: int) -> Epoch:
    """A whole epoch of JAX as one compiled program; update: (state, x) to the next state and the loss of the batch."""
    import jax
    import jax.numpy as jnp

    data, count = jnp.asarray(images.numpy()), 0

    @jax.jit
    def whole_epoch(state: Any, key: Any) -> tuple[Any, Any]:
        order_key, noise_key = jax.random.split(key)
        batches = jax.random.permutation(order_key, len(data)).reshape(-1, batch)

        def step(state: Any, job: Any) -> tuple[Any, Any]:
            index, key = job
            return update(state, jax.random.bernoulli(key, data[index]).astype(jnp.float32))

        return jax.lax.scan(step, state, (batches, jax.random.split(noise_key, len(batches))))

    def epoch() -> tuple[float, float]:
        nonlocal state, count
        count += 1
        start = time.perf_counter()
        state, losses = whole_epoch(state, jax.random.PRNGKey(count))
        loss = float(losses.sum()) / len(images)  # waits for the result
        return time.perf_counter() - start, loss

    return epoch


def pythae_epochs(images: Tensor, batch: int, levels: int) -> Epoch | None:
    """Its VAE over its own DataLoader, without its trainer's logs and checkpoints; it has no Markov hierarchy."""
    if levels > 1:
        return None
    from pythae.data.datasets import BaseDataset, DatasetOutput
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    class Binarised(BaseDataset):
        def __getitem__(self, index: int) -> Any:
            return DatasetOutput(data=torch.bernoulli(self.data[index]), labels=self.labels[index])

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.net = Net(784, 200, 50, 2)

        def forward(self, x: Tensor) -> Any:
            mean, log_covariance = self.net(x.flatten(1))
            return ModelOutput(embedding=mean, log_covariance=log_covariance)

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.net = Net(50, 200, 784, 1)

        def forward(self, z: Tensor) -> Any:
            return ModelOutput(reconstruction=self.net(z)[0].sigmoid().view(-1, 1, 28, 28))

    config = VAEConfig(input_dim=(1, 28, 28), latent_dim=50, reconstruction_loss="bce")
    model = VAE(config, encoder=Encoder(), decoder=Decoder())
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    data = Binarised(images.view(-1, 1, 28, 28), torch.zeros(len(images)))
    loader = torch.utils.data.DataLoader(data, batch_size=batch, shuffle=True)

    def epoch() -> tuple[float, float]:
        start, loss = time.perf_counter(), 0.0
        for inputs in loader:
            output = model(inputs)
            optimizer.zero_grad()
            output.loss.backward()
            optimizer.step()
            loss += output.loss.item() * batch
        return time.perf_counter() - start, loss / len(images)

    return epoch
