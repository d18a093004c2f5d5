"""Commands that answer EHRs: the service, and the demo."""

from __future__ import annotations

import os
import shlex
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import click
import msgspec

from cds_service.cli.options import book_of, content_options, ledger_of, settings
from cds_service.errors import SettingsError
from cds_service.rules.book import RuleBook
from cds_service.web.settings import Settings

FLAGSHIP = "dialysis-high-phosphate"
SERVICE = "calcinosis-patient-view"
LOOPBACK = "127.0.0.1"


@click.command()
@click.option("--host", default=LOOPBACK, show_default=True, help="The address to listen on.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1, 64), help="Processes.")
@click.option("--threads", default=64, show_default=True, type=click.IntRange(1, 256), help="Threads of each process.")
@content_options
def serve(host: str, port: int, workers: int, threads: int, content: Path | None, site: str | None) -> None:
    """
    Answer EHRs.

    TERM stops the service after the calls in flight; HUP loads the content anew, and keeps the old if the new is
    not sound.
    """
    from cds_service.cli.server import Server
    from cds_service.web import create_app, logs
    from cds_service.web.tuning import load, settle
    from cds_service.web.warming import check_orders

    load()
    chosen = settings(content, site)
    chosen.check_address(host)
    # Calls that wait for FHIR servers never take all threads: the others are answered meanwhile.
    chosen = msgspec.structs.replace(chosen, fhir_calls=min(chosen.fhir_calls, max(1, threads - 1)))
    book = book_of(chosen)
    check_orders(book.terminology)
    app = create_app(chosen, book=book, ledger=ledger_of(chosen))
    logs.set_up()
    settle()
    listening = listen(host, port)
    said = _banner(listening, chosen.auth, app.extensions["cds"].shelf.book)
    for warning in warnings(chosen):
        click.echo(warning, err=True)
    # A session of the sandbox lives in the memory of one process.
    Server(app, chosen, listening, said, workers=1 if chosen.sandbox else workers, threads=threads).run()


def warnings(chosen: Settings) -> list[str]:
    """Return what an operator should know of the settings before others find out."""
    from cds_service.adapters.fhir import Origins

    said = [_NO_ISSUER] if chosen.auth == "jwt" and not chosen.issuers else []
    plain = Origins.read(chosen.fhir_allow, plain_http=True).plain
    return said + [f"WITHOUT TLS: records and tokens can be read on the way to {url}. For tests only." for url in plain]


_NO_ISSUER = (
    "CDS_AUTH=jwt, but CDS_ISSUERS names no file of issuers: discovery answers, every hook call gets 401.\n"
    'How to write one: docs/operate.md, "Who may call". To try the service on this machine:\n'
    "CDS_AUTH=none cds-service serve --host 127.0.0.1, or cds-service demo."
)


def _banner(listening: socket.socket, auth: str, book: RuleBook) -> str:
    active = sum(rule.status == "active" for rule in book.rules.values())
    address = url_of(listening)
    return f"Discovery: {address}/cds-services - auth {auth} - rule book {book.fingerprint} - {active} active rules"


def url_of(listening: socket.socket) -> str:
    """Return the address that others call."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def listen(host: str, port: int) -> socket.socket:
    """Take an address. Raises SettingsError where it cannot be had, before anything else is started."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind, protocol)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        # An answer fits in whole: a client that does not read it costs memory of the kernel, and no thread.
        found.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 512 * 1024)
        found.listen(2048)
    except OSError as failure:
        raise SettingsError(
            f"The address {host}, port {port} cannot be used: {failure.strerror}.",
            slug="address-unavailable",
            remedy="Choose another with --host and --port; another service may be running there.",
        ) from None
    return found


@click.command()
@click.option(
    "--port", default=8321, show_default=True, type=click.IntRange(0, 65535), help="The next free one if taken."
)
@click.option("--once", is_flag=True, help="Show one card, called over HTTP, and end.")
@click.option(
    "--fhir-server/--no-fhir-server", default=True, help="Start a FHIR server with the same patients beside it."
)
@content_options
def demo(port: int, once: bool, fhir_server: bool, content: Path | None, site: str | None) -> None:
    """
    Show the service with its invented patients, and a FHIR server that holds them.

    On this machine only, without authentication.
    """
    from cds_service.cli import sandbox
    from cds_service.cli.server import Server
    from cds_service.web import create_app
    from cds_service.web.settings import packaged

    with sandbox.beside(wanted=fhir_server and not once) as beside, sandbox.ledger() as ledger:
        allowed = beside.allowed(os.environ.get("CDS_FHIR_ALLOW", ""))
        chosen = settings(content, site, CDS_AUTH="none", CDS_SANDBOX="1", CDS_FHIR_ALLOW=allowed, CDS_ADMIN="1")
        app = create_app(chosen, book=book_of(chosen), ledger=ledger)
        listening = _next_free(port)
        url = url_of(listening)
        if once:
            with _in_background(app, listening):
                _show_card(url)
            return
        beside.fill(packaged("fixtures"), sandbox.today())
        app.extensions["sandbox_fhir"] = beside.access
        people = sandbox.people(ledger.governance)
        told = [*beside.lines(), *sandbox.invite(f"{url}/admin/", people)]
        said = _welcome(_banner(listening, "none", app.extensions["cds"].shelf.book), url, told)
        ledger.database.close()  # a process that forks holds no connection
        Server(app, chosen, listening, said, workers=1, threads=8).run()


def _welcome(banner: str, url: str, beside: Iterable[str]) -> str:
    return (
        f"{banner}\n\n"
        f"A chart with a card:\n  {url}/sandbox/{FLAGSHIP}\n\n"
        f"The same card, called as an EHR calls it:\n  {curl(url)}\n\n"
        + "\n".join(beside)
        + "\n\nInvented patients only. Ctrl-C ends the demo."
    )


def curl(url: str) -> str:
    """Return a command that shows a card: the hook call with its dates moved to today, and the call itself."""
    ask = shlex.join(["curl", "-s", f"{url}/sandbox/{FLAGSHIP}/request.json"])
    post = [
        "curl",
        "-s",
        "-H",
        "Content-Type: application/json",
        "--data-binary",
        "@-",
        f"{url}/cds-services/{SERVICE}",
    ]
    return f"{ask} | {shlex.join(post)}"


def _next_free(port: int) -> socket.socket:
    for candidate in range(port, port + 20) if port else [0]:
        try:
            return listen(LOOPBACK, candidate)
        except SettingsError:
            continue
    raise SettingsError(
        f"The ports {port} to {port + 19} are all taken.", slug="address-unavailable", remedy="Use --port."
    )


def _show_card(url: str) -> None:
    from cds_service.adapters.ehr.client import call_service, get_json
    from cds_service.cli import show

    request = get_json(f"{url}/sandbox/{FLAGSHIP}/request.json")
    answer = call_service(url, SERVICE, request)
    click.echo(f"{url}/sandbox/{FLAGSHIP}\n")
    for line in show.answer(answer.status, answer.body):
        click.echo(line)
    if answer.status != 200:
        raise click.exceptions.Exit(1)


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that the standard library gave it
        """Say nothing: what matters is printed by whoever called."""


@contextmanager
def _in_background(app: Any, listening: socket.socket) -> Iterator[None]:
    """Serve in a thread of this process, for as long as one call takes."""
    host, port = listening.getsockname()[:2]
    listening.close()
    with make_server(host, port, app, handler_class=_Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield
        server.shutdown()
        thread.join()
