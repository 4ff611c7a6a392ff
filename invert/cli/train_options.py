"""The options of `invert train generator`, spelled once; the words of the official scripts are aliases."""

from __future__ import annotations

from typing import Annotated

import typer

RUN = "The run"
LOSS = "The loss"
NETWORKS = "The networks"
AUGMENT = "Augmentation"
FINE_TUNING = "Fine-tuning"

Data = Annotated[str, typer.Option("--data", metavar="DIR|ZIP|NAME", help="Pictures, or the procedural portraits, ink, scenes.")]
PresetName = Annotated[
    str,
    typer.Option(
        "--preset", "--cfg", metavar="NAME",
        help="portraits64, small, auto, config-a … config-f, config-e-Gskip-Dresnet …, no-demodulation, stylegan2, paper256, paper512, "
             "paper1024, cifar, stylegan1-a … stylegan1-f, stylegan3-t, stylegan3-r.",
    ),
]  # fmt: skip
Resolution = Annotated[
    str | None,
    typer.Option("--resolution", metavar="R|HxW", help="Side in pixels, or height x width (default: 64, or the pictures' or model's own)."),
]
Channels = Annotated[int | None, typer.Option("--channels", metavar="N", help="1 grey, 3 RGB, 4 RGBA. (default: 3, or the model's)")]
Cond = Annotated[
    bool, typer.Option("--cond", help="Train on labels: dataset.json, one sub-folder per class, or what portraits wear.")
]
Count = Annotated[int, typer.Option("--count", metavar="N", help="How many procedural pictures.")]
Kimg = Annotated[float | None, typer.Option("--kimg", metavar="N", help="Length in 1000 images.", rich_help_panel=RUN)]
Batch = Annotated[int | None, typer.Option("--batch", metavar="N", help="Images per step, over all processes.", rich_help_panel=RUN)]
MicroBatch = Annotated[
    int | None,
    typer.Option("--micro-batch", "--batch-gpu", metavar="N", help="Images per pass; halved when memory runs out.", rich_help_panel=RUN),
]
Precision = Annotated[str | None, typer.Option("--precision", metavar="NAME", help="fp32 or bf16.", rich_help_panel=RUN)]
SnapshotKimg = Annotated[
    float | None, typer.Option("--snapshot-kimg", metavar="N", help="A snapshot this often.", rich_help_panel=RUN)
]
Compile = Annotated[bool, typer.Option("--compile", help="torch.compile; starts slower, runs faster.", rich_help_panel=RUN)]
CheckpointActivations = Annotated[
    bool, typer.Option("--checkpoint-activations", help="Less memory, more computation.", rich_help_panel=RUN)
]
TensorBoard = Annotated[
    bool, typer.Option("--tensorboard", help="Also a log for TensorBoard (pip install 'invert-gan[train]').", rich_help_panel=RUN)
]
ChannelBase = Annotated[
    int | None,
    typer.Option("--channel-base", "--cbase", metavar="N", help="Width at 1 px; halves with every doubling.", rich_help_panel=NETWORKS),
]
ChannelMax = Annotated[
    int | None, typer.Option("--channel-max", "--cmax", metavar="N", help="Width, at most.", rich_help_panel=NETWORKS)
]
Loss = Annotated[
    str | None,
    typer.Option(
        "--loss", "--gan-loss", metavar="NAME", help="non-saturating, minimax, hinge, wgan-gp (docs/training.md).", rich_help_panel=LOSS
    ),
]
DSteps = Annotated[
    int | None, typer.Option("--d-steps", metavar="K", help="Steps of the discriminator per step of the generator.", rich_help_panel=LOSS)
]
Lr = Annotated[float | None, typer.Option("--lr", metavar="X", help="Learning rate.", rich_help_panel=LOSS)]
Gamma = Annotated[float | None, typer.Option("--gamma", metavar="X", help="Weight of R1.", rich_help_panel=LOSS)]
R2Gamma = Annotated[float | None, typer.Option("--r2-gamma", metavar="X", help="Weight of R2.", rich_help_panel=LOSS)]
PlWeight = Annotated[
    float | None, typer.Option("--pl-weight", metavar="X", help="Weight of the path length; 0 = none.", rich_help_panel=LOSS)
]
MixingProb = Annotated[
    float | None, typer.Option("--mixing-prob", metavar="P", help="Share of images that mix two latents.", rich_help_panel=LOSS)
]
GrowingKimg = Annotated[
    float | None,
    typer.Option("--growing-kimg", metavar="N", help="stylegan1: every size, and every fade, this long.", rich_help_panel=RUN),
]
NoiseDelayKimg = Annotated[
    float, typer.Option("--noise-delay-kimg", metavar="N", help="No noise inputs for this long.", rich_help_panel=LOSS)
]
AnchorWeight = Annotated[
    float,
    typer.Option("--anchor-weight", metavar="X", help="Hold portraits to the numbers they are drawn from.", rich_help_panel=LOSS),
]
Mirror = Annotated[bool, typer.Option("--mirror", help="Show pictures mirrored half of the time.", rich_help_panel=AUGMENT)]
Augment = Annotated[
    str | None,
    typer.Option(
        "--augment", "--augpipe", metavar="NAME", rich_help_panel=AUGMENT,
        help="none, blit, geom, color, filter, noise, cutout, bg, bgc, bgcf, bgcfn, bgcfnc, diff, diff-color,translation,cutout.",
    ),
]  # fmt: skip
AugmentP = Annotated[
    float | None, typer.Option("--augment-p", "--p", metavar="P", help="A fixed probability. (default: adaptive)", rich_help_panel=AUGMENT)
]
Target = Annotated[
    float | None,
    typer.Option("--target", metavar="X", help="Mean sign on real pictures that the adaptive probability holds.", rich_help_panel=AUGMENT),
]
AdaKimg = Annotated[
    float | None, typer.Option("--ada-kimg", metavar="N", help="p could go from 0 to 1 in this time.", rich_help_panel=AUGMENT)
]
Transfer = Annotated[
    str | None,
    typer.Option("--transfer", "--resume", metavar="NAME|FILE", help="Start from these weights.", rich_help_panel=FINE_TUNING),
]
FreezeD = Annotated[
    int | None,
    typer.Option("--freeze-d", "--freezed", metavar="N", help="First layers of the discriminator that stay.", rich_help_panel=FINE_TUNING),
]
WarmStartKimg = Annotated[
    float,
    typer.Option(
        "--warm-start-kimg", metavar="N", help="First regress portraits from the numbers they are drawn from, this long.",
        rich_help_panel=FINE_TUNING,
    ),
]  # fmt: skip
