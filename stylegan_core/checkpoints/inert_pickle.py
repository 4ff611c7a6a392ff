"""A data-only reader of pickles: the opcodes are walked over bytes in memory into an inert tree.

Nothing is imported and nothing is called. A function or class that a pickle names becomes a `Name`, a call becomes a
`Call` record, an object's state stays beside it, bytes stay views into the file. What the records mean is decided in
`inert_tree`, which knows the few that checkpoints need. The opcodes are those of Python's `pickletools`; those that no
checkpoint uses (most text forms of protocol 0, INST, OBJ, EXT, out-of-band buffers) are refused.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from stylegan_core.checkpoints.inert_tree import Call, Name, Persistent
from stylegan_core.errors import CheckpointError, UnsafeCheckpointError
from stylegan_core.files import display


@dataclass(frozen=True)
class Limits:
    """What one pickle may cost."""

    opcodes: int = 500_000
    depth: int = 256                # containers inside containers
    text_bytes: int = 32 << 20      # of all its strings together
    integer_bytes: int = 16
    name_bytes: int = 256           # of the module and the name of a function or class


def read_pickle(
    data: memoryview,
    allowed: frozenset[Name],
    *,
    start: int = 0,
    persistent: list[Persistent] | None = None,
    limits: Limits = Limits(),
) -> tuple[Any, int]:
    """Reads one pickle that begins at `start` → (tree, position behind its STOP).

    data: bytes of a file, format 'B'. allowed: the functions and classes that may be named. persistent: receives the
    references to outside data; None = there may be none. The tree consists of None, bool, int, float, str, memoryview
    (bytes), tuple, list (sets too), dict with scalar keys, `Name`, `Call` and `Persistent`; it may contain itself.
    Raises UnsafeCheckpointError for what asks for code or absurd sizes, CheckpointError for what is damaged.
    """
    machine = _Machine(data, start, allowed, persistent, limits)
    try:
        return machine.run(), machine.position
    except (IndexError, struct.error):
        raise CheckpointError("the pickle is damaged: an opcode finds too little on its stack or in the file") from None


def _damaged(what: str) -> NoReturn:
    raise CheckpointError(f"the pickle is damaged: {what}")


@dataclass(eq=False)
class _Machine:
    data: memoryview
    position: int
    allowed: frozenset[Name]
    persistent: list[Persistent] | None
    limits: Limits
    stack: list[Any] = field(default_factory=list)
    marks: list[list[Any]] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)
    depths: dict[int, int] = field(default_factory=dict)  # id of a container → how deep it is
    containers: list[Any] = field(default_factory=list)   # keeps every container alive, so that the ids stay theirs
    text_bytes: int = 0

    def run(self) -> Any:
        data, table, end = self.data, _TABLE, len(self.data)
        for _ in range(self.limits.opcodes):
            if self.position >= end:
                raise CheckpointError("the pickle ends in the middle: the file is truncated")
            opcode = data[self.position]
            self.position += 1
            if opcode == _STOP:
                if len(self.stack) != 1 or self.marks:
                    _damaged("it stops with more or less than one value")
                return self.stack[0]
            handler = table[opcode]
            if handler is None:
                self.refuse_opcode(opcode)
            handler(self)
        raise UnsafeCheckpointError(f"the pickle has more than {self.limits.opcodes} opcodes; refused")

    # Bytes of the file.

    def take(self, count: int) -> memoryview:
        left = len(self.data) - self.position
        if count > left:
            raise CheckpointError(f"the file is truncated or damaged: it declares {count} bytes where {left} are left")
        self.position += count
        return self.data[self.position - count : self.position]

    def unsigned(self, count: int) -> int:
        return int.from_bytes(self.take(count), "little")

    def line(self) -> str:
        limit = self.limits.name_bytes
        piece = bytes(self.data[self.position : self.position + limit])
        length = piece.find(b"\n")
        if length < 0:
            _damaged("a name has no end")
        self.position += length + 1
        return piece[:length].decode("utf-8", "backslashreplace")

    def text_number(self) -> int:
        text = self.line()
        return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else _damaged("a number is not one")

    # Containers.

    def new(self, container: Any) -> Any:
        self.depths[id(container)] = 1
        self.containers.append(container)
        self.stack.append(container)
        return container

    def deepen(self, container: Any, child: Any) -> None:
        depth = self.depths.get(id(child), 0) + 1
        if depth > self.depths[id(container)]:
            if depth > self.limits.depth:
                raise UnsafeCheckpointError(f"the pickle nests containers deeper than {self.limits.depth}; refused")
            self.depths[id(container)] = depth

    def push_tuple(self, values: list[Any]) -> None:
        node = tuple(values)
        if not node:
            self.stack.append(node)
            return
        self.new(node)
        for value in values:
            self.deepen(node, value)

    def pop_mark(self) -> list[Any]:
        values = self.stack
        self.stack = self.marks.pop()
        return values

    # Scalars.

    def op_proto(self) -> None:
        if self.stack or self.marks:
            _damaged("a second protocol opcode")
        if (protocol := self.unsigned(1)) > 5:
            raise CheckpointError(f"pickle protocol {protocol} is not known; 0 to 5 are")

    def op_frame(self) -> None:
        if self.unsigned(8) > len(self.data) - self.position:
            raise CheckpointError("the pickle is truncated or damaged: a frame is longer than the file")

    def push_long(self, count: int) -> None:
        if count > self.limits.integer_bytes:
            raise UnsafeCheckpointError(f"the pickle has an integer of {count} bytes; refused")
        self.stack.append(int.from_bytes(self.take(count), "little", signed=True))

    def push_text(self, count: int) -> None:
        view = self.take(count)
        self.text_bytes += count
        if self.text_bytes > self.limits.text_bytes:
            raise UnsafeCheckpointError(f"the pickle has more than {self.limits.text_bytes >> 20} MB of text; refused")
        try:
            self.stack.append(str(view, "utf-8", "surrogatepass"))
        except UnicodeDecodeError:
            _damaged("a text is not UTF-8")

    def push_byte_string(self, count: int) -> None:
        # Text of Python 2 or bytes; short ones are taken as text, without loss, long ones stay views.
        view = self.take(count)
        self.stack.append(str(view, "latin-1") if count < 256 else view)

    # Names and records.

    def op_global(self) -> None:
        self.push_name(self.line(), self.line())

    def op_stack_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not isinstance(module, str) or not isinstance(name, str):
            _damaged("a name that is not text")
        self.push_name(module, name)

    def op_inst(self) -> None:
        self.push_name(self.line(), self.line())
        self.refuse_opcode(ord("i"))

    def push_name(self, module: str, name: str) -> None:
        asked = Name(module, name)
        if asked not in self.allowed:
            shown = display(asked, max_length=100)
            raise UnsafeCheckpointError(f"refused {shown}, which the file asks for and none needs; nothing was run")
        self.stack.append(asked)

    def op_call(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, Name):
            raise UnsafeCheckpointError("the pickle calls something that is not a plain name; refused, nothing was run")
        if not isinstance(arguments, tuple):
            _damaged("the arguments of a call are not a tuple")
        self.deepen(self.new(Call(function, arguments)), arguments)

    def op_build(self) -> None:
        state, node = self.stack.pop(), self.stack[-1]
        if not isinstance(node, Call):
            raise UnsafeCheckpointError("the pickle sets the state of something that is not an object; refused")
        if node.state is not None:
            raise UnsafeCheckpointError("the pickle sets the state of an object twice; refused")
        node.state = state
        self.deepen(node, state)

    def op_persistent(self) -> None:
        if self.persistent is None:
            raise UnsafeCheckpointError("the pickle refers to outside data where there is none; refused")
        identifier = self.stack.pop()
        self.persistent.append(self.new(Persistent(identifier)))
        self.deepen(self.persistent[-1], identifier)

    # Filling containers.

    def set_items(self, values: list[Any]) -> None:
        node = self.stack[-1]
        target = node.entries if isinstance(node, Call) else node
        if not isinstance(target, dict) or len(values) % 2:
            _damaged("entries for something that is not a dictionary")
        for key, value in zip(values[::2], values[1::2]):
            if not isinstance(key, (str, int)) or (isinstance(key, int) and abs(key) >= 1 << 63):
                raise UnsafeCheckpointError("the pickle has a dictionary key that is not text or a number; refused")
            if key in target:
                raise UnsafeCheckpointError(f"the pickle sets the key {display(key, max_length=60)!r} twice; refused")
            target[key] = value
            self.deepen(node, value)

    def extend(self, values: list[Any]) -> None:
        node = self.stack[-1]
        target = node.members if isinstance(node, Call) else node
        if not isinstance(target, list):
            _damaged("members for something that is not a list")
        target.extend(values)
        for value in values:
            self.deepen(node, value)

    def fill(self, container: Any) -> None:
        values = self.pop_mark()
        self.new(container)
        self.set_items(values) if isinstance(container, dict) else self.extend(values)

    # Memo.

    def remember(self, index: int) -> None:
        if index > self.limits.opcodes:
            raise UnsafeCheckpointError(f"the pickle uses memo number {index}; refused")
        self.memo[index] = self.stack[-1]

    def recall(self, index: int) -> None:
        if index not in self.memo:
            _damaged(f"memo number {index} was never set")
        self.stack.append(self.memo[index])

    def refuse_opcode(self, opcode: int) -> NoReturn:
        shown = display(chr(opcode))
        raise UnsafeCheckpointError(f"opcode '{shown}' is not used by checkpoints (or this is not a pickle); refused")


def _op_mark(machine: _Machine) -> None:
    machine.marks.append(machine.stack)
    machine.stack = []


def _op_pop(machine: _Machine) -> None:
    if machine.stack:
        machine.stack.pop()
    else:
        machine.pop_mark()


def _take_last(machine: _Machine, count: int) -> list[Any]:
    values = machine.stack[-count:]
    if len(values) < count:
        _damaged("a tuple of too few values")
    del machine.stack[-count:]
    return values


_STOP = ord(".")
_HANDLERS: dict[bytes, Callable[[_Machine], Any]] = {
    b"\x80": _Machine.op_proto,
    b"\x95": _Machine.op_frame,
    # Scalars.
    b"N": lambda m: m.stack.append(None),
    b"\x88": lambda m: m.stack.append(True),
    b"\x89": lambda m: m.stack.append(False),
    b"J": lambda m: m.stack.append(int.from_bytes(m.take(4), "little", signed=True)),
    b"K": lambda m: m.stack.append(m.unsigned(1)),
    b"M": lambda m: m.stack.append(m.unsigned(2)),
    b"\x8a": lambda m: m.push_long(m.unsigned(1)),
    b"\x8b": lambda m: m.push_long(m.unsigned(4)),
    b"G": lambda m: m.stack.append(struct.unpack(">d", m.take(8))[0]),
    # Text and bytes.
    b"V": lambda m: m.stack.append(m.line()),
    b"X": lambda m: m.push_text(m.unsigned(4)),
    b"\x8c": lambda m: m.push_text(m.unsigned(1)),
    b"\x8d": lambda m: m.push_text(m.unsigned(8)),
    b"T": lambda m: m.push_byte_string(m.unsigned(4)),
    b"U": lambda m: m.push_byte_string(m.unsigned(1)),
    b"B": lambda m: m.stack.append(m.take(m.unsigned(4))),
    b"C": lambda m: m.stack.append(m.take(m.unsigned(1))),
    b"\x8e": lambda m: m.stack.append(m.take(m.unsigned(8))),
    b"\x96": lambda m: m.stack.append(m.take(m.unsigned(8))),
    # Containers.
    b")": lambda m: m.stack.append(()),
    b"\x85": lambda m: m.push_tuple(_take_last(m, 1)),
    b"\x86": lambda m: m.push_tuple(_take_last(m, 2)),
    b"\x87": lambda m: m.push_tuple(_take_last(m, 3)),
    b"t": lambda m: m.push_tuple(m.pop_mark()),
    b"\x91": lambda m: m.push_tuple(m.pop_mark()),
    b"]": lambda m: m.new([]),
    b"\x8f": lambda m: m.new([]),
    b"}": lambda m: m.new({}),
    b"l": lambda m: m.fill([]),
    b"d": lambda m: m.fill({}),
    b"a": lambda m: m.extend([m.stack.pop()]),
    b"e": lambda m: m.extend(m.pop_mark()),
    b"\x90": lambda m: m.extend(m.pop_mark()),
    b"s": lambda m: m.set_items(_take_last(m, 2)),
    b"u": lambda m: m.set_items(m.pop_mark()),
    # Stack and memo.
    b"(": _op_mark,
    b"0": _op_pop,
    b"1": lambda m: m.pop_mark(),
    b"2": lambda m: m.stack.append(m.stack[-1]),
    b"q": lambda m: m.remember(m.unsigned(1)),
    b"r": lambda m: m.remember(m.unsigned(4)),
    b"\x94": lambda m: m.remember(len(m.memo)),
    b"h": lambda m: m.recall(m.unsigned(1)),
    b"p": lambda m: m.remember(m.text_number()),
    b"g": lambda m: m.recall(m.text_number()),
    b"j": lambda m: m.recall(m.unsigned(4)),
    # Names and records.
    b"c": _Machine.op_global,
    b"\x93": _Machine.op_stack_global,
    b"i": _Machine.op_inst,
    b"R": _Machine.op_call,
    b"\x81": _Machine.op_call,
    b"b": _Machine.op_build,
    b"Q": _Machine.op_persistent,
}
_TABLE: list[Callable[[_Machine], Any] | None] = [_HANDLERS.get(bytes([code])) for code in range(256)]
