"""Encoders: networks that turn pictures into inversions. Names are imported when first used."""

from __future__ import annotations
