"""Align → invert → edit → paste back, in one object that is called on a photo, prints itself, and is saved as YAML or JSON."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from invert.editing.setting import Setting
from invert.editing.steps import (
    STEPS,
    Align,
    Edit,
    Encode,
    Mask,
    Mix,
    PasteBack,
    Project,
    Render,
    Set,
    Truncate,
    Tune,
    Until,
    Work,
    check_steps,
    describe,
    rendered,
)
from invert.inputs import stem_of
from stylegan_core.errors import UsageError
from stylegan_core.files import atomic_write, display
from stylegan_core.inversion import Inversion

if TYPE_CHECKING:
    from invert.loaded import LoadedModel
    from stylegan_core.progress import Callback

__all__ = [
    "Align", "Edit", "Encode", "Mask", "Mix", "PasteBack", "Pipeline", "Project", "Render", "Set", "Truncate", "Tune", "Until", "Work",
]  # fmt: skip

MAX_FILE_BYTES = 1 << 20
Step = Callable[..., Any]


@dataclass(frozen=True)
class Pipeline:
    """steps: of `invert.editing.steps`, or any callable that takes a `Work` and gives a `Work`, an `Inversion` or a picture.

    model: a short name, a checkpoint or a generator. device: where a model that is named runs. is_related: take directions and
    inversions of related models too.

    Called on a photo (path, Pillow picture, array, tensor), an inversion or its file it gives a `Work`, whose `picture`, `inversion`
    and `report` are the results; on a list, a tensor of several pictures or an inversion of several images it gives a list of them.
    """

    steps: Sequence[Step]
    model: Any = "portraits64"
    device: str = "auto"
    is_related: bool = False
    _loaded: list[LoadedModel] = field(default_factory=list, repr=False, compare=False)

    def __call__(self, source: Any, *, callback: Callback | None = None) -> Any:
        """callback: called after every step of a projection; False stops that."""
        singles = _singles(source)
        if singles is not None:
            return [self(one, callback=callback) for one in singles]
        setting = self.setting()
        check_steps(self.steps, setting)
        work = self.started(source, setting, callback)
        for step in self.steps:
            work = run_step(step, work, setting)
        return rendered(work, setting) if work.picture is None else work

    def setting(self) -> Setting:
        """The model, loaded when first asked for, and how pictures are projected."""
        from invert.api import loaded_model

        if not self._loaded:
            self._loaded.append(loaded_model(self.model, self.device))
        projecting = next((step for step in self.steps if isinstance(step, Project)), Project())
        options = {part.name: getattr(projecting, part.name) for part in fields(projecting)}
        return Setting(self._loaded[0], options, self.is_related)

    def started(self, source: Any, setting: Setting, callback: Callback | None = None) -> Work:
        """The input as work: an inversion, or a photo that is still to be inverted."""
        from invert.api import picture_of

        if isinstance(source, (str, os.PathLike)) and os.fspath(source).endswith((".safetensors", ".npz")):
            inversion = setting.inversion(os.fspath(source))
            return Work(stem_of(Path(source)), Path(source), inversion=inversion, unedited=inversion, callback=callback)
        if isinstance(source, Inversion):
            inversion = setting.inversion(source)
            return Work("inversion", inversion=inversion, unedited=inversion, callback=callback)
        photo = picture_of(source, keep_alpha=setting.generator.img_channels == 4)
        path = Path(source) if isinstance(source, (str, os.PathLike)) else None
        return Work("picture" if path is None else stem_of(path), path, photo=photo, callback=callback)

    def __str__(self) -> str:
        lines = ",\n".join(f"    {describe(step)}" for step in self.steps)
        model = f", model={self.model!r}" if isinstance(self.model, (str, os.PathLike)) else ", model=<a generator>"
        return f"Pipeline([\n{lines},\n]{model})"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: {"model": …, "steps": [{"Align": {}}, {"Edit": {"direction": "smile", "strength": 2}}, …]}.

        Raises UsageError for what only exists in this program: callables, directions and inversions that are no files.
        """
        if not isinstance(self.model, (str, os.PathLike)):
            raise UsageError("this pipeline holds a generator, not its name; it cannot be saved")
        steps = []
        for number, step in enumerate(self.steps, start=1):
            if type(step).__name__ not in STEPS:
                raise UsageError(f"step {number} ({describe(step)}) is a function of this program; it cannot be saved in a file")
            values = {part.name: getattr(step, part.name) for part in fields(cast(Any, step))}
            given = {name: _plain(value, number, step) for name, value in values.items() if value != _default(step, name)}
            steps.append({type(step).__name__: given})
        facts = {"model": os.fspath(self.model), "steps": steps}
        return {**facts, "is_related": True} if self.is_related else facts

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes YAML for .yaml and .yml, JSON for .json, whole or not at all. Raises UsageError."""
        target, value = Path(path), self.to_dict()
        if target.suffix.lower() == ".json":
            text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
        elif target.suffix.lower() in (".yaml", ".yml"):
            import yaml

            text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
        else:
            raise UsageError(f"{display(target)}: pipelines are written as .yaml, .yml or .json")
        with atomic_write(target) as temporary:
            temporary.write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str], **overrides: Any) -> Pipeline:
        """A file of `save`, or one that was written by hand. overrides: other fields of the pipeline. Raises UsageError."""
        name = display(Path(path))
        try:
            if Path(path).stat().st_size > MAX_FILE_BYTES:
                raise UsageError(f"{name} is larger than {MAX_FILE_BYTES} bytes; it is no pipeline")
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{name} cannot be read as a pipeline ({display(error, max_length=100)})") from None
        try:
            return cls.from_dict(_parsed(text), **overrides)
        except UsageError as error:
            raise UsageError(f"{name}: {error}") from None

    @classmethod
    def from_dict(cls, value: Any, **overrides: Any) -> Pipeline:
        """What `to_dict` gives. A step is its name, or {name: options}, options being a dictionary, a list in order, or one value."""
        if not isinstance(value, dict) or not isinstance(value.get("steps"), list) or not value["steps"]:
            raise UsageError("a pipeline is a dictionary with `steps`, a list, and perhaps `model`")
        unknown = sorted(set(map(str, value)) - {"steps", "model", "device", "is_related"})
        if unknown:
            raise UsageError(f"{unknown[0]!r} is not known; a pipeline has steps, model, device, is_related")
        facts = {key: value[key] for key in ("model", "device", "is_related") if key in value}
        facts.update({key: one for key, one in overrides.items() if one is not None})
        if not all(isinstance(facts.get(key, ""), str) for key in ("device",)) or not isinstance(facts.get("is_related", False), bool):
            raise UsageError("device is a name, is_related is true or false")
        return cls([parse_step(step, number) for number, step in enumerate(value["steps"], start=1)], **facts)


def run_step(step: Step, work: Work, setting: Setting) -> Work:
    """One step, ours or the user's. Raises UsageError when a user's step gives something that no pipeline can carry on with."""
    from torch import Tensor

    if type(step).__name__ in STEPS and isinstance(step, STEPS[type(step).__name__]):
        return step(work, setting)  # type: ignore[no-any-return]
    result = step(work)
    name = describe(step)
    if isinstance(result, Work):
        return result if len(result.report) > len(work.report) else result.noted(name)
    if isinstance(result, Inversion):
        return work.edited(setting.checked(result, f"what step {name} gave")).noted(name)
    if isinstance(result, Tensor) and result.ndim == 4:
        return replace(work, picture=result).noted(name)
    raise UsageError(f"step {name} gave {type(result).__name__}; a Work, an Inversion or a picture [1, C, H, W] is needed")


def parse_step(value: Any, number: int) -> Step:
    """A step of a file. Raises UsageError with the number of the step and what is meant."""
    if isinstance(value, str):
        value = {value: {}}
    if not isinstance(value, dict) or len(value) != 1:
        raise UsageError(f"step {number}: a name, or one name with its options, is needed")
    ((name, options),) = value.items()
    kind = STEPS.get(str(name))
    if kind is None:
        close = difflib.get_close_matches(str(name), STEPS, n=1, cutoff=0.4)
        raise UsageError(f"step {number}: {display(name)!r} is not known; {f'did you mean {close[0]}?' if close else ', '.join(STEPS)}")
    title, known = str(name), [part.name for part in fields(kind)]
    if options is None:
        options = {}
    elif isinstance(options, list):
        if len(options) > len(known):
            raise UsageError(f"step {number}: {title} takes at most {len(known)} options: {', '.join(known)}")
        options = dict(zip(known, options))
    elif not isinstance(options, dict):
        options = {known[0]: options} if known else {"": options}
    unknown = [str(key) for key in options if key not in known]
    if unknown:
        raise UsageError(f"step {number}: {title} has no option {display(unknown[0])!r}; it has {', '.join(known) or 'none'}")
    needed = [part.name for part in fields(kind) if part.default is MISSING and part.default_factory is MISSING]
    missing = [one for one in needed if one not in options]
    if missing:
        raise UsageError(f"step {number}: {title} needs {missing[0]}")
    try:
        return kind(**options)  # type: ignore[no-any-return]
    except UsageError as error:
        raise UsageError(f"step {number}: {str(error).removeprefix(f'step {title}: ')}") from None


def _singles(source: Any) -> list[Any] | None:
    """The inputs of a batch; None for a single one."""
    from torch import Tensor

    if isinstance(source, Inversion) and len(source) != 1:
        return [source[i] for i in range(len(source))]
    if isinstance(source, Tensor) and source.ndim == 4 and len(source) != 1:
        return list(source.split(1))
    return list(source) if isinstance(source, (list, tuple)) else None


def _parsed(text: str) -> Any:
    """JSON is YAML too, so one reader takes both; nothing but plain values is made."""
    import yaml

    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise UsageError(f"it is neither YAML nor JSON ({display(error, max_length=160)})") from None


def _default(step: Any, name: str) -> Any:
    return next(part.default for part in fields(step) if part.name == name)


def _plain(value: Any, number: int, step: Any) -> Any:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(one, number, step) for one in value]
    if isinstance(value, dict):
        return {str(key): _plain(one, number, step) for key, one in value.items()}
    raise UsageError(f"step {number} ({type(step).__name__}) holds a {type(value).__name__}, not a name or a file; it cannot be saved")
