"""What a clinician does in a chart: each deed changes the chart, and fires the hook that an EHR fires for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from cds_service.web.chart import said_of
from cds_service.web.sandbox import advice as answers
from cds_service.web.sandbox import choices as choosing
from cds_service.web.sandbox.charts import OpenChart
from cds_service.web.sandbox.choices import Choice, Choices
from cds_service.web.sandbox.firing import ENCOUNTER_HOOKS, fire, tell

Resource = dict[str, Any]
LONGEST_COMMENT = 500


class Doing(msgspec.Struct, frozen=True):
    """One deed: the chart, what was filled into the form, what there is to choose from, and when."""

    chart: OpenChart
    form: Mapping[str, str]
    choices: Choices
    now: float

    def field(self, name: str) -> str:
        """Return a field of the form."""
        return self.form.get(name, "").strip()[:LONGEST_COMMENT]

    def chosen(self, among: tuple[Choice, ...]) -> Choice | None:
        """Return what was chosen in a list."""
        return next((one for one in among if one.id == self.field("choice")), None)


# Each returns where on the page the eyes should be now.
Deed = Callable[[Doing], str]


def look(doing: Doing) -> str:
    """Open the chart, or open it again."""
    fire(doing.chart, "patient-view", "Opened the chart")
    return "advice"


def choose(doing: Doing) -> str:
    """Choose an order: it is drafted, and the hook fires with all unsigned orders."""
    chart, found = doing.chart, doing.choices.order(doing.field("choice"))
    if found is None:
        return "orders"
    group, choice = found
    number = chart.next_number()
    order = chart.add_draft(choosing.order(group, choice, number, chart.patient_id, chart.encounter, doing.now))
    fire(chart, "order-select", f"Chose {choice.name}", chosen=f"{order['resourceType']}/{order['id']}")
    return "advice"


def remove(doing: Doing) -> str:
    """Take an unsigned order away."""
    dropped = doing.chart.drop(doing.field("reference"))
    doing.chart.news = f"Removed: {said_of(dropped)}." if dropped else ""
    return "orders"


def sign(doing: Doing) -> str:
    """Sign: the hook fires; without a card the orders are signed at once, else the clinician decides."""
    chart = doing.chart
    if not chart.drafts:
        return "orders"
    chart.forget(("order-select",), settled=False)
    fired = fire(chart, "order-sign", "Signed the orders")
    if any(one.cards or one.problem for one in fired):
        chart.signing = True
        return "advice"
    return finish(doing)


def finish(doing: Doing) -> str:
    """Sign the orders after the cards were seen."""
    done = doing.chart.sign(doing.now)
    doing.chart.news = f"Signed {len(done)} order{'s' if len(done) != 1 else ''}."
    return "orders"


def dispatch(doing: Doing) -> str:
    """Give a signed order to whoever carries it out."""
    order = doing.chart.order(doing.field("reference"))
    if order is not None:
        fire(doing.chart, "order-dispatch", f"Dispatched {said_of(order)}", [order])
    return "advice"


def refill(doing: Doing) -> str:
    """Renew a medication: the hook fires, and the order waits for a signature."""
    chart, found = doing.chart, doing.chart.medication(doing.field("reference"))
    if found is None:
        return "orders"
    order = chart.add_draft(choosing.refill(found, chart.next_number(), doing.now))
    fire(chart, "medication-refill", f"Asked to refill {said_of(found)}", [order])
    return "advice"


def add_problem(doing: Doing) -> str:
    """Add a problem: the hook fires with it, then it stands in the list."""
    chart, choice = doing.chart, doing.chosen(doing.choices.problems)
    if choice is None:
        return "problems"
    new = choosing.problem(choice, chart.next_number(), chart.patient_id, doing.now)
    fire(chart, "problem-list-item-create", f"Added the problem {choice.name}", [new])
    chart.added.insert(0, new)
    return "advice"


def book(doing: Doing) -> str:
    """Book an appointment."""
    chart, choice = doing.chart, doing.chosen(doing.choices.appointments)
    if choice is not None:
        new = choosing.appointment(choice, chart.next_number(), chart.patient_id)
        fire(chart, "appointment-book", f"Booked {choice.name}", [new])
    return "advice"


def admit(doing: Doing) -> str:
    """Admit the patient: an encounter begins."""
    chart = doing.chart
    if not chart.encounter:
        chart.encounter = f"visit-{chart.next_number()}"
        fire(chart, "encounter-start", "Admitted the patient")
    return "advice"


def discharge(doing: Doing) -> str:
    """Prepare the discharge: the hook fires, and the patient is still here."""
    chart = doing.chart
    if chart.encounter and not chart.leaving:
        chart.leaving = True
        fire(chart, "encounter-discharge", "Prepared the discharge")
    return "advice"


def leave(doing: Doing) -> str:
    """Complete the discharge: the encounter, and its advice, are over."""
    chart = doing.chart
    chart.encounter, chart.leaving, chart.news = "", False, "Discharged."
    chart.forget(ENCOUNTER_HOOKS, settled=False)
    return "top"


def accept(doing: Doing) -> str:
    """Accept a suggestion: what it says is done in the chart, and the service is told."""
    shown = doing.chart.card(doing.field("service"), doing.field("card"))
    suggestion = shown.suggestion(doing.field("suggestion")) if shown else None
    if shown is None or suggestion is None or doing.field("suggestion") in shown.taken:
        return "advice"
    label = str(suggestion.get("label", ""))
    shown.taken[doing.field("suggestion")] = "accepted"  # before it is done: what was answered stays in sight
    done = [_carry_out(doing.chart, kind, action) for kind, action in answers.actions(suggestion)]
    shown.taken[doing.field("suggestion")] = ", ".join(filter(None, done)) or "nothing to do in this chart"
    told = answers.accepted(shown, doing.field("suggestion"), choosing.moment(doing.now))
    tell(doing.chart, doing.field("service"), shown, told, f"Accepted: {label}")
    doing.chart.news = f"Accepted: {label}."
    return f"card-{shown.uuid}"


def _carry_out(chart: OpenChart, kind: str, action: Resource) -> str:
    """Do one action of a suggestion; say what became of it."""
    if kind == "delete":
        gone = chart.drop(str(action.get("resourceId", "")))
        return f"removed {said_of(gone)}" if gone else "the order was gone already"
    resource = action.get("resource")
    if not isinstance(resource, dict):
        return ""
    if kind == "update":
        chart.drop(str(resource.get("id", "")))
    return f"drafted {said_of(chart.add_draft(resource))}"


def override(doing: Doing) -> str:
    """Override a card, with a reason of the card, words of the clinician, or neither."""
    shown = doing.chart.card(doing.field("service"), doing.field("card"))
    if shown is None or shown.overridden:
        return "advice"
    reason = shown.reason(doing.field("reason"))
    comment = doing.field("comment")
    words = [str(reason.get("display") or reason.get("code"))] if reason else []
    shown.overridden = ": ".join([*words, *([comment] if comment else [])]) or "no reason given"
    feedback = answers.overridden(shown, reason, comment, choosing.moment(doing.now))
    tell(doing.chart, doing.field("service"), shown, feedback, f"Overrode: {shown.card.get('summary', '')}")
    doing.chart.news = f"Overridden: {shown.overridden}."
    return f"card-{shown.uuid}"


def prefetch(doing: Doing) -> str:
    """Send prefetch with the calls, or let the service read the FHIR server by itself."""
    doing.chart.sends_prefetch = doing.field("prefetch") != "no"
    return look(doing)


DEEDS: dict[str, Deed] = {
    "look": look,
    "choose": choose,
    "remove": remove,
    "sign": sign,
    "finish": finish,
    "dispatch": dispatch,
    "refill": refill,
    "add-problem": add_problem,
    "book": book,
    "admit": admit,
    "discharge": discharge,
    "leave": leave,
    "accept": accept,
    "override": override,
    "prefetch": prefetch,
}
