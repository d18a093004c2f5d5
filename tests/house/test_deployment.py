"""The compose file and what it mounts: every file is there, nothing is open to others, the dashboard shows what is."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from cds_service.web.metrics import COUNTER, HISTOGRAM, METRICS
from tests.house.source import ROOT

Json = dict[str, Any]
COMPOSE: Json = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, Json] = COMPOSE["services"]
DASHBOARD: Json = json.loads((ROOT / "deploy" / "grafana" / "dashboards" / "calcinosis-cds.json").read_bytes())
PANELS: list[Json] = [one for one in DASHBOARD["panels"] if one["type"] != "row"]
# Certificates are each site's own; PROMQL has words that are no metrics.
MADE_BY_HAND = {"./deploy/nginx/certs"}
_METRIC = re.compile(r"\bcds_[a-z_]+")


def series() -> set[str]:
    """Name every series that Prometheus knows of the service."""
    found = set()
    for one in METRICS:
        endings = {COUNTER: ("_total",), HISTOGRAM: ("_bucket", "_count", "_sum")}.get(one.kind, ("",))
        found |= {one.name + ending for ending in endings}
    return found


# --- compose ---------------------------------------------------------------------------------------------------------


def mounts() -> list[str]:
    found = [volume for one in SERVICES.values() for volume in one.get("volumes", ()) if volume.startswith((".", "$"))]
    return sorted({re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", one).partition(":")[0] for one in found} - MADE_BY_HAND)


@pytest.mark.parametrize("path", mounts())
def test_what_is_mounted_is_there(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_open_on_this_machine_only(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", ()))


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned(name: str) -> None:
    image = SERVICES[name]["image"]

    assert "build" in SERVICES[name] or re.search(r":v?\d+[\w.-]*$", image), image


def test_what_is_tried_starts_together_and_the_rest_by_profile() -> None:
    always = {name for name, one in SERVICES.items() if "profiles" not in one}

    assert {"cds", "nginx", "postgres", "fhir", "fixtures"} == always
    assert {"ehr", "observability"} == {profile for one in SERVICES.values() for profile in one.get("profiles", ())}


def test_the_service_may_read_from_the_fhir_server_and_asks_for_tokens_by_default() -> None:
    environment = SERVICES["cds"]["environment"]

    assert "http://fhir:8080/fhir" in environment["CDS_FHIR_ALLOW"]
    assert SERVICES["fixtures"]["command"][3] == "http://fhir:8080/fhir"
    assert "${CDS_AUTH:-jwt}" == environment["CDS_AUTH"]


# --- Prometheus and Grafana ------------------------------------------------------------------------------------------


def test_prometheus_reads_the_service_with_the_token_that_it_has() -> None:
    [job] = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]

    assert [{"targets": ["cds:8080"]}] == job["static_configs"]
    targets = {one["target"] for name in ("cds", "prometheus") for one in SERVICES[name]["configs"]}
    assert {
        job["authorization"]["credentials_file"],
        SERVICES["cds"]["environment"]["CDS_METRICS_TOKEN_FILE"],
    } == targets
    assert len(COMPOSE["configs"]["metrics_token"]["content"].partition(":-")[2].rstrip("}")) >= 16


def test_grafana_finds_its_dashboard_and_its_source() -> None:
    folder = ROOT / "deploy" / "grafana" / "provisioning"
    [source] = yaml.safe_load((folder / "datasources" / "prometheus.yaml").read_text())["datasources"]
    [provider] = yaml.safe_load((folder / "dashboards" / "calcinosis-cds.yaml").read_text())["providers"]

    mounted = {volume.split(":")[1] for volume in SERVICES["grafana"]["volumes"]}
    assert provider["options"]["path"] in mounted
    assert {source["uid"]} == {one["datasource"]["uid"] for one in PANELS}


def test_every_series_of_the_dashboard_is_one_that_the_service_has() -> None:
    shown = {name for one in PANELS for target in one["targets"] for name in _METRIC.findall(target["expr"])}

    assert set() == shown - series()


def test_every_metric_is_shown() -> None:
    text = json.dumps(PANELS)

    assert [] == [one.name for one in METRICS if one.name not in text]


def test_series_are_grouped_by_labels_that_they_have() -> None:
    labels = {one.name: set(one.labels) | {"le"} for one in METRICS}
    for panel in PANELS:
        for target in panel["targets"]:
            metric = next(name for name in sorted(labels, key=len, reverse=True) if name in target["expr"])
            asked = {one.strip() for group in re.findall(r"by \(([^)]*)\)", target["expr"]) for one in group.split(",")}
            asked |= set(re.findall(r"(\w+)=\"", target["expr"]))
            known = labels[metric] | {one for name in labels if name in target["expr"] for one in labels[name]}
            assert asked <= known, target["expr"]


def test_panels_have_places_of_their_own() -> None:
    places = [tuple(one["gridPos"][side] for side in "xy") for one in DASHBOARD["panels"]]

    assert len(set(places)) == len(places)
    assert all(one["gridPos"]["x"] + one["gridPos"]["w"] <= 24 for one in DASHBOARD["panels"])
    assert len({one["id"] for one in DASHBOARD["panels"]}) == len(places)
