"""What a JPEG's segments say, held to what libjpeg accepts (ITU-T T.81, annexes B.2 and C).

Most encoders write the same few tables and scan headers into every file, so what was once judged is remembered.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from imagemill.images.facts import undecodable

AC = 16
"""Added to the number of an AC table, as DHT and DAC write it; DC tables have their number alone."""
STANDARD_HUFFMAN = frozenset({0, 1, AC, AC + 1})
"""Tables that libjpeg-turbo has of its own, for sequential scans of a file that does not define them."""

_LARGEST_DC_SYMBOL = 15
_MCU_BLOCKS = 10
"""Blocks in a unit of an interleaved scan at most (B.2.3)."""

_remembered = lru_cache(64)


class Component(NamedTuple):
    """One component of a frame: its number, its sampling factors, its quantization table."""

    number: int
    across: int
    down: int
    table: int


class Scan(NamedTuple):
    """What a scan needs.

    Attributes:
        quantization: Numbers of its quantization tables.
        huffman: Numbers of its Huffman tables; none for arithmetic coding.
        complete: It leaves nothing to another scan.
    """

    quantization: frozenset[int]
    huffman: frozenset[int]
    complete: bool


@_remembered
def read_components(segment: bytes) -> tuple[Component, ...]:
    """Returns the components of a frame header, three bytes each."""
    found = tuple(
        Component(number, sampling >> 4, sampling & 15, table)
        for number, sampling, table in zip(segment[::3], segment[1::3], segment[2::3], strict=True)
    )
    across, down = max(one.across for one in found), max(one.down for one in found)
    for one in found:
        if not (0 < one.across <= 4 and 0 < one.down <= 4) or across % one.across or down % one.down:
            sampling = f"sampled {one.across} x {one.down} of {across} x {down}"
            raise undecodable(f"component {one.number} is {sampling}: wanted are whole fractions of 4 at most")
    return found


@_remembered
def read_scan(segment: bytes, components: tuple[Component, ...], *, progressive: bool, arithmetic: bool) -> Scan:
    """Returns what a scan header asks for, of a frame of these components."""
    count = segment[0] if segment else 0
    if not 0 < count <= 4 or len(segment) != 4 + 2 * count:
        raise undecodable(f"a scan header of {len(segment)} bytes for {count} components")
    numbers = segment[1:-3:2]
    frame = {one.number: one for one in reversed(components)}
    if unknown := set(numbers) - set(frame):
        raise undecodable(f"a scan of the components {sorted(unknown)}, which the frame does not have")
    if len(set(numbers)) < count:
        raise undecodable("a scan that has a component twice")
    scanned = [frame[number] for number in numbers]
    if count > 1 and sum(one.across * one.down for one in scanned) > _MCU_BLOCKS:
        raise undecodable(f"a scan of more than {_MCU_BLOCKS} blocks a unit")
    if progressive:
        _check_progression(segment)
    return Scan(
        frozenset(one.table for one in scanned),
        frozenset(() if arithmetic else _huffman_wanted(segment, progressive=progressive)),
        not progressive and count == len(components),
    )


def _check_progression(segment: bytes) -> None:
    first, last, high, low = segment[-3], segment[-2], segment[-1] >> 4, segment[-1] & 15
    spectral = first == last == 0 or (segment[0] == 1 and 0 < first <= last < 64)
    if not spectral or (high and low != high - 1) or low > 13:
        raise undecodable(f"a progressive scan of coefficients {first} to {last}, bits {high} and {low}")


def _huffman_wanted(segment: bytes, *, progressive: bool) -> set[int]:
    """Returns the tables that decode a scan; a refinement of DC coefficients has raw bits, and needs none."""
    first, high = segment[-3], segment[-1] >> 4
    selected = segment[2:-3:2]
    wanted: set[int] = set()
    if not progressive or (first == 0 and not high):
        wanted.update(tables >> 4 for tables in selected)
    if not progressive or first:
        wanted.update(AC + (tables & 15) for tables in selected)
    return wanted


@_remembered
def quantization_tables(segment: bytes) -> frozenset[int]:
    """Returns the numbers of the tables in a DQT segment."""
    found: set[int] = set()
    position = 0
    while position < len(segment):
        precision, number = segment[position] >> 4, segment[position] & 15
        if number > 3:
            raise undecodable(f"quantization table {number}: a JPEG has four, from 0")
        found.add(number)
        position += 129 if precision else 65
    if position != len(segment):
        raise undecodable(f"a quantization table without its last {position - len(segment)} bytes")
    return frozenset(found)


@_remembered
def huffman_tables(segment: bytes) -> Mapping[int, bool]:
    """Returns the numbers of the tables in a DHT segment, and of each whether a scan can use it."""
    found: dict[int, bool] = {}
    position = 0
    while position < len(segment):
        number, counts = segment[position], segment[position + 1 : position + 17]
        symbols = segment[position + 17 : position + 17 + sum(counts)]
        if number & ~AC > 3 or sum(counts) > 256 or len(counts) < 16 or len(symbols) < sum(counts):
            raise undecodable(f"a Huffman table {number:#04x} of {sum(counts)} codes, {len(symbols)} symbols")
        found[number] = _is_code(counts) and (number >= AC or max(symbols, default=0) <= _LARGEST_DC_SYMBOL)
        position += 17 + len(symbols)
    return found


def _is_code(counts: bytes) -> bool:
    """Tells whether so many codes of 1, 2, ... 16 bits have room, with that of all ones left free at every length."""
    code = 0
    for bits, count in enumerate(counts, 1):
        code += count
        if count and code >= 1 << bits:
            return False
        code <<= 1
    return True


def check_conditioning(segment: bytes) -> None:
    """Refuses a DAC segment that arithmetic decoding cannot be set up by."""
    if len(segment) % 2:
        raise undecodable(f"arithmetic conditioning of {len(segment)} bytes")
    for number, value in zip(segment[::2], segment[1::2], strict=True):
        if number >= 2 * AC or (number < AC and value & 15 > value >> 4):
            raise undecodable(f"arithmetic conditioning {value:#04x} of table {number:#04x}")
