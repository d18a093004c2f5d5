"""
A setting that is wrong ends the start in one clear line, before a port is open (RELIABILITY.md 3, row 46).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cds_service.cli import main
from cds_service.cli.serving import warnings
from cds_service.errors import SettingsError
from cds_service.web import Settings
from cds_service.web.settings import SETTINGS
from tests.adapters.auth.signing import ISSUER, JKU, PUBLIC_URL
from tests.moments import quickest, spent

WRONG: dict[str, tuple[dict[str, str], str]] = {
    "auth": ({"CDS_AUTH": "basic"}, "CDS_AUTH"),
    "budget a word": ({"CDS_FHIR_BUDGET_MS": "fast"}, "CDS_FHIR_BUDGET_MS"),
    "budget 0": ({"CDS_FHIR_BUDGET_MS": "0"}, "CDS_FHIR_BUDGET_MS"),
    "budget negative": ({"CDS_FHIR_BUDGET_MS": "-5"}, "CDS_FHIR_BUDGET_MS"),
    "budget in seconds": ({"CDS_FHIR_BUDGET_MS": "0.8"}, "CDS_FHIR_BUDGET_MS"),
    "budget of an hour": ({"CDS_FHIR_BUDGET_MS": "3600000"}, "CDS_FHIR_BUDGET_MS"),
    "budget with a unit": ({"CDS_FHIR_BUDGET_MS": "800ms"}, "CDS_FHIR_BUDGET_MS"),
    "budget in other digits": ({"CDS_FHIR_BUDGET_MS": "\u0668\u0660\u0660"}, "CDS_FHIR_BUDGET_MS"),
    "calls 0": ({"CDS_FHIR_CALLS": "0"}, "CDS_FHIR_CALLS"),
    "calls many": ({"CDS_FHIR_CALLS": "9999"}, "CDS_FHIR_CALLS"),
    "plain http yes": ({"CDS_FHIR_PLAIN_HTTP": "yes"}, "CDS_FHIR_PLAIN_HTTP"),
    "a host without a scheme": ({"CDS_FHIR_ALLOW": "fhir.example.org"}, "CDS_FHIR_ALLOW"),
    "every host": ({"CDS_FHIR_ALLOW": "*"}, "CDS_FHIR_ALLOW"),
    "http in another network": ({"CDS_FHIR_ALLOW": "http://fhir.example.org/fhir"}, "CDS_FHIR_ALLOW"),
    "a metadata service": ({"CDS_FHIR_ALLOW": "http://169.254.169.254/"}, "CDS_FHIR_ALLOW"),
    "one of two entries": ({"CDS_FHIR_ALLOW": "https://a.example, b.example"}, "CDS_FHIR_ALLOW"),
    "authorities that are not there": (
        {"CDS_CA_FILE": "/no/such/file", "CDS_FHIR_ALLOW": "https://a.example"},
        "CDS_CA_FILE",
    ),
    "a proxy by name": ({"CDS_TRUSTED_PROXY": "nginx"}, "CDS_TRUSTED_PROXY"),
    "a network that is none": ({"CDS_TRUSTED_PROXY": "10.0.0.1/8"}, "CDS_TRUSTED_PROXY"),
    "a header with a colon": ({"CDS_CLIENT_CERT_HEADER": "X-A: b"}, "CDS_CLIENT_CERT_HEADER"),
    "a header with an underscore": ({"CDS_CLIENT_CERT_HEADER": "X_A"}, "CDS_CLIENT_CERT_HEADER"),
    "issuers that are not there": ({"CDS_ISSUERS": "/no/such/file.yaml"}, "CDS_ISSUERS"),
    "issuers that are a folder": ({"CDS_ISSUERS": "/"}, "CDS_ISSUERS"),
    "our address without a scheme": ({"CDS_PUBLIC_URL": "cds.example.org"}, "CDS_PUBLIC_URL"),
    "our address with a query": ({"CDS_PUBLIC_URL": "https://cds.example.org/?x"}, "CDS_PUBLIC_URL"),
}


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for setting in SETTINGS:
        monkeypatch.delenv(setting.name, raising=False)
    monkeypatch.setenv("CDS_DATABASE_URL", f"sqlite:///{tmp_path}/ledger.db")


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_setting_ends_the_start_and_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    environment, named = WRONG[name]
    monkeypatch.setattr("cds_service.cli.serving.listen", never)
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    result = CliRunner().invoke(main, ["serve", "--port", "0"])

    assert 2 == result.exit_code, result.output
    assert named in result.output
    assert "Traceback" not in result.output
    assert any(named in line for line in result.output.splitlines()[:2])


def never(*_: Any) -> Any:
    raise AssertionError("a port was opened")


def test_it_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDS_FHIR_BUDGET_MS", "fast")

    assert quickest(lambda: spent(lambda: CliRunner().invoke(main, ["serve", "--port", "0"])), 2.0) < 2


def test_issuers_without_our_address_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "issuers.yaml").write_text(json.dumps({"issuers": [{"iss": ISSUER, "jku": JKU}]}))
    monkeypatch.setenv("CDS_ISSUERS", str(tmp_path / "issuers.yaml"))
    monkeypatch.setattr("cds_service.cli.serving.listen", never)
    result = CliRunner().invoke(main, ["serve", "--port", "0"])

    assert (2, True) == (result.exit_code, "CDS_PUBLIC_URL" in result.output)


def test_what_an_operator_should_know_is_said() -> None:
    assert [] == warnings(Settings(auth="none"))
    assert [] == warnings(Settings(issuers="x.yaml", fhir_allow="https://a.example, http://localhost:8080"))
    [one] = warnings(Settings())
    assert "CDS_ISSUERS" in one
    assert "operate.md" in one
    [two] = warnings(Settings(auth="none", fhir_allow="http://fhir.example.org/x", fhir_plain_http=True))
    assert "WITHOUT TLS" in two
    assert "http://fhir.example.org/x" in two


def test_the_new_settings_are_read() -> None:
    read = Settings.read(
        {
            "CDS_TRUSTED_PROXY": "10.0.0.7, fd00::/64",
            "CDS_CLIENT_CERT_HEADER": "X-Client",
            "CDS_FHIR_CALLS": "3",
            "CDS_PUBLIC_URL": f"{PUBLIC_URL}/",
        }
    )

    assert (("10.0.0.7/32", "fd00::/64"), "X-Client", 3, PUBLIC_URL) == (
        read.trusted_proxy,
        read.client_cert_header,
        read.fhir_calls,
        read.public_url,
    )


def test_one_bad_value_is_one_error() -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.read({"CDS_FHIR_CALLS": "x"})

    assert "\n" not in refused.value.what
