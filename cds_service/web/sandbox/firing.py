"""Hooks: the calls that an EHR makes while somebody works in a chart, and the feedback on cards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cds_service.adapters.ehr import hook_request
from cds_service.web.cds import PREFIX
from cds_service.web.sandbox import calling
from cds_service.web.sandbox.advice import Advice, Shown
from cds_service.web.sandbox.charts import OpenChart
from cds_service.web.sandbox.choices import USER

Resource = dict[str, Any]
ENCOUNTER_HOOKS = ("encounter-start", "encounter-discharge")


def fire(
    chart: OpenChart, hook: str, words: str, about: Sequence[Resource] | None = None, chosen: str = ""
) -> list[Advice]:
    """
    Call every service that discovery announces for a hook, as an EHR does, and show what it answers.

    ``about`` are the orders, problems or appointments of the hook (else the unsigned orders), ``chosen`` the reference
    of the one that is being chosen.
    """
    found = calling.get(PREFIX.rstrip("/")) or {}
    services = [one for one in found.get("services", ()) if one.get("hook") == hook]
    advice = [chart.take(_call(chart, one, hook, words, about, chosen)) for one in services]
    chart.news = _news(hook, advice)
    return advice


def _call(
    chart: OpenChart, service: Resource, hook: str, words: str, about: Sequence[Resource] | None, chosen: str
) -> calling.Call:
    sent = hook_request(
        hook,
        chart,
        service.get("prefetch") or {},
        user_id=USER,
        encounter_id=chart.encounter,
        fhir_server=chart.base,
        about=about,
    )
    if chosen:
        sent["context"] |= {"selections": [chosen]}
    if chart.token:
        sent["fhirAuthorization"] = _authorization(chart.token)
    return calling.post(chart.next_number(), hook, f"{PREFIX}{service['id']}", words, sent)


def _authorization(token: str) -> Resource:
    return {
        "access_token": token,
        "token_type": "Bearer",
        "expires_in": 300,
        "scope": "patient/*.read user/*.read",
        "subject": "cds-sandbox",
    }


def tell(chart: OpenChart, service: str, shown: Shown, feedback: Resource, words: str) -> None:
    """Send feedback on a card; a card without a uuid can have none."""
    if not shown.uuid:
        return
    call = calling.post(chart.next_number(), "feedback", f"{PREFIX}{service}/feedback", words, feedback)
    chart.calls.appendleft(call)
    shown.told = call.status


def _news(hook: str, advice: Sequence[Advice]) -> str:
    """Say what came, as a screen reader announces it."""
    cards = [card for one in advice for card in one.cards]
    if not advice:
        return f"No service is announced for {hook}."
    if any(one.problem for one in advice):
        return f"{hook}: the service could not answer."
    if not cards:
        return f"{hook}: no card."
    number = f"{len(cards)} card{'s' if len(cards) > 1 else ''}"
    return f"{hook}: {number}. " + " ".join(f"{one.indicator}: {one.card.get('summary', '')}." for one in cards)
