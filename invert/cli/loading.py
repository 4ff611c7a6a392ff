"""Loading a model for a command: a bar while it is downloaded, its warnings as lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invert.cli.console import Bar, Terminal, size

if TYPE_CHECKING:
    import torch

    from invert.loaded import LoadedModel


def load_for(terminal: Terminal, name: str, device: torch.device | str = "cpu") -> LoadedModel:
    """`load_model` that tells the terminal what happens. Raises its errors."""
    from invert.loaded import load_model
    from stylegan_core.checkpoints.catalog import cards

    card = cards().get(name)
    if card is not None and not card.is_bundled and not card.is_present():
        terminal.say(f"{name} is fetched from {card.url}; licence: {card.licence or 'not stated'}")
    with DownloadBar(terminal, name) as download:
        model = load_model(name, device, progress=download)
    for warning in model.warnings:
        terminal.warn(f"{name}: {warning}")
    return model


def load_encoder_for(terminal: Terminal, model: str | None, encoder: str, method: str | None, device: torch.device) -> LoadedModel:
    """The model that an encoder is used with: the one that is named, else the encoder's own, else the bundled one."""
    from encoders.checkpoints import load_encoder
    from invert.cli.options import DEFAULT_MODEL
    from invert.loaded import LoadedModel
    from stylegan_core.errors import UsageError
    from stylegan_core.provenance import model_sha256

    if model is not None or encoder == "auto":
        return load_for(terminal, model or DEFAULT_MODEL, device)
    generator = load_encoder(encoder, method=method).generator
    if generator is None:
        raise UsageError(f"{encoder} does not find its generator; give it with --model")
    provenance = generator.provenance
    name = encoder if provenance.get("network") == "decoder" else provenance.get("name", encoder)
    sha256, file_sha256 = model_sha256(generator), provenance.get("model_file_sha256")
    return LoadedModel(name, generator.to(device), sha256, file_sha256, tuple(provenance["warnings"]))


class DownloadBar:
    """A callback (bytes so far, bytes in all or None) that opens a bar when the first bytes arrive."""

    def __init__(self, terminal: Terminal, name: str):
        self.terminal, self.name = terminal, name
        self._context = terminal.progress(f"download {name}")
        self._bar: Bar | None = None

    def __enter__(self) -> DownloadBar:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._context.__exit__(None, None, None)

    def __call__(self, done: int, total: int | None) -> None:
        if self._bar is None:
            self._bar = self._context.__enter__()
        self._bar.update(done, total=total, note=f"{size(done)} of {size(total)}")
