"""How a command ends: exit codes and one-line messages for everything that can go wrong.

0 all done; 1 something failed; 2 the command line makes no sense; 130 Ctrl-C; 143 SIGTERM.
A traceback appears with --debug only.
"""

from __future__ import annotations

import errno
import itertools
import os
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType, TracebackType
from typing import Any, NoReturn

from invert.cli.console import Terminal
from stylegan_core.errors import InvertError, UsageError

FAILED, USAGE, INTERRUPTED, TERMINATED = 1, 2, 130, 143


class Terminated(BaseException):
    """SIGTERM arrived; raised in the main thread so that files are cleaned up and state is saved on the way out."""


class ExitCodes:
    """Context in which the body of a command runs: every error becomes a line on stderr and an exit code."""

    def __init__(self, *, debug: bool = False, arguments: Sequence[str] = ()):
        """arguments: of the command line, for what is said of wrong ones."""
        self.debug, self.arguments = debug, arguments
        self._before: signal.Handlers | None = None

    def __enter__(self) -> ExitCodes:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, _on_sigterm)  # type: ignore[assignment]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)
        if error is not None and is_wrong_usage(error):
            sys.exit(show_usage_error(error, self.arguments))
        if error is None or isinstance(error, SystemExit) or hasattr(error, "exit_code"):  # typer's own exits carry their code
            return
        if self.debug:
            import traceback

            traceback.print_exception(kind, error, trace)
        _leave(error)


def _leave(error: BaseException) -> NoReturn:
    terminal = Terminal()
    if isinstance(error, BrokenPipeError) or (isinstance(error, OSError) and error.errno == errno.EPIPE):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # `invert … | head` is no failure of ours
        sys.exit(FAILED)
    if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "Abort":  # typer's name for it
        terminal.say("stopped by Ctrl-C; start the same command again to go on")
        sys.exit(INTERRUPTED)
    if isinstance(error, Terminated):
        terminal.say("stopped by SIGTERM; start the same command again to go on")
        sys.exit(TERMINATED)
    terminal.fail(explain(error))
    sys.exit(USAGE if isinstance(error, UsageError) else FAILED)


def explain(error: BaseException) -> str:
    """One line for a person."""
    if isinstance(error, InvertError):
        return str(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "there is not enough memory for this; try --batch 1, a smaller model, or --device cpu"
    if isinstance(error, OSError) and error.errno is not None:
        place = f" {error.filename}" if error.filename is not None else ""
        return f"the system refused{place}: {os.strerror(error.errno).lower()}"
    text = str(error).strip().splitlines()
    reason = text[0] if text else "no message"
    return f"unexpected {type(error).__name__}: {reason} (run again with --debug and report the traceback)"


def is_wrong_usage(error: BaseException) -> bool:
    """Whether typer could not make sense of the command line, or of a file that it names."""
    return hasattr(error, "format_message") and hasattr(error, "exit_code")


def show_usage_error(error: Any, arguments: Sequence[str]) -> int:
    """What typer says of a command line, as one line with the value that was given; returns the exit code."""
    code: int = error.exit_code
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return code
    names = list(getattr(getattr(error, "param", None), "opts", []))
    given = [value for name, value in itertools.pairwise(arguments) if name in names]
    given += [value.partition("=")[2] for value in arguments if value.partition("=")[0] in names and "=" in value]
    context = getattr(error, "ctx", None)
    place = "invert" if context is None else context.command_path
    text = " ".join(error.format_message().split()).rstrip(".")
    Terminal().fail(f"{text}{f', not {given[-1]!r}' if given else ''}; `{place} --help` tells what there is")
    return code


def _on_sigterm(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated
