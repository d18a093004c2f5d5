"""The files of a RxNorm release as NLM hands them out: a folder, or the zip as it was downloaded. Read line by line."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TextIO

from cds_service.errors import CdsError

NAMES, RELATIONS = "RXNCONSO.RRF", "RXNREL.RRF"


class UnreadableRelease(CdsError):
    """This is no RxNorm release."""

    slug = "rxnorm"


@contextmanager
def lines(path: Path, name: str) -> Iterator[TextIO]:
    """Open one file of a release, wherever it lies in the folder or zip."""
    try:
        if path.is_dir():
            with _member(path, name).open(encoding="utf-8", newline="\n") as opened:
                yield opened
        else:
            with zipfile.ZipFile(path) as archive, archive.open(_entry(archive, path, name)) as raw:
                yield io.TextIOWrapper(raw, encoding="utf-8", newline="\n")
    except (OSError, zipfile.BadZipFile, UnicodeDecodeError) as failure:
        raise UnreadableRelease(
            "The release cannot be read.",
            where=path.name,
            why=f"{type(failure).__name__}: {failure}",
            remedy="Give the zip from NLM as it is, or the folder that it was unpacked to.",
        ) from None


def _member(folder: Path, name: str) -> Path:
    found = sorted((one for one in folder.rglob("*") if one.name.upper() == name), key=lambda one: len(one.parts))
    if not found:
        raise _missing(folder, name)
    return found[0]


def _entry(archive: zipfile.ZipFile, path: Path, name: str) -> str:
    """Return the shallowest entry of the name: the full release carries the prescribable one in a folder besides."""
    found = [one for one in archive.namelist() if one.rpartition("/")[2].upper() == name]
    if not found:
        raise _missing(path, name)
    return min(found, key=lambda one: (one.count("/"), one))


def _missing(path: Path, name: str) -> UnreadableRelease:
    return UnreadableRelease(f"There is no {name} in it.", where=path.name, remedy="Give a RxNorm release in RRF.")


def release_day(path: Path) -> str:
    """Return the day in the name of a release (RxNorm_full_prescribe_11022026.zip), "" where there is none."""
    for month, day, year in re.findall(r"(?<!\d)(\d\d)(\d\d)(\d{4})(?!\d)", path.resolve().name):
        try:
            return date(int(year), int(month), int(day)).isoformat()
        except ValueError:
            continue
    return ""
