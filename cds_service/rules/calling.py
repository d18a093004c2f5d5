"""The call that a vignette stands for: its hook, and the context that an EHR sends with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cds_service.protocol.context import SHAPES
from cds_service.rules.chart import BASE, PATIENT_ID, Chart
from cds_service.rules.model import Rule
from cds_service.rules.ordering import ORDER_HOOKS
from cds_service.schemas.strict_yaml import Mapping

PROBLEMS = "problem-list-item-create"


def call_of(scene: Mapping, rule: Rule, chart: Chart) -> dict[str, Any]:
    """Return the hook call of a vignette. Raises ContentError where the vignette does not read."""
    hook = _hook(scene, rule, chart)
    return {
        "hook": hook,
        "hookInstance": "00000000-0000-4000-8000-000000000000",
        "fhirServer": BASE,
        "context": {
            "userId": "Practitioner/of-the-vignette",
            "patientId": PATIENT_ID,
            **context_of(scene, hook, chart),
        },
        "prefetch": chart.prefetch(scene),
    }


def _hook(scene: Mapping, rule: Rule, chart: Chart) -> str:
    """Return the hook of a vignette: what it says, else the first of the rule (with orders: the first about orders)."""
    hooks = [hook for hook in rule.hooks if hook in _hooks_for(scene)]
    hook: str = scene.get("hook") or next(iter(hooks), rule.hooks[0])
    if hook not in rule.hooks or hook not in _hooks_for(scene):
        key = next(key for key in ("hook", "orders", "problems", "name") if key in scene)
        raise chart.wrong(
            f"The rule is not asked at {hook} with what this vignette tells of.",
            scene.lines[key],
            "wrong-hook",
            f"The hooks of the rule are: {', '.join(rule.hooks)}.",
        )
    return hook


def _hooks_for(scene: Mapping) -> tuple[str, ...]:
    """Return the hooks at which what a vignette tells of can be sent."""
    if "orders" in scene:
        return ORDER_HOOKS
    return (PROBLEMS,) if "problems" in scene else tuple(SHAPES)


def context_of(scene: Mapping, hook: str, chart: Chart) -> dict[str, Any]:
    """Return what the context of a hook holds besides user and patient: encounter, orders, problems."""
    shape, context = SHAPES[hook], dict[str, Any]()
    if shape.encounter:
        context["encounterId"] = "encounter-of-the-vignette"
    orders = list(_orders(scene, chart))
    names = [f"{one['resourceType']}/{one['id']}" for one, _ in orders]
    if shape.bundle:
        resources = list(_problems(scene, chart)) if hook == PROBLEMS else [one for one, _ in orders]
        entries = [{"resource": one} for one in resources]
        context[shape.bundle] = {"resourceType": "Bundle", "type": "collection", "entry": entries}
    if shape.selections:
        context["selections"] = [name for name, (_, selected) in zip(names, orders, strict=True) if selected]
    if shape.dispatched:
        context |= {"dispatchedOrders": names, "performer": "Practitioner/performer-of-the-vignette"}
    return context


def _orders(scene: Mapping, chart: Chart) -> Iterator[tuple[dict[str, Any], bool]]:
    """Yield the orders of a vignette, and whether each is the one that is being chosen."""
    for number, (item, line) in enumerate(_items(scene, "orders")):
        yield {**chart.order(item, line), "id": f"order-{number}"}, item.get("selected", True)


def _problems(scene: Mapping, chart: Chart) -> Iterator[dict[str, Any]]:
    for number, (item, line) in enumerate(_items(scene, "problems")):
        yield {**chart.condition(item, line), "id": f"problem-{number}"}


def _items(scene: Mapping, key: str) -> Iterator[tuple[Mapping, int]]:
    found = scene.get(key) or ()
    for item, line in zip(found, getattr(found, "lines", ()), strict=True):
        yield item if isinstance(item, Mapping) else Mapping({"concept": item}), line
