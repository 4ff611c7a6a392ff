"""The house stays as docs/architecture.md draws it: import direction, one home for each dependency, no banned habits."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("stylegan_core", "encoders", "invert")
FILES = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
MAX_LINES, MAX_FUNCTION_LINES = 350, 60
LONG_LOOPS = {"train_step": 90}  # loops that are the algorithm may be longer, up to 150 lines

BANNED = {
    r"\.cuda\(": "a function uses the device of its inputs",
    r"sys\.path": "packages are installed",
    r"os\.chdir": "paths are arguments",
    r"torch\.load\(": "files that people bring are read by checkpoints.registry",
    r"\bpickle\.(load|loads|Unpickler)\b": "loading executes nothing",
    r"weights_only": "loading executes nothing",
    r"torch\.hub|load_state_dict_from_url": "downloads go through checkpoints.catalog",
    r"torchvision\.io": "pictures are read with Pillow",
    r"except Exception|except BaseException|except:": "catch what you expect",
    r"is_cars|latent_avg|mean_latent|dlatent": "one name for one thing",
    r"torch\.manual_seed\((?!(config\.)?seed\))": "randomness is an argument",
    r"drop_last=True": "no input is lost",
    r"\b(TODO|FIXME|XXX)\b": "finish it or say so in an issue",
    r"raise NotImplementedError": "no stubs",
}
HOMES = {  # import → files that may hold it
    "typer": "invert/cli/",
    "rich": "invert/cli/console.py",
    "lpips": "stylegan_core/losses/perceptual.py",
}


def imports(file: Path) -> set[str]:
    """Top-level names of the packages that a file imports, wherever it does."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module.split(".")[0])
    return names


def relative(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("package, forbidden", [("stylegan_core", {"encoders", "invert"}), ("encoders", {"invert"})])
def test_imports_go_in_one_direction(package: str, forbidden: set[str]) -> None:
    wrong = [relative(file) for file in FILES if relative(file).startswith(package) and imports(file) & forbidden]
    assert not wrong


@pytest.mark.parametrize("name", sorted(HOMES))
def test_a_dependency_has_one_home(name: str) -> None:
    wrong = [relative(file) for file in FILES if name in imports(file) and not relative(file).startswith(HOMES[name])]
    assert not wrong


@pytest.mark.parametrize("pattern", sorted(BANNED))
def test_banned_habits(pattern: str) -> None:
    foreign = ("rosinality.py", "keymap.py", "infer.py", "convert.py", "tensorflow_names.py", "tensorflow_settings.py")
    allowed = {"latent_avg": foreign, "pickle": ("inert_pickle.py",)}
    wrong = []
    for file in FILES:
        if any(word in pattern and file.name in names for word, names in allowed.items()):
            continue
        for number, line in enumerate(file.read_text().splitlines(), start=1):
            if re.search(pattern, line.split("  # ")[0]) and '"""' not in line:
                wrong.append(f"{relative(file)}:{number}")
    assert not wrong, f"{BANNED[pattern]}: {wrong}"


def test_library_code_does_not_print() -> None:
    wrong = []
    for file in FILES:
        if relative(file).startswith("invert/cli/") or file.name == "__main__.py":
            continue
        calls = (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call))
        wrong += [f"{relative(file)}:{call.lineno}" for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
    assert not wrong


def test_files_and_functions_are_short() -> None:
    wrong = []
    for file in FILES:
        text = file.read_text()
        if len(text.splitlines()) > MAX_LINES:
            wrong.append(f"{relative(file)}: {len(text.splitlines())} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.end_lineno is not None:
                length, allowed = node.end_lineno - node.body[0].lineno + 1, LONG_LOOPS.get(node.name, MAX_FUNCTION_LINES)
                if length > allowed:
                    wrong.append(f"{relative(file)}: {node.name} has {length} lines")
    assert not wrong, "\n".join(wrong)


def test_no_file_is_named_for_nothing() -> None:
    assert not [relative(file) for file in FILES if re.fullmatch(r"(utils?|misc|common|helpers?)\.py", file.name)]


def test_no_module_level_state_changes() -> None:
    wrong = []
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Global):
                wrong.append(f"{relative(file)}:{node.lineno}")
    assert not wrong


def test_importing_the_packages_does_not_import_torch() -> None:
    code = "import sys, invert, encoders, stylegan_core; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
