"""The command line as a whole: speed, help, exit codes, one-line errors."""

from __future__ import annotations

import re
import resource
import shlex
import subprocess
import sys

import pytest
import typer

from invert.cli.app import build_app
from invert.cli.console import Terminal, duration, size
from invert.cli.exits import ExitCodes, Terminated, explain
from stylegan_core.errors import ImageError, UsageError


def _leaves(command, path=()):
    children = getattr(command, "commands", None)
    if not children:
        yield path, command
    for name, child in (children or {}).items():
        yield from _leaves(child, (*path, name))


COMMANDS = dict(_leaves(typer.main.get_command(build_app())))


def test_help_is_quick_and_needs_no_torch():
    code = (
        "import sys; from invert.__main__ import main\n"
        "sys.argv = ['invert', '--help']\n"
        "try: main()\n"
        "finally: sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    before = _child_seconds()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and "Examples" in done.stdout, done.stderr
    assert _child_seconds() - before < 1.0  # processor time: 0.3 s here, whatever else the machine does


def _child_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def test_import_invert_imports_no_torch():
    code = "import sys, invert, stylegan_core, encoders; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_public_names_resolve():
    import invert
    import stylegan_core

    for package in (invert, stylegan_core):
        for name in package.__all__:
            assert getattr(package, name) is not None
            assert name in dir(package)
        with pytest.raises(AttributeError, match="no attribute 'nothing'"):
            package.nothing  # noqa: B018
        assert package.__version__


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_examples_that_parse(path, invert):
    result = invert(*path, "--help")
    assert result.code == 0 and "Examples:" in result.out
    help_text = COMMANDS[path].help
    assert help_text.index("Examples:") < 400, "examples come first"
    examples = [line.strip() for line in help_text.splitlines() if line.strip().startswith("invert ")]
    assert examples
    for line in examples:
        words = shlex.split(line.partition(" > ")[0], comments=True)
        assert tuple(words[1 : 1 + len(path)]) == path, line
        COMMANDS[path].make_context("invert", words[1 + len(path) :])


def test_examples_of_the_first_page_parse():
    root = typer.main.get_command(build_app())
    lines = [line.strip() for line in root.help.splitlines() if line.strip().startswith("invert ")]
    assert len(lines) >= 4
    for line in lines:
        words = shlex.split(line, comments=True)[1:]
        path = next(path for path in COMMANDS if tuple(words[: len(path)]) == path)
        COMMANDS[path].make_context("invert", words[len(path) :])


@pytest.mark.parametrize(
    "words", ["--network a.pkl --outdir o --num-steps 7 --save-video w.gif --class 3 -n x.png", "--model m -o d --steps 1 x.png"]
)
def test_words_of_the_official_projector(words):
    context = COMMANDS[("project",)].make_context("invert", words.split())
    assert context.params["model"] in ("a.pkl", "m") and context.params["steps"] in (7, 1)


def test_words_of_the_official_generator():
    words = "--network a.pkl --trunc 0.5 --seeds 1,4-6 --noise-mode random --class 2 --outdir o"
    context = COMMANDS[("generate",)].make_context("invert", words.split())
    assert context.params["psi"] == 0.5 and context.params["noise_mode"] == "random" and context.params["class_"] == 2


def test_version_and_wrong_words(invert):
    assert re.match(r"invert \S+\n", invert("--version").out)
    bad = (["nonsense"], ["project"], ["project", "x.png", "--spce", "w"], ["generate", "--psi", "much"], ["generate", "--psi=much"])
    for words in bad:
        result = invert(*words)
        assert result.code == 2 and result.out == ""
        assert len(result.err.strip().splitlines()) == 1 and "--help` tells" in result.err
    assert "not 'much'" in result.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("no such thing"), 2), (ImageError("bad"), 1), (KeyboardInterrupt(), 130), (Terminated(), 143),
        (MemoryError(), 1), (KeyError("oops"), 1), (OSError(28, "No space left", "out/a.png"), 1),
    ],
)  # fmt: skip
def test_errors_become_a_line_and_a_code(error, code, capsys):
    with pytest.raises(SystemExit) as left, ExitCodes():
        raise error
    captured = capsys.readouterr()
    assert left.value.code == code and "Traceback" not in captured.err and captured.out == ""
    assert len(captured.err.strip().splitlines()) == 1


def test_debug_shows_the_traceback(capsys):
    with pytest.raises(SystemExit), ExitCodes(debug=True):
        raise ImageError("bad")
    assert "Traceback" in capsys.readouterr().err


def test_explanations():
    assert "no space left" in explain(OSError(28, "x", "a.png")) and "a.png" in explain(OSError(28, "x", "a.png"))
    assert "--batch 1" in explain(MemoryError()) and "--debug" in explain(ZeroDivisionError("division by zero"))


def test_nothing_from_outside_reaches_the_terminal_raw(capsys):
    terminal = Terminal()
    for name in ("x\x1b[2J.png", "[/red].png", "new\nline", "\u202egnp.exe"):
        terminal.say(name)
        terminal.fail(name)
        terminal.table(["name"], [[name]])
    captured = capsys.readouterr()
    for stream in (captured.err, captured.out):
        assert "\x1b" not in stream and "\u202e" not in stream and "[/red].png" in stream
        assert "new\\x0aline" in stream


def test_quiet_keeps_errors_only(capsys):
    terminal = Terminal(quiet=True)
    terminal.say("words")
    terminal.warn("words")
    with terminal.progress("work", 3) as bar:
        bar.update(1, note="x")
    terminal.fail("broken")
    captured = capsys.readouterr()
    assert captured.err.strip() == "error: broken" and captured.out == ""


def test_lines_of_progress_tell_the_time_left(capsys, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    with Terminal().progress("work", 10) as bar:
        for done in range(1, 6):
            now[0] += 4
            bar.update(done, note=f"step {done}")
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines == ["work: 10 %, step 1", "work: 30 %, about 28 s left, step 3", "work: 50 %, about 20 s left, step 5"]


def test_durations_and_sizes():
    assert [duration(x) for x in (0.4, 59.6, 200, 7500)] == ["0 s", "1 min 0 s", "3 min 20 s", "2 h 5 min"]
    assert [size(x) for x in (None, 12, 5_600_000, 2_000_000_000)] == ["unknown", "12 bytes", "5.6 MB", "2 GB"]
