"""Which network says who is shown: bundled features, or an ArcFace or MoCo file, told apart by what it holds."""

from __future__ import annotations

import os
from typing import Any

from stylegan_core.checkpoints.contents import open_contents
from stylegan_core.checkpoints.inert_tree import mapping_of
from stylegan_core.errors import UnknownCheckpointError
from stylegan_core.files import display

FEATURES = "features"


def load_embedder(name_or_path: str | os.PathLike[str] = FEATURES) -> Any:
    """An Embedder (losses.identity), frozen, on the CPU. 'features' = the bundled ones. Raises CheckpointError."""
    if os.fspath(name_or_path) == FEATURES:
        from stylegan_core.features import load_features

        return load_features()
    entries = mapping_of(open_contents(name_or_path).tree) or {}
    if "input_layer.0.weight" in entries:
        from encoders.arcface import load_arcface

        return load_arcface(name_or_path)
    if "state_dict" in entries:
        from encoders.moco import load_moco

        return load_moco(name_or_path)
    raise UnknownCheckpointError(f"{display(name_or_path)}: is neither an ArcFace file (model_ir_se50.pth) nor a MoCo file")
