"""
Every patient of the MIMIC-IV demo and of Synthea is answered without an error, and none of MIMIC is copied.

MIMIC codes diagnoses in local systems (ICD without the dot): the ICD-10-CM ones are read as that, the ICD-9 ones mean
nothing to the rules. Its Conditions have no clinicalStatus, which counts as active (KNOWLEDGE 2.3).
"""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
import time
from itertools import islice
from pathlib import Path
from uuid import uuid4

import pytest

from cds_service.replay import Replayer
from cds_service.rules.book import RuleBook, load_book
from cds_service.screening import Screening, Tally, open_cases
from tests.build import ROOT

DATA = ROOT.parent / "shared" / "data"
MIMIC_ICD10 = (
    "http://fhir.mimic.mit.edu/CodeSystem/diagnosis-icd10",
    "http://mimic.mit.edu/fhir/mimic/CodeSystem/mimic-diagnosis-icd10",
)
SAMPLE = 15
_UUID = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA.is_dir(), reason="the populations are kept outside the project (../shared/data)"),
]


@pytest.fixture(scope="module")
def book() -> RuleBook:
    """Load the rules, which read MIMIC's copies of ICD-10-CM as ICD-10-CM."""
    found = load_book(ROOT / "hooks")
    found.terminology.systems = found.terminology.systems.with_aliases(dict.fromkeys(MIMIC_ICD10, "ICD-10-CM"))
    return found


def evaluated(folder: str, book: RuleBook, *, most: int | None = None) -> Tally:
    """Evaluate the patients of a folder, each on the day of the newest resource."""
    screening = Screening(Replayer(book, lambda: str(uuid4())), "newest", time.time, time.perf_counter)
    tally = Tally(book)
    with open_cases(DATA / folder, book, hook="patient-view", lenient_status=True) as cases:
        for case in islice(cases, most):
            tally.add(screening.screen(case))
    return tally


@pytest.fixture(scope="module")
def mimic(book: RuleBook) -> Tally:
    """Evaluate MIMIC once."""
    return evaluated("mimic", book)


def test_every_patient_of_mimic_is_answered(mimic: Tally) -> None:
    assert ({}, {}) == (dict(mimic.failed), dict(mimic.refused))
    assert mimic.patients > 0


@pytest.mark.parametrize(
    ("folder", "most"),
    [
        ("synthea/bulk10-2025", None),
        ("synthea/smart-2019", None),
        ("synthea/pysynthea-2026", SAMPLE),
        ("server-load", None),
    ],
)
def test_every_patient_of_synthea_is_answered(book: RuleBook, folder: str, most: int | None) -> None:
    tally = evaluated(folder, book, most=most)

    assert ({}, {}) == (dict(tally.failed), dict(tally.refused))
    assert tally.patients == (most or tally.patients) > 0


def test_kidney_failure_is_found_in_mimic(mimic: Tally) -> None:
    """
    The road from a local ICD system to a card is open: somebody in a hospital's records has something to be told.
    """
    assert sum(mimic.cards.values()) > 0


def test_nothing_of_mimic_is_copied_into_the_project() -> None:
    """
    MIMIC's licence is share-alike; its resources have ids that are found nowhere else.
    """
    theirs = set()
    for path in (DATA / "mimic").glob("*.ndjson.gz"):
        theirs |= set(_UUID.findall(gzip.decompress(path.read_bytes())))

    ours = {found for path in published() for found in _UUID.findall(path.read_bytes())}

    assert len(theirs) > 1000
    assert set() == theirs & ours


def published() -> list[Path]:
    """List the files that git holds or would take."""
    if not shutil.which("git") or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if (ROOT / name).is_file()]
