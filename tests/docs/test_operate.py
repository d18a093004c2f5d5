"""
What docs/operate.md says of callers and FHIR servers is what the service does.
"""

from __future__ import annotations

import re
from pathlib import Path

from cds_service.adapters.auth import keys, read_issuers, tokens
from cds_service.adapters.auth.issuers import _KNOWN
from cds_service.adapters.fhir import Origins, completing, guards, searching, transport
from cds_service.rules.book import RuleBook
from tests.build import ROOT

TEXT = (ROOT / "docs" / "operate.md").read_text(encoding="utf-8")


def test_the_file_of_issuers_is_one(tmp_path: Path, book: RuleBook) -> None:
    example = re.search(r"```yaml\n(issuers:.*?)```", TEXT, re.DOTALL)
    assert example is not None
    (tmp_path / "issuers.yaml").write_text(example[1])
    issuers = read_issuers(tmp_path / "issuers.yaml")

    assert 3 == len(issuers.entries)
    assert {one.profile for one in issuers.entries} <= set(book.clients)


def test_every_member_of_an_issuer_has_its_row() -> None:
    assert set(_KNOWN) == set(re.findall(r"^\| `([a-z]+)` \|", TEXT.partition("**What a token")[0], re.MULTILINE))


def test_the_addresses_are_ones_that_may_be_listed() -> None:
    example = re.search(r'CDS_FHIR_ALLOW="(.*?)"', TEXT)
    assert example is not None

    assert [False, True] == [one.private for one in Origins.read(example[1]).allowed]


def test_every_reason_of_a_refusal_is_explained() -> None:
    source = "".join((ROOT / "cds_service" / name).read_text() for name in ("adapters/auth/tokens.py", "web/door.py"))
    raised = set(re.findall(r'(?:Refused|NotAuthenticated)\("([a-z-]+)"\)', source)) | {"exp", "iat", "nbf"}

    assert raised == set(re.findall(r"`401 ([a-z-]+)`", TEXT))


def test_every_reason_of_a_gap_is_explained() -> None:
    folder = ROOT / "cds_service" / "adapters"
    files = [folder / "outbound.py", *(folder / "fhir").glob("*.py"), ROOT / "cds_service" / "web" / "completion.py"]
    source = "".join(path.read_text() for path in files)
    said = set(re.findall(r'Failed\("([a-z-]+)"', source))
    said |= set(re.findall(r'(?:fromkeys\([\w.]+, |return |, )"([a-z]+-[a-z-]+|busy|elsewhere)"', source))
    said |= {"too-late", "tls", "broken-off", "unreachable"}
    shown = set(re.findall(r"`([a-z-]+[a-z0-9.]*)`", TEXT.partition("**What the answer says.**")[2]))

    assert said - shown - {"no-server", "unexpected", "status-odd"} == set()


def test_the_limits_are_those_in_force() -> None:
    assert (10, 20_000) == (searching.PAGES, searching.RESOURCES)
    assert (4, 8) == (transport.PAGE_LIMIT >> 20, transport.CALL_LIMIT >> 20)
    assert (5, 30, 15) == (guards.FAILURES, guards.WITHIN, guards.REST)
    assert (60, 3_600, 8 * 1024) == (tokens.LEEWAY, tokens.LIFETIME, tokens.MAX_TOKEN)
    assert (600, 30, 86_400, 2, 256) == (
        keys.REFRESH, keys.INTERVAL, keys.STALE, keys.PATIENCE, keys.LIMIT >> 10
    )  # fmt: skip
    assert completing.KEYS >= 7
