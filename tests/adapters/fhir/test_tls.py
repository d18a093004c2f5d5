"""
TLS to FHIR servers: certificates are always checked, and a handshake that never ends ends with the budget.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from cds_service.adapters.ehr import LocalRecord
from tests.build import PATIENT
from tests.faults import servers
from tests.faults.asking import BUDGET, GRACE, SICK, TIGHT, Make, asking, post, reasons
from tests.faults.servers import Server, Talk, answering, fhir, running
from tests.moments import quickest

NOW = datetime.now(UTC)  # certificates are checked by the clock of this machine
LOOPBACK = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
ELSEWHERE = x509.SubjectAlternativeName([x509.DNSName("other.example")])


class Authority:
    """An authority of certificates, with the files it writes."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.key = ec.generate_private_key(ec.SECP256R1())
        made = self._certificate(self.key, name, NOW + timedelta(days=1), None)
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(made.public_bytes(Encoding.PEM))

    def _certificate(self, key: Any, name: str, until: datetime, names: Any) -> x509.Certificate:
        subject, issuer = _name(name), _name(self.name)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(until - timedelta(days=30)).not_valid_after(until)
        builder = builder.add_extension(x509.BasicConstraints(ca=names is None, path_length=None), critical=True)
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        builder = builder.add_extension(identifier, critical=False)
        above = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        builder = builder.add_extension(above, critical=False)
        if names is None:
            usage = x509.KeyUsage(*(False,) * 5, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False)  # fmt: skip # noqa: E501
            builder = builder.add_extension(usage, critical=True)
        else:
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def server(self, names: Any = LOOPBACK, until: datetime = NOW + timedelta(days=1)) -> Callable[[Any], Any]:
        """Return what makes a connection one of TLS, with a certificate of this authority."""
        key = ec.generate_private_key(ec.SECP256R1())
        file = self.folder / f"server-{id(key)}.pem"
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        file.write_bytes(private + self._certificate(key, "server", until, names).public_bytes(Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return lambda connection: context.wrap_socket(connection, server_side=True)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ours"), "ours")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("theirs"), "theirs")


GOOD = answering(fhir(LocalRecord(PATIENT, SICK)))


def test_an_authority_of_the_hospital_is_trusted_where_it_was_named(app_for: Make, ours: Authority) -> None:
    with running(GOOD, wrap=ours.server()) as server:
        app = app_for(server, ca_file=str(ours.file), fhir_budget_ms=5000)
        response, _ = post(app, asking(server))
        post(app, asking(server))

        assert (200, set()) == (response.status_code, reasons(response))
        assert server.connections <= 8  # they are kept


@pytest.mark.parametrize(
    "wrong", ["of an authority nobody named", "of another authority", "expired", "of another host", "no TLS at all"]
)
def test_a_certificate_that_is_wrong_is_no_answer_and_sees_no_token(
    app_for: Make, ours: Authority, theirs: Authority, wrong: str
) -> None:
    certificates: dict[str, Any] = {
        "of an authority nobody named": ours.server(),
        "of another authority": theirs.server(),
        "expired": ours.server(until=NOW - timedelta(days=2)),
        "of another host": ours.server(ELSEWHERE),
        "no TLS at all": None,
    }
    with running(GOOD, wrap=certificates[wrong]) as server:
        server.base = server.base.replace("http://", "https://")
        named = "" if wrong == "of an authority nobody named" else str(ours.file)
        response, _ = post(app_for(server, ca_file=named, fhir_budget_ms=2000), asking(server))

        assert 412 == response.status_code
        assert reasons(response) <= {"tls", "too-late"}
        assert [] == server.asked


def drip_handshake(talk: Talk) -> None:
    talk.socket.recv(10)
    for byte in b"\x16\x03\x03\x40\x00" + b"\x02" * 500:
        if not talk.wait(0.05):
            return
        talk.send(bytes([byte]))


@pytest.mark.parametrize("behaviour", [servers.hang, drip_handshake])
def test_a_handshake_that_never_ends_ends_with_the_budget(app_for: Make, behaviour: Any) -> None:
    with running(behaviour) as server:
        server.base = server.base.replace("http://", "https://")

        def attempt() -> float:
            response, taken = post(app_for(server, **TIGHT), asking(server))
            assert (412, {"too-late"}) == (response.status_code, reasons(response))
            return taken

        assert quickest(attempt, BUDGET + GRACE) <= BUDGET + GRACE
        threads_end()


def threads_end() -> None:
    """Wait for the reads to end: they are cut, not only left alone."""
    import time

    limit = time.monotonic() + 20
    while any(busy()):
        assert time.monotonic() < limit, "a read goes on after its call was answered"
        time.sleep(0.05)


def busy() -> list[str]:
    import sys

    frames = sys._current_frames()
    mine = [thread for thread in threading.enumerate() if thread.name.startswith("fhir") and thread.ident in frames]
    return [thread.name for thread in mine if "do_handshake" in _stack(frames[thread.ident or 0])]


def _stack(frame: Any) -> set[str]:
    names = set()
    while frame is not None:
        names.add(frame.f_code.co_name)
        frame = frame.f_back
    return names


def test_what_hangs_after_the_handshake_is_cut_too(app_for: Make, ours: Authority) -> None:
    for behaviour in (servers.hang, servers.once_asked(servers.drip_body), servers.once_asked(servers.drip_headers)):
        with running(behaviour, wrap=ours.server()) as server:
            app = app_for(server, ca_file=str(ours.file), **TIGHT)

            def attempt(server: Server = server, app: Any = app) -> float:
                response, taken = post(app, asking(server))
                assert 412 == response.status_code
                assert reasons(response) <= {"too-late", "breaker-open"}
                return taken

            assert quickest(attempt, BUDGET + GRACE) <= BUDGET + GRACE
