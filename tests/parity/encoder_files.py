"""Whole encoders: with their decoders, HyperStyle, ArcFace, and files that the peers' code wrote."""

from __future__ import annotations

from collections.abc import Iterator

from tests.parity.encoders import arcface_rows, file_rows, hyperstyle_rows, psp_full_rows, restyle_full_rows
from tests.parity.rows import Row


def rows() -> Iterator[Row]:
    for part in (arcface_rows, restyle_full_rows, hyperstyle_rows, psp_full_rows, file_rows):
        yield from part()
