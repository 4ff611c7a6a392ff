"""Every error that a user can cause or cure. A message is one line: what, which value, what is allowed, what to do next."""

from __future__ import annotations


class InvertError(Exception):
    """Base of all errors of this toolkit; the command line prints its message and exits with 1."""


class UsageError(InvertError):
    """An option, an argument or a combination of them that can never work; the command line exits with 2."""


class ImageError(InvertError):
    """A picture that cannot be read: missing, damaged, too large, of an unknown kind."""


class CheckpointError(InvertError):
    """A checkpoint that cannot be used: truncated, incomplete, mis-shaped, not finite."""


class UnknownCheckpointError(CheckpointError):
    """A file of a kind that no reader recognises; the message says what it looks like."""


class UnsafeCheckpointError(CheckpointError):
    """A file that asks for code to run or for absurd amounts of memory; nothing of it was executed."""


class DownloadError(InvertError):
    """Weights that could not be fetched or verified; the message has the address and the alternatives."""


class WeightsNotFoundError(InvertError):
    """Weights that a chosen option needs and that are not on this machine; the message names file, address, alternatives."""


class MissingExtraError(InvertError):
    """An optional dependency that is not installed; the message names the extra."""


class LatentError(InvertError):
    """A latent of the wrong space or shape, or a conversion that only a projection can do."""


class InversionError(InvertError):
    """An inversion file that cannot be read or does not fit the generator."""


class OutputError(InvertError):
    """A result that cannot be written: no permission, no space, a name that clashes."""


class TrainingError(InvertError):
    """A training run that cannot go on: losses not finite, a snapshot of another configuration."""


class DirectionError(InvertError):
    """A direction that cannot be read, or that does not fit the model or the inversion."""
