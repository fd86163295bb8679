"""From `key=value` words on the command line to a typed config dataclass, and back to YAML."""

import contextlib
import dataclasses
import json
import math
import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from .errors import ConfigError, FileFormatError
from .settings import in_words, keys_around, keys_of, members, nearest

CONF_MODULE = "onceforall.conf"
Config = TypeVar("Config")


def check_least(config: object, **least: int) -> None:
    """Raise ConfigError, naming the key, where a number of a config is infinite or below its least; None is none."""
    for name, bound in least.items():
        value = getattr(config, name)
        if value is not None and not bound <= value < math.inf:
            finite = "" if math.isfinite(value) else ", and finite"
            raise ConfigError(f"{name}={value}: must be {bound} or greater{finite}")


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
    from hydra import initialize, initialize_config_module
    from hydra.core.config_store import ConfigStore
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    groups = groups_of(config_name)
    # Hydra would take a text key for a group of presets that only another command has.
    hidden = {
        key.name for key in keys_of(config_class) if key.is_text and key.name not in groups and _is_group(key.name)
    }
    late = {name: value for name, _, value in (word.partition("=") for word in overrides) if name in hidden}
    words = [_checked_override(w, config_class, groups) for w in overrides if w.partition("=")[0] not in hidden]
    # Hydra merges; what may be anything can also be a list where a preset has a mapping.
    anything = tuple(key.name for key in keys_of(config_class) if key.type_name == "value")
    loose = [word for word in words if _lies_in(word.lstrip("+").partition("=")[0], anything)]
    schema = f"{config_name}_schema" if groups else config_name
    ConfigStore.instance().store(name=schema, node=config_class)
    # Without presets of its own a command must not see those of others: its keys may have the same names.
    place = partial(initialize_config_module, CONF_MODULE) if groups else partial(initialize, None)
    with _one_line_errors(config_class):
        try:
            with place(version_base="1.3"):
                composed = hydra_compose(config_name, overrides=[word for word in words if word not in loose])
        except HydraException as error:
            # Hydra wraps the precise complaint; the one underneath names key, value and type.
            raise (error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error) from None
        merged = OmegaConf.merge(OmegaConf.structured(config_class), composed, late)
        _update(merged, loose)
        return _to_dataclass(merged, config_class)


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
    if not isinstance(loaded, DictConfig) or list(loaded.values()) in ([], [None]):
        raise FileFormatError(f"{path} is not a config: it holds no `key: value` lines")
    with _one_line_errors(config_class, f"{path}: "):
        return _to_dataclass(OmegaConf.merge(OmegaConf.structured(config_class), loaded), config_class)


def from_values(
    config_class: type[Config], values: Mapping[str, Any], overrides: Sequence[str] = (), where: str = ""
) -> Config:
    """A config of nested values, then `overrides` (`key=value`); what neither sets keeps its default.

    Raises:
        ConfigError: an unknown key or a value of a wrong type; begins with `where`.
    """
    from omegaconf import OmegaConf

    words = [_checked_override(word, config_class, {}) for word in overrides]
    with _one_line_errors(config_class, where):
        merged = OmegaConf.merge(OmegaConf.structured(config_class), values)
        _update(merged, words)
        return _to_dataclass(merged, config_class)


def given_keys(overrides: Sequence[str]) -> set[str]:
    """The dotted names that a list of `key=value` words sets."""
    return {word.lstrip("+~").partition("=")[0] for word in overrides}


def _update(merged: Any, words: Sequence[str]) -> None:
    """Set what `key=value` words say; a mapping changes a mapping, other values take the place of what was there."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import DictConfig, OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    for parsed in OverridesParser.create().parse_overrides(list(words)):
        key, value = parsed.key_or_group, parsed.value()
        try:
            merge = isinstance(value, dict) and isinstance(OmegaConf.select(merged, key), DictConfig)
            OmegaConf.update(merged, key, value, merge=merge)
        except OmegaConfBaseException:
            raise
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{key}: there is a list in its way; set the whole value") from error


def _lies_in(name: str, keys: Sequence[str]) -> bool:
    return any(name == key or name.startswith(f"{key}.") for key in keys)


def _checked_override(word: str, config_class: type, groups: dict[str, list[str]]) -> str:
    """Check one `key=value` word and quote text values, so that paths and JSON need no knowledge of Hydra's grammar."""
    name, equals, value = word.partition("=")
    keys = {key.name: key for key in keys_around(config_class, name.lstrip("+~"))}
    names = [*groups, *keys]
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
    inside_mapping = any(
        name.startswith(key + ".")
        and keys[key].type_name in ("mapping", "value")
        and not (keys[key].entries and "." in name[len(key) + 1 :])
        for key in keys
    )
    if name not in keys and not inside_mapping:
        raise ConfigError(f"{name}: unknown key; {nearest(name, names)}")
    if name in keys and keys[name].is_text and value != "null":
        return f"{name}={_quoted(value)}"
    if _is_json(value):
        word = re.sub(r'([{,]\s*)"([A-Za-z_]\w*)"\s*:', r"\1\2: ", word)  # Hydra's keys have no quotes
    _check_grammar(word)
    return word


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


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
        keys = {key.name: key for key in keys_around(config_class, name)}
        if name in keys:
            value = getattr(error, "value", None)
            shown = "null" if value is None else repr(value)
            raise ConfigError(f"{where}{name}: the value {shown} is not {in_words(keys[name].type_name)}") from error
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
        elif isinstance(value, list) and any(typing.get_origin(hint) is tuple for hint in members(hints[field.name])):
            changes[field.name] = _deep_tuple(value)
    return dataclasses.replace(config, **changes)


def _deep_tuple(value: Any) -> Any:
    return tuple(_deep_tuple(item) for item in value) if isinstance(value, list) else value


def _is_group(name: str) -> bool:
    return (resources.files(CONF_MODULE) / name).is_dir()


def _options(folder: Any, prefix: str = "") -> list[str]:
    """Names of the YAML files below a group folder, nested ones with slashes; `_` begins those that others build on."""
    if not folder.is_dir():
        return []
    found: list[str] = []
    for entry in sorted(folder.iterdir(), key=lambda item: item.name):
        if entry.is_dir():
            found += _options(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".yaml") and not entry.name.startswith("_"):
            found.append(prefix + entry.name.removesuffix(".yaml"))
    return found


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
