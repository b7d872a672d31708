import copy
import io
import json
import os
import pickle
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

import vaelib as vl
from vaelib.factories import factory, remake
from vaelib.training import saving


def model() -> vl.MHVAE:
    torch.manual_seed(0)
    return vl.MHVAE.mlp((1, 4, 4), latents=(3, 2), hidden=((8,), (5,)))


def small(**options) -> vl.VAE:
    torch.manual_seed(0)
    return vl.VAE.mlp(6, 2, (8,), "gaussian", **options)


def same(a: nn.Module, b: nn.Module) -> bool:
    """All tensors of both models are equal, bit for bit, and so is what is not a tensor."""
    (left, x), (right, y) = saving.state_of(a), saving.state_of(b)
    equal = all(torch.equal(left[name], right[name]) and left[name].dtype == right[name].dtype for name in left)
    return left.keys() == right.keys() and equal and x["description"] == y["description"]


# --- What a factory made comes back by itself -------------------------------------------------------------------------

MADE = {
    "VAE": lambda: vl.VAE.mlp(16, 3, (8,), likelihood="categorical"),
    "activation": lambda: vl.VAE.mlp(16, 3, (8,), activation=nn.ReLU, norm="batch"),
    "mean": lambda: vl.VAE.mlp((1, 4, 4), 3, (8,), "bernoulli", torch.rand(1, 4, 4)),
    "convolutions": lambda: vl.VAE.conv((1, 4, 4), 3, channels=(4, 5), likelihood="discretised_logistic"),
    "MHVAE": model,
    "HVAE": lambda: vl.HVAE.mlp((1, 4, 4), (3, 2), ((8,), (5,)), "gaussian", gated=True, norm="layer"),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("make", MADE.values(), ids=MADE.keys())
def test_what_a_factory_made_comes_back_as_it_was(make, dtype, tmp_path):
    torch.manual_seed(0)
    saved = make().to(dtype)
    vl.save(saved, tmp_path / "m.safetensors")
    loaded = vl.load_model(tmp_path / "m.safetensors")
    assert type(loaded) is type(saved)
    assert repr(loaded) == repr(saved)
    assert not loaded.training
    assert same(saved, loaded)
    assert os.listdir(tmp_path) == ["m.safetensors"]


def test_a_model_cast_in_part_comes_back_in_both_dtypes(tmp_path):
    saved = small()
    saved.decoders[0].heads[0].double()
    vl.save(saved, tmp_path / "m")
    loaded = vl.load_model(tmp_path / "m")
    assert loaded.decoders[0].heads[0].weight.dtype == torch.float64
    assert loaded.encoders[0].heads[0].weight.dtype == torch.float32
    assert same(saved, loaded)


def test_loading_depends_on_no_default_and_draws_no_random_number_of_the_caller(tmp_path):
    vl.save(saved := small(), tmp_path / "m")
    before = torch.get_rng_state()
    try:
        torch.set_default_dtype(torch.float64)
        with torch.device("meta"):
            loaded = vl.load_model(tmp_path / "m")
    finally:
        torch.set_default_dtype(torch.float32)
    assert same(saved, loaded)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_model_of_a_gpu_is_loaded_on_the_cpu_and_back(tmp_path):
    saved = small().cuda()
    saved.decoders[0].heads[1].weight = saved.decoders[0].heads[0].weight
    vl.save(saved, tmp_path / "m")
    into = copy.deepcopy(saved).cpu()
    nn.init.zeros_(into.decoders[0].heads[0].weight)
    loaded = vl.load_model(tmp_path / "m", into=into)
    assert next(loaded.parameters()).device.type == "cpu"
    assert same(loaded, saved.cpu())
    vl.save(loaded, tmp_path / "m")
    assert next(vl.load_model(tmp_path / "m", into=loaded.cuda()).parameters()).is_cuda


class Made:
    @classmethod
    @factory
    def of(cls, *args, **kwargs):
        made = nn.Module()
        made.args, made.kwargs = args, kwargs
        return made


def test_a_factorys_call_is_plain_json_and_is_made_again():
    sizes = (1, np.float32(0.5), torch.tensor(4), np.array(5))
    made = Made.of(np.int64(3), sizes, torch.Size((2,)), torch.ones(2), activation=nn.SiLU, norm=None)
    call = json.loads(json.dumps(made.made_by))
    assert call["arguments"] == [3, [1, 0.5, 4, 5], [2], None]  # a tensor's values are in the weights by now
    again = remake(call, {"Made": Made})
    assert again.args == (3, [1, 0.5, 4, 5], [2], None)
    assert again.kwargs == {"activation": nn.SiLU, "norm": None}


class ReLU(nn.ReLU):
    """A user's own, with the name of torch's."""


@pytest.mark.parametrize("activation", [lambda: nn.LeakyReLU(0.3), ReLU], ids=["lambda", "subclass"])
def test_a_call_with_an_activation_of_ones_own_is_filled(activation, tmp_path):
    saved = small(activation=activation)
    assert saved.made_by is None
    vl.save(saved, tmp_path / "m")
    with pytest.raises(ValueError, match=r"pass load_model\(path, into=it\); no factory .* can make it again"):
        vl.load_model(tmp_path / "m")
    into = small(activation=activation)
    nn.init.zeros_(into.encoders[0].heads[0].weight)
    assert same(saved, vl.load_model(tmp_path / "m", into=into))
    assert same(saved, pickle.loads(pickle.dumps(saved)))  # which a lambda kept by the model would prevent


def test_a_file_calls_only_factories_of_vaelib_with_layers_of_torch(tmp_path):
    tensors, info = saving.state_of(model())
    for change, says in (
        ({"class": "Hierarchy"}, "vaelib has no factory Hierarchy.mlp"),
        ({"factory": "register_module"}, "vaelib has no factory MHVAE.register_module"),
        ({"options": {"activation": {"torch.nn": "Parameter"}}}, "torch has no layer named 'Parameter'"),
        ({"options": {"activation": {"torch.nn": "init"}}}, "torch has no layer named 'init'"),
        ({"options": {"activation": {}}}, "torch has no layer named None"),
        ({"options": {"colour": 3}}, "MHVAE.mlp does not give it back: .*colour"),
    ):
        changed = info | {"made_by": info["made_by"] | change}
        saving.write(tmp_path / "m", tensors, {"kind": "model", "model": changed})
        with pytest.raises(ValueError, match=says):
            vl.load_model(tmp_path / "m")


# --- What is loaded is what was saved, or an error --------------------------------------------------------------------


class Unused(nn.Sequential):
    """Layers that are kept and not called."""


class Mine(nn.Module):
    inputs, event = 6, (2,)

    def __init__(self, temperature=1.0, net=None):
        super().__init__()
        self.layer, self.net = nn.Linear(6, 2), net or nn.Identity()
        self._temperature = temperature

    def forward(self, x):
        warm = self._temperature if isinstance(self._temperature, float) else 1.0
        features = x.flatten(1) if isinstance(self.net, Unused) else self.net(x.flatten(1))
        return Independent(Normal(self.layer(features) * warm, 1.0), 1)


def mine(**options) -> vl.VAE:
    torch.manual_seed(1)
    return vl.VAE(Mine(**options), vl.Gaussian(2, 6, (8,), scale=1.0))


def test_a_model_made_by_hand_is_filled(tmp_path):
    vl.save(saved := mine(), tmp_path / "m")
    with pytest.raises(ValueError, match=r"m needs a model to fill: .* pass load_model\(path, into=it\)"):
        vl.load_model(tmp_path / "m")
    into = mine()
    nn.init.zeros_(into.encoders[0].layer.weight)
    loaded = vl.load_model(tmp_path / "m", into=into.train())
    assert loaded is into
    assert not loaded.training
    assert same(saved, loaded)
    with pytest.raises(ValueError, match="m does not fit the model: the saved model has"):
        vl.load_model(tmp_path / "m", into=model())


def exchange_activation(made):
    made.encoders[0].body[1] = nn.ReLU()


def exchange_likelihood(made):  # of the same shapes
    torch.manual_seed(0)
    made.decoders[0] = vl.ContinuousBernoulli(2, 6, (8,))


def exchange_prior(made):
    made.prior = Wide()


def own_gaussian(made):  # a subclass by the same name
    made.decoders[0].__class__ = type("Gaussian", (vl.Gaussian,), {"__module__": "mine"})


def patch_forward(made):
    made.encoders[0].body[1].forward = torch.relu


def change_norm(made):
    made.encoders[0].body[1].eps = 0.5


def change_scale(made):
    made.decoders[0].scale = 0.5


def add_head(made):
    made.decoders[0].heads.append(nn.Linear(8, 6))


def tie(made):
    made.decoders[0].heads[1].weight = made.decoders[0].heads[0].weight


class Wide(vl.StandardNormal):
    def __init__(self):
        super().__init__(2)

    def forward(self):
        return Independent(Normal(self.zeros, 2 * torch.ones_like(self.zeros)), 1)


CHANGES = {
    exchange_activation: (small, "encoders.0.body.1: torch.ReLU inplace=False", "encoders.0.body.1: torch.Tanh"),
    exchange_likelihood: (
        lambda: vl.VAE.mlp(6, 2, (8,)),
        "decoders.0: vaelib.ContinuousBernoulli",
        "decoders.0: vaelib.Bernoulli",
    ),
    exchange_prior: (small, "prior: Wide", "prior: vaelib.StandardNormal"),
    own_gaussian: (small, "decoders.0: Gaussian", "decoders.0: vaelib.Gaussian"),
    patch_forward: (small, "torch.Tanh forward=<built-in method relu", "torch.Tanh"),
    change_norm: (lambda: small(norm="batch"), "eps=0.5", "eps=1e-05"),
    add_head: (small, "decoders.0.heads.2: torch.Linear", "prior: vaelib.StandardNormal"),
    tie: (small, "[6, 8] shared with decoders.0.heads.0.weight", "decoders.0.heads.1.weight: float32 [6, 8]"),
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_model_changed_since_its_factory_is_filled_into_one_changed_alike(change, tmp_path):
    make, theirs, ours = CHANGES[change]
    change(saved := make())
    vl.save(saved, tmp_path / "m")
    with pytest.raises(ValueError, match=r"into=it\); VAE.mlp does not give it back: the saved model has") as raised:
        vl.load_model(tmp_path / "m")
    saved_has, this_has = str(raised.value).split("where this one has")
    assert theirs in saved_has
    assert ours in this_has
    with pytest.raises(ValueError, match="does not fit the model"):
        vl.load_model(tmp_path / "m", into=make())
    change(into := make())
    with torch.no_grad():
        for weight in into.parameters():
            weight.zero_()
    loaded = vl.load_model(tmp_path / "m", into=into)
    assert same(saved, loaded)
    x = torch.rand(5, 6).round()
    assert torch.equal(saved.eval().posterior(x).mean, loaded.posterior(x).mean)


OTHERS = {
    "scale": (mine, change_scale),
    "dropout": (
        lambda: mine(net=nn.Dropout(0.1)),
        lambda made: setattr(made.encoders[0].net, "p", 0.2),
    ),
    "attention heads": (
        lambda: mine(net=Unused(nn.MultiheadAttention(6, 2))),
        lambda made: setattr(made.encoders[0], "net", Unused(nn.MultiheadAttention(6, 3))),
    ),
    "a private number": (mine, lambda made: setattr(made.encoders[0], "_temperature", 0.5)),
    "a NumPy array": (
        lambda: mine(temperature=np.zeros(3)),
        lambda made: made.encoders[0]._temperature.__setitem__(1, 2.0),
    ),
    "tensors in a list": (
        lambda: mine(temperature=[torch.zeros(3, dtype=torch.bfloat16)]),
        lambda made: made.encoders[0]._temperature[0].add_(1),
    ),
    "layers in a list": (
        lambda: mine(temperature=[nn.LayerNorm(2)]),
        lambda made: nn.init.ones_(made.encoders[0]._temperature[0].bias),
    ),
    "a function": (lambda: mine(temperature=torch.relu), lambda made: setattr(made.encoders[0], "_temperature", abs)),
    "dtype": (mine, lambda made: made.double()),
    "one head's dtype": (mine, lambda made: made.decoders[0].heads[0].double()),
    "one more buffer": (mine, lambda made: made.prior.register_buffer("more", torch.ones(2), persistent=False)),
}


@pytest.mark.parametrize(("make", "change"), OTHERS.values(), ids=OTHERS.keys())
def test_a_model_that_differs_in_one_thing_is_not_filled(make, change, tmp_path):
    vl.save(saved := make(), tmp_path / "m")
    assert same(saved, vl.load_model(tmp_path / "m", into=make()))  # nothing but the change stands in the way
    change(other := make())
    nn.init.zeros_(saved.encoders[0].layer.bias)
    for there, into in ((saved, other), (other, saved)):
        before = {name: tensor.clone() for name, tensor in saving.state_of(into)[0].items()}
        vl.save(there, tmp_path / "m")
        with pytest.raises(ValueError, match="does not fit the model: the saved model has\n"):
            vl.load_model(tmp_path / "m", into=into)
        assert all(torch.equal(before[name], tensor) for name, tensor in saving.state_of(into)[0].items())


class Counting(nn.Module):
    def __init__(self, count):
        super().__init__()
        self.count = count

    def forward(self, x):
        return x

    def get_extra_state(self):
        return {"count": self.count}

    def set_extra_state(self, state):
        self.count = state["count"]


def test_a_state_that_only_the_module_knows_is_compared(tmp_path):
    vl.save(mine(net=Counting(2)), tmp_path / "m")
    vl.load_model(tmp_path / "m", into=mine(net=Counting(2)))
    with pytest.raises(ValueError, match=r"extra_state=\{'count': 2\}"):
        vl.load_model(tmp_path / "m", into=mine(net=Counting(3)))


class Constants(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.plain = torch.full((2,), value)
        self.register_buffer("hidden", torch.full((2,), value), persistent=False)
        self.register_buffer("expanded", torch.tensor(value).expand(6))

    def forward(self, x):
        self.seen = x
        return x + self.expanded


def test_buffers_outside_the_state_dict_and_plain_tensors_come_back(tmp_path):
    saved, into = mine(net=Constants(2.0)), mine(net=Constants(3.0))
    x, seen = torch.rand(5, 6), torch.rand(5, 6)
    saved(x)  # which keeps x as a plain attribute
    into(seen)
    theirs = seen.clone()
    vl.save(saved, tmp_path / "m")
    for filled in (into, mine(net=Constants(3.0))):
        loaded = vl.load_model(tmp_path / "m", into=filled).encoders[0].net
        assert loaded.plain.tolist() == loaded.hidden.tolist() == [2, 2]
        assert loaded.expanded.tolist() == [2] * 6
        assert torch.equal(loaded.seen, x)
        assert loaded.state_dict().keys() == {"expanded"}
    assert torch.equal(seen, theirs)  # the user's own tensor is not written to


def test_a_model_without_numbers_is_not_filled(tmp_path):
    vl.save(small(), tmp_path / "m")
    with torch.device("meta"):
        into = small()
    with pytest.raises(ValueError, match='on the device "meta", which holds no numbers'):
        vl.load_model(tmp_path / "m", into=into)


def test_filling_is_in_place():
    tensors, info = saving.state_of(small())
    into = small()
    nn.init.zeros_(weight := into.encoders[0].heads[0].weight)
    saving.fill(into, tensors, info)
    assert into.encoders[0].heads[0].weight is weight
    assert torch.equal(weight, tensors["encoders.0.heads.0.weight"])
    assert weight.data_ptr() != tensors["encoders.0.heads.0.weight"].data_ptr()


def test_what_is_no_model_is_not_saved(tmp_path):
    for wrong in (
        nn.Linear(2, 2),
        nn.DataParallel(small()),
        torch.compile(small(), backend="eager"),
        small().state_dict(),
    ):
        with pytest.raises(ValueError, match=r"model is \w+: expected a VAE, MHVAE, HVAE"):
            vl.save(wrong, tmp_path / "m")
    assert not os.listdir(tmp_path)


def test_a_deep_copy_and_a_model_compiled_in_place_are_kept(tmp_path):
    saved = copy.deepcopy(small())
    saved.compile(backend="eager")
    vl.save(saved, tmp_path / "m")
    assert same(small(), vl.load_model(tmp_path / "m"))


# --- The description --------------------------------------------------------------------------------------------------

DESCRIBE = """
import sys, torch, numpy as np
sys.path.insert(0, {tests!r})
import test_saving as t
settings = [{{"b", "a", "c", "d"}}, lambda: 0, t.mine, torch.tanh, np.float32(0.1), object(), torch.zeros(3), print]
made = t.mine(temperature=settings, net=t.Unused(torch.nn.LSTM(6, 6), torch.nn.MultiheadAttention(6, 2)))
sys.stdout.write(t.saving.describe(made))
"""


@pytest.mark.slow
def test_the_description_is_the_same_in_every_process():
    """Sets are ordered by a hash that is seeded anew in each process; functions and objects lie at other addresses."""
    code = DESCRIBE.format(tests=str(Path(__file__).parent))
    texts = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(texts) == 1
    assert "0x" not in texts.pop()


def test_the_description_does_not_change_by_training_or_use():
    used = model()
    before = saving.describe(used)
    x = torch.rand(20, 1, 4, 4).bernoulli()
    vl.fit(used, x, epochs=1, batch_size=10, progress=False, device="cpu")
    vl.nll(used, x, samples=2)
    used.sample(2)
    assert saving.describe(used) == before
    assert saving.describe(used.train()) == before


def test_the_description_leaves_out_what_decides_nothing():
    def described(value):
        return saving.describe(mine(temperature=value))

    assert described(torch.device("cpu")) == described(torch.device("cuda", 1))
    assert described(np.float64(0.5)) == described(0.5)
    assert described((1, 2)) == described([1, 2])  # JSON has lists only
    assert described({"a", "b"}) == described({"b", "a"}) != described({"a"})
    assert " _flat_weights" not in saving.describe(nn.LSTM(2, 3))  # torch's own, which other versions may not have
    assert " _temperature=0.5" in described(0.5)


def test_tensors_without_numbers_share_nothing():
    made = nn.Module()
    made.register_buffer("one", torch.empty(0))
    made.register_buffer("two", torch.empty(0))
    with torch.device("meta"):
        made.one_more, made.two_more = nn.Linear(2, 2), nn.Linear(2, 2)
    assert "shared" not in saving.describe(made)


# --- Weights that are shared ------------------------------------------------------------------------------------------


class Vamp(nn.Module):
    """Tomczak & Welling 2018 (arXiv 1705.07120): the prior uses the encoder."""

    def __init__(self, encoder):
        super().__init__()
        self.event = (2,)
        self.pseudo = nn.Parameter(torch.randn(5, 6))
        self.encoder = encoder

    def forward(self):
        return MixtureSameFamily(Categorical(torch.ones(5)), self.encoder(self.pseudo))


def vamp() -> vl.VAE:
    encoder = vl.Gaussian(6, 2, (8,))
    return vl.VAE(encoder, vl.Gaussian(2, 6, (8,)), Vamp(encoder))


def trunk() -> vl.MHVAE:
    """One network for q(z_2 | z_1) and p(z_1 | z_2), and one for all first layers' activations."""
    shared = nn.Linear(2, 4)
    return vl.MHVAE(
        [vl.Gaussian(6, 2, (8,)), vl.Gaussian(2, 2, net=shared)],
        [vl.Gaussian(2, 6, (8,)), vl.Gaussian(2, 2, net=shared)],
    )


def tied() -> vl.VAE:
    made = vl.VAE.mlp(6, 2, (8,), "gaussian", norm="batch")
    made.decoders[0].heads[1].weight = made.decoders[0].heads[0].weight
    made.decoders[0].body[1].running_mean = made.encoders[0].body[1].running_mean
    return made


class Hidden(Vamp):
    """Keeps the encoder where `parameters` does not look, as is often done so that it is not there twice."""

    def __init__(self, encoder):
        super().__init__(encoder)
        del self.encoder
        self.hidden = [encoder]
        object.__setattr__(self, "weight", encoder.heads[0].weight)

    def forward(self):
        assert self.weight is self.hidden[0].heads[0].weight
        return MixtureSameFamily(Categorical(torch.ones(5)), self.hidden[0](self.pseudo))


def test_a_prior_that_hides_its_encoder_goes_on_sharing_it(tmp_path):
    def make(apart=False):
        encoder = vl.Gaussian(6, 2, (8,))
        return vl.VAE(encoder, vl.Gaussian(2, 6, (8,)), Hidden(copy.deepcopy(encoder) if apart else encoder))

    vl.save(saved := make(), tmp_path / "m")
    loaded = vl.load_model(tmp_path / "m", into=make())
    assert same(saved, loaded)
    assert torch.equal(saved.prior().component_distribution.mean, loaded.prior().component_distribution.mean)
    with pytest.raises(ValueError, match=r"weight=encoders.0.heads.0.weight\nwhere this one has\n"):
        vl.load_model(tmp_path / "m", into=make(apart=True))


def view() -> vl.VAE:
    """The decoder's last bias is one that the encoder's uses, by a view of its own."""
    made = vl.VAE.mlp(6, 2, (8,), "gaussian")
    made.decoders[0].body[0].bias = nn.Parameter(made.encoders[0].body[0].bias.data.view(8))
    return made


SHARING = {
    vamp: ("encoders.0.heads.0.weight", "prior.encoder.heads.0.weight"),
    trunk: ("encoders.1.net.weight", "decoders.1.net.weight"),
    tied: ("decoders.0.heads.0.weight", "decoders.0.heads.1.weight"),
    view: ("encoders.0.body.0.bias", "decoders.0.body.0.bias"),
}


@pytest.mark.parametrize("make", SHARING, ids=lambda make: make.__name__)
def test_shared_weights_are_written_once_and_come_back_shared(make, tmp_path):
    one, two = SHARING[make]
    torch.manual_seed(0)
    saved, into = make(), make()
    vl.save(saved, tmp_path / "m")
    tensors, _ = saving.read(tmp_path / "m")
    assert tensors[one] is tensors[two]
    assert f"{two}: float32 {list(tensors[two].shape)} shared with {one}" in saving.describe(saved).split("\n")
    loaded = vl.load_model(tmp_path / "m", into=into)
    assert same(saved, loaded)
    state = saving.state_of(loaded)[0]
    with torch.no_grad():
        state[one].fill_(7)
    assert (state[two] == 7).all()
    vl.fit(loaded, torch.randn(20, 6), epochs=1, batch_size=10, progress=False, device="cpu")
    assert torch.equal(state[one], state[two])


@pytest.mark.parametrize("make", SHARING, ids=lambda make: make.__name__)
def test_shared_weights_do_not_fit_a_model_that_does_not_share_them(make, tmp_path):
    vl.save(shared := make(), tmp_path / "shared")
    apart = make()
    one, two = SHARING[make]
    path, _, name = two.rpartition(".")
    owner = apart
    for part in path.split("."):  # a copy of each module on the way, as what is shared is the whole branch
        setattr(owner, part, copy.deepcopy(getattr(owner, part)))
        owner = getattr(owner, part)
    setattr(owner, name, nn.Parameter(getattr(owner, name).detach().clone()))
    vl.save(apart, tmp_path / "apart")
    for path, into in (("shared", apart), ("apart", shared)):
        with pytest.raises(ValueError, match=f"shared with {one.split('.')[0]}"):
            vl.load_model(tmp_path / path, into=into)


def test_shared_buffers_come_back_shared(tmp_path):
    vl.save(saved := tied(), tmp_path / "m")
    name = "body.1.running_mean"
    assert f"decoders.0.{name}: float32 [8] shared with encoders.0.{name}" in saving.describe(saved).split("\n")
    loaded = vl.load_model(tmp_path / "m", into=tied())
    loaded.encoders[0].body[1].running_mean.fill_(3)
    assert (loaded.decoders[0].body[1].running_mean == 3).all()


def test_a_file_holds_each_storage_once(tmp_path):
    weight = torch.rand(100, 100)
    saving.write(tmp_path / "m", {"a": weight, "b": weight, "c": weight.view(100, 100)}, {})
    assert (tmp_path / "m").stat().st_size < 1.1 * weight.nbytes


def test_views_that_overlap_are_written_as_copies(tmp_path):
    memory = torch.arange(12.0)
    tensors = {
        "whole": memory,
        "square": memory.view(3, 4),
        "small": memory[:4].view(2, 2),
        "turned": memory[:4].view(2, 2).T,
        "transposed": memory.view(3, 4).T,
        "front": memory[:8],
        "back": memory[4:],
        "steps": memory[::2],
        "expanded": memory[0].expand(3),
        "integers": memory.view(torch.int32),
        "none": memory[:0],
        "nothing": torch.empty(0),
    }
    saving.write(tmp_path / "m", tensors, {"x": 1})
    read, info = saving.read(tmp_path / "m")
    assert info == {"x": 1, "format": saving.FORMAT}
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], tensor) and read[name].dtype == tensor.dtype for name, tensor in tensors.items())
    assert len({tensor.data_ptr() for tensor in read.values() if tensor.numel()}) == len(tensors) - 2


def test_a_weight_tied_to_its_transpose_stays_tied(tmp_path):
    def make():
        made = small()
        made.decoders[0].heads[0].weight = nn.Parameter(torch.randn(8, 6).T)
        made.encoders[0].body[0].weight = nn.Parameter(made.decoders[0].heads[0].weight.data.T)
        return made

    vl.save(saved := make(), tmp_path / "m")
    loaded = vl.load_model(tmp_path / "m", into=make())
    assert same(saved, loaded)
    with torch.no_grad():
        loaded.decoders[0].heads[0].weight.zero_()
    assert not loaded.encoders[0].body[0].weight.any()


# --- Which kind of file ----------------------------------------------------------------------------------------------


class Named(vl.VAE):
    """A subclass whose attributes have the names that a training's file uses."""

    def __init__(self):
        super().__init__(vl.Gaussian(6, 2, (8,)), vl.Gaussian(2, 6, (8,)))
        self.model, self.optimizer = nn.Linear(2, 2), nn.Linear(2, 2)


def as_training(made: nn.Module, path: Path) -> None:
    state, info = saving.state_of(made)
    tensors = {f"model.{name}": tensor for name, tensor in state.items()} | {"optimizer.0.momentum": torch.ones(2)}
    saving.write(path, tensors, {"kind": "training", "model": info})


def test_a_subclass_with_an_attribute_called_model_is_kept(tmp_path):
    vl.save(saved := Named(), tmp_path / "model")
    as_training(saved, tmp_path / "training")
    for path in ("model", "training"):
        assert same(saved, vl.load_model(tmp_path / path, into=Named()))


def test_a_trainings_file_gives_its_model(tmp_path):
    as_training(saved := model(), tmp_path / "m")
    assert same(saved, vl.load_model(tmp_path / "m"))


def test_a_file_of_another_kind_is_refused(tmp_path):
    saving.write(tmp_path / "m", {}, {"kind": "picture"})
    with pytest.raises(ValueError, match="m holds a picture: expected a model or a training"):
        vl.load_model(tmp_path / "m")


def test_a_subclass_is_not_taken_for_what_it_is_made_from(tmp_path):
    VAE = type("VAE", (vl.VAE,), {"__module__": "mine"})
    for kind, says in ((VAE, "model: VAE _support"), (type("Own", (vl.VAE,), {}), "vaelib has no factory Own.mlp")):
        vl.save(saved := kind.mlp(6, 2, (8,)), tmp_path / "m")
        with pytest.raises(ValueError, match=says):
            vl.load_model(tmp_path / "m")
        assert same(saved, vl.load_model(tmp_path / "m", into=kind.mlp(6, 2, (8,))))


# --- Files that are not as they should be -----------------------------------------------------------------------------


class Malice:
    def __reduce__(self):
        return (os.system, ("touch ran",))


def test_a_pickle_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain").write_bytes(pickle.dumps(Malice(), protocol=2))
    torch.save({"weights": Malice()}, tmp_path / "zipped")
    for name in ("plain", "zipped"):
        with pytest.raises(ValueError, match="a pickle, which could run any program and is not opened"):
            vl.load_model(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def test_every_truncation_is_noticed(tmp_path):
    vl.save(vl.VAE.mlp(4, 1, (2,)), tmp_path / "m")
    whole = (tmp_path / "m").read_bytes()
    for length in range(0, len(whole), 7):
        (tmp_path / "m").write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"no checkpoint of vaelib|damaged"):
            vl.load_model(tmp_path / "m")


@pytest.mark.slow
def test_every_flipped_bit_is_noticed_or_harmless(tmp_path):
    """A bit in the header's padding or in a tensor's name or type may be caught by safetensors, JSON or the digest."""
    saved = vl.VAE.mlp(4, 1, (2,))
    vl.save(saved, tmp_path / "m")
    whole = (tmp_path / "m").read_bytes()
    noticed = 0
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        (tmp_path / "m").write_bytes(damaged)
        try:
            assert same(saved, vl.load_model(tmp_path / "m"))
        except ValueError:
            noticed += 1
    assert noticed > 0.99 * len(whole)


@pytest.mark.parametrize("content", [b"", b"hello", b"\0" * 100, b'{"format": 1}'])
def test_foreign_files_are_refused(content, tmp_path):
    (tmp_path / "m").write_bytes(content)
    with pytest.raises(ValueError, match="is no checkpoint of vaelib"):
        vl.load_model(tmp_path / "m")


def test_files_of_other_programs_and_of_the_future_are_refused(tmp_path, monkeypatch):
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(2)}, tmp_path / "other")
    with pytest.raises(ValueError, match="is no checkpoint of vaelib"):
        vl.load_model(tmp_path / "other")
    for number, age in ((saving.FORMAT + 1, "a later"), (saving.FORMAT - 1, "an earlier")):
        with monkeypatch.context() as other:
            other.setattr(saving, "FORMAT", number)
            vl.save(model(), tmp_path / "other")
        with pytest.raises(
            ValueError, match=f"format {number}, of {age} vaelib; this one reads format {saving.FORMAT}"
        ):
            vl.load_model(tmp_path / "other")
    with pytest.raises(FileNotFoundError):
        vl.load_model(tmp_path / "nothing")


@pytest.mark.parametrize("fails", ["write", "fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_no_rubbish(fails, tmp_path, monkeypatch):
    path = tmp_path / "m.safetensors"
    vl.save(model(), path)
    before = path.read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    if fails == "write":
        writer = type("Full", (io.FileIO,), {"write": full})
        monkeypatch.setattr(saving, "open", writer, raising=False)
    else:
        monkeypatch.setattr(os, fails, full)
    with pytest.raises(OSError, match=r"was not written \(No space left on device\); what lay there before is kept"):
        vl.save(vl.VAE.mlp(4, 1, (2,)), path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["m.safetensors"]


@pytest.mark.parametrize("during", ["fsync", "replace"])
def test_ctrl_c_while_writing_leaves_the_old_file_and_no_rubbish(during, tmp_path, monkeypatch):
    vl.save(model(), tmp_path / "m")
    before = (tmp_path / "m").read_bytes()

    def interrupt(*args):
        assert len(os.listdir(tmp_path)) == 2
        raise KeyboardInterrupt

    monkeypatch.setattr(os, during, interrupt)
    with pytest.raises(KeyboardInterrupt):
        vl.save(small(), tmp_path / "m")
    assert os.listdir(tmp_path) == ["m"]
    assert (tmp_path / "m").read_bytes() == before


KILLED = """
import os, sys, signal
import vaelib as vl
os.fsync = lambda file: os.kill(os.getpid(), signal.SIGKILL)
vl.save(vl.VAE.mlp(4, 1, (2,)), sys.argv[1])
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="kills as POSIX does")
def test_what_a_killed_process_left_is_swept_and_nothing_else(tmp_path):
    keep = {"m", "movie.part", "data.part", "m.deadbeef", "notes.12345678.part.txt"}
    for name in keep:
        (tmp_path / name).write_text("mine")
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "m")], check=False)
    assert len(os.listdir(tmp_path)) == len(keep) + 1
    saving.sweep(tmp_path)
    assert set(os.listdir(tmp_path)) == keep
    assert (tmp_path / "m").read_text() == "mine"
    saving.sweep(tmp_path / "nothing here")


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_file_has_the_permissions_that_the_user_gives_new_files(tmp_path):
    former = os.umask(0o027)
    try:
        vl.save(small(), tmp_path / "m")
    finally:
        os.umask(former)
    assert stat.S_IMODE((tmp_path / "m").stat().st_mode) == 0o640


def test_a_tilde_is_the_users_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    vl.save(small(), "~/m")
    assert os.listdir(tmp_path) == ["m"]
    assert same(small(), vl.load_model(Path("~/m")))
    (tmp_path / "m.12345678.part").touch()
    saving.sweep("~")
    assert os.listdir(tmp_path) == ["m"]


def test_the_folder_of_a_training_is_no_model(tmp_path):
    vl.save(small(), tmp_path / "best.safetensors")
    for read in (vl.load_model, lambda path: vl.load_model(path, into=small()), saving.read):
        with pytest.raises(
            ValueError, match=r"is a folder: expected a file, such as the best\.safetensors of a training"
        ):
            read(tmp_path)


def test_a_folder_that_is_none_is_said_in_words(tmp_path):
    (tmp_path / "file").touch()
    for folder in ("file", "nothing"):
        with pytest.raises(OSError, match=r"m was not written \(.* directory\); what lay there before is kept"):
            vl.save(small(), tmp_path / folder / "m")
