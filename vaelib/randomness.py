"""Random numbers of one's own: a stream that is entered and left, whatever others draw in between.

torch's distributions draw from one generator per device, which all code of a process shares. A `RandomStream` puts its
own state there for the length of a block and the former back after it. Blocks of several threads take turns, so that
trainings in threads give the numbers that they give one after the other.

    >>> stream = RandomStream(seed=0)
    >>> with stream:
    ...     first = torch.rand(2)
    >>> _ = torch.rand(5)  # what others draw
    >>> with stream:
    ...     second = torch.rand(2)
    >>> with RandomStream(seed=0):
    ...     bool((torch.rand(4) == torch.cat([first, second])).all())
    True
"""

import threading

import torch
from torch import Tensor

from .arguments import integers

_ONE_AT_A_TIME = threading.RLock()
_DEVICES = {"cuda": torch.cuda, "mps": torch.mps}


def generator_from(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator of torch that starts from this seed, an integer of Python, NumPy or torch.

    Raises:
        ValueError: Where the seed is no integer, or not from -2^63 to 2^64 - 1, all that torch takes.
    """
    (start,) = integers(-(2**63), seed=seed)
    if start >= 2**64:
        raise ValueError(f"seed is {seed!r}: expected an integer below 2^64")
    return torch.Generator(device).manual_seed(start)


class RandomStream:
    """The random numbers that follow from an integer seed, on the CPU and, where it is another, on the device.

    Raises:
        ValueError: For a seed as `generator_from`.
    """

    def __init__(self, seed: int, device: torch.device | str = "cpu"):
        self.device = torch.device(device)
        places = ["cpu", self.device] if self.device.type in _DEVICES else ["cpu"]
        self.state = [generator_from(seed, place).get_state() for place in places]
        self._former: list[list[Tensor]] = []

    def __enter__(self) -> "RandomStream":
        _ONE_AT_A_TIME.acquire()
        self._former.append(self._exchange(self.state))
        return self

    def __exit__(self, *_: object) -> None:
        self.state = self._exchange(self._former.pop())
        _ONE_AT_A_TIME.release()

    def _exchange(self, state: list[Tensor]) -> list[Tensor]:
        """Puts this state into the generators and returns the one they had."""
        former = [torch.get_rng_state()]
        torch.set_rng_state(state[0])
        if module := _DEVICES.get(self.device.type):
            former.append(module.get_rng_state(self.device))
            module.set_rng_state(state[1], self.device)
        return former
