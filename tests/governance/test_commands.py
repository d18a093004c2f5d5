"""cds-service account, audit, ledger and switch: who may come in, and what stands in the audit of it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cds_service.adapters.governance import ROLES, Cost, Governance, accounts
from cds_service.adapters.ledger import Ledger, read_key
from cds_service.cli import accounts as commands
from cds_service.cli import main
from tests.build import NOW
from tests.governance.conftest import PASSWORD, decision

RULE = "eskd-hyperphosphatemia"
KEY = "a key for the shell, long enough: 0123456789 abc"


class Shell:
    """The command line beside a ledger."""

    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite:///{folder}/ledger.db"
        self.ledger = Ledger.open(self.url, read_key({}, self.url), NOW.timestamp)
        self.governance = self.ledger.governance

    def run(self, *words: str | Path, typed: str = "", **environment: str) -> Result:
        self.ledger.database.close()
        environment = {"CDS_DATABASE_URL": self.url, **environment}
        return CliRunner().invoke(main, [str(word) for word in words], input=typed, env=environment)

    def __call__(self, *words: str | Path, code: int = 0, typed: str = "", **environment: str) -> str:
        result = self.run(*words, typed=typed, **environment)
        assert code == result.exit_code, result.output
        return str(result.output)


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    for name in ("CDS_CONTENT", "CDS_SITE", "CDS_PSEUDONYM_KEY", "CDS_PSEUDONYM_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    return Shell(tmp_path)


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let passwords cost little, where what they cost is not what is tried."""
    real = accounts.Accounts.__init__

    def made(self: accounts.Accounts, *words: Any) -> None:
        real(self, words[0], words[1], words[2], words[3], Cost(2, 8, 1))

    monkeypatch.setattr(accounts.Accounts, "__init__", made)


def decided(shell: Shell) -> int:
    return shell.governance.propose(decision(), base=0, role="editor", origin="192.0.2.1").number


def actions(shell: Shell) -> list[str]:
    return [one.action for one in shell.governance.audit.page()]


# --- accounts ---------------------------------------------------------------------------------------------------------


def test_an_account_made_in_the_shell_lets_its_owner_in(shell: Shell) -> None:
    """The whole cost of a password is paid here."""
    told = shell("account", "add", "Eddie", "--role", "editor", "--role", "viewer", typed=f"{PASSWORD}\n")

    assert "eddie may sign in: editor, viewer.\n" == told
    assert shell.governance.accounts.authenticate("eddie", PASSWORD, "192.0.2.1") is not None


def test_an_account_through_its_life(shell: Shell, cheap: None) -> None:
    assert "There is no account" in shell("account", "list")
    shell("account", "add", "eddie", "--role", "editor", typed=f"{PASSWORD}\n")
    shell("account", "roles", "eddie", "--role", "approver")
    shell("account", "password", "eddie", typed="another horse battery\n")
    shell("account", "disable", "eddie")

    assert "eddie  approver  disabled\n" == shell("account", "list")
    shell("account", "enable", "eddie")
    assert "eddie  approver\n" == shell("account", "list")
    assert ["make account", "change roles", "change password", "disable account", "enable account"] == actions(shell)[
        ::-1
    ]
    assert {"shell"} == {one.origin for one in shell.governance.audit.page()}


@pytest.mark.parametrize("typed", ["", "\n", "short\n", "x" * 12 + "\n", "eddieeddieeddie\n"])
def test_a_password_that_will_not_do_makes_no_account(shell: Shell, cheap: None, typed: str) -> None:
    told = shell("account", "add", "eddie", "--role", "editor", code=2, typed=typed)

    assert "bad-password" in told
    assert not typed.strip() or typed.strip() not in told
    assert [] == shell.governance.accounts.all()


def test_a_password_is_never_taken_from_the_command_line(shell: Shell) -> None:
    """Whoever lists the processes of a machine sees their words."""
    for words in (
        ("add", "eddie", PASSWORD, "--role", "editor"),
        ("add", "eddie", "--role", "editor", "--password", "x"),
    ):
        assert 2 == shell.run("account", *words).exit_code
    assert [] == shell.governance.accounts.all()


@pytest.mark.parametrize("words", [("disable", "nobody"), ("roles", "nobody", "--role", "viewer")])
def test_an_account_that_there_is_not_is_named_in_words(shell: Shell, words: tuple[str, ...]) -> None:
    assert "There is no account of this name" in shell("account", *words, code=2)


def test_the_shell_knows_every_role() -> None:
    assert ROLES == commands.ROLES


# --- the audit --------------------------------------------------------------------------------------------------------


def test_an_audit_in_order_and_one_that_is_not(shell: Shell) -> None:
    decided(shell)
    assert "1 entries: in order.\n" == shell("audit", "verify")
    assert "1 entries of the audit: in order." in shell("ledger", "verify")
    with shell.ledger.database.writing() as connection:
        connection.exec_driver_sql("DROP TRIGGER changes_no_update")
        connection.exec_driver_sql("UPDATE changes SET who='anna'")

    assert "Change 1 is not what the audit tells of it." in shell("audit", "verify", code=1)
    assert "Audit: Change 1 is not what the audit tells of it." in shell("ledger", "verify", code=1)


def test_the_audit_is_written_to_a_file_for_its_owner_only(shell: Shell, tmp_path: Path) -> None:
    decided(shell)
    out = tmp_path / "audit.ndjson"
    assert "1 entries" in shell("audit", "export", "--out", out)
    [entry] = [json.loads(line) for line in out.read_text().splitlines()]

    assert (1, "change", "eddie", "192.0.2.1") == (entry["number"], entry["action"], entry["who"], entry["origin"])
    assert "0o600" == oct(out.stat().st_mode & 0o777)
    assert 2 == shell.run("audit", "export", "--out", out).exit_code, "what is there is not written over"


def test_decisions_are_exported_with_what_became_of_them(shell: Shell, tmp_path: Path) -> None:
    number = shell.governance.propose(decision(), base=0, asks="kill", role="editor", origin="192.0.2.1").number
    shell.governance.rule_on(number, "approved", "anna", "Agreed at the meeting", "approver", "192.0.2.1")
    shell.governance.propose(decision("7.0", why="=1+1 is what they aim at"), base=1, role="editor", origin="192.0.2.1")
    shell("ledger", "export", "changes", "--out", tmp_path / "out")
    first, second = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]

    assert ("approved", "anna", NOW.isoformat()) == (first["ruling"], first["ruled_by"], first["ruled_at"])
    assert (None, "7.0", "eddie") == (second["ruling"], second["tuning"]["value"], second["tuning"]["who"])


def test_exports_of_governance_as_csv_are_no_formulas(shell: Shell, tmp_path: Path) -> None:
    shell.governance.audit.append("=1+1", "@x", "+eddie", "viewer", "192.0.2.1")
    for what in ("audit", "changes"):
        shell("ledger", "export", what, "--format", "csv", "--out", tmp_path / what)
    [row] = csv.DictReader(io.StringIO((tmp_path / "audit").read_text()))

    assert ("'=1+1", "'@x", "'+eddie") == (row["action"], row["subject"], row["who"])
    assert (tmp_path / "changes").read_text().startswith('"number","at","rule","name","tuning"')


# --- switches and keys ------------------------------------------------------------------------------------------------


def test_a_switch_from_the_shell_stands_in_the_audit(shell: Shell) -> None:
    shell("switch", "off", "rule", RULE, "--who", "Otto", "--why", "It shouts at everybody")
    [entry] = shell.governance.audit.page()

    assert ("switch off", f"rule {RULE}", "Otto", "shell") == (entry.action, entry.subject, entry.who, entry.origin)
    assert "It shouts at everybody" == entry.new
    assert [True] == [one.off for one in shell.ledger.switched()]


@pytest.mark.parametrize("key", ["", "another key than the ledger has: 0123456789 abc"])
def test_a_switch_needs_no_key_but_says_that_the_audit_does(shell: Shell, key: str) -> None:
    path = shell.ledger.database.path
    assert path is not None
    path.with_name("ledger.db.key").rename(path.with_name("kept.key"))
    told = shell("switch", "off", "all", "--who", "Otto", "--why", "Everything shouts", CDS_PSEUDONYM_KEY=key)

    assert "not in the audit" in told
    assert ([True], 0) == ([one.off for one in shell.ledger.switched()], shell.governance.audit.count())
    assert not path.with_name("ledger.db.key").exists(), "and makes none"


def test_after_a_new_key_the_older_entries_are_verified_with_the_older(shell: Shell, tmp_path: Path) -> None:
    decided(shell)
    path = shell.ledger.database.path
    assert path is not None
    old = path.with_name("ledger.db.key")
    shell("ledger", "new-key", CDS_PSEUDONYM_KEY=KEY)

    assert "Entry 1 was changed." in shell("audit", "verify", code=1, CDS_PSEUDONYM_KEY=KEY)
    assert "2 entries: in order." in shell("audit", "verify", "--key-file", old, CDS_PSEUDONYM_KEY=KEY)
    assert "2 entries of the audit: in order." in shell("ledger", "verify", "--key-file", old, CDS_PSEUDONYM_KEY=KEY)


def test_purging_touches_no_decision_of_an_admin(shell: Shell) -> None:
    decided(shell)
    shell("ledger", "purge", "--days", "1", "--yes")

    assert ([1], 1) == ([one.number for one in shell.governance.history()], shell.governance.audit.count())


def test_what_can_be_switched_is_named(shell: Shell) -> None:
    from cds_service.adapters.governance import Refused

    governance: Governance = shell.governance
    with pytest.raises(Refused):
        governance.switch("everything", "", True, "otto", "It shouts at everybody", "operator", "192.0.2.1")
    assert [] == shell.ledger.switched()
