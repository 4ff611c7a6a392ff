"""Whether a run can work at all, found out before the first step: the data, the processes, an earlier state."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stylegan_core.data.images import ImageData, size_text
from stylegan_core.errors import TrainingError, UsageError
from stylegan_core.training.config import TrainingConfig
from stylegan_core.training.distributed import num_processes
from stylegan_core.training.growing import stretches

CHANGEABLE = ("kimg", "snapshot_kimg", "micro_batch", "checkpoint_activations")  # options that change no result, or only its end


def check_data(config: TrainingConfig, data: ImageData) -> None:
    """Raises UsageError when the pictures are not what the networks take, or too few, or the batch cannot be shared out."""
    wanted, c_dim = config.generator.img_shape, config.generator.c_dim
    if data.shape != wanted:
        raise UsageError(f"the pictures are {size_text(data.shape)} px, the generator makes {size_text(wanted)} px; give "
                         f"--resolution {size_text(wanted)}")
    if data.channels != config.generator.img_channels:
        raise UsageError(f"the pictures have {data.channels} channels, the generator makes {config.generator.img_channels}; give "
                         f"--channels {config.generator.img_channels}")
    if data.c_dim != c_dim:
        labels = f"labels of {data.c_dim} numbers" if data.c_dim else "no labels"
        needs = f"labels of {c_dim} numbers" if c_dim else "none"
        advice = "leave --cond out" if not c_dim else "give --cond" if not data.c_dim else "use the data set of the model"
        raise UsageError(f"labels do not match: {data.name} has {labels}, the networks take {needs}; {advice}")
    if len(data) < 2:
        raise UsageError(f"{data.name} holds one picture, which a GAN can only repeat; give some hundred, or use `invert project`")
    check_shares(config, num_processes())


def check_shares(config: TrainingConfig, processes: int) -> None:
    """Raises UsageError when the batch does not divide over the processes, their passes and the groups of the minibatch statistic."""
    for batch in sorted({stretch.batch for stretch in stretches(config)}):
        if batch % processes:
            raise UsageError(f"--batch {batch} does not divide over {processes} processes")
        share = batch // processes
        micro = min(config.micro_batch or share, share)
        group = min(config.discriminator.mbstd_group_size or micro, micro)
        if share % micro or micro % group:
            raise UsageError(f"--batch {batch} over {processes} processes is {share} images each, which does not divide into passes of "
                             f"{micro} and groups of {group} (minibatch statistic)")


def check_resumable(facts: Mapping[str, Any], config: TrainingConfig, data: ImageData, output: Path) -> None:
    """facts: of the state in `output`. Raises TrainingError when it is of a run with other options, naming the first."""
    both = facts["training"], config.to_dict()
    old, new = (_flat({key: value for key, value in values.items() if key not in CHANGEABLE}) for values in both)
    old["data"], new["data"] = facts["data"], data.name
    different = [key for key in new if json.dumps(new[key]) != json.dumps(old.get(key))]
    if different:
        name, others = different[0], f" (and {len(different) - 1} more options)" if len(different) > 1 else ""
        raise TrainingError(f"{output} holds a run with another {name}: {old.get(name)}, not {new[name]}{others}; continue with its own "
                            "options or choose a new folder")


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Nested dictionaries as dotted names."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= {f"{key}.{name}": inner for name, inner in _flat(value).items()} if isinstance(value, dict) and value else {key: value}
    return flat
