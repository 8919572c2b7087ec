"""Frozen dataclasses to JSON and back, strictly, driven by their type hints.

Understood: dataclasses, `tuple[T, ...]`, StrEnum, `T | None`, `dict[str, T]`, int, float, str and
bool.
Every field is written, also when it has its default: a default that changes in a later version must
not change what was decided earlier. A field that is missing on reading has its default (that is how
a newer reld reads an older state); a field that is not known is an error, because silently dropping
what a newer reld knew could signal the wrong process.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Callable, Hashable, Mapping
from enum import Enum
from functools import cache
from typing import Any, TypeVar

from reld.errors import StoreError

_T = TypeVar("_T")
_Decode = Callable[[Any, str], Any]


def dumps(value: Any) -> str:
    """JSON text of a dataclass.

    Raises:
        StoreError: it holds something that JSON cannot say, such as an infinite number.
    """
    try:
        return json.dumps(encode(value), separators=(",", ":"), allow_nan=False)
    except ValueError as error:
        raise StoreError(f"cannot write {type(value).__name__}: {error}") from error


def loads(kind: type[_T], text: str) -> _T:
    """The dataclass that `dumps` wrote.

    Raises:
        StoreError: the text is not JSON or not a `kind`; the message names the place.
    """
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise StoreError(f"cannot read {kind.__name__}: not JSON: {error}") from error
    return decode(kind, raw)


def encode(value: Any) -> Any:
    """Plain JSON values (dict, list, str, …) of a dataclass."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (str, int, float)):
        return value
    if isinstance(value, tuple):
        return [encode(item) for item in value]
    if isinstance(value, Mapping):
        return {key: encode(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value):
        return {
            name: encode(getattr(value, name)) for name in _names(typing.cast("Any", type(value)))
        }
    raise StoreError(f"cannot write a {type(value).__name__}: the codec does not know this type")


def decode(kind: type[_T], raw: Any) -> _T:
    """The reverse of `encode`.

    Raises:
        StoreError: `raw` is not a `kind`; the message names the place.
    """
    return typing.cast("_T", _decoder(typing.cast("Any", kind))(raw, kind.__name__))


@cache
def _names(kind: Hashable) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(typing.cast("Any", kind)))


@cache
def _decoder(kind: Hashable) -> _Decode:
    if dataclasses.is_dataclass(kind):
        return _dataclass(typing.cast("type", kind))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _enum(kind)
    if kind in _SCALARS:
        return _SCALARS[kind]
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple and len(args) == 2 and args[1] is Ellipsis:
        return _many(args[0])
    if origin is tuple:
        return _group(args)
    if origin in (typing.Union, types.UnionType):
        inner = [arg for arg in args if arg is not types.NoneType]
        if len(inner) == 1 and len(args) == 2:
            return _optional(inner[0])
    if origin is not None and issubclass(origin, Mapping) and args[0] is str:
        return _mapping(args[1])
    raise TypeError(f"the codec does not know {kind!r}")


def _wrong(place: str, expected: str, raw: Any) -> StoreError:
    seen = "null" if raw is None else type(raw).__name__
    return StoreError(f"cannot read {place}: expected {expected}, found {seen}")


def _string(raw: Any, place: str) -> str:
    if not isinstance(raw, str):
        raise _wrong(place, "text", raw)
    return raw


def _boolean(raw: Any, place: str) -> bool:
    if not isinstance(raw, bool):
        raise _wrong(place, "true or false", raw)
    return raw


def _integer(raw: Any, place: str) -> int:
    if isinstance(raw, bool) or not isinstance(raw, int):
        raise _wrong(place, "a whole number", raw)
    return raw


def _number(raw: Any, place: str) -> float:
    if isinstance(raw, bool) or not isinstance(raw, (int, float)):
        raise _wrong(place, "a number", raw)
    try:
        number = float(raw)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise StoreError(f"cannot read {place}: the number is not finite")
    return number


_SCALARS: dict[Any, _Decode] = {str: _string, bool: _boolean, int: _integer, float: _number}


def _enum(kind: type[Enum]) -> _Decode:
    values = {member.value: member for member in kind}

    def read(raw: Any, place: str) -> Enum:
        if not isinstance(raw, str) or raw not in values:
            known = ", ".join(str(value) for value in values)
            raise StoreError(f"cannot read {place}: {raw!r} is none of {known}")
        return values[raw]

    return read


def _many(item: Any) -> _Decode:
    one = _decoder(item)

    def read(raw: Any, place: str) -> tuple[Any, ...]:
        if not isinstance(raw, list):
            raise _wrong(place, "a list", raw)
        return tuple(one(value, f"{place}[{index}]") for index, value in enumerate(raw))

    return read


def _group(items: tuple[Any, ...]) -> _Decode:
    each = tuple(_decoder(item) for item in items)

    def read(raw: Any, place: str) -> tuple[Any, ...]:
        if not isinstance(raw, list) or len(raw) != len(each):
            raise _wrong(place, f"a list of {len(each)}", raw)
        return tuple(
            one(v, f"{place}[{i}]") for i, (one, v) in enumerate(zip(each, raw, strict=True))
        )

    return read


def _optional(item: Any) -> _Decode:
    one = _decoder(item)
    return lambda raw, place: None if raw is None else one(raw, place)


def _mapping(item: Any) -> _Decode:
    one = _decoder(item)

    def read(raw: Any, place: str) -> dict[str, Any]:
        if not isinstance(raw, dict):
            raise _wrong(place, "an object", raw)
        return {key: one(value, f"{place}.{key}") for key, value in raw.items()}

    return read


def _dataclass(kind: type) -> _Decode:
    hints = typing.get_type_hints(kind)
    fields = dataclasses.fields(kind)
    decoders = {field.name: _decoder(hints[field.name]) for field in fields}
    needed = {
        field.name
        for field in fields
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }

    def read(raw: Any, place: str) -> Any:
        if not isinstance(raw, dict):
            raise _wrong(place, "an object", raw)
        for name in raw:
            if name not in decoders:
                raise StoreError(
                    f"cannot read {place}: this reld does not know its field {name!r}",
                    "it was written by a newer reld: install that version again",
                )
        for name in needed:
            if name not in raw:
                raise StoreError(f"cannot read {place}: its field {name!r} is missing")
        return kind(**{name: decoders[name](raw[name], f"{place}.{name}") for name in raw})

    return read
