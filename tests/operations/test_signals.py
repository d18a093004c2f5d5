"""
Reload and stop under load (RELIABILITY 3.27, 3.30 to 3.32): no call is lost, and whoever is killed is replaced.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.build import ROOT
from tests.operations.load import PATH, Load, address_of, hook_call, post
from tests.operations.running import Service, eventually, running

RULE = "rules/metastatic/eskd-hyperphosphatemia.yaml"


@pytest.fixture
def content(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ROOT / "hooks", tmp_path / "hooks"))


@pytest.fixture
def service(tmp_path: Path, content: Path) -> Iterator[Service]:
    with running(tmp_path, "--content", content, CDS_DRAIN_SECONDS="1") as one:
        yield one


def replaced(service: Service, before: list[int]) -> bool:
    """Say whether all workers are new ones."""
    now = service.workers()
    return len(now) == len(before) and not set(now) & set(before)


def test_no_call_is_lost_over_two_reloads_and_a_stop(service: Service) -> None:
    with Load(service.url) as load:
        time.sleep(1)
        for _ in range(2):
            before = service.workers()
            service.signal(signal.SIGHUP)
            eventually(lambda before=before: replaced(service, before), 20)  # type: ignore[misc]
            time.sleep(0.5)
        service.signal(signal.SIGTERM)
        code = service.process.wait(20)

    assert [] == load.lost
    assert {200, "refused"} >= set(load.ended)
    assert 100 < load.ended[200]
    assert 0 == code


def test_calls_in_flight_finish_and_the_probe_says_stopping_first(service: Service) -> None:
    raw, answers, said = hook_call(), list[bytes](), list[int]()
    with socket.create_connection(address_of(service.url), 20) as one:
        lines = (
            f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(raw)}\r\n\r\n"
        )
        one.sendall(lines.encode() + raw[:100])
        time.sleep(0.2)
        since = time.monotonic()
        service.signal(signal.SIGTERM)
        for _ in range(4):
            time.sleep(0.2)
            said.append(service.get("/readyz").status_code)
        assert 200 == post(service.url, raw)[0], "until it stops it answers"
        time.sleep(2)
        one.sendall(raw[100:])
        while piece := one.recv(65_536):
            answers.append(piece)
    code = service.process.wait(20)

    assert b"".join(answers).startswith(b"HTTP/1.1 200 ")
    assert 503 in said
    assert 0 == code
    assert 12 > time.monotonic() - since


def test_what_was_decided_is_on_disk_when_the_service_has_stopped(service: Service) -> None:
    import sqlite3

    for _ in range(25):
        assert 200 == post(service.url, hook_call())[0]
    service.signal(signal.SIGTERM)
    assert 0 == service.process.wait(20)

    with sqlite3.connect(service.folder / "ledger.db") as ledger:
        assert [(25,)] == ledger.execute("SELECT count(*) FROM decisions").fetchall()


def test_a_killed_worker_takes_only_its_own_calls_with_it(service: Service) -> None:
    """SIGKILL three times under load; what was counted survives, and the log says by what it died."""
    with Load(service.url, clients=4) as load:
        time.sleep(1)
        for _ in range(3):
            before = service.workers()
            os.kill(before[0], signal.SIGKILL)
            assert 3 > eventually(lambda before=before: replaced_one(service, before))  # type: ignore[misc]
            time.sleep(1)
    counted = service.metric("cds_calls_total", status="200")

    assert 3 * 4 >= load.ended["lost"]
    assert {200, "lost"} >= set(load.ended)
    assert 0.8 * load.ended[200] < counted <= load.ended[200] + 12
    assert 3 == service.log().count('"kind":"SIGKILL"')


def replaced_one(service: Service, before: list[int]) -> bool:
    now = service.workers()
    return len(now) == len(before) and before[0] not in now and post(service.url, hook_call())[0] == 200


# --- content ---------------------------------------------------------------------------------------------------------

# Nine to the ninth references (a "billion laughs").
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [*{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
Break = Callable[[Path], object]


def replace(rule: Path, make: Break) -> None:
    rule.unlink()
    make(rule)


BROKEN: dict[str, Break] = {
    "half written": lambda rule: rule.write_bytes(rule.read_bytes()[: rule.stat().st_size // 2]),
    "a word misspelt": lambda rule: rule.write_text(rule.read_text().replace("latest:", "lastest:")),
    "empty": lambda rule: rule.write_bytes(b""),
    "not text": lambda rule: rule.write_bytes(bytes(range(256))),
    "a bomb": lambda rule: rule.write_text(BOMB),
    "deep": lambda rule: rule.write_text("[" * 10_000),
    "a list": lambda rule: rule.write_text("- a\n- b\n"),
    "a tag": lambda rule: rule.write_text("!!python/object/apply:os.system ['true']\n"),
    "a folder in its place": lambda rule: replace(rule, Path.mkdir),
    "a link to nowhere": lambda rule: replace(rule, lambda path: path.symlink_to("nowhere.yaml")),
    "a member twice": lambda rule: rule.write_text(f"{rule.read_text()}\ntitle: again\n"),
    "no rules at all": lambda rule: shutil.rmtree(rule.parents[1]),
}


def test_broken_content_never_replaces_good_content(service: Service, content: Path) -> None:
    """
    Every kind of broken content, one after the other, under load: the same cards, and it is said what is wrong.
    """
    sound = shutil.copytree(content, service.folder / "sound")
    first, rule = service.get("/healthz").json()["rule_book"], content / RULE
    expected = cards(service)
    with Load(service.url) as load:
        for name, spoil in BROKEN.items():
            spoil(rule)
            before = service.workers()
            service.signal(signal.SIGHUP)
            eventually(lambda before=before: replaced(service, before), 30)  # type: ignore[misc]
            states = {worker["rule_book"]: worker["stale"] for worker in every_worker(service)}
            assert {first: True} == states, name
            assert expected == cards(service), name
            shutil.rmtree(content)
            shutil.copytree(sound, content)
        stale = service.metric("cds_rules_stale")
        ready = service.get("/readyz")
        service.signal(signal.SIGHUP)
        eventually(lambda: not service.get("/healthz").json()["stale"], 20)

    assert 1 == stale
    assert (503, ["rules-stale"], True) == (ready.status_code, ready.json()["reasons"], ready.json()["answers"])
    assert 200 == service.get("/readyz?calls").status_code
    assert [] == load.lost
    assert {200} == set(load.ended)
    assert f'"place":"{RULE}:' in service.log()


def cards(service: Service) -> list[str]:
    """Return what the cards of a call say."""
    import json

    status, answer, _ = post(service.url, hook_call())
    assert 200 == status
    return [card["summary"] for card in json.loads(answer)["cards"]]


def every_worker(service: Service) -> list[dict[str, object]]:
    """Ask often enough to meet every worker."""
    found: list[dict[str, object]] = []
    threads = [threading.Thread(target=lambda: found.append(service.get("/healthz").json())) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 16 == len(found)
    return found


def test_all_workers_follow_new_content(service: Service, content: Path) -> None:
    first = service.get("/healthz").json()["rule_book"]
    text = (content / RULE).read_text(encoding="utf-8")
    (content / RULE).write_text(text.replace("2003-10-01: 5.5", "2003-10-01: 5.6"), encoding="utf-8")
    before = service.workers()
    service.signal(signal.SIGHUP)
    eventually(lambda: replaced(service, before), 20)

    [book] = {worker["rule_book"] for worker in every_worker(service)}
    assert book != first


def test_memory_does_not_grow_from_reload_to_reload(service: Service) -> None:
    """
    The old book is let go of: the collector had been told that it stays (web/tuning.py).
    """

    def reload() -> float:
        before = service.workers()
        service.signal(signal.SIGHUP)
        eventually(lambda: replaced(service, before), 20)
        text = Path(f"/proc/{service.process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmRSS")) / 1024

    sizes = [reload() for _ in range(6)]

    assert 12 > sizes[-1] - sizes[1], sizes
