"""The nginx of deploy/nginx, for real, in front of services that tests run."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.build import ROOT

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
ONE = "server cds:8080 max_fails=3 fail_timeout=2s;"


def certificate(folder: Path) -> None:
    """Write a certificate of a day for localhost."""
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]), dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "tls.key").write_bytes(private)
    (folder / "tls.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))


def configuration(folder: Path, services: Sequence[str], port: int) -> Path:
    """Write the configuration as it is delivered, but for its addresses and the places of its files."""
    machines = " ".join(f"server {urlsplit(one).netloc} max_fails=3 fail_timeout=2s;" for one in services)
    server = (ROOT / "deploy" / "nginx" / "default.conf").read_text(encoding="utf-8")
    server = server.replace("/etc/nginx/certs", str(folder))
    assert 1 == server.count(ONE)
    server = server.replace(ONE, machines)
    server = server.replace("listen 8443", f"listen 127.0.0.1:{port}").replace("/dev/stdout", f"{folder}/access")
    server = server.replace("/dev/stderr", f"{folder}/errors")
    server = server.replace("http2 on;", "")  # a word of nginx 1.25, and Debian's is older
    places = "".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = f"pid {folder}/pid; error_log {folder}/errors; daemon off; worker_processes 1;"
    main += " user root;" if os.geteuid() == 0 else ""  # its folder is ours
    path = folder / "nginx.conf"
    path.write_text(f"{main} events {{}} http {{ {places} {server} }}", encoding="utf-8")
    return path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


@contextmanager
def in_front_of(folder: Path, *services: str) -> Iterator[str]:
    """Run an nginx, with its files in a folder, before services; give its address."""
    if NGINX is None:
        pytest.fail("nginx is missing") if os.environ.get("CDS_CI") else pytest.skip("nginx is missing")
    port = free_port()
    certificate(folder)
    config = configuration(folder, services, port)
    process = subprocess.Popen([str(NGINX), "-p", str(folder), "-c", str(config)], stderr=subprocess.PIPE)
    for _ in range(100):
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                break
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    yield f"https://localhost:{port}"
    process.terminate()
    process.communicate(timeout=10)
