"""The keys of a config dataclass: names, types in words, defaults, meanings, and the nearest one to a typo."""

import dataclasses
import difflib
import types
import typing
from collections.abc import Sequence
from typing import Any


def setting(default: Any, help: str) -> Any:
    """A dataclass field whose meaning, with units, travels with it to `--help`."""
    if isinstance(default, list | dict):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata={"help": help})
    return dataclasses.field(default=default, metadata={"help": help})


@dataclasses.dataclass(frozen=True)
class Key:
    """One settable key of a config: its dotted name, its type in words, its default and its meaning with units.

    `entries` is the dataclass of the values of a mapping, where they are one.
    """

    name: str
    type_name: str
    default: Any
    help: str
    is_text: bool
    entries: type | None = None


def keys_of(config_class: type, prefix: str = "") -> list[Key]:
    """Every leaf key of a config dataclass, nested dataclasses flattened to dotted names."""
    hints = typing.get_type_hints(config_class)
    found: list[Key] = []
    for field in dataclasses.fields(config_class):
        name, hint = prefix + field.name, hints[field.name]
        nested = _dataclass_in(hint)
        if nested is not None:
            found += keys_of(nested, name + ".")
            continue
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        is_text = str in members(hint) and not {int, float, bool} & set(members(hint))
        entries = _dataclass_in(typing.get_args(hint)[1]) if typing.get_origin(hint) is dict else None
        found.append(Key(name, type_name(hint), default, field.metadata.get("help", ""), is_text, entries))
    return found


def keys_around(config_class: type, name: str) -> list[Key]:
    """Every leaf key, with those of the entry that `name` lies in, where that is inside a mapping of dataclasses."""
    found = keys_of(config_class)
    for key in found:
        entry, dot, _ = name.removeprefix(f"{key.name}.").partition(".")
        if key.entries is not None and dot and name.startswith(f"{key.name}."):
            return found + keys_of(key.entries, f"{key.name}.{entry}.")
    return found


def flatten(config: Any) -> dict[str, Any]:
    """Every leaf key of a config instance with its value."""
    values: dict[str, Any] = {}
    for key in keys_of(type(config)):
        value = config
        for part in key.name.split("."):
            value = getattr(value, part, None)
        values[key.name] = value
    return values


def nearest(word: str, choices: Sequence[str], count: int = 3) -> str:
    """A ready half sentence: `did you mean a or b?`, or the valid choices when nothing is near."""
    tails = {choice.rpartition(".")[2]: choice for choice in choices}
    close = difflib.get_close_matches(word, choices, count, cutoff=0.6)
    close += [
        tails[tail] for tail in difflib.get_close_matches(word.rpartition(".")[2], list(tails), count, cutoff=0.75)
    ]
    unique = list(dict.fromkeys(close))[:count]
    if unique:
        return f"did you mean {' or '.join(unique)}?"
    return f"valid: {', '.join(choices[:12])}{', …' if len(choices) > 12 else ''}"


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in {typing.Union, types.UnionType}


def members(hint: Any) -> tuple[Any, ...]:
    """The alternatives of a union; one for any other type."""
    return typing.get_args(hint) if _is_union(hint) else (hint,)


def _dataclass_in(hint: Any) -> type | None:
    """The dataclass a field holds, looking through `| None`."""
    for member in members(hint):
        if dataclasses.is_dataclass(member) and isinstance(member, type):
            return member
    return None


def type_name(hint: Any) -> str:
    if _is_union(hint):
        return " | ".join("null" if member is type(None) else type_name(member) for member in typing.get_args(hint))
    if typing.get_origin(hint) in {list, tuple}:
        return f"list of {type_name(typing.get_args(hint)[0])}"
    if typing.get_origin(hint) is dict:
        return "mapping"
    return {str: "text", Any: "value"}.get(hint) or getattr(hint, "__name__", str(hint))


def in_words(type_name: str) -> str:
    words = {"int": "a whole number", "float": "a number", "bool": "true or false", "mapping": "a mapping {key: value}"}
    words |= {f"list of {name}": f"a list [a,b] of {name} values" for name in ("int", "float", "text")}
    return " or ".join(words.get(name, name) for name in type_name.split(" | "))
