"""The service starts with what it needs to answer and no more, and takes new content while it goes on answering."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from cds_service.cards import suggestions
from cds_service.cli import main
from cds_service.errors import ContentError
from cds_service.rules.book import RuleBook, load_words
from cds_service.web.warming import check_orders
from tests.build import ROOT
from tests.operations.load import Load, hook_call, post
from tests.operations.running import eventually, running

# What other commands need, or pages that are switched off, or the first start with an empty ledger.
OTHERS = {
    *("alembic", "mako", "pygments", "markdown_it", "nh3", "pyarrow", "dask", "pyspark", "lark", "rfc3987_syntax"),
    *(f"cds_service.{part}" for part in ("screening", "insight", "checking", "backtest", "adapters.ehr")),
    *(f"cds_service.web.{part}" for part in ("admin", "sandbox", "smart", "chart", "cast")),
    *(f"cds_service.cli.{part}" for part in ("doctor", "ledger", "screening", "publish", "concepts", "tuning")),
}
LOAD = """
import json, os, sys
from click import Context
from cds_service.cli import main
main.get_command(Context(main), "serve")
import cds_service.cli.server
from cds_service.adapters.ledger import Ledger, read_key
from cds_service.web import Settings, create_app, logs
from cds_service.web.warming import check_orders
url = os.environ["CDS_DATABASE_URL"]
app = create_app(Settings(auth="none"), ledger=Ledger.open(url, read_key(os.environ, url)))
check_orders(app.extensions["cds"].shelf.book.terminology)
print(json.dumps(sorted(sys.modules)))
"""
COLLECTOR = """
import gc
from cds_service.web.tuning import load, settle
load()
during = gc.isenabled()
settle()
print(during, gc.isenabled(), gc.get_freeze_count() > 10_000, gc.get_threshold()[0] > 10_000)
"""
# Workers that replace others take so many seconds longer until they answer.
LATE = 6
SLOW = f"""
import time
from cds_service.cli import main, server
begin = server.Server._begin
def slow(self, arbiter, worker):
    time.sleep({LATE} if worker.age > 2 else 0)
    begin(self, arbiter, worker)
server.Server._begin = slow
main(["serve", "--port", "0", "--workers", "2"])
"""


def python(program: str, **environment: str) -> str:
    """Run a program in a process of its own; return what it printed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CDS_")}
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**kept, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stdout


# --- what is imported -------------------------------------------------------------------------------------------------


def test_the_service_imports_nothing_that_only_other_commands_or_pages_need(tmp_path: Path) -> None:
    """Each of these took part of the time until the first card, and of the memory of every worker."""
    ledger = {"CDS_DATABASE_URL": f"sqlite:///{tmp_path}/ledger.db"}
    python(LOAD, **ledger)  # makes the tables: that needs Alembic
    found = set(json.loads(python(LOAD, **ledger)))

    assert set() == found & OTHERS
    assert {"cds_service.web.app", "cds_service.adapters.ledger.ledger", "sqlalchemy"} <= found


def test_a_command_is_imported_when_it_is_asked_for() -> None:
    said = python(
        "import sys; from cds_service.cli import main; print(sorted(n for n in sys.modules if 'service.' in n))"
    )

    assert "['cds_service.cli', 'cds_service.errors']" == said.strip()


def test_a_command_that_there_is_not_is_refused() -> None:
    result = CliRunner().invoke(main, ["serv"])

    assert 2 == result.exit_code
    assert "No such command" in result.output


def test_the_collector_rests_while_the_service_is_loaded_and_works_afterwards() -> None:
    assert "False True True True" == python(COLLECTOR).strip()


# --- what cards carry -------------------------------------------------------------------------------------------------


@pytest.fixture
def content(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ROOT / "hooks", tmp_path / "hooks"))


def spoil(content: Path) -> None:
    """Give an order a code that FHIR does not allow: two blanks in it."""
    path = content / "concepts" / "orders.yaml"
    text, spoilt = re.subn(r'code: "2777-1"', 'code: "27  77-1"', path.read_text(encoding="utf-8"), count=1)
    assert 1 == spoilt
    path.write_text(text, encoding="utf-8")


def test_every_order_is_checked_before_the_first_card(book: RuleBook) -> None:
    suggestions.service_request.cache_clear()
    suggestions.medication_request.cache_clear()
    check_orders(book.terminology)
    checked = suggestions.service_request.cache_info().misses, suggestions.medication_request.cache_info().misses

    for order in book.terminology.orders.values():
        medication = order.category == "medication"
        make = suggestions.medication_request if medication else suggestions.service_request
        make(order, book.terminology.systems.uri(order.system))
    assert len(book.terminology.orders) == sum(checked)
    after = suggestions.service_request.cache_info().misses, suggestions.medication_request.cache_info().misses
    assert checked == after


def test_an_order_that_fhir_does_not_allow_is_named(content: Path) -> None:
    spoil(content)
    words, _ = load_words(content)

    with pytest.raises(ContentError, match='order "phosphate"') as refused:
        check_orders(words)
    assert ("order-not-fhir", "concepts/orders.yaml") == (refused.value.slug, refused.value.where)
    assert "code.coding.0.code" in refused.value.why


def test_with_such_an_order_the_service_does_not_start(content: Path, tmp_path: Path) -> None:
    spoil(content)
    settings = {"CDS_AUTH": "none", "CDS_DATABASE_URL": f"sqlite:///{tmp_path}/ledger.db"}
    result = CliRunner(env=settings).invoke(main, ["serve", "--port", "0", "--content", str(content)])

    assert 2 == result.exit_code
    assert "order-not-fhir" in result.output


def test_such_an_order_in_new_content_is_said_and_the_old_rules_answer_on(content: Path, tmp_path: Path) -> None:
    with running(tmp_path, "--content", content) as service:
        before = service.get("/healthz").json()["rule_book"]
        spoil(content)
        service.signal(signal.SIGHUP)
        eventually(lambda: service.get("/healthz").json()["stale"], 30)
        assert before == service.get("/healthz").json()["rule_book"]

    assert '"result":"order-not-fhir"' in service.log()
    assert '"place":"concepts/orders.yaml"' in service.log()


# --- new content ------------------------------------------------------------------------------------------------------


def niceness(process: int) -> set[int]:
    """Return how nice the threads of a process are (proc(5), field 19)."""
    stats = Path(f"/proc/{process}/task").glob("*/stat")
    return {int(one.read_text().rpartition(")")[2].split()[16]) for one in stats}


def test_loading_anew_stands_back_for_workers_that_answer(tmp_path: Path) -> None:
    """One thread of the master is nicer for a while; no worker ever is."""
    with running(tmp_path) as service:
        usual, before = niceness(service.process.pid), service.workers()
        service.signal(signal.SIGHUP)
        eventually(lambda: max(niceness(service.process.pid)) > max(usual))
        eventually(lambda: not set(before) & set(service.workers()), 20)
        workers = [niceness(worker) for worker in service.workers()]

        assert usual == niceness(service.process.pid)
    assert [usual, usual] == workers


def test_old_workers_answer_until_those_that_replace_them_do(tmp_path: Path) -> None:
    """Without that all calls would wait at the door for as long as new workers take to begin."""
    settings = {"CDS_AUTH": "none", "CDS_DATABASE_URL": f"sqlite:///{tmp_path}/ledger.db"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CDS_")}
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW],
        cwd=ROOT,
        env={**kept, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split()[1].removesuffix("/cds-services")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        eventually(lambda: 2 == len(children.read_text().split()), 30)
        post(url, hook_call())
        before = set(children.read_text().split())
        with Load(url, rate=20, clients=2) as load:
            time.sleep(0.5)
            process.send_signal(signal.SIGHUP)
            eventually(lambda: not before & set(children.read_text().split()), 60)
    finally:
        process.terminate()
        process.communicate(timeout=30)

    assert [] == load.lost
    assert {200} == set(load.ended)
    assert LATE / 2 > max(load.seconds)
