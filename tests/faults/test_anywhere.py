"""
The same bytes wherever and however the service runs: time zone, locale, hash seed, -O (RELIABILITY 3.48 and 3.49).
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache

import pytest

from tests.build import ROOT

ZONES = ("UTC", "Asia/Kolkata", "America/St_Johns", "Pacific/Kiritimati")
LOCALES = ("C", "C.UTF-8", "tr_TR.UTF-8", "de_DE.UTF-8")
PLACES = [
    (zone, locale, seed, optimised)
    for seed, (zone, locale, optimised) in enumerate(
        (ZONES[number % 4], LOCALES[(number + number // 4) % 4], number in (3, 6)) for number in range(8)
    )
]


@cache
def digest(zone: str, locale: str, seed: int, optimised: bool) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("CDS_", "LC_", "LANG"))}
    environment |= {"TZ": zone, "LANG": locale, "LC_ALL": locale, "PYTHONHASHSEED": str(seed), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *(["-O"] if optimised else []), "-m", "tests.faults.golden"]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert 0 == ended.returncode, ended.stderr
    return ended.stdout


@pytest.mark.parametrize(("zone", "locale", "seed", "optimised"), PLACES)
def test_the_answers_are_the_same_anywhere(zone: str, locale: str, seed: int, optimised: bool) -> None:
    assert digest(*PLACES[0]) == digest(zone, locale, seed, optimised)


def test_the_digest_is_one_of_many_answers() -> None:
    assert 20 <= len(list((ROOT / "fixtures" / "requests").rglob("*.json")))
    assert 64 == len(digest(*PLACES[0]).strip())
