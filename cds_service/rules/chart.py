"""A vignette written out as the chart an EHR would send: FHIR R4, searchset Bundles, one prefetch value per kind."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import msgspec

from cds_service.errors import ContentError
from cds_service.facts import model
from cds_service.rules.scope import meant
from cds_service.schemas.strict_yaml import Mapping, Sequence
from cds_service.terminology import Terminology

BASE, PATIENT_ID = "https://ehr.example/fhir", "patient-of-the-vignette"
_SEARCHED = (*(kind for kind in model.KINDS if kind != model.PATIENT), model.PAST_MEDICATIONS)
_ID = {"subject": {"reference": f"Patient/{PATIENT_ID}"}}
_KIND_OF = {
    "Observation": model.LABS,
    "Condition": model.CONDITIONS,
    "MedicationRequest": model.MEDICATIONS,
    "MedicationStatement": model.STATEMENTS,
    "Procedure": model.PROCEDURES,
    "FamilyMemberHistory": "familyHistory",
}
_SEX = {"woman": "female", "girl": "female", "man": "male", "boy": "male", "person": "unknown", "infant": "unknown"}
_WHO = "|".join(_SEX)
_AGED = re.compile(rf"(\d+)-(year|month|week|day)-old ({_WHO})")
_OF_AGE = re.compile(rf"({_WHO}) of (\d+) (year|month|week|day)s?")
_BORN = re.compile(rf"({_WHO}) born (\d{{4}}(?:-\d{{2}}){{0,2}})")
_UNKNOWN_AGE = re.compile(rf"({_WHO}) of unknown age")
_AGO = re.compile(r"(\d+) (hour|day|week|year)s? ago")
_AHEAD = re.compile(r"in (\d+) (hour|day|week|year)s?")
_ISO = re.compile(r"\d{4}(-\d{2}){0,2}")
_OFTEN = {"daily": (1, "d"), "twice daily": (2, "d"), "weekly": (1, "wk")}
_DOSE = re.compile(rf"(\d+(?:\.\d+)?) (\w+) ({'|'.join(_OFTEN)})")
_RESULT = re.compile(r"(<=|>=|<|>)?\s*(-?\d+(?:\.\d+)?)(?:\s+(.+))?")


class Chart(msgspec.Struct):
    """The chart of one vignette, in the making."""

    words: Terminology
    today: date
    file: str

    def prefetch(self, scene: Mapping) -> dict[str, Any]:
        """Return the prefetch values an EHR would send. Raises ContentError where the vignette does not read."""
        found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in _SEARCHED}
        for number, resource in enumerate(self._resources(scene)):
            resource["id"] = f"{resource['resourceType'].lower()}-{number}"
            found.setdefault(_kind_of(resource), []).append(resource)
        values: dict[str, Any] = {model.PATIENT: self.person(scene["patient"], scene.lines["patient"])}
        truncated = scene.get("truncated") or ()
        values |= {kind: _bundle(resources, more=kind in truncated) for kind, resources in found.items()}
        for kind in scene.get("not_loaded") or ():
            values.pop(kind)
        return values | dict.fromkeys(scene.get("failed") or (), _FAILED)

    def _resources(self, scene: Mapping) -> Iterator[dict[str, Any]]:
        for item, line in _items(scene.get("diagnoses")):
            yield self.condition(_mapping(item), line)
        for concept, results in (scene.get("labs") or Mapping()).items():
            yield from self.labs(concept, results, scene["labs"].lines[concept])
        for item, line in _items(scene.get("findings")):
            yield self.finding(_mapping(item), line)
        for item, line in _items(scene.get("medications")):
            yield self.medication(_mapping(item), line)
        for concept, times in (scene.get("procedures") or Mapping()).items():
            for item, line in _items(times):
                yield self.procedure(concept, _mapping(item, "when"), line)
        for concept, line in _items(scene.get("family_history")):
            yield {
                "resourceType": "FamilyMemberHistory",
                "status": "completed",
                "patient": _ID["subject"],
                "relationship": {"text": "father"},
                "condition": [{"code": self._coded(concept, "diagnosis", line)}],
            }

    def person(self, text: str, line: int) -> dict[str, Any]:
        """Return the Patient that words like "58-year-old woman" mean."""
        patient = {"resourceType": "Patient", "id": PATIENT_ID}
        if match := _AGED.fullmatch(text):
            count, unit, who = match.groups()
        elif match := _OF_AGE.fullmatch(text):
            who, count, unit = match.groups()
        elif match := _BORN.fullmatch(text):
            return {**patient, "gender": _SEX[match[1]], "birthDate": match[2]}
        elif match := _UNKNOWN_AGE.fullmatch(text):
            return {**patient, "gender": _SEX[match[1]]}
        else:
            raise self.wrong(
                f'"{text}" is not a patient that can be read.',
                line,
                "bad-patient",
                'Write "58-year-old woman", "infant of 60 days", "man born 1960", "girl of unknown age".',
            )
        return {**patient, "gender": _SEX[who], "birthDate": self._back(int(count), unit).isoformat()}

    def _back(self, count: int, unit: str) -> date:
        """Count back from today; a birthday that does not exist (29 February) falls on the day before."""
        if unit in ("day", "week"):
            return self.today - timedelta(days=count * (7 if unit == "week" else 1))
        months = self.today.year * 12 + self.today.month - 1 - count * (12 if unit == "year" else 1)
        day = self.today.day
        while True:
            try:
                return date(months // 12, months % 12 + 1, day)
            except ValueError:
                day -= 1

    def moment(self, text: str, line: int, at: str = "12:00") -> str:
        """Return the FHIR dateTime that "10 days ago" means: at noon UTC, unless told another time of the day."""
        noon = datetime.combine(self.today, time.fromisoformat(at), UTC)
        if text in ("today", "yesterday"):
            return _written(noon - timedelta(days=text == "yesterday"))
        if match := _AGO.fullmatch(text):
            return _written(self._shifted(noon, -int(match[1]), match[2]))
        if match := _AHEAD.fullmatch(text):
            return _written(self._shifted(noon, int(match[1]), match[2]))
        if _ISO.fullmatch(text):
            return text
        raise self.wrong(
            f'"{text}" is not a time.',
            line,
            "bad-time",
            "Write today, yesterday, 10 days ago, 2 weeks ago, 6 hours ago, 3 years ago, in 2 days, or 2026-02.",
        )

    def _shifted(self, noon: datetime, count: int, unit: str) -> datetime:
        if unit == "year":
            return datetime.combine(self._back(-count, "year"), noon.timetz())
        return noon + timedelta(**{f"{unit}s": count})

    def condition(self, item: Mapping, line: int) -> dict[str, Any]:
        """Return the Condition that a diagnosis of a vignette means: active and confirmed unless it says otherwise."""
        return {
            "resourceType": "Condition",
            **_ID,
            "clinicalStatus": _status("condition-clinical", item.get("clinical", "active")),
            "verificationStatus": _status("condition-ver-status", item.get("verification", "confirmed")),
            "category": [_category("encounter-diagnosis" if item.get("encounter") else "problem-list-item")],
            "code": self._code(item, "diagnosis", line),
            **({"bodySite": [{"text": item["site"]}]} if "site" in item else {}),
            **self._dates(item, {"onset": "onsetDateTime", "recorded": "recordedDate", "ended": "abatementDateTime"}),
        }

    def _dates(self, item: Mapping, members: dict[str, str]) -> dict[str, str]:
        return {members[key]: self.moment(str(item[key]), item.lines[key]) for key in members if key in item}

    def labs(self, concept: str, results: Mapping, line: int) -> Iterator[dict[str, Any]]:
        """Yield the Observations of one laboratory test."""
        codes = [code for system, code in self.words.codes.get(concept, ()) if system == "LOINC"]
        if concept not in self.words.analytes:
            raise self.unknown(concept, self.words.analytes, "test", line)
        for when, entry in results.items():
            for item in entry if isinstance(entry, Sequence) else [entry]:
                yield self._lab(concept, codes, when, item, results.lines[when])

    def _lab(self, concept: str, codes: list[str], when: str, entry: Any, line: int) -> dict[str, Any]:
        item = entry if isinstance(entry, Mapping) else Mapping({"value": entry})
        code = item.get("code") or next(iter(codes), "")
        if code and code not in codes:
            raise self.unknown(code, codes, f"LOINC code of {concept}", line)
        name = self.words.label(concept)
        more: dict[str, Any] = {"note": [{"text": item["note"]}]} if "note" in item else {}
        if "interpretation" in item:
            more["interpretation"] = [_status("v3-ObservationInterpretation", item["interpretation"])]
        if "reference_high" in item:
            more["referenceRange"] = [{"high": self._quantity(str(item["reference_high"]), line)}]
        return {
            "resourceType": "Observation",
            **_ID,
            "status": item.get("status", "final"),
            "category": [_category("laboratory")],
            # A test without a verified code is known by its name.
            "code": self._coding("LOINC", code, name) if code else {"text": name},
            "effectiveDateTime": self.moment(when, line, item.get("time") or "12:00"),
            **_value(item),
            **more,
        }

    def _quantity(self, text: str, line: int) -> dict[str, Any]:
        """Return the quantity that a number with its unit means."""
        quantity: dict[str, Any] | None = _value(Mapping({"value": text})).get("valueQuantity")
        if quantity is None:
            raise self.wrong(f'"{text}" is no number with a unit.', line, "bad-quantity", "Write 65 pg/mL.")
        return quantity

    def finding(self, item: Mapping, line: int) -> dict[str, Any]:
        """Return the Observation that a lesion, a note or an image means: by its code, or as its coded value."""
        kind = self.words.kind(item["concept"])
        coded = self._coded(item["concept"], kind if kind == "procedure" else "diagnosis", line)
        by_value = {"code": {"text": "Finding of skin"}, "valueCodeableConcept": coded}
        return {
            "resourceType": "Observation",
            **_ID,
            "status": item.get("status", "final"),
            "category": [_category("exam")],
            **(by_value if item.get("as_value") else {"code": coded, **_value(item)}),
            **({} if item.get("undated") else {"effectiveDateTime": self.moment(str(item.get("when", "today")), line)}),
        }

    def medication(self, item: Mapping, line: int) -> dict[str, Any]:
        """Return the MedicationRequest (or MedicationStatement) that a medication of a vignette means."""
        common = {**_ID, "status": item.get("status", "active"), "medicationCodeableConcept": self._drug(item, line)}
        dated = self._dates(item, {"started": "start", "stopped": "end"})
        dosage = self._dosage(item, line)
        if "reason" in item:
            common["reasonCode"] = [self._coded(item["reason"], "diagnosis", item.lines["reason"])]
        if item.get("statement"):
            return {"resourceType": "MedicationStatement", **common, "effectivePeriod": dated, "dosage": dosage}
        request = {"resourceType": "MedicationRequest", **common, "intent": "order", "dosageInstruction": dosage}
        if "start" in dated:
            request["authoredOn"] = dated["start"]
        if "end" in dated:
            request["dispenseRequest"] = {"validityPeriod": {"end": dated["end"]}}
        return request

    def order(self, item: Mapping, line: int) -> dict[str, Any]:
        """Return the draft order that an order of a vignette means: a medication, or a test or referral."""
        if item.get("unreadable"):
            return {"resourceType": "MedicationRequest", **_ID, "status": "draft", "intent": "order"}
        name = item.get("concept", "")
        coded = self.words.orders.get(name)
        if coded is None and self.words.kind(name) != "procedure":
            drafted = Mapping({"status": "draft", **item})
            drafted.lines = getattr(item, "lines", {})
            return self.medication(drafted, line)
        code = self._coding(coded.system, coded.code, coded.name) if coded else self._coded(name, "procedure", line)
        status = item.get("status", "draft")
        return {"resourceType": "ServiceRequest", **_ID, "status": status, "intent": "order", "code": code}

    def _dosage(self, item: Mapping, line: int) -> list[dict[str, Any]]:
        """Return the dosage that a route and words like "2 mg daily" mean."""
        dosage: dict[str, Any] = {"route": {"text": item["route"]}} if "route" in item else {}
        if "dose" in item:
            match = _DOSE.fullmatch(item["dose"])
            if not match:
                raise self.wrong(
                    f'"{item["dose"]}" is no dose.',
                    line,
                    "bad-dose",
                    "Write 2 mg daily, twice daily or weekly.",
                )
            frequency, period = _OFTEN[match[3]]
            dosage["timing"] = {"repeat": {"frequency": frequency, "period": 1, "periodUnit": period}}
            dosage["doseAndRate"] = [{"doseQuantity": self._quantity(f"{match[1]} {match[2]}", line)}]
        return [dosage] if dosage else []

    def _drug(self, item: Mapping, line: int) -> dict[str, Any]:
        for key, system in (("product", "RxNorm"), ("atc", "ATC")):
            if key in item:
                rows = self.words.indexes["medication"].rows(system, item[key])
                name = next((self.words.label(row.match.concept) for row in rows), "")
                return {**self._coding(system, item[key], name), **_text(item)}
        return self._code(item, "medication", line)

    def procedure(self, concept: str, item: Mapping, line: int) -> dict[str, Any]:
        """Return a Procedure that was carried out."""
        return {
            "resourceType": "Procedure",
            **_ID,
            "status": item.get("status", "completed"),
            "code": self._coded(concept, "procedure", line),
            "performedDateTime": self.moment(str(item["when"]), line),
        }

    def _code(self, item: Mapping, kind: str, line: int) -> dict[str, Any]:
        if "concept" in item:
            return {**self._coded(item["concept"], kind, line), **_text(item)}
        if "code" in item:
            return {**self._coding(self._system(item, line), item["code"], ""), **_text(item)}
        if "text" in item:
            return _text(item)
        raise self.wrong(
            f"This {kind} says neither what it is nor its code.", line, "nothing-named", "Give its concept."
        )

    def _system(self, item: Mapping, line: int) -> str:
        known = sorted({system for codes in self.words.codes.values() for system, _ in codes})
        system = str(item.get("system", ""))
        if system not in known:
            raise self.unknown(system, known, "code system", line)
        return system

    def _coded(self, concept: str, kind: str, line: int) -> dict[str, Any]:
        """Code a concept as most EHRs do: SNOMED CT first, and never by a code that also means something else."""
        known = {one.id for one in self.words.concepts.values() if one.kind == kind}
        if concept not in known:
            raise self.unknown(concept, known, kind, line)
        for system in ("SNOMED CT", "ICD-10-CM", "ICD-10", "RxNorm", "LOINC"):
            for own, code in self.words.codes[concept]:
                if own == system and any(
                    row.match.concept == concept and not row.generic for row in self.words.indexes[kind].rows(own, code)
                ):
                    return self._coding(system, code, self.words.label(concept))
        if concept in self.words.indexes[kind].named:
            return {"text": self.words.concepts[concept].text[0]}
        raise self.wrong(f'"{concept}" has no code of its own.', line, "no-code", "Give code and system, or the text.")

    def _coding(self, system: str, code: str, display: str) -> dict[str, Any]:
        coding = {"system": self.words.systems.uri(system), "code": code}
        return {"coding": [{**coding, "display": display} if display else coding]}

    def unknown(self, name: str, known: Iterable[str], what: str, line: int) -> ContentError:
        """Say that a name means nothing, and which was probably meant."""
        also = ", ".join(self.words.groups.get(name, ()))
        remedy = f"That is a group: name one of {also}." if also else ""
        return self.wrong(f'There is no {what} "{name}".{meant(name, known)}', line, "unknown-name", remedy)

    def wrong(self, what: str, line: int, slug: str, remedy: str = "") -> ContentError:
        """Say what does not read in the vignette, naming file and line."""
        return ContentError(what, where=f"{self.file}:{line}", slug=slug, remedy=remedy)


_FAILED = {
    "resourceType": "OperationOutcome",
    "issue": [{"severity": "error", "code": "exception", "diagnostics": "The search could not be carried out."}],
}


def _kind_of(resource: dict[str, Any]) -> str:
    """Return under which key an EHR sends a resource: orders that have ended stand apart."""
    if resource["resourceType"] == "MedicationRequest" and resource["status"] in ("completed", "stopped"):
        return model.PAST_MEDICATIONS
    return _KIND_OF[resource["resourceType"]]


def _items(found: Sequence | None) -> Iterator[tuple[Any, int]]:
    return zip(found, found.lines, strict=True) if found else iter(())


def _mapping(item: Any, key: str = "concept") -> Mapping:
    return item if isinstance(item, Mapping) else Mapping({key: item})


def _text(item: Mapping) -> dict[str, Any]:
    return {"text": item["text"]} if "text" in item else {}


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _status(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": f"http://terminology.hl7.org/CodeSystem/{system}", "code": code}]}


def _category(code: str) -> dict[str, Any]:
    name = "observation-category" if code in ("laboratory", "exam") else "condition-category"
    return _status(name, code)


def _value(item: Mapping) -> dict[str, Any]:
    """Return the value of an Observation: a quantity where it reads as one, else words; or the reason for none."""
    if "absent" in item:
        return {"dataAbsentReason": _status("data-absent-reason", item["absent"])}
    text = str(item.get("value", ""))
    match = _RESULT.fullmatch(text)
    if not match:
        return {"valueString": text} if text else {}
    comparator, number, unit = match.groups()
    quantity: dict[str, Any] = {"value": msgspec.Raw(number.encode())}
    if comparator:
        quantity["comparator"] = comparator
    if unit:
        quantity |= {"unit": unit, "system": "http://unitsofmeasure.org", "code": unit}
    return {"valueQuantity": quantity}


def _bundle(resources: list[dict[str, Any]], *, more: bool) -> dict[str, Any]:
    entries = [
        {"fullUrl": f"{BASE}/{one['resourceType']}/{one['id']}", "resource": one, "search": {"mode": "match"}}
        for one in resources
    ]
    link = {"link": [{"relation": "next", "url": f"{BASE}?page=2"}]} if more else {"total": len(entries)}
    return {"resourceType": "Bundle", "type": "searchset", **link, "entry": entries}
