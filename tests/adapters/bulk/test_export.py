"""A whole population from a server: let in, patient, never led elsewhere, and gone on with where it was left."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from cds_service import decoding
from cds_service.adapters.bulk import Export, ExportFailed, Line, Places, read_client_key
from cds_service.adapters.bulk.exporting import STATE
from cds_service.adapters.bulk.talking import wait_of
from cds_service.adapters.fhir import Origins
from cds_service.cli import main
from cds_service.errors import SettingsError
from tests.adapters.bulk.server import CLIENT, Hospital, Reply, as_json, ndjson, serving
from tests.build import condition, observation, outcome, patient
from tests.screening.people import findings, problems, summary

KINDS = ["Condition", "Observation", "Patient"]
EC_KEY = ec.generate_private_key(ec.SECP384R1())


def key_file(folder: Path, key: Any = EC_KEY, **members: Any) -> str:
    """Write a private key as a JWK that only its owner can read."""
    algorithm = ECAlgorithm if isinstance(key, ec.EllipticCurvePrivateKey) else RSAAlgorithm
    jwk = {**algorithm.to_jwk(key, as_dict=True), "kid": "key-1", **members}
    path = folder / "client.jwk"
    path.write_text(json.dumps({name: value for name, value in jwk.items() if value is not None}))
    path.chmod(0o600)
    return str(path)


@pytest.fixture
def hospital() -> Iterator[Hospital]:
    """Give a hospital with one patient who has a finding."""
    one = Hospital(EC_KEY.public_key(), "ES384")
    with serving(one.answer) as url:
        one.base, one.files_at = f"{url}/fhir", url
        one.token_endpoint, one.status = f"{url}/token", f"{url}/status?job=1"
        one.files = {
            "Patient.1": ndjson(patient()),
            "Condition.1": ndjson(condition()),
            "Observation.1": ndjson(observation()),
            "Claim.1": ndjson({"resourceType": "Claim"}),
        }
        yield one


class Bench:
    """Exports from a hospital; time passes only when somebody sleeps."""

    def __init__(self, hospital: Hospital, folder: Path) -> None:
        self.hospital, self.folder = hospital, folder
        self.slept: list[float] = []
        self.told: list[str] = []
        self.key: Any = EC_KEY

    def run(self, source: str = "", *, files: str = "", tokens: str = "", client: str = CLIENT) -> Path:
        self.folder.mkdir(exist_ok=True)
        places = Places(source or self.hospital.base, Origins.read(self.hospital.base), tokens, files)
        key = read_client_key(client, key_file(self.folder, self.key))
        line = Line(
            places, key, KINDS, sleep=self.slept.append, clock=lambda: sum(self.slept), now=lambda: 1_772_366_400.0
        )
        return Export(line, KINDS, self.folder, self.told.append).run()

    def fails(self, **options: str) -> str:
        """Return why an export fails."""
        with pytest.raises(ExportFailed) as failure:
            self.run(**options)
        return failure.value.why


@pytest.fixture
def bench(hospital: Hospital, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Give a bench. The assertion's times are those of 2026-03-01, whatever the day of the test is."""
    real = jwt.decode

    def at_that_time(*args: Any, **options: Any) -> Any:
        checked = options["options"] | {"verify_exp": False, "verify_iat": False}
        return real(*args, **{**options, "options": checked})

    monkeypatch.setattr(jwt, "decode", at_that_time)
    return Bench(hospital, tmp_path / "work")


# --- as it should be -------------------------------------------------------------------------------------------------


def test_an_export_brings_the_kinds_that_were_asked_for(bench: Bench, hospital: Hospital) -> None:
    folder = bench.run()

    names = sorted(path.name.partition(".")[2] for path in folder.iterdir())
    assert ["Condition.ndjson", "Observation.ndjson", "Patient.ndjson"] == names
    [kick_off] = [target for _, target, _ in hospital.asked if "$export" in target]
    assert "_type=Condition,Observation,Patient" in kick_off
    assert kick_off.startswith("/fhir/$export?_outputFormat=application/fhir%2Bndjson&")


def test_the_kick_off_asks_for_an_answer_later_on(bench: Bench, hospital: Hospital) -> None:
    bench.run()

    [headers] = [sent for _, target, sent in hospital.asked if "$export" in target]
    assert ("respond-async", "application/fhir+json") == (headers["prefer"], headers["accept"])


@pytest.mark.parametrize("path", ["/Group/17", "/Group/17/$export", "/Patient", "/$export", "/"])
def test_groups_and_whole_servers_are_exported(bench: Bench, hospital: Hospital, path: str) -> None:
    bench.run(hospital.base + path)

    expected = f"/fhir{path.removesuffix('/$export').rstrip('/')}/$export"
    assert expected in hospital.paths()
    assert "/fhir/.well-known/smart-configuration" in hospital.paths()


def test_we_say_who_we_are_as_smart_backend_services_ask(bench: Bench, hospital: Hospital) -> None:
    bench.run()

    [said] = hospital.assertions
    assert (CLIENT, CLIENT, "ES384", "key-1", "client_credentials") == (
        *(said["iss"], said["sub"], said["alg"]),
        *(said["kid"], said["grant"]),
    )
    assert 0 < said["exp"] - said["iat"] <= 300
    assert "system/Condition.rs system/Observation.rs system/Patient.rs" == said["scope"]


def test_rsa_keys_sign_rs384(bench: Bench, hospital: Hospital) -> None:
    bench.key = rsa.generate_private_key(65537, 2048)
    hospital.public, hospital.algorithm = bench.key.public_key(), "RS384"

    bench.run()

    assert "RS384" == hospital.assertions[0]["alg"]


def test_a_server_without_tokens_is_asked_without(bench: Bench, hospital: Hospital) -> None:
    hospital.needs_token = hospital.files_need_token = False

    bench.run(client="")

    assert not [sent for _, _, sent in hospital.asked if "authorization" in sent]


def test_files_that_need_no_token_get_none(bench: Bench, hospital: Hospital) -> None:
    hospital.files_need_token = False

    bench.run()

    assert not [target for _, target, sent in hospital.asked if "/files/" in target and "authorization" in sent]


def test_the_server_is_told_when_all_is_here(bench: Bench, hospital: Hospital) -> None:
    bench.run()

    assert ["/status"] == hospital.paths("DELETE")


def test_further_pages_of_a_manifest_are_read(bench: Bench, hospital: Hospital) -> None:
    listed = {"type": "Patient", "url": f"{hospital.files_at}/files/Patient.1"}
    first = {"output": [], "link": [{"relation": "next", "url": f"{hospital.files_at}/status/2"}]}
    hospital.script = {"/status": [as_json(first)], "/status/2": [as_json({"output": [listed]})]}

    assert ["000000.Patient.ndjson"] == [path.name for path in bench.run().iterdir()]


# --- patience --------------------------------------------------------------------------------------------------------


def test_an_export_that_is_not_ready_is_asked_about_as_often_as_the_server_says(
    bench: Bench, hospital: Hospital
) -> None:
    later: Reply = (202, {"Retry-After": "7", "X-Progress": "42% of secrets"}, b"")
    hospital.script["/status"] = [later, (202, {"Retry-After": "9999"}, b""), (202, {}, b"")]

    bench.run()

    assert [7.0, 300.0, 10.0] == bench.slept
    assert "The server prepares the export: 42 %" in bench.told
    assert "secrets" not in "".join(bench.told)


def test_a_busy_server_is_left_alone_for_as_long_as_it_says(bench: Bench, hospital: Hospital) -> None:
    hospital.script = {
        "/status": [(429, {"Retry-After": "20"}, b""), (503, {}, b"")],
        "/files/Patient.1": [(429, {"Retry-After": "30"}, b"")],
    }

    bench.run()

    assert [20.0, 2.0, 30.0] == bench.slept


def test_a_server_that_stays_busy_is_given_up(bench: Bench, hospital: Hospital) -> None:
    hospital.script["/status"] = [(429, {}, b"")] * 100

    assert "status-429" in bench.fails()
    assert [1.0, 2.0, 4.0, 8.0, 16.0] == bench.slept


def test_an_export_that_is_never_ready_is_given_up(bench: Bench, hospital: Hospital) -> None:
    hospital.script["/status"] = [(202, {"Retry-After": "300"}, b"")] * 1000

    assert "export-never-ready" in bench.fails()


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        ("12", 12.0),
        ("0", 1.0),
        ("Sun, 01 Mar 2026 12:01:00 GMT", 60.0),
        ("Sun, 01 Mar 2020 12:00:00 GMT", 1.0),
        ("soon", 5.0),
        ("", 5.0),
        ("-3", 5.0),
        ("9" * 400, 300.0),
    ],
)
def test_a_retry_after_is_read_in_both_forms(asked: str, seconds: float) -> None:
    assert seconds == wait_of(asked, 1_772_366_460.0 - 60.0, 5.0)


# --- tokens ----------------------------------------------------------------------------------------------------------


def test_a_token_is_renewed_before_it_ends(bench: Bench, hospital: Hospital) -> None:
    hospital.expires_in = 100
    hospital.script["/status"] = [(202, {"Retry-After": "80"}, b"")]

    bench.run()

    assert 2 == len(hospital.tokens)
    assert "Bearer token-1" == hospital.asked[-1][2]["authorization"]


@pytest.mark.parametrize("path", ["/status", "/files/Patient.1"])
def test_a_token_that_ended_too_soon_is_renewed(bench: Bench, hospital: Hospital, path: str) -> None:
    hospital.script[path] = [(401, {}, b"")]

    bench.run()

    assert 2 == len(hospital.tokens)


def test_a_token_that_is_never_taken_ends_the_export(bench: Bench, hospital: Hospital) -> None:
    hospital.script["/status"] = [(401, {}, b"")] * 100

    assert "not-let-in" in bench.fails()
    assert 6 >= len(hospital.tokens)


def test_a_server_that_does_not_know_our_key_is_said(bench: Bench, hospital: Hospital) -> None:
    hospital.public = ec.generate_private_key(ec.SECP384R1()).public_key()

    assert "token-status-400" in bench.fails()


@pytest.mark.parametrize(
    "answer", [as_json({}), as_json({"access_token": "a b", "token_type": "bearer"}), as_json([1]), (200, {}, b"{")]
)
def test_what_is_no_token_is_not_used(bench: Bench, hospital: Hospital, answer: Reply) -> None:
    hospital.script["/token"] = [(answer[0], {"Content-Type": "application/json"}, answer[2])]

    assert "token-odd" in bench.fails()


@pytest.mark.parametrize(
    "members", [{"kid": None}, {"d": None}, {"kty": "oct"}, {"kty": "RSA"}], ids=lambda members: next(iter(members))
)
def test_a_key_that_cannot_sign_is_refused(tmp_path: Path, members: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="key"):
        read_client_key(CLIENT, key_file(tmp_path, **members))


def test_a_p256_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be used for ES384"):
        read_client_key(CLIENT, key_file(tmp_path, ec.generate_private_key(ec.SECP256R1())))


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = Path(key_file(tmp_path))
    file.chmod(0o640)

    with pytest.raises(SettingsError, match="read by others"):
        read_client_key(CLIENT, str(file))


def test_a_key_is_never_shown(tmp_path: Path) -> None:
    assert f"ClientKey('{CLIENT}')" == repr(read_client_key(CLIENT, key_file(tmp_path)))


# --- never led elsewhere ----------------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(hospital: Hospital) -> Iterator[tuple[str, list[str]]]:
    """Give another host that would gladly answer, and what it was asked."""
    asked: list[str] = []

    def answer(method: str, target: str, headers: dict[str, str], body: bytes) -> Reply:
        asked.append(target)
        return hospital.answer(method, target, headers, body)

    with serving(answer) as url:
        yield url, asked


@pytest.mark.parametrize("what", ["files_at", "status", "token_endpoint"])
def test_a_host_that_is_not_listed_is_never_asked(
    bench: Bench, hospital: Hospital, elsewhere: tuple[str, list[str]], what: str
) -> None:
    path = {"files_at": "", "status": "/status", "token_endpoint": "/token"}[what]
    setattr(hospital, what, elsewhere[0] + path)

    assert "not-permitted" in bench.fails()
    assert [] == elsewhere[1]


def test_a_host_that_is_listed_gives_its_files(
    bench: Bench, hospital: Hospital, elsewhere: tuple[str, list[str]]
) -> None:
    hospital.files_at = elsewhere[0]

    assert 3 == len(list(bench.run(files=f"{elsewhere[0]}/files").iterdir()))
    assert 3 == len(elsewhere[1])


def test_a_listed_host_gives_tokens(bench: Bench, hospital: Hospital, elsewhere: tuple[str, list[str]]) -> None:
    hospital.token_endpoint = f"{elsewhere[0]}/token"

    bench.run(tokens=elsewhere[0])

    assert ["/token"] == elsewhere[1]


@pytest.mark.parametrize("path", ["/files/Patient.1", "/status", "/token", "/fhir/$export"])
def test_a_redirect_is_not_followed(
    bench: Bench, hospital: Hospital, elsewhere: tuple[str, list[str]], path: str
) -> None:
    hospital.script[path] = [(302, {"Location": elsewhere[0] + path}, b"")] * 10

    assert bench.fails()
    assert [] == elsewhere[1]


def test_a_server_that_is_not_listed_is_not_asked(hospital: Hospital) -> None:
    with pytest.raises(SettingsError, match="may not be contacted"):
        Places(hospital.base, Origins.read("https://other.example/fhir"))


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/files",
        "{base}@evil.example/x",
        "{base}/../../x",
        "ftp://127.0.0.1/x",
        "{base}/x?a=\\",
        "{base}/x?a#b",
        "",
    ],
)
def test_an_address_that_could_lead_elsewhere_is_none(hospital: Hospital, url: str) -> None:
    assert Places(hospital.base, Origins.read(hospital.base)).file(url.format(base=hospital.base)) is None


# --- faults, and gone on with ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ((200, {"Content-Type": "text/html"}, b"<p>Sign in"), "not-ndjson"),
        ((200, {"Content-Type": "application/fhir+ndjson", "Content-Encoding": "br"}, b"x"), "compressed"),
        ((404, {}, b""), "status-404"),
        ((500, {}, b""), "status-500"),
        ((200, {"Content-Type": "application/fhir+ndjson", "Content-Length": "999"}, b"{}"), "broken-off"),
    ],
)
def test_a_file_that_does_not_come_whole_ends_the_export(
    bench: Bench, hospital: Hospital, reply: Reply, reason: str
) -> None:
    hospital.script["/files/Patient.1"] = [
        (reply[0], {**reply[1], "Connection": "close"} if reason == "broken-off" else reply[1], reply[2])
    ] * 10

    assert f"file-{reason}" in bench.fails()
    assert not (bench.folder / "files" / "000000.Patient.ndjson").exists()


def test_a_file_that_failed_is_tried_again(bench: Bench, hospital: Hospital) -> None:
    hospital.script["/files/Condition.1"] = [(500, {}, b""), (502, {}, b"")]

    bench.run()

    assert 3 == hospital.paths().count("/files/Condition.1")


def test_files_that_are_here_are_not_read_again(bench: Bench, hospital: Hospital) -> None:
    hospital.script["/files/Condition.1"] = [(404, {}, b"")]
    bench.fails()

    bench.run()

    paths = hospital.paths()
    assert (1, 1, 1) == tuple(paths.count(one) for one in ("/fhir/$export", "/files/Patient.1", "/status"))
    assert 2 == paths.count("/files/Condition.1")


def test_an_export_that_was_being_prepared_is_not_begun_again(bench: Bench, hospital: Hospital) -> None:
    hospital.script["/status"] = [(500, {}, b"")]
    bench.fails()

    bench.run()

    assert 1 == hospital.paths().count("/fhir/$export")


def test_an_export_that_the_server_forgot_is_begun_again_by_the_next_command(bench: Bench, hospital: Hospital) -> None:
    hospital.script["/status"] = [(404, {}, b"")]
    assert "export-gone" in bench.fails()

    bench.run()

    assert 2 == hospital.paths().count("/fhir/$export")


def test_an_export_of_another_group_does_not_go_on_in_the_same_folder(bench: Bench, hospital: Hospital) -> None:
    hospital.script["/status"] = [(500, {}, b"")]
    bench.fails()

    with pytest.raises(ExportFailed, match="another server"):
        bench.run(f"{hospital.base}/Group/1")


@pytest.mark.parametrize("body", [b"", b"[]", b'{"output": 1}', b'{"output": [{"type": 1}]}'])
def test_what_is_no_manifest_is_not_believed(bench: Bench, hospital: Hospital, body: bytes) -> None:
    hospital.script["/status"] = [(200, {"Content-Type": "application/json"}, body)]

    assert "manifest" in bench.fails()


def test_a_refused_kick_off_is_said(bench: Bench, hospital: Hospital) -> None:
    hospital.script["/fhir/$export"] = [(400, {}, b'{"resourceType": "OperationOutcome", "secret": 1}')]

    assert "Reason: kick-off-status-400." == bench.fails()


def test_nothing_of_an_export_can_be_read_by_others(bench: Bench) -> None:
    folder = bench.run()

    assert {0o600} == {path.stat().st_mode & 0o777 for path in (*folder.iterdir(), bench.folder / STATE)}


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def command(hospital: Hospital, tmp_path: Path) -> Callable[..., Result]:
    """Screen the hospital from the command line."""

    def run(*more: str) -> Result:
        environment = {
            "CDS_FHIR_ALLOW": hospital.base,
            "CDS_BULK_CLIENT_ID": CLIENT,
            "CDS_BULK_KEY_FILE": key_file(tmp_path),
        }
        asked = ["--input", hospital.base, "--output", str(tmp_path / "out"), "--as-of", "2026-03-01", "--workers", "1"]
        return CliRunner().invoke(main, ["screen", *asked, *more], env=environment)

    return run


def test_a_server_is_screened(command: Callable[..., Result], tmp_path: Path) -> None:
    result = command()

    assert 0 == result.exit_code, result.stderr
    assert "eskd-hyperphosphatemia" in {one["rule"] for one in findings(tmp_path / "out")}
    assert not (tmp_path / "out" / ".screening").exists()


def test_what_the_server_could_not_export_is_a_problem(
    command: Callable[..., Result], hospital: Hospital, tmp_path: Path
) -> None:
    hospital.errors = {"errors.1": ndjson(outcome("information"), outcome("error"))}

    result = command()

    assert 1 == result.exit_code
    expected = {"file": "100000.OperationOutcome.ndjson", "line": 2, "reason": "server-could-not-export"}
    assert [expected] == problems(tmp_path / "out")
    assert 1 == summary(tmp_path / "out")["patients"]


def test_a_command_that_was_stopped_goes_on_with_the_same_export(
    command: Callable[..., Result], hospital: Hospital
) -> None:
    hospital.script["/files/Condition.1"] = [(404, {}, b"")]
    stopped = command()

    again = command()

    assert (2, 0) == (stopped.exit_code, again.exit_code)
    assert "file-status-404" in stopped.stderr
    assert 1 == hospital.paths().count("/fhir/$export")


def test_a_server_is_not_screened_into_a_folder_that_is_complete(command: Callable[..., Result]) -> None:
    command()

    again = command()

    assert 2 == again.exit_code
    assert "another run" in again.stderr


def test_secrets_are_not_said(command: Callable[..., Result], hospital: Hospital) -> None:
    hospital.script["/files/Condition.1"] = [(404, {}, b"")]
    result = command()

    assert hospital.tokens
    assert not [word for word in (*hospital.tokens, "sig=") if word in result.stderr + result.stdout]


def test_the_state_of_an_export_holds_no_token(bench: Bench, hospital: Hospital) -> None:
    bench.run()

    assert b"token-" not in (bench.folder / STATE).read_bytes()
    assert decoding.decode((bench.folder / STATE).read_bytes())["status"] == ""
