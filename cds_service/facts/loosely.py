"""Members that were kept as bytes, read when somebody asks; what is not of the right shape is as good as left out."""

from __future__ import annotations

from contextlib import suppress
from typing import TypeVar

import msgspec

from cds_service import decoding
from cds_service.facts.records import Raw, present
from cds_service.protocol.wire import no_twins

T = TypeVar("T")
_list = decoding.decoder(list[Raw])
_WRONG = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def decoded(raw: Raw, decoder: decoding.Decoder[T]) -> T | None:
    """Read a member; None where it was not sent or does not fit. Raises MalformedJson where a member stands twice."""
    if present(raw):
        no_twins(bytes(raw))
        with suppress(*_WRONG):
            return decoder.decode(raw)
    return None


def elements(raw: Raw) -> list[Raw]:
    """Return the elements of a list; none where there is no list."""
    return decoded(raw, _list) or []
