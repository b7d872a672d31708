"""Random numbers of one's own: a stream that is entered and left, whatever others draw in between.

torch's distributions draw from one generator per device, which all code of a process shares. A `RandomStream` puts its
own state in its place for the length of a block and puts the former back after it. Blocks of several threads take
turns, so that trainings in threads give the numbers that they give one after the other.

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

_ONE_AT_A_TIME = threading.RLock()


class RandomStream:
    """The random numbers that follow from a seed, on the CPU and, where it is another, on the device.

    Args:
        seed: an integer.
        device: where else than on the CPU random numbers are drawn.
    """

    def __init__(self, seed: int, device: torch.device | str = "cpu"):
        self.device = torch.device(device)
        self._former: list[list[Tensor]] = []
        with _ONE_AT_A_TIME:
            before = self._now()
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would set the generators of all devices
            if self.device.type == "cuda":
                with torch.cuda.device(self.device):
                    torch.cuda.manual_seed(seed)
            elif self.device.type == "mps":
                torch.mps.manual_seed(seed)
            self.state = self._now()
            self._put(before)

    def __enter__(self) -> "RandomStream":
        _ONE_AT_A_TIME.acquire()
        self._former.append(self._now())
        self._put(self.state)
        return self

    def __exit__(self, *_: object) -> None:
        self.state = self._now()
        self._put(self._former.pop())
        _ONE_AT_A_TIME.release()

    def _now(self) -> list[Tensor]:
        state = [torch.get_rng_state()]
        if self.device.type == "cuda":
            state.append(torch.cuda.get_rng_state(self.device))
        elif self.device.type == "mps":
            state.append(torch.mps.get_rng_state())
        return state

    def _put(self, state: list[Tensor]) -> None:
        torch.set_rng_state(state[0])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(state[1], self.device)
        elif self.device.type == "mps":
            torch.mps.set_rng_state(state[1])
