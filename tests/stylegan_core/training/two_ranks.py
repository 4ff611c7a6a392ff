"""One process of a small training run, for tests: `python -m tests.stylegan_core.training.two_ranks FOLDER STEPS`.

The environment says which of how many processes it is, as torchrun would.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

BATCH = 8


def configuration(steps: int, **options: Any) -> Any:
    """Everything that draws random numbers or keeps a mean, at once."""
    from stylegan_core.networks.configs import StyleGAN2Config, StyleGAN2DiscriminatorConfig
    from stylegan_core.training.config import TrainingConfig

    shared: dict[str, Any] = dict(img_resolution=16, channel_base=64, channel_max=8, c_dim=3)
    return TrainingConfig(
        StyleGAN2Config(z_dim=8, w_dim=8, mapping_layers=2, **shared),
        StyleGAN2DiscriminatorConfig(mapping_layers=1, mbstd_group_size=2, **shared), batch=BATCH, kimg=steps * BATCH / 1000,
        snapshot_kimg=5 * BATCH / 1000, r1_every=3, pl_every=2, augment="bgc", ada_kimg=0.05, ada_every=2, ada_target=-0.9,
        mirror=True, **options)


def pictures() -> Any:
    """Discs of three classes of colour."""
    import numpy as np

    from stylegan_core.data.images import RenderedImages

    def draw(index: int) -> np.ndarray:
        rng = np.random.default_rng(index)
        y, x = np.mgrid[:16, :16]
        inside = (y - rng.uniform(5, 11)) ** 2 + (x - rng.uniform(5, 11)) ** 2 < 16
        return np.where(inside[:, :, None], np.roll([220, 90, 40], index % 3), 30).astype(np.uint8)

    return RenderedImages("discs", draw, 40, 16, labels=np.eye(3, dtype=np.float32)[np.arange(40) % 3])


def start(folder: Path, steps: int, processes: int) -> list[subprocess.Popen[bytes]]:
    """The processes of a run, started and not waited for."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", __name__, str(folder), str(steps)]
    shared = {**os.environ, "WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    root = Path(__file__).parents[3]
    return [subprocess.Popen(command, env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}, cwd=root) for rank in range(processes)]


def main() -> None:
    """One process."""
    import torch

    from stylegan_core.training.distributed import start_processes
    from stylegan_core.training.loop import train_generator

    torch.set_num_threads(1)
    start_processes("cpu")
    train_generator(configuration(int(sys.argv[2])), pictures(), Path(sys.argv[1]))


if __name__ == "__main__":
    main()
