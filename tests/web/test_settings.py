"""
Settings: one table of names, defaults and meanings; what is not allowed is refused in words.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from cds_service.errors import SettingsError
from cds_service.web.settings import SETTINGS, Settings, content_folder, packaged
from tests.build import ROOT


def test_the_defaults_are_the_safer_choices() -> None:
    default = Settings.read({})

    assert ("jwt", False, False, False) == (
        default.auth,
        default.drop_strangers,
        default.allow_preliminary,
        default.allow_unauthenticated,
    )
    assert Settings() == default


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CDS_AUTH", "basic"),
        ("CDS_AUTH", "NONE"),
        ("CDS_OTHER_PATIENT", "show"),
        ("CDS_ALLOW_PRELIMINARY", "yes"),
        ("CDS_ALLOW_UNAUTHENTICATED", "true"),
        ("CDS_SANDBOX", "2"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.read({name: value})

    assert name in str(refused.value)


@pytest.mark.parametrize("blank", ["", " ", "\t"])
def test_a_blank_value_is_the_default(blank: str) -> None:
    assert Settings() == Settings.read({setting.name: blank for setting in SETTINGS})


def test_lists_are_separated_by_blanks() -> None:
    read = Settings.read({"CDS_FHIR_BASES": "https://a/r4/  https://b", "CDS_CORS_ORIGINS": "https://x https://y"})

    assert ({"https://a/r4", "https://b"}, ("https://x", "https://y")) == (set(read.fhir_bases), read.cors_origins)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_without_authentication_this_machine_is_answered(host: str) -> None:
    Settings(auth="none").check_address(host)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "10.0.0.1", "ehr.example", "", "127.0.0.1.evil.example", "localhost.evil"]
)
def test_without_authentication_others_are_refused(host: str) -> None:
    with pytest.raises(SettingsError):
        Settings(auth="none").check_address(host)


@pytest.mark.parametrize("settings", [Settings(auth="jwt"), Settings(auth="none", allow_unauthenticated=True)])
def test_with_authentication_or_an_explicit_override_any_address_is_fine(settings: Settings) -> None:
    settings.check_address("0.0.0.0")


def test_the_content_is_the_checkouts_unless_another_is_named() -> None:
    assert ROOT / "hooks" == content_folder(Settings())
    assert Path("/elsewhere") == content_folder(Settings(content="/elsewhere"))
    assert ROOT / "fixtures" == packaged("fixtures")
