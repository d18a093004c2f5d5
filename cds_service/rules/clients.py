"""The kinds of EHRs that a content folder knows, read with the rule book: clients/<name>.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from cds_service import schemas
from cds_service.errors import ContentError
from cds_service.protocol.cards import Coding
from cds_service.protocol.profile import STANDARD, Profile
from cds_service.rules.scope import meant
from cds_service.schemas import strict_yaml
from cds_service.schemas.strict_yaml import Mapping
from cds_service.terminology import Terminology

# Members of a card as the wire names them, and as our struct does.
_MEMBERS = {"overrideReasons": "override_reasons"}
_TABLES = ("code_systems", "spelling", "order_codes", "override_reasons")
_SAYS = ("client", "like", "says", "source")


def load(content: Path, words: Terminology) -> dict[str, Profile]:
    """Read every client by its name. Raises ContentError, with file and line, where one is not usable."""
    paths = sorted((content / "clients").glob("*.yaml"))
    documents = {path.stem: _document(path) for path in paths}
    found = {name: _Client(name, documents, words).profile() for name in documents}
    return {STANDARD.name: STANDARD, **found}


def _document(path: Path) -> Mapping:
    file = f"clients/{path.name}"
    document = strict_yaml.read(path, shown_as=file)
    schemas.check("client", document, file)
    if document["client"] != path.stem:
        raise ContentError(
            f'The client is "{document["client"]}", which is not what the file is called.',
            where=f"{file}:{document.lines['client']}",
            slug="id-is-file-name",
            remedy=f"Call the file {document['client']}.yaml.",
        )
    return document


class _Client(msgspec.Struct):
    """One file being read, with the others that it may be like."""

    name: str
    documents: dict[str, Mapping]
    words: Terminology

    def profile(self) -> Profile:
        """Return what the file says; one that says nothing new is the standard itself."""
        said: dict[str, Any] = {}
        for name in self._line():
            document = self.documents[name]
            given = {key: value for key, value in document.items() if key not in (*_SAYS, *_TABLES)}
            said |= {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}
            for key, table in self._tables(name).items():
                said[key] = {**said.get(key, {}), **table}
        said["omits"] = tuple(_MEMBERS.get(one, one) for one in said.get("omits", ()))
        found = Profile(name=self.name, **said)
        return STANDARD if found == STANDARD else found

    def _line(self) -> list[str]:
        """Return the clients that this one is like, the most general first, and itself."""
        line = [self.name]
        while (like := self.documents[line[-1]].get("like")) is not None:
            if like not in self.documents or like in line:
                known = [name for name in self.documents if name not in line]
                why = f"It is like itself, by {' and '.join(line)}." if like in line else ""
                raise self._wrong(line[-1], "like", f'"{like}" is no other client.{meant(like, known)}', known, why)
            line.append(like)
        return line[::-1]

    def _tables(self, name: str) -> dict[str, dict[Any, Any]]:
        """Return the tables of one file, with the names that content uses turned into what stands on the wire."""
        document, words = self.documents[name], self.words
        known = words.systems.names()
        for uri, system in (document.get("code_systems") or {}).items():
            if system not in known:
                raise self._unknown(name, "code_systems", uri, system, known)
        found: dict[str, dict[Any, Any]] = {"code_systems": dict(document.get("code_systems") or {})}
        found["spelling"] = {
            words.systems.uri(self._known(name, "spelling", system, known)): written
            for system, written in (document.get("spelling") or {}).items()
        }
        orders = [
            (words.orders[self._known(name, "order_codes", order, words.orders)], coding)
            for order, coding in (document.get("order_codes") or {}).items()
        ]
        found["own_codes"] = {(words.systems.uri(one.system), one.code): Coding(**coding) for one, coding in orders}
        found["override_reasons"] = {
            self._known(name, "override_reasons", code, words.override_reasons): Coding(**coding)
            for code, coding in (document.get("override_reasons") or {}).items()
        }
        return {key: table for key, table in found.items() if table}

    def _known(self, name: str, table: str, key: str, known: Any) -> str:
        if key not in known:
            raise self._unknown(name, table, key, key, known)
        return key

    def _unknown(self, name: str, table: str, key: str, word: str, known: Any) -> ContentError:
        line = self.documents[name][table].lines[key]
        what = f'"{word}" is not known here.{meant(word, known)}'
        return ContentError(what, where=f"clients/{name}.yaml:{line}", slug="unknown-name")

    def _wrong(self, name: str, key: str, what: str, known: list[str], why: str) -> ContentError:
        return ContentError(
            what,
            where=f"clients/{name}.yaml:{self.documents[name].lines[key]}",
            why=why,
            slug="unknown-client",
            remedy=f"The other clients are: {', '.join(known)}." if known else "",
        )
