"""What docs/training.md names exists: options, presets, losses, augmentations; nothing is left out of its tables."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from invert.cli.app import build_app
from stylegan_core.losses.gan import GAN_LOSSES
from stylegan_core.training.augment import build_augmenter
from stylegan_core.training.config import PRESET_NAMES

TEXT = (Path(__file__).parent.parent / "docs" / "training.md").read_text(encoding="utf-8")
TORCHRUN = {"--nproc-per-node", "--nnodes", "--rdzv-backend", "--rdzv-endpoint", "--max-restarts"}
COMMANDS = ("data portraits", "data pack", "train generator", "models convert", "metrics")


def section(title: str) -> str:
    return TEXT.split(f"\n## {title}", 1)[1].split("\n## ", 1)[0]


def options_of(command: str) -> set[str]:
    found = typer.main.get_command(build_app())
    for word in command.split():
        found = found.commands[word]
    return {option for parameter in found.params for option in (*parameter.opts, *parameter.secondary_opts)}


def test_every_option_exists() -> None:
    known = set().union(*(options_of(command) for command in COMMANDS)) | TORCHRUN
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", TEXT))
    assert len(named) > 25 and not named - known


@pytest.mark.parametrize("line", re.findall(r"invert train generator ([^#`\n]*)", TEXT))
def test_every_option_of_a_printed_training_is_one_of_training(line: str) -> None:
    assert set(re.findall(r"--[a-z][a-z0-9-]*", line)) <= options_of("train generator")


def test_every_preset_is_in_a_table() -> None:
    for name in PRESET_NAMES:
        base = re.sub(r"-G\w+-D\w+$", "-Gskip-Dresnet", name)
        first = re.sub(r"^(stylegan1)-[a-f]$", r"\1-a", base)
        assert f"`{first}`" in section("Presets"), name


def test_the_page_on_losses_has_a_row_and_a_formula_for_each() -> None:
    page = section("Losses")
    table = page.split("**The best discriminator.**")[0]
    rows = dict(re.findall(r"^\| `(\w[\w-]*)` \| (.*) \|$", table, flags=re.MULTILINE))
    assert set(rows) == set(GAN_LOSSES)
    for name, loss in GAN_LOSSES.items():
        assert len(rows[name].split(" | ")) == 3 and ("∇" in rows[name]) == (loss.penalty is not None)
    for word in ("Vanishing gradients", "Mode collapse", "R1", "R2", "Path length", "projection", "--d-steps", "toy_divergences"):
        assert word in page, word


def test_every_augmentation_can_be_built() -> None:
    rows = re.findall(r"^\| (`.*?) \|", section("Augmentation"), flags=re.MULTILINE)
    names = [name for row in rows for name in re.findall(r"`([\w,-]+)`", row) if not name.startswith("--")]
    assert len(names) > 10
    for name in names:
        assert callable(build_augmenter(name))


def test_nothing_is_left_to_fill_in() -> None:
    assert "@@" not in TEXT
