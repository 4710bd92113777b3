"""Settings read from TOML and ``--set`` pairs; an unknown key is refused, the nearest one named."""

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from pipeline.config.settings import RunConfig
from pipeline.errors import ConfigError

T = TypeVar("T", bound=BaseModel)


def load_config(path: Path | None = None, overrides: Sequence[str] = ()) -> RunConfig:
    """Defaults, then a TOML file, then ``section.key=value`` pairs (TOML values or bare words).

    Raises
    ------
    ConfigError
        Unknown key (the nearest known one is named), bad value, unreadable file.
    """
    return validated(RunConfig, given_settings(path, overrides))


def given_settings(path: Path | None, overrides: Sequence[str]) -> dict[str, Any]:
    """Only what a TOML file and ``section.key=value`` pairs say, not checked.

    Raises
    ------
    ConfigError
        Unreadable file, or a pair that is none.
    """
    settings: dict[str, Any] = {}
    if path is not None:
        try:
            settings = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"{path.name}: cannot be read as TOML: {error}") from error
    for pair in overrides:
        set_pair(settings, pair)
    return settings


def overlaid(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of ``above`` in place of those of ``below``, section by section."""
    both = dict(below)
    for name, value in above.items():
        deeper = isinstance(value, Mapping) and isinstance(both.get(name), Mapping)
        both[name] = overlaid(both[name], value) if deeper else value
    return both


def validated(model: type[T], settings: Mapping[str, Any]) -> T:
    """Build a settings model; all of pydantic's complaints become one ConfigError line."""
    try:
        return model.model_validate(settings)
    except ValidationError as error:
        lines = [_complaint(model, dict(item)) for item in error.errors()]
        raise ConfigError("; ".join(lines)) from error


def set_pair(settings: dict[str, Any], pair: str) -> None:
    """Put a ``section.key=value`` pair into settings; the value is TOML or a bare word.

    Raises
    ------
    ConfigError
        It is no such pair, or a section on its way is a value.
    """
    key, sign, text = pair.partition("=")
    if not sign or not key:
        raise ConfigError(f"--set {pair}: write it as section.key=value")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    target = settings
    *sections, last = key.strip().split(".")
    for name in sections:
        target = target.setdefault(name, {})
        if not isinstance(target, dict):
            raise ConfigError(f"--set {pair}: {name} is not a section")
    target[last] = value


def _complaint(model: type[BaseModel], item: dict[str, Any]) -> str:
    location = [str(part) for part in item["loc"]]
    key = ".".join(location)
    if item["type"] != "extra_forbidden":
        message = f"{key or 'settings'}: {item['msg'].removeprefix('Value error, ')}"
        given = item["input"]
        # a whole section, or settings already made, would drown the message
        plain = given is None or isinstance(given, bool | int | float | str)
        return f"{message}, got {given!r}" if plain else message
    known = known_keys(model)
    # a right name in the wrong section is nearer to the user's meaning than a like-sounding path
    same_name = [name for name in known if name.split(".")[-1] == location[-1]]
    sections = sorted({name.split(".")[0] for name in known})
    near = same_name or difflib.get_close_matches(key, [*sections, *known], n=1, cutoff=0.3)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"unknown setting {key}{hint}"


def known_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Dotted names of all settings of a model."""
    keys = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            keys += known_keys(kind, f"{prefix}{name}.")
        else:
            keys.append(f"{prefix}{name}")
    return keys
