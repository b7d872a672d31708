"""The workloads of `speed.py` in other libraries, written as their own tutorials write them.

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
    peers = {"NumPyro, jitted epoch": ("numpyro", numpyro_epochs), "Pyro": ("pyro", pyro_epochs)}
    peers["pythae"] = ("pythae", pythae_epochs)
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
    data = jnp.asarray(images.numpy())
    state = svi.init(jax.random.PRNGKey(0), jnp.zeros((batch, 784)))

    @jax.jit
    def whole_epoch(state: Any, key: Any) -> tuple[Any, Any]:
        order_key, noise_key = jax.random.split(key)
        batches = jax.random.permutation(order_key, len(data)).reshape(-1, batch)

        def step(state: Any, job: Any) -> tuple[Any, Any]:
            index, key = job
            x = jax.random.bernoulli(key, data[index]).astype(jnp.float32)
            return svi.update(state, x)

        return jax.lax.scan(step, state, (batches, jax.random.split(noise_key, len(batches))))

    count = 0

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
