import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch

import vaelib as vl
from vaelib.arguments import integers, is_number, number


@pytest.mark.parametrize(
    "three",
    [
        3,
        np.int64(3),
        np.prod((1, 3)),
        np.uint8(3),
        np.array(3),
        torch.tensor(3),
        torch.tensor([1, 2, 3]).max(),
        torch.Size([3])[0],
    ],
    ids=repr,
)
def test_an_integer_is_one_whoever_made_it(three):
    (found,) = integers(size=three)
    assert found == 3
    assert type(found) is int  # what goes into JSON and into file names


@pytest.mark.parametrize(
    "value",
    [
        True,
        np.True_,
        np.array(True),
        torch.tensor(True),
        2.0,
        np.float32(2),
        torch.tensor(2.0),
        [3],
        np.array([3]),
        torch.tensor([3]),
        "3",
        None,
    ],
    ids=repr,
)
def test_what_is_no_integer_is_refused_by_name(value):
    with pytest.raises(ValueError, match=r"size is .*: expected an integer of at least 1"):
        integers(size=value)


def test_the_least_integer_is_taken_and_one_less_is_not():
    assert integers(0, seed=np.int32(0), samples=5) == [0, 5]
    with pytest.raises(ValueError, match="seed is -1: expected an integer of at least 0"):
        integers(0, seed=-1)
    with pytest.raises(ValueError, match="steps is 1: expected an integer of at least 2"):
        integers(2, samples=2, steps=1)


@pytest.mark.parametrize(
    "half",
    [
        0.5,
        np.float32(0.5),
        np.float16(0.5),
        np.longdouble(0.5),
        np.array(0.5),
        torch.tensor(0.5),
        torch.tensor(0.5, requires_grad=True),
        torch.tensor(0.5, dtype=torch.bfloat16),
        Fraction(1, 2),
    ],
    ids=repr,
)
def test_a_number_is_one_whoever_made_it(half):
    assert number(half) == 0.5
    assert type(number(half)) is float
    assert is_number(half)
    assert is_number(half, above=0.4)
    assert not is_number(half, above=0.5)


@pytest.mark.parametrize(
    "value",
    [
        True,
        np.False_,
        torch.tensor(True),
        1j,
        np.complex64(1),
        torch.tensor(1j),
        [0.5],
        np.array([0.5]),
        torch.tensor([0.5]),
        "0.5",
        None,
        Decimal("0.5"),
        math.nan,
        np.float32("nan"),
        torch.tensor(math.nan),
    ],
    ids=repr,
)
def test_what_is_no_number_is_none_above_any_bound(value):
    assert math.isnan(number(value))
    assert not is_number(value)


@pytest.mark.parametrize("value", [math.inf, -np.inf, torch.tensor(math.inf), 10**400, -(10**400)], ids=lambda v: "")
def test_what_is_infinite_or_too_large_for_a_float_is_no_finite_number(value):
    assert math.isinf(number(value))
    assert (number(value) > 0) == bool(value > 0)
    assert not is_number(value)


@pytest.mark.parametrize(
    "call",
    [
        lambda: vl.VAE.mlp(6, np.int64(2), (8,)),
        lambda: vl.VAE.mlp(np.prod((2, 3)), 2, (8,)),
        lambda: vl.fit(vl.VAE.mlp(6, 2, (8,)), torch.ones(8, 6), epochs=np.int64(1), device="cpu", progress=False),
        # The three above were reported, those below were not.
        lambda: vl.VAE.mlp((np.uint8(2), torch.tensor(3)), 2, (np.int32(8),)),
        lambda: vl.nll(vl.VAE.mlp(6, 2, (8,)), torch.ones(8, 6), samples=np.int16(3)),
        lambda: vl.VAE.mlp(6, 2, (8,)).sample(np.array(3)),
        lambda: vl.cave.sample(np.int64(2), seed=np.uint32(1)),
        lambda: vl.warmup(np.float32(2))(torch.tensor(1.0)),
    ],
)
def test_numbers_of_numpy_and_torch_do_where_numbers_do(call):
    call()
