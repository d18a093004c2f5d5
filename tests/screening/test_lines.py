"""Bulk Data files as they come: any order, any form of reference, compressed or not, and with faults."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from cds_service.adapters.ehr import UnreadableFile
from cds_service.adapters.population import Chunk, Flaw, Line, chunks_of, inputs_of, line_numbers, read
from cds_service.adapters.population import lines as reading
from tests.build import observation, patient
from tests.screening.people import POPULATION, write_lines

KINDS = frozenset({"Patient", "Observation", "Medication"})


def found_in(path: Path) -> list[Line | Flaw]:
    return list(read(Chunk(str(path), 0), KINDS))


def reasons(path: Path) -> list[str]:
    return [one.reason for one in found_in(path) if isinstance(one, Flaw)]


@pytest.mark.parametrize(
    "reference",
    [
        "Patient/a-1",
        "Patient/a-1/_history/3",
        "https://ehr.example/fhir/Patient/a-1",
        "https://ehr.example/fhir/Patient/a-1/_history/2",
        "urn:uuid:a-1",
    ],
)
def test_the_patient_is_found_in_every_form_of_reference(reference: str) -> None:
    assert "a-1" == reading.patient_of(reference)


@pytest.mark.parametrize("reference", ["", "Group/1", "Device/Patient", "Patient/", "OtherPatient/1", "Patient/1/x"])
def test_what_is_no_patient_is_none(reference: str) -> None:
    assert "" == reading.patient_of(reference)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "not-json"),
        ('{"resourceType": "Observation", "id": "1"', "not-json"),
        ('{"id": "1"}', "no-resource-type"),
        ('{"resourceType": "Observation", "subject": {"reference": "Group/1"}}', "names-no-patient"),
        ('{"resourceType": "Observation", "subject": 7}', "not-fhir"),
        ('{"resourceType": "Patient"}', "names-no-patient"),
        ("[]", "not-json"),
        ('{"resourceType": "Observation", "id": "\udcff"}', "not-json"),
    ],
)
def test_a_line_that_cannot_be_used_has_a_reason(tmp_path: Path, line: str, reason: str) -> None:
    (tmp_path / "a.ndjson").write_bytes(line.encode("utf-8", "surrogateescape") + b"\n")

    assert [reason] == reasons(tmp_path / "a.ndjson")


def test_kinds_that_no_rule_reads_are_passed_over_unread(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.ndjson", '{"resourceType":"Claim", what is this', patient(), {"a": 1} | patient())

    assert ["Patient", "Patient"] == [one.kind for one in found_in(tmp_path / "a.ndjson") if isinstance(one, Line)]


def test_empty_lines_and_a_byte_order_mark_are_no_faults(tmp_path: Path) -> None:
    body = json.dumps(patient()).encode()
    (tmp_path / "a.ndjson").write_bytes(b"\xef\xbb\xbf" + body + b"\r\n\n  \n" + body)

    assert [body, body] == [one.body for one in found_in(tmp_path / "a.ndjson") if isinstance(one, Line)]


def test_a_compressed_file_that_breaks_off_gives_what_it_holds(tmp_path: Path) -> None:
    whole = gzip.compress(b"".join(json.dumps(observation()).encode() + b"\n" for _ in range(3000)))
    (tmp_path / "a.ndjson.gz").write_bytes(whole[: len(whole) // 2])

    *found, last = found_in(tmp_path / "a.ndjson.gz")

    assert 100 < len(found)
    assert isinstance(last, Flaw)
    assert "file-breaks-off" == last.reason


def test_what_is_no_gzip_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson.gz").write_bytes(b"{}\n")

    assert ["file-breaks-off"] == reasons(tmp_path / "a.ndjson.gz")


def test_a_line_that_would_fill_the_memory_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LONGEST", 2_000)
    write_lines(tmp_path / "a.ndjson", patient(), patient(language="x" * 5_000), patient())

    first, long, last = found_in(tmp_path / "a.ndjson")

    assert isinstance(long, Flaw)
    assert "line-too-long" == long.reason
    assert (first.end, long.end) == (long.offset, last.offset)


@pytest.mark.parametrize("size", [700, 5_000, 1_000_000])
def test_chunks_of_any_size_give_every_line_once(size: int) -> None:
    kinds = frozenset({"Patient", "Observation", "Condition", "MedicationRequest", "Procedure"})
    inputs = inputs_of(POPULATION)
    whole = [(n, one.offset) for n, file in enumerate(inputs) for one in read(Chunk(file.path, n), kinds)]

    chunked = [(chunk.number, one.offset) for chunk in chunks_of(inputs, size) for one in read(chunk, kinds)]

    assert 1614 == len(whole)
    assert whole == chunked


def test_lines_are_numbered_as_an_editor_numbers_them(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.ndjson.gz", "one", "", "three", "four")

    assert [(0, 1), (5, 3), (11, 4)] == list(line_numbers(str(tmp_path / "a.ndjson.gz"), [11, 0, 5]))


def test_files_are_found_in_folders_below_and_others_are_left_out(tmp_path: Path) -> None:
    write_lines(tmp_path / "b" / "a.ndjson.gz", patient())
    write_lines(tmp_path / "a.ndjson", patient())
    (tmp_path / "manifest.json").write_text("{}")

    assert ["a.ndjson", "b/a.ndjson.gz"] == [one.name for one in inputs_of(tmp_path)]


def test_a_folder_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="no NDJSON"):
        inputs_of(tmp_path)
