"""
The evidence view as a SMART on FHIR app: launched by an EHR, for the patient of the launch, read anew from its server.

Nothing is kept between launch and callback: what has to come back is signed and travels in ``state``, bound to the
browser by a cookie. The access token lives as long as the callback takes.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from urllib.parse import urlencode, urlsplit

import msgspec
from flask import Blueprint, Flask, Response, current_app, make_response, redirect, render_template, request

from cds_service import decide, decoding
from cds_service.adapters.auth import Replays
from cds_service.adapters.deadline import Deadline
from cds_service.adapters.smart import Refused, SmartClient, SmartServer, Token
from cds_service.cards.plain import plain
from cds_service.drawing.told import view
from cds_service.errors import CdsError
from cds_service.facts import take_in
from cds_service.facts.model import PATIENT, Facts
from cds_service.facts.records import Prefetch
from cds_service.protocol import HookRequest
from cds_service.protocol.access import Access
from cds_service.publishing.intended import INTENDED_USE
from cds_service.web import evidence
from cds_service.web.cds import Engine
from cds_service.web.completion import completed
from cds_service.web.signing import Signer

HOOK = "patient-view"
SERVICE = f"calcinosis-{HOOK}"
# CDS Hooks asks for a user; nothing that is shown depends on who it is.
USER = "Practitioner/smart-launch"
# How long a login may take, and how long reading the record may, in seconds.
LOGIN, PATIENCE = 600, 10.0
COOKIE = "calcinosis-cds-launch"
_STATE = re.compile(r"[A-Za-z0-9_-]{22}\.[1-9][0-9]{0,11}\.[A-Za-z0-9_-]{32}")
_LAUNCH = re.compile(r"[\x21-\x7e]{1,4096}")
_RULE = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
PROBLEMS = {
    "iss": (403, "This EHR may not launch the app", "Its FHIR server is not one of those that are listed here."),
    "launch": (400, "This is no launch", "An EHR launches the app with two parameters, iss and launch."),
    "state": (400, "This login does not belong to a launch from this browser",
              "It was begun elsewhere, took longer than ten minutes, or was already used."),
    "denied": (403, "The EHR did not give access", "Its authorization server refused the login, or somebody declined."),
    "no-patient": (400, "The EHR named no patient", "The app shows one patient and must be launched from a chart."),
    "no-pkce": (502, "The EHR's authorization server cannot protect this login", "It does not announce PKCE (S256)."),
    "server": (502, "The EHR's authorization server gave no token", "It did not answer as SMART App Launch has it."),
    "wrong-patient": (412, "The data are not all of one patient",
                      "The EHR's server sent data of somebody else than the patient of the launch. Nothing is shown."),
    "no-record": (502, "The record cannot be read", "The EHR's FHIR server did not give the patient of the launch."),
}  # fmt: skip

blueprint = Blueprint("smart", __name__, url_prefix="/smart", template_folder="templates")


class _Name(msgspec.Struct):
    text: str = ""
    given: list[str] = []
    family: str = ""


class _Person(msgspec.Struct):
    name: list[_Name] = []
    birthDate: str = ""


class Stopped(Exception):
    """The launch ends here; ``reason`` is one of PROBLEMS."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Smart:
    """What the app works with. ``framed`` says that an EHR may show it inside a page of its own."""

    def __init__(
        self, engine: Engine, client: SmartClient, signer: Signer, replays: Replays, *, framed: bool = False
    ) -> None:
        self.engine, self.client, self.signer, self.replays, self.framed = engine, client, signer, replays, framed

    @property
    def redirect(self) -> str:
        """The address to which the EHR sends the browser back."""
        return f"{self.engine.public_url()}/smart/callback"

    def begin(self, iss: str, launch: str) -> tuple[str, str]:
        """Return the address of the EHR's login, and the state. Raises Stopped."""
        if self.client.allows(iss) is None:
            raise Stopped("iss")
        if not _LAUNCH.fullmatch(launch):
            raise Stopped("launch")
        server = self._server(iss, Deadline(PATIENCE))
        state = self._state(server.iss)
        query = {
            "response_type": "code",
            "client_id": self.client.client_id,
            "redirect_uri": self.redirect,
            "launch": launch,
            "scope": scopes(self._templates(), server.version),
            "state": state,
            "aud": server.iss,
            "code_challenge": challenge(self.verifier(state)),
            "code_challenge_method": "S256",
        }
        return f"{server.authorize}?{urlencode(query)}", state

    def _state(self, iss: str) -> str:
        """Return a state: random, dated, and signed together with whom it was made for."""
        unsigned = f"{secrets.token_urlsafe(16)}.{int(self.engine.clock())}"
        return f"{unsigned}.{self.signer.mac('state', f'{unsigned} {iss}')}"

    def verifier(self, state: str) -> str:
        """Return the PKCE verifier of a state: only we can make it, so nobody has to keep it."""
        return self.signer.mac("verifier one", state) + self.signer.mac("verifier two", state)

    def cookie(self, state: str) -> str:
        """Return what the browser that began a launch has to bring back."""
        return self.signer.mac("browser", state)

    def returned(self, state: str, brought: str, issuer: str) -> str:
        """
        Return the FHIR server that a state was made for, and let it never be used again. Raises Stopped.

        ``issuer`` is the iss of RFC 9207, which not every server sends back.
        """
        if not _STATE.fullmatch(state) or not _same(brought, self.cookie(state)):
            raise Stopped("state")
        unsigned, _, signature = state.rpartition(".")
        begun, now = int(unsigned.partition(".")[2]), self.engine.clock()
        listed = [origin.url for origin in self.client.listed]
        made = (iss for iss in listed if _same(signature, self.signer.mac("state", f"{unsigned} {iss}")))
        iss = next(made, None)
        if iss is None or not begun - 60 <= now <= begun + LOGIN or (issuer and issuer.rstrip("/") != iss):
            raise Stopped("state")
        if self.replays.seen("smart launch", state, begun + LOGIN, now):
            raise Stopped("state")
        return iss

    def opened(self, iss: str, code: str, state: str) -> evidence.Shown:
        """Spend the code, read the record, ask the rules, and forget the token. Raises Stopped."""
        deadline = Deadline(PATIENCE)
        try:
            server = self._server(iss, deadline)
            token = self.client.exchange(server, code, self.verifier(state), self.redirect, deadline)
        except Refused as refused:
            raise Stopped(_named(refused.reason)) from None
        call, facts = self._read(iss, token, deadline)
        return self._shown(call, facts, token.app_context)

    def _server(self, iss: str, deadline: Deadline) -> SmartServer:
        try:
            return self.client.server(iss, deadline)
        except Refused as refused:
            raise Stopped(_named(refused.reason)) from None

    def _templates(self) -> dict[str, str]:
        return self.engine.shelf.book.services[SERVICE].service.prefetch

    def _read(self, iss: str, token: Token, deadline: Deadline) -> tuple[HookRequest, Facts]:
        """Read the record as a hook call without prefetch would be read: the same queries, the same client."""
        engine, book = self.engine, self.engine.shelf.book
        reader, now, service = engine.reader(book), engine.clock(), book.services[SERVICE]
        context = {"userId": USER, "patientId": token.patient}
        body = {"hook": HOOK, "hookInstance": "smart-launch", "fhirServer": iss, "context": context}

        def read(whole: HookRequest) -> Facts:
            return take_in(whole, reader, now, engine.policy)

        if engine.completing is None:
            raise Stopped("no-record")
        try:
            bare = HookRequest.parse(msgspec.json.encode(body), HOOK, Prefetch)
            call = msgspec.structs.replace(bare, access=Access(iss, token.access_token, token.seconds))
            call, facts, gaps = completed(call, read(call), service.service, engine.completing, deadline, read)
        except CdsError as problem:
            raise Stopped("wrong-patient" if problem.slug == "wrong-patient" else "no-record") from None
        if PATIENT in gaps:
            raise Stopped("no-record")
        return call, facts

    def _shown(self, call: HookRequest, facts: Facts, app_context: str) -> evidence.Shown:
        book = self.engine.shelf.book
        decision = decide.decide(facts, book, book.services[SERVICE])
        named = [name for name in app_context.split(",")[:20] if _RULE.fullmatch(name) and name in book.rules]
        outcomes = evidence.chosen(decision.outcomes, named) or decision.fired
        notes = ["Read anew from the EHR at this moment: it may say more, or other things, than the card did."]
        if decision.not_evaluated:
            unknown = ", ".join(sorted({name for one in decision.not_evaluated for name in one.judgement.missing}))
            notes.append(f"{len(decision.not_evaluated)} rules could not be evaluated; missing: {plain(unknown, 200)}.")
        fired = [one for one in outcomes if one.indicator]
        heading = fired[0].rule.title if fired else "No rule of the card fires on what the record holds now"
        told = view(facts, outcomes, book)
        return evidence.Shown(heading, fired[0].indicator if fired else "", told, tuple(notes), person=person(call))


def person(call: HookRequest) -> str:
    """Return name and birth date of the patient, as the record has them: whoever launches the app sees the chart."""
    raw = call.sent().get(PATIENT, b"{}")
    try:
        found = decoding.decode(raw, _Person)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "patient of the launch"
    first = found.name[0] if found.name else _Name()
    name = plain(first.text or f"{' '.join(first.given)} {first.family}", 80) or "name not recorded"
    return f"{name}, born {plain(found.birthDate, 10)}" if found.birthDate else name


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode())


def scopes(templates: dict[str, str], version: int) -> str:
    """Return the scopes that the queries need, and no others: one patient, reading only."""
    kinds = dict.fromkeys(re.match(r"[A-Za-z]*", query)[0] for query in templates.values())  # type: ignore[index]
    reading = ".rs" if version >= 2 else ".read"
    return " ".join(["launch", *(f"patient/{kind}{reading}" for kind in kinds)])


def challenge(verifier: str) -> str:
    """Return the challenge of a PKCE verifier (RFC 7636, S256)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


def _named(reason: str) -> str:
    return reason if reason in PROBLEMS else "server"


def register(app: Flask, smart: Smart) -> None:
    """Add the app to an application that has the evidence view."""
    app.extensions["smart"] = smart
    app.register_blueprint(blueprint)


def desk() -> Smart:
    """Return the app of the current application."""
    found: Smart = current_app.extensions["smart"]
    return found


def _guarded(step: Callable[[Smart], Response]) -> Response:
    """Take one step of a launch; where it ends early, say why and what to do."""
    here = desk()
    try:
        return step(here)
    except Stopped as stopped:
        status, what, why = PROBLEMS[stopped.reason]
        evidence.tell(f"smart {stopped.reason}")
        page = render_template("evidence/problem.html", what=what, why=why, intended_use=INTENDED_USE)
        return make_response(page, status)


@blueprint.get("/launch")
def launch() -> Response:
    """Begin: an EHR opens this address (EHR launch)."""

    def step(here: Smart) -> Response:
        address, state = here.begin(request.args.get("iss", ""), request.args.get("launch", ""))
        answer = redirect(address)
        base = urlsplit(here.redirect)
        secure = base.scheme == "https"
        answer.set_cookie(
            _cookie_of(state),
            here.cookie(state),
            max_age=LOGIN,
            path=base.path,
            secure=secure,
            httponly=True,
            # In a frame of the EHR's page only such a cookie comes back, and only to that page.
            samesite="None" if here.framed and secure else "Lax",
            partitioned=here.framed and secure,
        )
        return make_response(answer)

    return _guarded(step)


@blueprint.get("/callback")
def callback() -> Response:
    """End: the EHR's authorization server sends the browser back here with a code."""

    def step(here: Smart) -> Response:
        state, code = request.args.get("state", ""), request.args.get("code", "")
        brought = request.cookies.get(_cookie_of(state), "")
        iss = here.returned(state, brought, request.args.get("iss", ""))
        if "error" in request.args:
            raise Stopped("denied")
        if not _LAUNCH.fullmatch(code):
            raise Stopped("state")
        answer = make_response(evidence.written(here.opened(iss, code, state)))
        answer.delete_cookie(_cookie_of(state), path=urlsplit(here.redirect).path)
        return answer

    return _guarded(step)


def _cookie_of(state: str) -> str:
    """Name the cookie of one launch: several may go on at once."""
    return f"{COOKIE}-{state[:8] if _STATE.fullmatch(state) else ''}"


blueprint.after_request(evidence.protect)
