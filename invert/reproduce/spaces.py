"""Z beside W, and the share of every resolution: figures of a generator that need no data."""

from __future__ import annotations

from invert.reproduce.setting import NOT_TESTABLE, Outcome, Setting, verdict_of
from stylegan_core.errors import UsageError
from stylegan_core.metrics.path_length import Distance
from stylegan_core.metrics.probe import Probe, measure_contribution, measure_path_length, measure_separability


def probe_of(setting: Setting) -> Probe:
    """The setting's generator, looked at by its judge."""
    distance = Distance(setting.judge.name, setting.judge.distance)
    return Probe(setting.generator, distance, setting.judge, setting.count, setting.seed, setting.told)


def separability(setting: Setting) -> Outcome:
    """count: samples, of which the surer half is kept for each attribute."""
    probe = probe_of(setting)
    figures = {space: measure_separability(probe, space) for space in ("z", "w")}
    z, w = (figures[space]["held_out"] for space in ("z", "w"))
    ours = (f"held out: Z {z:.2f}, W {w:.2f}; on the same samples, as in the paper: Z {figures['z']['value']:.2f}, "
            f"W {figures['w']['value']:.2f} (judge; {', '.join(figures['z']['counted'])})")  # fmt: skip
    return Outcome(ours, verdict_of(w < z), figures)


def path_length(setting: Setting) -> Outcome:
    """count: pairs of ends for each of the four figures."""
    probe = probe_of(setting)
    figures = {f"{space}-{sampling}": measure_path_length(probe, space, sampling) for space in ("z", "w") for sampling in ("full", "end")}
    values = {name: entry["value"] for name, entry in figures.items()}
    parts = [f"{name}: Z {values[f'z-{name}']:.1f}, W {values[f'w-{name}']:.1f}" for name in ("full", "end")]
    ours = f"{'; '.join(parts)} (judge's distance)"
    return Outcome(ours, verdict_of(values["w-full"] < values["z-full"]), figures)


def contribution(setting: Setting) -> Outcome:
    """count: pictures."""
    try:
        figures = measure_contribution(probe_of(setting))
    except UsageError as error:
        return Outcome(str(error), NOT_TESTABLE)
    shares = figures["shares"]
    ours = ", ".join(f"{name.split('.')[0].removeprefix('b')} px {100 * share:.0f} %" for name, share in shares.items())
    return Outcome(ours, verdict_of(list(shares.values())[-1] == max(shares.values())), figures)
