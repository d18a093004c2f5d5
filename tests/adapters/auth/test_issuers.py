"""
The file of issuers: read strictly once, and refused in one clear line (RELIABILITY.md 3, row 46).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from cds_service.adapters.auth import Issuers, read_issuers
from cds_service.adapters.auth.keys import ALGORITHMS
from cds_service.errors import SettingsError
from tests.adapters.auth.signing import AUDIENCE, ISSUER, JKU, PUBLIC_URL, public
from tests.build import LEFT_OUT, without

Json = dict[str, Any]


def entry(**members: Any) -> Json:
    return without(**{"iss": ISSUER, "jku": JKU, **members})


@pytest.fixture
def read(tmp_path: Path) -> Callable[[Any], Issuers]:
    def read_file(document: Any) -> Issuers:
        path = tmp_path / "issuers.yaml"
        path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
        return read_issuers(path)

    return read_file


WRONG: dict[str, Any] = {
    "empty": "",
    "a list": "- iss: x",
    "a text": "issuers",
    "not YAML": "issuers: [",
    "no issuers": {"issuers": []},
    "issuers null": {"issuers": None},
    "issuers a mapping": {"issuers": {"iss": "x"}},
    "something besides issuers": {"issuers": [entry()], "more": 1},
    "a key twice": "issuers:\n  - iss: a\n    iss: b\n    jku: https://a.example/x\n",
    "an alias": "issuers:\n  - &a {iss: a, jku: https://a.example/x}\n  - *a\n",
    "an issuer that is a text": {"issuers": ["x"]},
    "a member we do not know": {"issuers": [entry(audience="x")]},
    "no iss": {"issuers": [entry(iss=LEFT_OUT)]},
    "iss empty": {"issuers": [entry(iss="")]},
    "iss a number": {"issuers": [entry(iss=5)]},
    "iss a list": {"issuers": [entry(iss=[ISSUER])]},
    "neither jku nor keys": {"issuers": [entry(jku=LEFT_OUT)]},
    "both jku and keys": {"issuers": [entry(keys=[public("es384")])]},
    "jku a number": {"issuers": [entry(jku=5)]},
    "jku a list": {"issuers": [entry(jku=[JKU])]},
    "jku without a scheme": {"issuers": [entry(jku="ehr.example/jwks")]},
    "jku over http": {"issuers": [entry(jku="http://ehr.example/jwks")]},
    "jku over http in the network": {"issuers": [entry(jku="http://10.1.2.3/jwks")]},
    "jku a file": {"issuers": [entry(jku="file:///etc/passwd")]},
    "jku with a user": {"issuers": [entry(jku="https://x@ehr.example/jwks")]},
    "jku with a fragment": {"issuers": [entry(jku=f"{JKU}#x")]},
    "jku with a blank": {"issuers": [entry(jku=f"{JKU} ")]},
    "jku broken": {"issuers": [entry(jku="https://[::1/jwks")]},
    "jku with a strange port": {"issuers": [entry(jku="https://ehr.example:99999/jwks")]},
    "fhir empty": {"issuers": [entry(fhir=[])]},
    "fhir no base URL": {"issuers": [entry(fhir=["ftp://ehr.example/r4"])]},
    "fhir a mapping": {"issuers": [entry(fhir={"url": "https://ehr.example/r4"})]},
    "keys empty": {"issuers": [entry(jku=LEFT_OUT, keys=[])]},
    "keys a text": {"issuers": [entry(jku=LEFT_OUT, keys="x")]},
    "keys of a set empty": {"issuers": [entry(jku=LEFT_OUT, keys={"keys": []})]},
    "keys of texts": {"issuers": [entry(jku=LEFT_OUT, keys=["x"])]},
    "a secret key": {"issuers": [entry(jku=LEFT_OUT, keys=[{"kty": "oct", "kid": "x", "k": "eA"}])]},
    "a private key": {"issuers": [entry(jku=LEFT_OUT, keys=[public("es384", d="eA")])]},
    "a key without kid": {"issuers": [entry(jku=LEFT_OUT, keys=[public("es384", kid=LEFT_OUT)])]},
    "a key for encryption": {"issuers": [entry(jku=LEFT_OUT, keys=[public("es384", use="enc")])]},
    "a key of 1024 bits": {"issuers": [entry(jku=LEFT_OUT, keys=[public("rsa1024")])]},
    "a good key and a bad one": {"issuers": [entry(jku=LEFT_OUT, keys=[public("es384"), public("k1")])]},
    "tenants a number": {"issuers": [entry(tenants=5)]},
    "tenants with a number": {"issuers": [entry(tenants=[5])]},
    "audiences with nothing": {"issuers": [entry(audiences=[""])]},
    "audiences a mapping": {"issuers": [entry(audiences={"a": "b"})]},
    "algorithm none": {"issuers": [entry(algorithms=["none"])]},
    "algorithm HS256": {"issuers": [entry(algorithms=["ES384", "HS256"])]},
    "algorithm in small letters": {"issuers": [entry(algorithms="es384")]},
    "profile a number": {"issuers": [entry(profile=5)]},
    "certificate a list": {"issuers": [entry(certificate=["CN=x"])]},
    "the same pair twice": {"issuers": [entry(), entry(name="again")]},
}


@pytest.mark.parametrize("name", WRONG)
def test_a_file_that_is_wrong_is_refused_in_one_line(read: Callable[[Any], Issuers], name: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read(WRONG[name])

    assert "\n" not in refused.value.what
    assert len(refused.value.what) < 300
    assert "CDS_ISSUERS issuers.yaml" in refused.value.where
    assert "operate.md" in refused.value.remedy


@pytest.mark.parametrize("path", ["/no/such/file.yaml", "/", "/proc/self/mem"])
def test_a_file_that_cannot_be_read_is_refused(path: str) -> None:
    with pytest.raises(SettingsError):
        read_issuers(Path(path))


def test_a_file_of_bytes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xff\xfe\x00issuers")
    with pytest.raises(SettingsError):
        read_issuers(tmp_path / "x")


def test_what_is_left_out_is_the_safer_choice(read: Callable[[Any], Issuers]) -> None:
    [one] = read({"issuers": [entry()]}).entries

    assert ((), (), ALGORITHMS, "standard", "") == (
        one.tenants,
        one.audiences,
        one.algorithms,
        one.profile,
        one.certificate,
    )


@pytest.mark.parametrize(
    "keys", [[public("es384"), public("rs384")], {"keys": [public("es384"), public("rs384")]}], ids=["list", "set"]
)
def test_keys_may_stand_in_the_file(read: Callable[[Any], Issuers], keys: Any) -> None:
    [one] = read({"issuers": [entry(jku=LEFT_OUT, keys=keys)]}).entries

    assert ["es384", "rs384"] == [key.kid for key in one.keys]


@pytest.mark.parametrize(
    "jku", ["http://127.0.0.1:8001/jwks", "http://localhost/jwks", "http://[::1]:1/x", f"{JKU}?p=1&q=a%20b"]
)
def test_an_address_of_keys_may_be_on_this_machine_or_have_a_query(read: Callable[[Any], Issuers], jku: str) -> None:
    assert [jku] == read({"issuers": [entry(jku=jku)]}).key_addresses


# --- with the other settings -----------------------------------------------------------------------------------------

Make = Callable[..., Flask]


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., str]:
    def write(**members: Any) -> str:
        path = tmp_path / "issuers.yaml"
        path.write_text(json.dumps({"issuers": [entry(**members)]}))
        return str(path)

    return write


@pytest.mark.parametrize(
    ("members", "settings", "named"),
    [
        ({}, {"public_url": ""}, "CDS_PUBLIC_URL"),
        ({"profile": "unheard-of"}, {}, "CDS_ISSUERS"),
        ({"certificate": "CN=x"}, {}, "CDS_TRUSTED_PROXY"),
        ({"certificate": "CN=x"}, {"client_cert_header": "X-Client"}, "CDS_TRUSTED_PROXY"),
        ({"certificate": "CN=x"}, {"trusted_proxy": ("10.0.0.1/32",)}, "CDS_TRUSTED_PROXY"),
        ({}, {"client_cert_header": "X-Client"}, "CDS_TRUSTED_PROXY"),
        ({}, {"ca_file": "/no/such/file"}, "CDS_CA_FILE"),
        ({}, {"fhir_allow": "https://fhir.example.org", "ca_file": "/"}, "CDS_CA_FILE"),
    ],
)
def test_settings_that_do_not_fit_refuse_the_start(
    make_app: Make, file: Callable[..., str], members: Json, settings: Json, named: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        make_app(auth="jwt", issuers=file(**members), **{"public_url": PUBLIC_URL, **settings})

    assert named in f"{refused.value.where} {refused.value.what}"
    assert "\n" not in refused.value.what


def test_with_audiences_of_its_own_every_issuer_can_do_without_our_address(
    make_app: Make, file: Callable[..., str]
) -> None:
    assert make_app(auth="jwt", issuers=file(audiences=[AUDIENCE])).extensions["cds"].door.verifier


def test_without_authentication_the_file_is_not_even_read(make_app: Make) -> None:
    assert make_app(auth="none", issuers="/no/such/file").extensions["cds"].door.open_to_all
