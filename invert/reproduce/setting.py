"""What an experiment is given, and what it hands back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stylegan_core.errors import UsageError
from stylegan_core.features import Features
from stylegan_core.metrics.probe import Counted

SHOWN, NOT_SHOWN, NOT_TESTABLE = "shown", "not shown", "not testable here"
VERDICTS = (SHOWN, NOT_SHOWN, NOT_TESTABLE)


@dataclass(frozen=True)
class Setting:
    """model: its name; generator: of it. judge: a network that no objective uses. count: how much is drawn, see the experiment.

    output: folder for what an experiment keeps beside its figures (runs of training, sheets). told: (what, done, count) → False
    stops with a UsageError.
    """

    model: str
    generator: Any
    judge: Features
    count: int
    seed: int
    output: Path
    told: Counted | None = None

    def tell(self, what: str, done: int, count: int) -> None:
        """Says how far it is."""
        if self.told is not None and self.told(what, done, count) is False:
            raise UsageError(f"stopped after {done} of {count} {what}")


@dataclass(frozen=True)
class Outcome:
    """ours: the figures in a few words, for the ledger. figures: all of them, JSON-ready. verdict: of VERDICTS."""

    ours: str
    verdict: str
    figures: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Experiment:
    """One claim. source: where it is made; paper: the figure given there. criterion: when it counts as shown.

    count: what it draws unless told otherwise; smallest: the least with which it runs at all (and what tests use).
    """

    name: str
    claim: str
    source: str
    paper: str
    criterion: str
    measure: Callable[[Setting], Outcome]
    count: int
    smallest: int

    @property
    def command(self) -> str:
        """What repeats it."""
        return f"invert reproduce {self.name}"


def verdict_of(is_shown: bool) -> str:
    """SHOWN or NOT_SHOWN."""
    return SHOWN if is_shown else NOT_SHOWN
