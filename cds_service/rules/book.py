"""The rule book: every rule, service and concept of one content folder, loaded whole or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Mapping
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from cds_service import schemas, terminology
from cds_service.errors import ContentError
from cds_service.protocol.profile import Profile
from cds_service.protocol.service import Service
from cds_service.rules import clients, merging, needs, source, thresholds
from cds_service.rules.merging import Merging
from cds_service.rules.model import Rule, Value, Values
from cds_service.rules.scope import meant
from cds_service.schemas import strict_yaml
from cds_service.terminology import Terminology

T = TypeVar("T")


class ServiceRules(msgspec.Struct, frozen=True):
    """
    A service with the rules it asks, in the order of their cards, and how many cards it may show.

    ``repeat`` "unless-changed" keeps quiet what another service showed the same user in the same encounter.
    """

    service: Service
    rules: tuple[Rule, ...]
    card_limit: int
    repeat: str = "always"

    def showing(self, limit: int) -> ServiceRules:
        """Return the same service with room for another number of cards."""
        return self if limit == self.card_limit else msgspec.structs.replace(self, card_limit=limit)


class RuleBook(msgspec.Struct, frozen=True):
    """Rules, services, clients and terminology that belong together; ``fingerprint`` names exactly this content."""

    rules: dict[str, Rule]
    services: dict[str, ServiceRules]
    terminology: Terminology
    merging: Merging
    fingerprint: str
    site: str = ""
    memo: dict[Hashable, Any] = {}
    clients: dict[str, Profile] = {}

    def once(self, key: Hashable, compute: Callable[[], T]) -> T:
        """Return what ``compute`` makes of this book, computing it once: a book never changes."""
        if key not in self.memo:
            self.memo[key] = compute()
        found: T = self.memo[key]
        return found

    def values(self, rule: Rule, day: date, tried: Mapping[str, Value] | None = None) -> Values:
        """Return the thresholds of a rule that are in force on a day."""
        if tried:
            return thresholds.in_force(rule.thresholds, day, tried)
        return self.once((rule.id, day), lambda: thresholds.in_force(rule.thresholds, day))


def load_book(content: Path, site: str = "") -> RuleBook:
    """Load a content folder (``hooks/``). Raises ContentError, with file and line, for the first thing wrong."""
    words, chosen = load_words(content, site)
    rules = _rules(content, words, chosen)
    return RuleBook(
        rules,
        _services(content, rules, words),
        words,
        merging.load(content),
        _fingerprint(content, site),
        site,
        clients=clients.load(content, words),
    )


def load_words(content: Path, site: str = "") -> tuple[Terminology, thresholds.Site]:
    """Load the terminology of a content folder as a site has it, and what the site changed. Asks no network."""
    chosen = thresholds.read_site(content / "sites" / f"{site}.yaml") if site else thresholds.Site()
    words = terminology.load(content / "concepts", chosen.extension.products)
    if chosen.system_aliases:
        thresholds.check_aliases(chosen, words)
        words.systems = words.systems.with_aliases(chosen.system_aliases)
    terminology.extend(words, chosen.extension.additions)
    return words, chosen


def rule_paths(content: Path) -> dict[str, Path]:
    """Return the rule files of a content folder by their stem, which is the rule's id."""
    found: dict[str, Path] = {}
    for path in sorted((content / "rules").glob("*/*.yaml")):
        if path.name.endswith(".test.yaml"):
            continue
        if path.stem in found:
            raise ContentError(
                f'The rule "{path.stem}" stands twice.',
                where=f"{shown_as(path)}:1",
                slug="duplicate-rule",
                remedy=f"The other one is {shown_as(found[path.stem])}.",
            )
        found[path.stem] = path
    return found


def shown_as(path: Path) -> str:
    """Name a rule file as a reader of the content folder does: rules/metastatic/ca-p-product-target.yaml."""
    return f"rules/{path.parent.name}/{path.name}"


def _rules(content: Path, words: Terminology, site: thresholds.Site) -> dict[str, Rule]:
    paths = rule_paths(content)
    names = {stem: shown_as(path) for stem, path in paths.items()}
    documents = {stem: source.read_rule(path, names[stem]) for stem, path in paths.items()}
    own = {stem: source.read_thresholds(document, names[stem]) for stem, document in documents.items()}
    where = {stem: source.places(document, names[stem]) for stem, document in documents.items()}
    linked = source.link(thresholds.apply_site(own, site), where)
    rules = {
        stem: source.compile_rule(document, names[stem], linked[stem], words) for stem, document in documents.items()
    }
    thresholds.check_status(site, rules)
    return {stem: _with_status(rule, site) for stem, rule in rules.items()}


def _with_status(rule: Rule, site: thresholds.Site) -> Rule:
    status = site.status.get(rule.id)
    return msgspec.structs.replace(rule, status=status) if status else rule


def _services(content: Path, rules: dict[str, Rule], words: Terminology) -> dict[str, ServiceRules]:
    found: dict[str, ServiceRules] = {}
    for path in sorted(content.glob("*/service.yaml")):
        one = _service(path, rules, words)
        if not one.rules:
            continue  # A service that asks nothing is not announced: its silence would look like safety.
        if one.service.id in found:
            raise ContentError(
                f'The service "{one.service.id}" stands twice.',
                where=f"{path.parent.name}/service.yaml:1",
                slug="duplicate-service",
            )
        found[one.service.id] = one
    return found


def _service(path: Path, rules: dict[str, Rule], words: Terminology) -> ServiceRules:
    file = f"{path.parent.name}/service.yaml"
    document = strict_yaml.read(path, shown_as=file)
    schemas.check("service", document, file)
    asked = _asked(document, rules, file)
    service = Service(
        hook=document["hook"],
        id=document["id"],
        title=document["title"],
        description=" ".join(document["description"].split()),
        usage_requirements=" ".join(document["usage_requirements"].split()),
        prefetch=needs.templates(asked, words),
    )
    return ServiceRules(service, asked, document["card_limit"], document.get("repeat") or "always")


def _asked(document: strict_yaml.Mapping, rules: dict[str, Rule], file: str) -> tuple[Rule, ...]:
    """Return the rules that name a service's hook and are to run: first those it puts first, then by number."""
    asked = {
        rule.id: rule
        for rule in sorted(rules.values(), key=lambda rule: (rule.number, rule.id))
        if document["hook"] in rule.hooks and rule.status in ("active", "pilot")
    }
    first = document.get("first") or ()
    for name, line in zip(first, getattr(first, "lines", ()), strict=True):
        if name not in rules:
            raise ContentError(
                f'There is no rule "{name}".{meant(name, rules)}', where=f"{file}:{line}", slug="unknown-rule"
            )
        if document["hook"] not in rules[name].hooks:
            raise ContentError(
                f'The rule "{name}" is not asked at {document["hook"]}.',
                where=f"{file}:{line}",
                slug="not-asked-here",
                remedy="Add the hook to hooks: of the rule, or take the rule out of this list.",
            )
    return tuple([asked.pop(name) for name in first if name in asked]) + tuple(asked.values())


def _fingerprint(content: Path, site: str) -> str:
    digest = hashlib.sha256()
    for path in sorted(content.rglob("*")):
        relative = path.relative_to(content)
        if path.is_file() and _counts(relative, site):
            digest.update(relative.as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _counts(relative: Path, site: str) -> bool:
    """Say whether a file is part of the content: of the site files, only those of the site in force are."""
    if relative.parts[0] != "sites":
        return relative.suffix in (".yaml", ".csv")
    return relative.parts[1] in (site, f"{site}.yaml") and relative.suffix in (".yaml", ".yml", ".csv", ".json")
