"""Options that several commands share, spelled once, with the words of the official scripts as aliases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SHARED = "Shared options"
MODEL = "Model"
DEFAULT_MODEL = "portraits64"

Model = Annotated[
    str,
    typer.Option(
        "--model",
        "--network",
        metavar="NAME|FILE",
        help="A short name (`invert models list`) or a checkpoint: safetensors, NVIDIA .pkl, rosinality .pt.",
        rich_help_panel=MODEL,
    ),
]
Psi = Annotated[
    float,
    typer.Option(
        "--psi",
        "--trunc",
        metavar="PSI",
        help="Truncation: 1 is all variety, 0 the average picture.",
        rich_help_panel=MODEL,
    ),
]
Cutoff = Annotated[
    int | None,
    typer.Option(
        "--cutoff",
        metavar="ROWS",
        help="Truncate only this many first rows of ws. (default: all)",
        rich_help_panel=MODEL,
    ),
]
Output = Annotated[Path, typer.Option("--output", "-o", "--outdir", metavar="DIR", help="Folder for the results; made if missing.")]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Where every random number comes from.", rich_help_panel=SHARED)]
Device = Annotated[str, typer.Option("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps.", rich_help_panel=SHARED)]
Threads = Annotated[
    int | None,
    typer.Option("--threads", metavar="N", help="CPU threads for one operation. (default: torch decides)", rich_help_panel=SHARED),
]
Json = Annotated[bool, typer.Option("--json", help="Results as JSON on stdout.", rich_help_panel=SHARED)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No words and no progress; errors only.", rich_help_panel=SHARED)]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", "-n", help="Say what would be done, and with what; do nothing.", rich_help_panel=SHARED),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.", rich_help_panel=SHARED)]
NoMetadata = Annotated[bool, typer.Option("--no-metadata", help="Do not write into pictures how they were made.", rich_help_panel=SHARED)]
