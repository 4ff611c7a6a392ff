"""Path-length regularisation of a batch that is cut into parts or spread over processes (SG2 Sec. 3.2).

The penalty (l_i - m)² compares with a running mean m that this batch's own mean length moves, so m must be known before any part can
be differentiated. Where there is one part it is; elsewhere the lengths are measured first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from stylegan_core.losses.adversarial import path_lengths
from stylegan_core.training.distributed import average, num_processes
from stylegan_core.training.micro_batches import MicroBatches
from stylegan_core.training.steps import path_length_step

Render = Callable[[slice], tuple[Tensor, Tensor, Tensor]]  # part → images with a graph, their ws, standard normal pictures


def path_length_pass(micro: MicroBatches, generator: Any, render: Render, count: int, pl_mean: Tensor, *, weight: float,
                     decay: float) -> Tensor:
    """Adds the gradient of the mean penalty, times the weight, to the generator and moves pl_mean; returns the lengths [count]."""
    mean: Tensor | None = None

    def step(part: slice) -> dict[str, Tensor]:
        share = (part.stop - part.start) / count
        return {"lengths": path_length_step(*render(part), pl_mean, weight=weight, decay=decay, scale=share, mean_length=mean)[0]}

    if num_processes() == 1 and count <= micro.size:
        lengths = micro.run(generator, count, step)["lengths"]
        if count <= micro.size:  # else memory ran out, and it was done in parts
            pl_mean.lerp_(lengths.mean(), decay)
            return lengths
    lengths = micro.run(generator, count, lambda part: {"lengths": path_lengths(*render(part), create_graph=False).detach()})["lengths"]
    mean = lengths.mean()
    average([mean])
    micro.run(generator, count, step)
    pl_mean.lerp_(mean, decay)
    return lengths
