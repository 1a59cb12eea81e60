"""Read the pickles of CIFAR archives without trusting them.

A pickle is a program, and Python's own machine for it can be led astray even where it may import nothing: a memo index
of 2**32 fills the memory, a nest of tuples as a dictionary key takes for ever to hash. This one knows only the
instructions that CIFAR's files consist of (pickle protocols 2 to 5, `pickletools` documents them), calls nothing,
imports nothing, and takes the text of Python 2 as bytes.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MAX_INSTRUCTIONS = 2_000_000
"""Of one pickle: CIFAR-100's 50,000 rows take a third of it, and each instruction makes at most a small object."""


class UnsafePickle(ValueError):
    """The pickle is damaged, or holds more than a CIFAR file needs."""


@dataclass(slots=True)
class ByteArray:
    """An array of unsigned bytes as the pickle tells it, checked.

    Attributes:
        shape: Its dimensions.
        data: Its elements, as many as the shape says.
        column_major: Whether the first dimension varies fastest.
    """

    shape: tuple[int, ...] = ()
    data: bytes = b""
    column_major: bool = False


@dataclass(frozen=True, slots=True)
class _Global:
    """The name of something a pickle would call. Only a few are known, and what they do is done here."""

    module: str
    name: str


class _Uint8:
    """NumPy's dtype of unsigned bytes."""

    __slots__ = ()


_RECONSTRUCT = "_reconstruct"
_NDARRAY = _Global("numpy", "ndarray")
_DTYPE = _Global("numpy", "dtype")
_ENCODE = _Global("_codecs", "encode")
_BYTES = _Global("__builtin__", "bytes")  # how Python 3 writes an empty one
_RECONSTRUCTORS = frozenset(
    {_Global("numpy.core.multiarray", _RECONSTRUCT), _Global("numpy._core.multiarray", _RECONSTRUCT)}
)
_KNOWN = {(known.module, known.name): known for known in (_NDARRAY, _DTYPE, _ENCODE, _BYTES, *_RECONSTRUCTORS)}

_MARK = object()


def load(data: bytes) -> Any:
    """Returns the value of a pickle: dicts, lists, tuples, numbers, texts, bytes and `ByteArray`.

    Raises:
        UnsafePickle: It is damaged, or holds more than a CIFAR file needs.
    """
    machine = _Machine(data)
    try:
        return machine.run()
    except (IndexError, struct.error, UnicodeError) as error:
        raise UnsafePickle(f"it is damaged at byte {machine.position}") from error


class _Machine:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.encodable = len(data)

    def run(self) -> Any:
        for _ in range(MAX_INSTRUCTIONS):
            code = self.take(1)[0]
            if code == _STOP:
                return self.pop()
            act = _ACTIONS.get(code)
            if act is None:
                raise UnsafePickle(f"it has the instruction {bytes([code])!r}, which no CIFAR file needs")
            act(self)
        raise UnsafePickle(f"it has more than {MAX_INSTRUCTIONS} instructions")

    def take(self, count: int) -> bytes:
        end = self.position + count
        if count < 0 or end > len(self.data):
            raise UnsafePickle(
                f"it ends early, or claims {count} bytes where {len(self.data) - self.position} are left"
            )
        piece = self.data[self.position : end]
        self.position = end
        return piece

    def number(self, form: struct.Struct) -> int:
        return int(form.unpack(self.take(form.size))[0])

    def line(self) -> str:
        end = self.data.index(b"\n", self.position, self.position + 256) if self.position < len(self.data) else -1
        text = self.take(end - self.position).decode()
        self.position += 1
        return text

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise UnsafePickle("its stack is out of step")
        return value

    def pop_mark(self) -> list[Any]:
        for start in range(len(self.stack) - 1, -1, -1):
            if self.stack[start] is _MARK:
                items = self.stack[start + 1 :]
                del self.stack[start:]
                return items
        raise UnsafePickle("its stack is out of step")


def _push(value: Any) -> Callable[[_Machine], None]:
    return lambda machine: machine.stack.append(value)


def _push_number(form: str) -> Callable[[_Machine], None]:
    layout = struct.Struct(form)
    return lambda machine: machine.stack.append(machine.number(layout))


def _push_bytes(form: str) -> Callable[[_Machine], None]:
    layout = struct.Struct(form)
    return lambda machine: machine.stack.append(machine.take(machine.number(layout)))


def _push_text(form: str) -> Callable[[_Machine], None]:
    layout = struct.Struct(form)
    return lambda machine: machine.stack.append(machine.take(machine.number(layout)).decode(errors="surrogatepass"))


def _skip(count: int) -> Callable[[_Machine], None]:
    def skip(machine: _Machine) -> None:
        machine.take(count)

    return skip


def _push_long(machine: _Machine) -> None:
    machine.stack.append(int.from_bytes(machine.take(machine.take(1)[0]), "little", signed=True))


def _push_tuple(count: int) -> Callable[[_Machine], None]:
    def push(machine: _Machine) -> None:
        items = [machine.pop() for _ in range(count)]
        machine.stack.append(tuple(reversed(items)))

    return push


def _push_marked_tuple(machine: _Machine) -> None:
    machine.stack.append(tuple(machine.pop_mark()))


def _new(kind: type[list[Any]] | type[dict[Any, Any]]) -> Callable[[_Machine], None]:
    return lambda machine: machine.stack.append(kind())


def _append(machine: _Machine) -> None:
    _extend(machine, [machine.pop()])


def _appends(machine: _Machine) -> None:
    _extend(machine, machine.pop_mark())


def _extend(machine: _Machine, items: list[Any]) -> None:
    target = machine.stack[-1]
    if not isinstance(target, list):
        raise UnsafePickle("it appends to something that is not a list")
    target.extend(items)


def _set_item(machine: _Machine) -> None:
    value, key = machine.pop(), machine.pop()
    _update(machine, [key, value])


def _set_items(machine: _Machine) -> None:
    _update(machine, machine.pop_mark())


def _update(machine: _Machine, items: list[Any]) -> None:
    target = machine.stack[-1]
    if not isinstance(target, dict) or len(items) % 2:
        raise UnsafePickle("it sets an item of something that is not a dictionary")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(key, bytes | str):
            raise UnsafePickle(f"it has a dictionary key of type {type(key).__name__}")
        target[key] = value


def _remember(form: str) -> Callable[[_Machine], None]:
    layout = struct.Struct(form)

    def remember(machine: _Machine) -> None:
        machine.memo[machine.number(layout)] = machine.stack[-1]

    return remember


def _remember_next(machine: _Machine) -> None:
    machine.memo[len(machine.memo)] = machine.stack[-1]


def _recall(form: str) -> Callable[[_Machine], None]:
    layout = struct.Struct(form)

    def recall(machine: _Machine) -> None:
        number = machine.number(layout)
        if number not in machine.memo:
            raise UnsafePickle(f"it recalls a value {number} it never stored")
        machine.stack.append(machine.memo[number])

    return recall


def _global(machine: _Machine) -> None:
    try:
        module, name = machine.line(), machine.line()
    except ValueError:
        raise UnsafePickle("it names something without an end") from None
    machine.stack.append(_known(module, name))


def _stack_global(machine: _Machine) -> None:
    name, module = machine.pop(), machine.pop()
    machine.stack.append(_known(module, name))


def _known(module: Any, name: Any) -> _Global:
    known = _KNOWN.get((module, name)) if isinstance(module, str) and isinstance(name, str) else None
    if known is None:
        raise UnsafePickle(f"it asks for {f'{module}.{name}'[:100]!r}, which no CIFAR file needs")
    return known


def _reduce(machine: _Machine) -> None:
    arguments, function = machine.pop(), machine.pop()
    match function, arguments:
        case _Global(name="_reconstruct"), (_Global(name="ndarray"), (0,), b"b"):
            machine.stack.append(ByteArray())
        case _Global(name="dtype"), ("u1" | b"u1", 0, 0 | 1):
            machine.stack.append(_Uint8())
        case _Global(name="dtype"), (str() | bytes() as kind, *_):
            raise UnsafePickle(f"it has an array of dtype {kind[:20]!r}, and CIFAR's pixels are 'u1' (unsigned bytes)")
        case _Global(name="bytes"), ():
            machine.stack.append(b"")
        case _Global(name="encode"), (str() as text, "latin1" | "latin-1"):
            machine.stack.append(_encode(machine, text))
        case _:
            raise UnsafePickle("it calls something with arguments that no CIFAR file needs")


def _encode(machine: _Machine, text: str) -> bytes:
    # One text recalled over and over would make bytes without end; honest files encode each text once.
    machine.encodable -= len(text)
    if machine.encodable < 0:
        raise UnsafePickle("it encodes more text than it holds")
    return text.encode("latin-1")


def _build(machine: _Machine) -> None:
    state = machine.pop()
    match machine.stack[-1], state:
        case ByteArray() as array, (1, tuple() as shape, _Uint8(), bool() | 0 | 1 as column_major, bytes() as data):
            _fill(array, shape, data)
            array.column_major = bool(column_major)
        case _Uint8(), (3 | 4, "|" | b"|", None, None, None, -1, -1, 0, *_):
            pass
        case _:
            raise UnsafePickle("it sets the state of something in a way that no CIFAR file needs")


def _fill(array: ByteArray, shape: tuple[Any, ...], data: bytes) -> None:
    if len(shape) > 8 or not all(isinstance(dimension, int) for dimension in shape):
        raise UnsafePickle("it has an array whose shape is not a few numbers")
    if min(shape, default=0) < 0 or math.prod(shape) != len(data):
        raise UnsafePickle(f"it claims an array of shape {shape} with {len(data)} bytes")
    array.shape, array.data = shape, data


_STOP = ord(".")

_BY_NAME: dict[int | str, Callable[[_Machine], None]] = {
    0x80: _skip(1),  # PROTO
    0x95: _skip(8),  # FRAME
    "N": _push(None),
    0x88: _push(True),
    0x89: _push(False),
    "(": _push(_MARK),
    "J": _push_number("<i"),
    "K": _push_number("<B"),
    "M": _push_number("<H"),
    0x8A: _push_long,
    "T": _push_bytes("<i"),  # BINSTRING: Python 2's text
    "U": _push_bytes("<B"),
    "B": _push_bytes("<I"),  # BINBYTES: Python 3's bytes
    "C": _push_bytes("<B"),
    0x8E: _push_bytes("<Q"),
    "X": _push_text("<I"),
    0x8C: _push_text("<B"),
    0x8D: _push_text("<Q"),
    ")": _push_tuple(0),
    0x85: _push_tuple(1),
    0x86: _push_tuple(2),
    0x87: _push_tuple(3),
    "t": _push_marked_tuple,
    "]": _new(list),
    "}": _new(dict),
    "a": _append,
    "e": _appends,
    "s": _set_item,
    "u": _set_items,
    "q": _remember("<B"),
    "r": _remember("<I"),
    0x94: _remember_next,  # MEMOIZE
    "h": _recall("<B"),
    "j": _recall("<I"),
    "c": _global,
    0x93: _stack_global,
    "R": _reduce,
    "b": _build,
}
_ACTIONS = {ord(code) if isinstance(code, str) else code: action for code, action in _BY_NAME.items()}
