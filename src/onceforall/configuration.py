"""From `key=value` words on the command line to a typed config dataclass, and back to YAML."""

import contextlib
import dataclasses
import difflib
import re
import types
import typing
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from .errors import ConfigError, FileFormatError

CONF_MODULE = "onceforall.conf"
Config = TypeVar("Config")


@dataclasses.dataclass(frozen=True)
class Key:
    """One settable key of a config: its dotted name, its type in words, its default and its meaning with units."""

    name: str
    type_name: str
    default: Any
    help: str
    is_text: bool


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
        is_text = str in _members(hint) and not {int, float, bool} & set(_members(hint))
        found.append(Key(name, _type_name(hint), default, field.metadata.get("help", ""), is_text))
    return found


def groups_of(config_name: str) -> dict[str, list[str]]:
    """The config groups a command composes from, each with the options that can be chosen."""
    from omegaconf import DictConfig, OmegaConf

    primary = resources.files(CONF_MODULE) / f"{config_name}.yaml"
    if not primary.is_file():
        return {}
    loaded = OmegaConf.create(primary.read_text(encoding="utf-8"))
    assert isinstance(loaded, DictConfig)
    entries = [entry for entry in loaded.defaults if isinstance(entry, DictConfig)]
    names = [str(key).removeprefix("optional ") for entry in entries for key in entry]
    return {name: _options(resources.files(CONF_MODULE) / name) for name in names}


def compose(config_name: str, config_class: type[Config], overrides: Sequence[str]) -> Config:
    """Compose the config of a command: dataclass defaults, then YAML groups, then `overrides` (`key=value`).

    Raises:
        ConfigError: an unknown key (names the nearest valid ones), an unknown group option, or a value of a wrong type.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_module
    from hydra.core.config_store import ConfigStore
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    groups = groups_of(config_name)
    words = [_checked_override(word, config_class, groups) for word in overrides]
    schema = f"{config_name}_schema" if groups else config_name
    ConfigStore.instance().store(name=schema, node=config_class)
    with _one_line_errors(config_class):
        try:
            with initialize_config_module(CONF_MODULE, version_base="1.3"):
                composed = hydra_compose(config_name, overrides=words)
        except HydraException as error:
            # Hydra wraps the precise complaint; the one underneath names key, value and type.
            raise (error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error) from None
        return _to_dataclass(OmegaConf.merge(OmegaConf.structured(config_class), composed), config_class)


def to_yaml(config: Any) -> str:
    """The config as YAML text that `from_yaml` reads back equal."""
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(OmegaConf.structured(config))


def from_yaml(config_class: type[Config], path: str | Path) -> Config:
    """Read a config written by `to_yaml`.

    Raises:
        FileFormatError: the file is missing or no YAML.
        ConfigError: it holds an unknown key or a value of a wrong type, for instance from another version.
    """
    import yaml
    from omegaconf import DictConfig, OmegaConf

    try:
        loaded = OmegaConf.load(path)
    except FileNotFoundError as error:
        raise FileFormatError(f"{path} does not exist") from error
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise FileFormatError(f"{path} is not a YAML file; it may be truncated") from error
    if not isinstance(loaded, DictConfig) or list(loaded.values()) == [None]:
        raise FileFormatError(f"{path} is not a config: it holds no `key: value` lines")
    with _one_line_errors(config_class, f"{path}: "):
        return _to_dataclass(OmegaConf.merge(OmegaConf.structured(config_class), loaded), config_class)


def given_keys(overrides: Sequence[str]) -> set[str]:
    """The dotted names that a list of `key=value` words sets."""
    return {word.lstrip("+~").partition("=")[0] for word in overrides}


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


def _checked_override(word: str, config_class: type, groups: dict[str, list[str]]) -> str:
    """Check one `key=value` word and quote text values, so that paths and JSON need no knowledge of Hydra's grammar."""
    keys = {key.name: key for key in keys_of(config_class)}
    names = [*groups, *keys]
    name, equals, value = word.partition("=")
    if word.startswith("-"):
        plain = word.lstrip("-").replace("-", "_")
        raise ConfigError(
            f"{word}: options are written key=value without dashes; {nearest(plain.partition('=')[0], names)}"
        )
    if not equals and not word.startswith("~"):
        raise ConfigError(f"{word}: options are written key=value; {nearest(word, names)}")
    name = name.lstrip("+~")
    if name in groups:
        if value not in groups[name]:
            raise ConfigError(f"{name}={value}: no such option; {nearest(value, groups[name])}")
        return word
    inside_mapping = any(name.startswith(key + ".") and keys[key].type_name == "mapping" for key in keys)
    if name not in keys and not inside_mapping:
        raise ConfigError(f"{name}: unknown key; {nearest(name, names)}")
    if name in keys and keys[name].is_text and value != "null":
        return f"{name}={_quoted(value)}"
    _check_grammar(word)
    return word


def _quoted(text: str) -> str:
    """`text` between single quotes as Hydra's grammar wants it: backslashes count only before a quote or at the end."""
    if len(text) > 1 and text[0] == text[-1] and text[0] in {"'", '"'}:
        text = text[1:-1]
    text = re.sub(r"(\\*)'", r"\1\1\\'", text)
    return "'" + re.sub(r"(\\+)$", r"\1\1", text) + "'"


def _check_grammar(word: str) -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        parsed = OverridesParser.create().parse_override(word)
    except HydraException as error:
        raise ConfigError(f"{word}: the value cannot be read; write numbers, true, null, text or [a,b]") from error
    if parsed.is_sweep_override():
        raise ConfigError(f"{word}: one value is needed; write a list as [a,b] (in quotes in most shells)")


@contextlib.contextmanager
def _one_line_errors(config_class: type, where: str = "") -> Iterator[None]:
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        yield
    except OmegaConfBaseException as error:
        name = (error.full_key or "").partition("[")[0]
        keys = {key.name: key for key in keys_of(config_class)}
        if name in keys:
            value = getattr(error, "value", None)
            shown = "null" if value is None else repr(value)
            raise ConfigError(f"{where}{name}: the value {shown} is not {_in_words(keys[name].type_name)}") from error
        if name:
            raise ConfigError(f"{where}{name}: unknown key; {nearest(name, list(keys))}") from error
        raise ConfigError(where + _first_line(error)) from error
    except HydraException as error:
        raise ConfigError(where + _first_line(error)) from error


def _to_dataclass(merged: Any, config_class: type[Config]) -> Config:
    from omegaconf import OmegaConf

    config = OmegaConf.to_object(merged)
    assert isinstance(config, config_class)
    return _restore_tuples(config)


def _restore_tuples(config: Any) -> Any:
    """OmegaConf knows only lists; the dataclasses declare tuples, which are hashable and compare by value."""
    hints = typing.get_type_hints(type(config))
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            changes[field.name] = _restore_tuples(value)
        elif isinstance(value, list) and tuple in map(typing.get_origin, _members(hints[field.name])):
            changes[field.name] = _deep_tuple(value)
    return dataclasses.replace(config, **changes)


def _deep_tuple(value: Any) -> Any:
    return tuple(_deep_tuple(item) for item in value) if isinstance(value, list) else value


def _options(folder: Any, prefix: str = "") -> list[str]:
    """Names of all YAML files below a group folder, nested ones with slashes."""
    if not folder.is_dir():
        return []
    found: list[str] = []
    for entry in sorted(folder.iterdir(), key=lambda item: item.name):
        if entry.is_dir():
            found += _options(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".yaml"):
            found.append(prefix + entry.name.removesuffix(".yaml"))
    return found


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in {typing.Union, types.UnionType}


def _members(hint: Any) -> tuple[Any, ...]:
    """The alternatives of a union; one for any other type."""
    return typing.get_args(hint) if _is_union(hint) else (hint,)


def _dataclass_in(hint: Any) -> type | None:
    """The dataclass a field holds, looking through `| None`."""
    for member in _members(hint):
        if dataclasses.is_dataclass(member) and isinstance(member, type):
            return member
    return None


def _type_name(hint: Any) -> str:
    if _is_union(hint):
        return " | ".join("null" if member is type(None) else _type_name(member) for member in typing.get_args(hint))
    if typing.get_origin(hint) in {list, tuple}:
        return f"list of {_type_name(typing.get_args(hint)[0])}"
    if typing.get_origin(hint) is dict:
        return "mapping"
    return "text" if hint is str else getattr(hint, "__name__", str(hint))


def _in_words(type_name: str) -> str:
    words = {"int": "a whole number", "float": "a number", "bool": "true or false", "mapping": "a mapping {key: value}"}
    words |= {f"list of {name}": f"a list [a,b] of {name} values" for name in ("int", "float", "text")}
    return " or ".join(words.get(name, name) for name in type_name.split(" | "))


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
