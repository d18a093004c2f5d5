"""
What the processes of the service know of the ledger together, in memory that was made before they were forked.

A process that begins while the ledger is away learns from it what the others have learnt. Else it would go back to what
was so when the service was started, and what has been switched off since would speak again.
"""

from __future__ import annotations

import fcntl
import os
import struct
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from hashlib import blake2b
from mmap import mmap
from threading import Lock
from typing import Generic, TypeVar

import msgspec

from cds_service import decoding
from cds_service.adapters.ledger.switches import Switches
from cds_service.rules.tuning_model import Tuning

T = TypeVar("T")
# Bytes for one state; 2,000 decisions of admins with the longest of reasons. What is not used takes no memory.
SIZE = 4 * 1024 * 1024
# Seconds that a process waits for its turn to write, and between two tries: another has it for less than a millisecond,
# unless it stands still.
PATIENCE, AGAIN = 0.5, 0.005
# Which half is valid (0: none); then for each half the number of its writing, its length, and its checksum.
_FIRST, _HEAD, _HEADS = 8, struct.Struct("<QI16s"), 64
_NEVER, _MOST = -1, 2**63


class Note(msgspec.Struct, frozen=True, array_like=True):
    """
    A state of one matter: how far the ledger was (``number``), and what it said then.

    ``content`` is None where that is too large for the board: whoever reads this knows that it cannot know.
    """

    number: tuple[int, ...]
    content: bytes | None


class Standing(msgspec.Struct, frozen=True):
    """A note on the board; ``stamp`` counts how often the board was written to."""

    stamp: int
    note: Note


class Board:
    """
    Memory for one note, which all processes see that are forked from the one that made it.

    It has two halves: one is read while the other is written, and one byte says which. One process writes at a time; if
    it ends in the middle of that, it leaves the valid half as it was, and holds up nobody.
    """

    def __init__(self, size: int = SIZE) -> None:
        self._half = size
        self._memory = mmap(-1, _HEADS + 2 * size)
        self._gate = _gate()
        weakref.finalize(self, os.close, self._gate)

    @property
    def stamp(self) -> int:
        """How often it was written to."""
        valid = self._memory[0]
        return int(self._head(valid)[0]) if valid else 0

    def read(self) -> Standing | None:
        """Return what stands there; None where that is nothing, or does not match its checksum."""
        for _ in range(3):  # torn only if others wrote twice meanwhile
            valid = self._memory[0]
            if valid not in (1, 2):
                return None
            stamp, length, checksum = self._head(valid)
            begin = _HEADS + (valid - 1) * self._half
            raw = self._memory[begin : begin + min(length, self._half)]
            if _checksum(stamp, raw) == checksum:
                return Standing(stamp, _notes.decode(raw))
        return None

    def offer(self, note: Note, before: int) -> Standing | None:
        """
        Write a note down, unless a newer one stands there; return what stands there then. None: no turn came.

        ``before`` is the stamp of the board before the ledger was read. Where it is unchanged, what was read is newer
        than what stands there, whatever its number is: the ledger itself may have been put back. Where somebody wrote
        meanwhile, the higher number is the newer one.
        """
        note = note if len(msgspec.msgpack.encode(note)) <= self._half else Note(note.number, None)
        with self._alone() as is_alone:
            if not is_alone:
                return None
            found = self.read()
            overtaken = found is not None and found.stamp != before and note.number <= found.note.number
            if found is not None and (overtaken or found.note == note):
                return found
            return self._write(note)

    def _write(self, note: Note) -> Standing:
        valid, stamp, raw = self._memory[0], (self.stamp + 1) % _MOST, msgspec.msgpack.encode(note)
        other = 2 if valid == 1 else 1
        begin = _HEADS + (other - 1) * self._half
        self._memory[begin : begin + len(raw)] = raw
        _HEAD.pack_into(self._memory, _FIRST + (other - 1) * _HEAD.size, stamp, len(raw), _checksum(stamp, raw))
        self._memory[0] = other
        return Standing(stamp, note)

    def _head(self, valid: int) -> tuple[int, int, bytes]:
        stamp, length, checksum = _HEAD.unpack_from(self._memory, _FIRST + (valid == 2) * _HEAD.size)
        return stamp, length, checksum

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Wait for the turn to write. The kernel ends the turn of a process that ends."""
        until = time.monotonic() + PATIENCE
        while not (came := _lock(self._gate)) and time.monotonic() < until:
            time.sleep(AGAIN)
        try:
            yield came
        finally:
            if came:
                fcntl.lockf(self._gate, fcntl.LOCK_UN)


class Learnt(Generic[T]):
    """
    What this process knows of one matter. What any process of the service learns, all of them know.

    ``is_shared`` says whether that is so: not where it is too large, where the memory was damaged, or where another
    process that writes there stands still.
    """

    def __init__(self, known: T, pack: Callable[[T], bytes], unpack: Callable[[bytes], T], size: int = SIZE) -> None:
        self.known, self.is_shared, self.board = known, True, Board(size)
        self._pack, self._unpack = pack, unpack
        self._number: tuple[int, ...] = ()
        self._stamp = _NEVER
        self._turn = Lock()  # the turns of the board are those of processes

    def begin(self) -> None:
        """Take over what the others know: in a process that was just forked, before it answers."""
        self._turn = Lock()
        self._follow()

    def follow(self) -> None:
        """Take over what another process has learnt since; cheap where that is nothing."""
        if self.board.stamp != self._stamp:
            self._follow()

    def _follow(self) -> None:
        with self._turn:
            self._take(self.board.read())

    def is_new(self, *number: int) -> bool:
        """Say whether the ledger is at another number than what is known here, or by other processes."""
        return number != self._number or self.board.stamp != self._stamp

    def learn(self, number: tuple[int, ...], value: T, before: int) -> None:
        """
        Know what was read in the ledger, and let the others know; where they know what is newer, know that instead.

        ``before`` is the stamp of the board before it was read.
        """
        note = Note(number, self._pack(value))
        with self._turn:
            found = self.board.offer(note, before)
            if found is not None and found.note.content is not None:
                self._take(found)
                return
            self.known, self._number, self.is_shared = value, number, False
            self._stamp = found.stamp if found is not None and found.note.number == number else _NEVER

    def _take(self, found: Standing | None) -> None:
        if found is None or found.note.content is None:
            self._stamp, self.is_shared = _NEVER, False
            return
        if found.stamp != self._stamp:
            self.known, self._number = self._unpack(found.note.content), found.note.number
        self._stamp, self.is_shared = found.stamp, True


def of_switches(size: int = SIZE) -> Learnt[Switches]:
    """Return what is known of what is switched off: nothing yet."""
    return Learnt(Switches(), _pack_switches, _switches.decode, size)


def of_tunings(size: int = SIZE) -> Learnt[tuple[Tuning, ...]]:
    """Return what is known of what admins decided: nothing yet."""
    return Learnt((), _pack_tunings, _unpack_tunings, size)


class _Packed(msgspec.Struct, frozen=True, array_like=True):
    """A decision of an admin; ``value`` is the text of a decimal where ``is_decimal``."""

    rule: str
    name: str
    value: str | int | bool
    is_decimal: bool
    since: date
    who: str
    why: str
    until: date | None


def _pack_switches(known: Switches) -> bytes:
    return msgspec.msgpack.encode(known, order="deterministic")


def _pack_tunings(known: Sequence[Tuning]) -> bytes:
    return msgspec.msgpack.encode([_packed(one) for one in known])


def _packed(one: Tuning) -> _Packed:
    is_decimal = isinstance(one.value, Decimal)
    value = str(one.value) if isinstance(one.value, Decimal) else one.value
    return _Packed(one.rule, one.name, value, is_decimal, one.since, one.who, one.why, one.until)


def _unpack_tunings(raw: bytes) -> tuple[Tuning, ...]:
    return tuple(
        Tuning(
            one.rule,
            one.name,
            Decimal(str(one.value)) if one.is_decimal else one.value,
            one.since,
            one.who,
            one.why,
            one.until,
        )
        for one in _tunings.decode(raw)
    )


def _checksum(stamp: int, raw: bytes) -> bytes:
    return blake2b(raw, digest_size=16, salt=stamp.to_bytes(16, "little")).digest()


def _gate() -> int:
    """Open a file of which nothing is stored, for the turns."""
    if in_memory := getattr(os, "memfd_create", None):  # Linux: also where no folder can be written to
        return int(in_memory("cds-ledger-turns"))
    with tempfile.TemporaryFile() as made:
        return os.dup(made.fileno())


def _lock(gate: int) -> bool:
    try:
        fcntl.lockf(gate, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


_notes, _switches = decoding.unpacker(Note), decoding.unpacker(Switches)
_tunings = decoding.unpacker(tuple[_Packed, ...])
