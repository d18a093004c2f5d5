"""Logs that cannot be written (RELIABILITY 3.44): calls go on, and what is lost is counted."""

from __future__ import annotations

import json
import logging
import os
import threading
from pathlib import Path

import pytest

from cds_service.cli.server_log import Log
from cds_service.web.logs import MOST, JsonLines, ToStandardError, say
from tests.operations.load import hook_call, post
from tests.operations.running import eventually, running


def test_calls_go_on_where_nobody_reads_the_log(tmp_path: Path) -> None:
    """
    The pipe is full after some hundred lines; whoever should read it has stopped.
    """
    reading, writing = os.pipe()
    try:
        with running(tmp_path, "--workers", "1", stderr=writing) as service:
            # Where a line waited for its reader, a call would wait for ever: "post" gives up after twenty seconds.
            assert {400} == {post(service.url, b"{", named="x" * 64)[0] for _ in range(1_500)}
            assert 200 == post(service.url, hook_call())[0]
            assert 0 < len(os.read(reading, 65_536)), "now somebody reads again"
            threading.Thread(target=drain, args=(reading,), daemon=True).start()
    finally:
        os.close(writing)


def drain(there: int) -> None:
    while os.read(there, 65_536):
        pass


def test_calls_go_on_where_the_disk_of_the_log_is_full(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full, running(tmp_path, "--workers", "1", stderr=full) as service:
        for _ in range(20):
            assert 200 == post(service.url, hook_call())[0]

        eventually(lambda: service.metric("cds_log_lines_lost_total") >= 20)


@pytest.fixture
def record() -> logging.LogRecord:
    made = logging.LogRecord("cds_service", logging.INFO, "", 0, "call", None, None)
    made.__dict__["fields"] = {"event": "call"}
    return made


def test_more_lines_than_may_wait_are_lost_and_counted(
    record: logging.LogRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked, written = threading.Event(), list[bytes]()

    def write(_: int, line: bytes) -> int:
        assert blocked.wait(60)
        written.append(line)
        return len(line)

    monkeypatch.setattr("cds_service.web.logs.os.write", write)
    handler = ToStandardError()
    handler.setFormatter(JsonLines())
    monkeypatch.setattr("cds_service.web.logs.sys.stderr", type("Stderr", (), {"fileno": lambda self: 2})())
    handler.start()
    for _ in range(MOST + 100):
        handler.emit(record)
    assert not blocked.is_set(), "nothing could be written up to now, and nobody waited for it"
    assert 90 < handler.lost <= 100
    blocked.set()
    handler.stop(10)

    assert MOST + 100 == handler.lost + len(written)
    assert {"event"} < set(json.loads(written[-1]))


def test_a_line_that_the_disk_took_in_part_spoils_no_other(
    record: logging.LogRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, rooms = bytearray(), [10, 1_000]

    def write(_: int, line: bytes) -> int:
        taken.extend(line[: (room := rooms.pop(0))])
        return min(room, len(line))

    monkeypatch.setattr("cds_service.web.logs.os.write", write)
    monkeypatch.setattr("cds_service.web.logs.sys.stderr", type("Stderr", (), {"fileno": lambda self: 2})())
    handler = ToStandardError()
    handler.setFormatter(JsonLines())
    handler._write(record)
    handler._write(record)

    assert 1 == handler.lost
    assert "call" == json.loads(bytes(taken).splitlines()[1])["event"]


def test_a_call_is_written_like_every_other_event(
    record: logging.LogRecord, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("cds_service.web.logs.time.time", lambda: record.created)
    handler = ToStandardError()
    handler.setFormatter(JsonLines())
    fields = {"event": "call", "name": "who must not get in"}
    assert not handler.take(fields), "nobody would write it"
    handler.start()
    handler.emit(record)
    assert handler.take(fields)
    handler.stop(10)

    first, second = capfd.readouterr().err.splitlines()
    assert first == second
    assert "call" == json.loads(second)["event"]


def test_calls_are_told_to_others_who_listen(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "cds_service"):
        say({"event": "call", "status": 200})

    assert [{"event": "call", "status": 200}] == [record.__dict__["fields"] for record in caplog.records]


@pytest.mark.parametrize(
    ("words", "kind"),
    [((7, "SIGSEGV"), "SIGSEGV"), ((7, 1), ""), ((["pat-1"], {"name": "Doe"}), ""), (("POST", "/x?name=Doe"), "")],
    ids=str,
)
def test_of_what_the_server_says_the_name_of_a_signal_is_written_and_nothing_else(
    caplog: pytest.LogCaptureFixture, words: tuple[object, ...], kind: str
) -> None:
    Log(None).error("Worker (%s) %s", *words)

    assert [{"event": "server", "what": "Worker (%s) %s", "kind": kind}] == [
        record.__dict__["fields"] for record in caplog.records
    ]
