"""
What is read gets its type here, one thread at a time.

msgspec learns the members of a Struct when a decoder first needs them, and marks the Struct as learnt before it has.
A second thread that decodes meanwhile reads a member without a type, and the process ends (msgspec 0.22.0, eight
threads at their first call). Decoders that are made here are complete before anybody else may have one.
"""

from __future__ import annotations

from functools import cache
from threading import RLock
from typing import Any, TypeVar, overload

import msgspec
from msgspec.json import Decoder

T = TypeVar("T")
__all__ = ["Decoder", "convert", "decode", "decoder", "unpacker"]
# Whoever holds it may be led to another type by what runs in between, such as a finalizer: so it may be taken again.
_learning = RLock()


@overload
def decoder(kind: type[T]) -> Decoder[T]: ...
@overload
def decoder(kind: Any) -> Decoder[Any]: ...
def decoder(kind: Any) -> Decoder[Any]:
    """Return what reads JSON of a type."""
    with _learning:
        return Decoder(kind)


@overload
def unpacker(kind: type[T]) -> msgspec.msgpack.Decoder[T]: ...
@overload
def unpacker(kind: Any) -> msgspec.msgpack.Decoder[Any]: ...
def unpacker(kind: Any) -> msgspec.msgpack.Decoder[Any]:
    """Return what reads MessagePack of a type."""
    with _learning:
        return msgspec.msgpack.Decoder(kind)


@overload
def decode(raw: bytes | str, kind: type[T]) -> T: ...
@overload
def decode(raw: bytes | str, kind: Any = ...) -> Any: ...
def decode(raw: bytes | str, kind: Any = Any) -> Any:
    """Read JSON. Raises msgspec.DecodeError, and ValidationError where it is of another type."""
    return _known(kind).decode(raw)


@overload
def convert(value: object, kind: type[T]) -> T: ...
@overload
def convert(value: object, kind: Any) -> Any: ...
def convert(value: object, kind: Any) -> Any:
    """Return plain values as a type. Raises msgspec.ValidationError where they are of another."""
    _known(kind)
    return msgspec.convert(value, kind)


@cache
def _known(kind: Any) -> Decoder[Any]:
    return decoder(kind)
