"""A batch in parts, whose gradients add up; parts are halved when memory runs out."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from stylegan_core.errors import TrainingError
from stylegan_core.training.ema import running_means

Work = Callable[[slice], dict[str, Tensor]]


class MicroBatches:
    """size: images per pass, as a tensor so that a state can hold it. smallest: what the minibatch statistic needs."""

    def __init__(self, size: int, smallest: int):
        self.value, self.smallest = torch.tensor(size), smallest

    @property
    def size(self) -> int:
        return int(self.value)

    def run(self, network: nn.Module, count: int, work: Work) -> dict[str, Tensor]:
        """work(part) for every part of `count` images; what it returns, joined. Gradients of the network start from nothing.

        Where memory runs out the parts are halved and all of them are done again, from the running means that there were. Raises
        TrainingError when they cannot be halved.
        """
        means = [(mean, mean.clone()) for mean in running_means(network)]
        while True:
            network.zero_grad(set_to_none=True)
            try:
                return joined([work(part) for part in self.parts(count)])
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                reason = str(error).splitlines()[0]
            for mean, before in means:
                mean.copy_(before)
            self._halve(count, reason)

    def parts(self, count: int) -> list[slice]:
        """[0, size), [size, 2·size), …, up to count."""
        return [slice(first, min(first + self.size, count)) for first in range(0, count, self.size)]

    def _halve(self, count: int, reason: str) -> None:
        size = min(self.size, count)
        if size % 2 or size // 2 < self.smallest:
            raise TrainingError(f"memory runs out with {size} images per pass and fewer cannot be taken ({reason}); choose a smaller "
                                "preset, a lower --resolution, or --checkpoint-activations")
        self.value.fill_(size // 2)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether memory of a device or of the machine ran out."""
    return any(words in str(error) for words in ("out of memory", "can't allocate memory", "not enough memory"))


def joined(results: list[dict[str, Any]]) -> dict[str, Any]:
    """name → the parts' tensors, one after another."""
    return {name: torch.cat([result[name] for result in results]) for name in results[0]}
