"""`invert` and `python -m invert`."""

from __future__ import annotations


def main() -> None:
    """Runs the command line."""
    from invert.cli.app import main as run

    run()


if __name__ == "__main__":
    main()
