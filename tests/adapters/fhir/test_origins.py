"""
Which addresses may be contacted: an exact list, and many ways of writing one that look like an entry and are none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask

from cds_service.adapters.ehr import LocalRecord
from cds_service.adapters.fhir import Origins
from cds_service.errors import SettingsError
from tests.build import PATIENT, call, condition, observation, patient, to_json
from tests.faults.asking import TOKEN, asking, post, reasons
from tests.faults.servers import Asked, Reply, Server, answering, fhir, running

Make = Callable[..., Flask]
SICK = (patient(), condition(), observation(value=8.1))
BASE = "https://fhir.example.org/fhir"
ALLOWED = Origins.read(
    f"{BASE}, http://127.0.0.1:8090/fhir, https://ehr.example.org:8443/a/r4, https://[2001:db8::1]/x"
)

SAME = (
    BASE,
    f"{BASE}/",
    "HTTPS://FHIR.EXAMPLE.ORG/fhir",
    "https://fhir.example.org:443/fhir",
    "https://fhir.example.org:0443/fhir",
    f"{BASE}/tenant-1",
    "https://ehr.example.org:8443/a/r4",
    "http://127.0.0.1:8090/fhir",
    "https://[2001:DB8::1]/x",
)

OTHER = (
    # another origin
    "http://fhir.example.org/fhir",
    "https://fhir.example.org:444/fhir",
    "https://fhir.example.org:80/fhir",
    "http://fhir.example.org:443/fhir",
    "https://example.org/fhir",
    "https://www.fhir.example.org/fhir",
    "https://ehr.example.org/a/r4",
    "http://127.0.0.1:8091/fhir",
    # prefixes that are no borders
    "https://fhir.example.org.attacker.com/fhir",
    "https://fhir.example.orgx/fhir",
    "https://fhir.example.org-attacker.com/fhir",
    "https://attacker.com/fhir.example.org/fhir",
    "https://attacker.com?https://fhir.example.org/fhir",
    "https://attacker.com#https://fhir.example.org/fhir",
    "https://fhir.example.org",
    "https://fhir.example.org/",
    "https://fhir.example.org/fhirx",
    "https://fhir.example.org/fhir-old",
    "https://fhir.example.org/fhir.old",
    "https://fhir.example.org/FHIR",
    "https://fhir.example.org/Fhir",
    # ways out of the path
    "https://fhir.example.org/fhir/../x",
    "https://fhir.example.org/fhir/..",
    "https://fhir.example.org/fhir/./x",
    "https://fhir.example.org/fhir/%2e%2e/x",
    "https://fhir.example.org/fhir/..%2fx",
    "https://fhir.example.org/fhir/.%2e/x",
    "https://fhir.example.org/fhir//x",
    "https://fhir.example.org//fhir",
    "https://fhir.example.org/fhir;x",
    "https://fhir.example.org/fhir?x",
    "https://fhir.example.org/fhir#x",
    "https://fhir.example.org/fhir\\..\\x",
    "https://fhir.example.org/%66hir",
    # users
    "https://user@fhir.example.org/fhir",
    "https://user:password@fhir.example.org/fhir",
    "https://fhir.example.org@attacker.com/fhir",
    "https://fhir.example.org:443@attacker.com/fhir",
    "https://fhir.example.org%40attacker.com/fhir",
    "https://attacker.com\\@fhir.example.org/fhir",
    "https://fhir.example.org\\@attacker.com/fhir",
    "https://fhir.example.org\\.attacker.com/fhir",
    # white space and characters that nobody sees
    " https://fhir.example.org/fhir",
    "https://fhir.example.org/fhir ",
    "https://fhir.example.org /fhir",
    "https://fhir.example.org/fhir\n",
    "https://fhir.example.org\t/fhir",
    "https://fhir.exam\nple.org/fhir",
    "https://fhir.example.org/fhir\r\nHost: attacker.com",
    "https://fhir.example.org\x00.attacker.com/fhir",
    "https://fhir.example.org\u200b/fhir",
    # dots, letters and digits that look alike
    "https://fhir\u3002example\u3002org/fhir",
    "https://fhir\uff0eexample\uff0eorg/fhir",
    "https://\uff46hir.example.org/fhir",
    "https://fh\u0131r.example.org/fhir",
    "https://fhir.ex\u0430mple.org/fhir",
    "https://FH\u0130R.example.org/fhir",
    "https://fhir.example.org\u2044fhir",
    "https://fhir.example.org./fhir",
    "https://fhir..example.org/fhir",
    "https://.fhir.example.org/fhir",
    "https://fhir%2eexample%2eorg/fhir",
    "https://fhir_example.org/fhir",
    # ports
    "https://fhir.example.org:/fhir",
    "https://fhir.example.org:0/fhir",
    "https://fhir.example.org:99999/fhir",
    "https://fhir.example.org:65979/fhir",
    "https://fhir.example.org:-443/fhir",
    "https://fhir.example.org:443:443/fhir",
    "https://fhir.example.org:4 43/fhir",
    "https://fhir.example.org:\u0664\u0664\u0663/fhir",
    "https://fhir.example.org:443x/fhir",
    # numbers
    "http://2130706433:8090/fhir",
    "http://0x7f000001:8090/fhir",
    "http://0x7f.0.0.1:8090/fhir",
    "http://0177.0.0.1:8090/fhir",
    "http://017700000001:8090/fhir",
    "http://127.1:8090/fhir",
    "http://127.0.1:8090/fhir",
    "http://127.0.0.1.:8090/fhir",
    "http://127.0.0.2:8090/fhir",
    "http://0:8090/fhir",
    "http://0.0.0.0:8090/fhir",
    "http://[::1]:8090/fhir",
    "http://[::ffff:127.0.0.1]:8090/fhir",
    "http://[::ffff:7f00:1]:8090/fhir",
    "http://[0:0:0:0:0:ffff:7f00:1]:8090/fhir",
    "http://[::127.0.0.1]:8090/fhir",
    "http://[::1%25lo]:8090/fhir",
    "http://[::]:8090/fhir",
    "http://localhost:8090/fhir",
    "http://127.0.0.1.nip.io:8090/fhir",
    "http://169.254.169.254/latest/meta-data/",
    "http://[fd00:ec2::254]/latest/meta-data/",
    "http://metadata.google.internal/computeMetadata/v1/",
    "https://[2001:db8:0::1]/x",
    # other schemes, and none
    "file:///etc/passwd",
    "file://fhir.example.org/fhir",
    "gopher://fhir.example.org/fhir",
    "gopher://127.0.0.1:8090/_GET",
    "ftp://fhir.example.org/fhir",
    "unix:///var/run/docker.sock",
    "unix:/var/run/docker.sock",
    "http+unix://%2Fvar%2Frun%2Fdocker.sock/fhir",
    "dict://127.0.0.1:8090/x",
    "ldap://fhir.example.org/fhir",
    "jar:https://fhir.example.org/fhir",
    "javascript:alert(1)",
    "data:application/fhir+json,{}",
    "ws://fhir.example.org/fhir",
    "https:fhir.example.org/fhir",
    "https:/fhir.example.org/fhir",
    "https:///fhir.example.org/fhir",
    "https:\\\\fhir.example.org\\fhir",
    "https//fhir.example.org/fhir",
    "//fhir.example.org/fhir",
    "fhir.example.org/fhir",
    "/fhir",
    "https://",
    "",
    "*",
    "https://*/fhir",
    f"https://{'a.' * 2000}example.org/fhir",
)


@pytest.mark.parametrize("url", SAME)
def test_an_address_at_or_below_an_entry_is_found_however_it_is_usually_written(url: str) -> None:
    assert ALLOWED.find(url)


@pytest.mark.parametrize("url", OTHER, ids=lambda url: ascii(url)[:80])
def test_an_address_that_is_no_entry_is_not_found(url: str) -> None:
    assert ALLOWED.find(url) is None


def test_there_are_enough_of_them() -> None:
    assert len(set(OTHER)) >= 60


# --- over HTTP: nothing is contacted ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def canaries() -> Iterator[list[Server]]:
    """Run two servers that must never be spoken to."""
    behave = answering(lambda _: Reply(patient()))
    with running(behave) as four, running(behave, "::1") as six:
        yield [four, six]


@pytest.fixture(scope="module")
def app(make_app: Make) -> Flask:
    return make_app(fhir_allow=f"{BASE}, http://127.0.0.1:8090/fhir", fhir_budget_ms=2000)


def tricks(server: Server) -> list[str]:
    port = server.port
    return [
        f"{server.base}/fhir",
        f"http://localhost:{port}/fhir",
        f"http://127.0.0.1:8090@{server.base.removeprefix('http://')}/fhir",
        f"http://127.0.0.1:8090\\@{server.base.removeprefix('http://')}/fhir",
        f"http://127.0.0.1:8090#@{server.base.removeprefix('http://')}/fhir",
        f"http://127.0.0.1:8090?@{server.base.removeprefix('http://')}/fhir",
        f"http://127.1:{port}/fhir",
        f"http://0x7f000001:{port}/fhir",
        f"http://2130706433:{port}/fhir",
        f"http://017700000001:{port}/fhir",
        f"http://0:{port}/fhir",
        f"http://[::ffff:127.0.0.1]:{port}/fhir",
        f"http://[::]:{port}/fhir",
        f"https://127.0.0.1:{port}/fhir",
        f"gopher://127.0.0.1:{port}/fhir",
        f"ftp://127.0.0.1:{port}/fhir",
    ]


@pytest.mark.parametrize("which", [0, 1], ids=["127.0.0.1", "::1"])
def test_an_address_that_is_not_listed_sees_no_byte(app: Flask, canaries: list[Server], which: int) -> None:
    for url in tricks(canaries[which]):
        response, _ = post(app, to_json(call({}, fhirServer=url, fhirAuthorization={"access_token": TOKEN})))

        assert (412, {"not-permitted"}) == (response.status_code, reasons(response)), url
        assert url not in response.text
    assert [0, 0] == [one.connections for one in canaries]


@pytest.mark.parametrize("url", OTHER, ids=lambda url: ascii(url)[:80])
def test_a_call_with_such_an_address_is_refused_or_answered_without_it(app: Flask, url: str) -> None:
    response, taken = post(app, to_json(call({}, fhirServer=url, fhirAuthorization={"access_token": TOKEN})))

    assert response.status_code in {400, 412}
    assert reasons(response) <= {"not-permitted"}
    assert taken < 1.0
    assert TOKEN not in response.text


def test_references_in_records_are_never_followed(make_app: Make, canaries: list[Server]) -> None:
    place = canaries[0].base
    lab = observation(
        value=8.1,
        subject={"reference": f"Patient/{PATIENT}"},
        performer=[{"reference": f"{place}/fhir/Practitioner/1"}],
        meta={"profile": [f"{place}/profile"]},
        derivedFrom=[{"reference": f"{place}/fhir/Observation/2"}],
    )
    with running(answering(fhir(LocalRecord(PATIENT, [patient(photo=[{"url": place}]), condition(), lab])))) as server:
        app = make_app(fhir_allow=f"{server.base}/fhir", fhir_budget_ms=2000)
        assert 200 == post(app, asking(server))[0].status_code

    assert [0, 0] == [one.connections for one in canaries]


# --- what the machine says is not followed ---------------------------------------------------------------------------


def test_proxies_and_passwords_of_the_machine_are_not_used(
    make_app: Make, canaries: list[Server], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, canaries[0].base)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "")
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login MARKED password MARKED\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    with running(answering(fhir(LocalRecord(PATIENT, SICK)))) as server:
        app = make_app(fhir_allow=f"{server.base}/fhir", fhir_budget_ms=2000)
        assert 200 == post(app, asking(server))[0].status_code
        assert 200 == post(app, asking(server, fhirAuthorization=None))[0].status_code
        sent = {one.headers.get("authorization") for one in server.asked}

    assert {None, f"Bearer {TOKEN}"} == sent
    assert 0 == canaries[0].connections


# --- tokens ----------------------------------------------------------------------------------------------------------

ODD = ("a b", "a\r\nX-Other: 1", "a\n", "a\x00", "\x7f", "t\u00f6ken", "\u2028", "\ud800", " ", "a\tb", "x" * 16_385)


@pytest.mark.parametrize("token", ODD, ids=lambda token: ascii(token)[:30])
def test_a_token_with_odd_characters_is_never_sent(make_app: Make, token: str) -> None:
    with running(answering(fhir(LocalRecord(PATIENT, SICK)))) as server:
        app = make_app(fhir_allow=f"{server.base}/fhir", fhir_budget_ms=2000)
        response, _ = post(app, asking(server, fhirAuthorization={"access_token": token}))

        assert response.status_code in {200, 400, 412}  # one that is no text at all is as good as none
        assert not any("authorization" in one.headers for one in server.asked)


@pytest.mark.parametrize("token", ["x", "a" * 8000, '!~{}()<>@,;:\\"/[]?=', "eyJ.eyJ.sig_-"])
def test_an_ordinary_token_is_sent_to_the_listed_server_in_one_header(make_app: Make, token: str) -> None:
    with running(answering(fhir(LocalRecord(PATIENT, SICK)))) as server:
        app = make_app(fhir_allow=f"{server.base}/fhir", fhir_budget_ms=2000)
        assert 200 == post(app, asking(server, fhirAuthorization={"access_token": token}))[0].status_code

    assert {f"Bearer {token}"} == {one.headers["authorization"] for one in server.asked}
    assert not any(token in one.target for one in server.asked if len(token) > 3)
    assert {"identity"} == {one.headers["accept-encoding"] for one in server.asked}


def test_a_token_for_another_patient_is_refused(app: Flask) -> None:
    authorization = {"access_token": TOKEN, "patient": "somebody-else"}
    response, _ = post(app, to_json(call({}, fhirServer=BASE, fhirAuthorization=authorization)))

    assert 400 == response.status_code
    assert "somebody-else" not in response.text


# --- what is untrusted in addresses ----------------------------------------------------------------------------------


@pytest.mark.parametrize("patient_id", [".", "..", "..."])
def test_an_id_of_dots_leads_nowhere(make_app: Make, patient_id: str) -> None:
    with running(answering(lambda _: Reply({}))) as server:
        app = make_app(fhir_allow=f"{server.base}/fhir", fhir_budget_ms=2000)
        raw = asking(server, context={"userId": "Practitioner/1", "patientId": patient_id})
        response, _ = post(app, raw)

        assert response.status_code in {400, 412}
        assert 0 == server.connections


def test_an_id_stands_in_the_address_as_it_is(make_app: Make) -> None:
    asked: list[Asked] = []

    def remember(one: Asked) -> Reply:
        asked.append(one)
        return Reply({}, 500)

    with running(answering(remember)) as server:
        app = make_app(fhir_allow=f"{server.base}/fhir", fhir_budget_ms=2000)
        post(app, asking(server, context={"userId": "Practitioner/1", "patientId": "a.b_c-D"}))

    assert all("a.b_c-D" in one.target and "\\" not in one.target and " " not in one.target for one in asked)


# --- the setting -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "setting",
    [
        "fhir.example.org",
        "https://fhir.example.org/fhir https://b.example",
        "https://fhir.example.org/fhir;https://b.example",
        "https://user@fhir.example.org",
        "https://fhir.example.org/fhir?x=1",
        "https://fhir.example.org/fhir#x",
        "https://fhir.example.org/../x",
        "https://fhir.example.org:0",
        "https://*.example.org",
        "https://fhir.example.org publik",
        "https://fhir.example.org private private",
        "https://169.254.169.254/fhir",
        "https://0.0.0.0/fhir",
        "https://0x7f000001/fhir",
        "https://127.1/fhir",
        "https://f\u00f6o.example/fhir",
        "file:///x",
        "*",
        "http://fhir.example.org/fhir",
        "http://fhir.example.org/fhir private",
        "http://8.8.8.8/fhir",
    ],
)
def test_a_setting_that_is_not_exact_refuses_the_start(setting: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Origins.read(setting)

    assert "CDS_FHIR_ALLOW" in refused.value.what
    assert "\n" not in refused.value.what


@pytest.mark.parametrize(
    ("setting", "private"),
    [
        ("https://fhir.example.org/fhir", False),
        ("https://fhir.example.org/fhir private", True),
        ("http://127.0.0.1:8090/fhir", True),
        ("http://localhost:8090", True),
        ("http://hapi:8080/fhir", True),
        ("http://10.1.2.3/fhir", True),
        ("http://[::1]:8090/fhir", True),
        ("https://xn--bcher-kva.example/fhir", False),
        ("https://a--b.example/.well-known/fhir", False),
    ],
)
def test_a_name_is_inside_where_it_says_so(setting: str, private: bool) -> None:
    [entry] = Origins.read(setting).allowed

    assert private == entry.private
    assert entry.url == setting.partition(" ")[0]


def test_without_tls_only_this_machine_and_its_network_unless_somebody_insists() -> None:
    allowed = Origins.read("http://fhir.example.org/fhir, http://8.8.8.8, http://hapi:8080", plain_http=True)

    assert ["http://fhir.example.org/fhir", "http://8.8.8.8"] == allowed.plain


@pytest.mark.parametrize("setting", ["", " ", ",", " , "])
def test_nothing_listed_is_nothing_allowed(setting: str) -> None:
    assert () == Origins.read(setting).allowed
