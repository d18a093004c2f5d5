"""
The files of a RxNorm release: found in a folder or in the zip as it was downloaded.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from cds_service.adapters.rxnorm import NAMES, RELATIONS, UnreadableRelease, lines, release_day
from tests.terminology import release


@pytest.mark.parametrize("name", [NAMES, RELATIONS])
def test_a_folder_and_a_zip_hold_the_same(tmp_path: Path, name: str) -> None:
    folder, archive = release.as_folder(tmp_path / "release"), release.as_zip(tmp_path / "release.zip")
    with lines(folder, name) as one, lines(archive, name) as other:
        unpacked, zipped = one.read(), other.read()

    assert unpacked
    assert unpacked == zipped


def test_what_is_no_release_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.zip").write_text("no zip", encoding="utf-8")
    for path in (tmp_path / "empty", tmp_path / "text.zip", tmp_path / "missing.zip"):
        with pytest.raises(UnreadableRelease), lines(path, NAMES):
            pass


@pytest.mark.parametrize(
    ("name", "day"),
    [
        ("RxNorm_full_prescribe_11022026.zip", "2026-11-02"),
        ("RxNorm_full_01052026", "2026-01-05"),
        ("RxNorm_full_99992026.zip", ""),
        ("release.zip", ""),
        ("1110220261", ""),
    ],
)
def test_the_day_stands_in_the_name(name: str, day: str) -> None:
    assert day == release_day(Path(name))
