import os
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from makers import same
from torch import nn

import vaelib as vl
from vaelib.training import fast, products

ZEN_4 = "vendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 17\n"
ZEN_5 = ZEN_4.replace("25", "26")
INTEL = "vendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 143\n"
SIZES = [(128, 784, 200), (200, 128, 784), (128, 200, 784), (7, 3, 5)]


@pytest.fixture
def onednn(monkeypatch):
    """oneDNN for all products, as small as those of tests are."""
    monkeypatch.setattr(fast, "RECORD_FROM", 5)
    monkeypatch.setattr(products, "ONEDNN_FROM", 1)
    monkeypatch.setattr(products, "library", lambda: "onednn")


def chain() -> vl.MHVAE:
    return vl.MHVAE.mlp((1, 4, 4), (3, 2), ((8,), (5,)), norm="layer")


def hvae() -> vl.HVAE:
    return vl.HVAE.mlp((1, 4, 4), (3, 2), ((8,), (5,)))


def convolutions() -> vl.VAE:
    return vl.VAE.conv((1, 8, 8), 2, channels=(4,))


def trained(compile: bool | str, make: Callable[[], vl.Hierarchy], **options) -> vl.Hierarchy:
    torch.manual_seed(0)
    model = make()
    images = torch.rand(60, *model.event, generator=torch.Generator().manual_seed(0))
    options = {"transform": vl.binarise, "batch_size": 20, "epochs": 4, "lr": 1e-2, **options}
    vl.fit(model, images, compile=compile, progress=False, device="cpu", **options)
    return model


@pytest.mark.parametrize(("processor", "chosen"), [(ZEN_4, "mkl"), (ZEN_5, "onednn"), (INTEL, "mkl"), ("", "mkl")])
def test_the_rule(processor, chosen):
    assert products.by_rule(processor) == chosen


def test_the_rule_asks_whether_onednn_is_there(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert products.by_rule(ZEN_5) == "mkl"


@pytest.mark.parametrize("value", ["mkl", "onednn"])
def test_a_variable_overrules_it(value, monkeypatch):
    monkeypatch.setenv("VAELIB_PRODUCTS", value)
    assert products.library.__wrapped__() == value
    monkeypatch.setenv("VAELIB_PRODUCTS", "openblas")
    with pytest.raises(ValueError, match='VAELIB_PRODUCTS is \'openblas\': expected "mkl" or "onednn"'):
        products.library.__wrapped__()


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("biased", [True, False])
def test_onednn_multiplies_as_torch_does(size, biased):
    """Tells when torch changes its private operation. Transposed views of both factors, too."""
    rows, inner, columns = size
    torch.manual_seed(0)
    bias = torch.randn(columns) if biased else None
    for a in (torch.randn(rows, inner), torch.randn(inner, rows).t()):
        for b in (torch.randn(inner, columns), torch.randn(columns, inner).t()):
            want = a.double() @ b.double() + (0 if bias is None else bias.double())
            for operation in (products.product, products.multiplied):
                torch.testing.assert_close(operation(a, b, bias).double(), want, rtol=1e-5, atol=1e-4)
    torch.library.opcheck(products.product, (torch.randn(rows, inner), torch.randn(inner, columns), bias))


@pytest.mark.slow
@pytest.mark.usefixtures("onednn")
@pytest.mark.parametrize(("make", "compile"), [(chain, "auto"), (chain, True), (hvae, "auto"), (convolutions, "auto")])
def test_a_training_with_onednn_agrees_to_rounding(make, compile, monkeypatch, capsys):
    plain = trained(False, make)
    counts = []
    exchange = products.exchange
    monkeypatch.setattr(products, "exchange", lambda *a: counts.append(exchange(*a)))
    quick, again = trained(compile, make), trained(compile, make)
    assert same(quick, again)
    assert len(counts) == 2
    assert counts[0] == counts[1] > 5
    for name, weight in plain.state_dict().items():
        torch.testing.assert_close(quick.state_dict()[name], weight, rtol=2e-3, atol=2e-4)
    assert "cannot be" not in capsys.readouterr().err


@pytest.mark.usefixtures("onednn")
def test_another_dtype_is_left_as_it_is(monkeypatch):
    counts = []
    exchange = products.exchange
    monkeypatch.setattr(products, "exchange", lambda *a: counts.append(exchange(*a)))
    torch.manual_seed(0)
    model = vl.VAE(vl.Gaussian(4, 1, ()), vl.Gaussian(1, 4, ())).double()
    vl.fit(model, torch.randn(40, 4).double(), epochs=3, batch_size=20, progress=False, device="cpu")
    assert counts == [0]


def test_small_products_are_left_as_they_are():
    from torch.fx.experimental.proxy_tensor import make_fx

    net = nn.Linear(784, 200)
    for batch, exchanged in ((20, 0), (128, 1)):
        program = make_fx(torch.no_grad()(net))(torch.randn(batch, 784))
        assert products.exchange(program, compiled=False) == exchanged


@pytest.mark.slow
def test_a_training_with_each_library_forced():
    """In processes of their own: the same bound but for rounding, which a training enlarges."""
    code = (
        "import torch, vaelib as vl; from vaelib.training import fast, products; fast.RECORD_FROM = 5;"
        "found, exchange = [], products.exchange; torch.manual_seed(0);"
        "products.exchange = lambda *given: found.append(exchange(*given));"
        "x = vl.load('mnist').train.images[:1280]; m = vl.VAE.mlp((1, 28, 28), 10, (200,));"
        "h = vl.fit(m, x, epochs=3, transform=vl.binarise, batch_size=128, progress=False, device='cpu');"
        "print(products.library(), sum(found), h.train[-1].elbo)"
    )
    elbos, exchanged = {}, {}
    for library in ("mkl", "onednn"):
        environment = {**os.environ, "VAELIB_PRODUCTS": library}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        chosen, number, elbo = done.stdout.split()
        assert chosen == library
        elbos[library], exchanged[library] = float(elbo), int(number)
    assert elbos["mkl"] == pytest.approx(elbos["onednn"], abs=0.01)  # on some processors equal to the last bit
    assert exchanged["mkl"] == 0 < exchanged["onednn"]
