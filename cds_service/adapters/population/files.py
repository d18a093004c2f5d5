"""The files of a Bulk Data export: which there are, in which pieces they may be read, which line stands where."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, cast

import msgspec

from cds_service.adapters.ehr import UnreadableFile

ENDINGS = (".ndjson", ".ndjson.gz")
# What reading a file may meet: a disk that fails, a .gz that was cut off or is none.
BROKEN = (OSError, EOFError, zlib.error)
_PIECE = 1 << 20


class Input(msgspec.Struct, frozen=True):
    """One file of a population: where it lies, what it is called in reports, and by what a change of it is seen."""

    path: str
    name: str
    size: int
    changed: int


class Chunk(msgspec.Struct, frozen=True):
    """
    A stretch of a file: every line that begins at or after ``start`` and before ``end``.

    Positions are counted in bytes as they are once unpacked. ``number`` is the place of the file among all files.
    """

    path: str
    number: int
    start: int = 0
    end: int | None = None


def inputs_of(path: Path) -> list[Input]:
    """
    List the NDJSON files of a folder and the folders in it, or the one that is named, in the order of their names.

    Raises UnreadableFile where there are none, or one of them cannot be opened.
    """
    found = [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.name.endswith(ENDINGS))
    if not found:
        raise UnreadableFile(
            "This folder holds no NDJSON.",
            where=str(path),
            remedy=f"Name a folder with files in {' or '.join(ENDINGS)}; other files are read by cds-service evaluate.",
        )
    return [_input(one, one.name if one == path else one.relative_to(path).as_posix()) for one in found]


def _input(path: Path, name: str) -> Input:
    try:
        with path.open("rb") as file:
            file.read(1)
        known = path.stat()
    except OSError as failure:
        raise UnreadableFile("This file cannot be read.", where=str(path), why=f"{failure.strerror}.") from None
    return Input(str(path.resolve()), name, known.st_size, known.st_mtime_ns)


def chunks_of(inputs: Iterable[Input], size: int) -> list[Chunk]:
    """Cut files into chunks of some bytes, for several machines at once; what is compressed can only be read whole."""
    found = []
    for number, one in enumerate(inputs):
        if one.path.endswith(".gz"):
            found.append(Chunk(one.path, number))
        else:
            found += [Chunk(one.path, number, start, start + size) for start in range(0, one.size, size)]
    return found


def opened(path: str) -> IO[bytes]:
    """Open a file for reading, unpacking it if need be."""
    return cast("IO[bytes]", gzip.open(path, "rb")) if path.endswith(".gz") else open(path, "rb")  # noqa: PTH123 - the caller closes it


def line_numbers(path: str, offsets: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield for positions in a file, in their order, each with the number of the line that begins there."""
    wanted = sorted(set(offsets))
    number, place = 1, 0
    with opened(path) as file:
        for offset in wanted:
            while place < offset:
                try:
                    piece = file.read(min(_PIECE, offset - place))
                except BROKEN:
                    piece = b""
                if not piece:
                    break
                number += piece.count(b"\n")
                place += len(piece)
            yield offset, number
