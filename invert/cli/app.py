"""The command line, assembled: one file per command, nothing heavy imported before a command runs."""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from invert.cli.exits import ExitCodes

HELP = """Invert pictures into the latent space of a StyleGAN, and render them again.

\b
Examples:
  invert project photo.jpg                         # results in ./out
  invert project photos/ --model ffhq --space w+   # a folder, a public model
  invert render out/photo.inversion.safetensors -o again.png
  invert edit photo.jpg --direction smile --strength -3:3:7
  invert generate --seeds 0-7 --psi 0.7 --grid
  invert doctor                                    # what this machine can do
"""


def build_app() -> typer.Typer:
    """The typer application with every command."""
    from invert.cli import (
        attribute,
        bench,
        blend,
        calibrate,
        data,
        directions,
        doctor,
        edit,
        encode,
        evaluate,
        generate,
        interpolate,
        metrics,
        mix,
        models,
        project,
        render,
        reproduce,
        train,
        tune,
    )

    app = typer.Typer(
        name="invert", help=HELP, no_args_is_help=True, rich_markup_mode="rich", pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )  # fmt: skip
    app.callback()(_root)
    for module in (project, encode, tune, render, edit, mix, interpolate, blend, generate, attribute, calibrate, metrics, reproduce,
                   doctor, bench):
        module.register(app)
    for module in (directions, models, data, train, evaluate):
        app.add_typer(module.build_app())
    return app


def command(app: typer.Typer, name: str, *, panel: str | None = None) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Registers a function as a command whose errors are one line and an exit code. Its docstring is the help."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def run(*args: Any, **options: Any) -> None:
            with ExitCodes(debug=bool(options.get("debug"))):
                function(*args, **options)

        app.command(name, rich_help_panel=panel)(run)
        return function

    return register


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and leaves with its exit code. arguments: None = those of the process."""
    app = typer.main.get_command(build_app())
    given = sys.argv[1:] if arguments is None else list(arguments)
    debug = "--debug" in given
    with warnings.catch_warnings(), ExitCodes(debug=debug, arguments=given):
        if not debug and not sys.warnoptions:
            warnings.simplefilter("ignore")  # packages warn their developers; what people must know is a line of ours
        code = app(args=given, prog_name="invert", standalone_mode=False)
    sys.exit(code if isinstance(code, int) else 0)


def _show_version(wanted: bool) -> None:
    if wanted:
        from stylegan_core.provenance import version

        print(f"invert {version()}")
        raise typer.Exit


def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True)] = False,
) -> None:
    pass
