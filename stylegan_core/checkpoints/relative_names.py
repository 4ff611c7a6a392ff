"""By which names the relatives of the StyleGAN line are told; facts of their releases, nothing of them is needed to read this."""

from __future__ import annotations

from dataclasses import dataclass

from stylegan_core.errors import UnknownCheckpointError


@dataclass(frozen=True)
class Relative:
    """classes: of a persistent object. source_words: in the text that it carries. tensors: each begins some tensor's name.

    modules: names that the pickle asks for, as bytes of the file.
    """

    name: str
    paper: str
    classes: frozenset[str]
    source_words: tuple[str, ...]
    tensors: tuple[str, ...]
    modules: tuple[bytes, ...]


RELATIVES = (
    Relative(
        "StyleGAN-XL", "Sauer, Schwarz and Geiger 2022", frozenset({"SuperresGenerator", "ProjectedDiscriminator"}),
        ("class SuperresGenerator", "networks_stylegan3_resetting"), ("synthesis.L0_", "mapping.embed_proj."),
        (b"SuperresGenerator", b"networks_stylegan3_resetting", b"pg_modules.", b"pg_modules\n"),
    ),
    Relative(
        "StyleGAN-T", "Sauer, Karras, Laine, Geiger and Aila 2023", frozenset(),
        ("class StyleSplit", "networks.clip"), ("mapping.clip.",), (b"networks.generator", b"networks.clip", b"StyleSplit"),
    ),
    Relative(
        "EG3D", "Chan et al. 2022", frozenset({"TriPlaneGenerator", "DualDiscriminator"}),
        ("class TriPlaneGenerator",), ("backbone.synthesis.", "decoder.net."),
        (b"TriPlaneGenerator", b"training.triplane", b"volumetric_rendering"),
    ),
    Relative(
        "lucidrains' StyleGAN2", "the package stylegan2_pytorch", frozenset(), (), ("SE.net.", "GE.", "S.net."),
        (b"stylegan2_pytorch",),
    ),
)  # fmt: skip


def refusal(name: str) -> str:
    """One line for a file of this relative."""
    paper = next((relative.paper for relative in RELATIVES if relative.name == name), "another code")
    return (
        f"holds a network of {name} ({paper}), whose architecture this toolkit does not have; "
        "StyleGAN, StyleGAN2, StyleGAN2-ADA and StyleGAN3 files are read"
    )


def named_in(data: memoryview) -> str | None:
    """The relative whose names the bytes of a refused file hold; None for any other."""
    held = data.obj if hasattr(data.obj, "find") and data.nbytes == len(data.obj) else bytes(data)  # type: ignore[arg-type]
    for relative in RELATIVES:
        if any(held.find(word) >= 0 for word in relative.modules):  # type: ignore[union-attr]
            return relative.name
    return None


def raise_if_named(data: memoryview) -> None:
    """Raises UnknownCheckpointError with the refusal of the relative that the bytes name."""
    name = named_in(data)
    if name is not None:
        raise UnknownCheckpointError(refusal(name))
