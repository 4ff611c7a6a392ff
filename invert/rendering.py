"""An inversion file → its picture; `invert project` and `invert render` both call this, so their pixels are equal."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylegan_core.errors import InversionError
from stylegan_core.files import display
from stylegan_core.inversion import Inversion

if TYPE_CHECKING:
    from torch import Tensor

    from invert.loaded import LoadedModel


def render_file(path: str | os.PathLike[str], model: LoadedModel, *, is_sibling: bool = False) -> tuple[Tensor, Inversion]:
    """→ (image [1, C, H, W] on the CPU, cut to the picture proper; the inversion). fp32, eager, one image at a time.

    is_sibling: the model is a relative of the one that made the file, such as a fine-tuned child, and is meant. Raises
    InversionError when the file was made with another model otherwise.
    """
    inversion = Inversion.load(path)
    made_with = inversion.metadata.get("model_sha256")
    if isinstance(made_with, str) and made_with != model.sha256 and not is_sibling:
        known = display(inversion.metadata.get("model", "another model"))
        raise InversionError(
            f"{display(Path(path))} was made with {known} ({made_with[:12]}…), not with {display(model.name)} "
            f"({model.sha256[:12]}…); give that model with --model, or say --sibling to "
            "render with a relative of it"
        )
    return inversion.render(model.generator).float().cpu(), inversion


def model_named_in(path: str | os.PathLike[str]) -> str | None:
    """The model that an inversion file says it was made with; None where it does not say."""
    name = Inversion.load(path).metadata.get("model")
    return name if isinstance(name, str) else None


def metadata_of(inversion: Inversion) -> dict[str, str]:
    """What a render of this inversion says about itself: the same whoever renders it."""
    facts = {key: inversion.metadata.get(key) for key in ("model_sha256", "space", "preset", "steps", "seed", "version")}
    facts["edited"] = inversion.metadata.get("edits")
    return picture_metadata({"model": Path(str(inversion.metadata.get("model", "unknown"))).name, **facts})


def picture_metadata(facts: dict[str, Any]) -> dict[str, str]:
    """Texts for a PNG that say how it was made: facts without None, as JSON."""
    import json

    return {"invert": json.dumps({key: value for key, value in facts.items() if value is not None}, sort_keys=True)}
