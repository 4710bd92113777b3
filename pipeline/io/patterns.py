"""Patterns of paths: which slides of an input are taken and which are left out."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Self

from fsspec.utils import glob_translate

from pipeline.config import InputSettings
from pipeline.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Wanted:
    """The rule of ``inputs.include`` and ``inputs.exclude``; small and capital letters are alike.

    A pattern is matched against the path below the input, with forward slashes. ``*`` and ``?``
    stop at a slash, ``**`` does not. A pattern without a slash looks at the name alone, in every
    folder; one that ends with a slash means all below that folder.
    """

    include: tuple[re.Pattern[str], ...] = ()
    exclude: tuple[re.Pattern[str], ...] = ()

    @classmethod
    def of(cls, settings: InputSettings) -> Self:
        """Read the patterns of the settings.

        Raises
        ------
        ConfigError
            One of them is no pattern.
        """
        return cls(
            _compiled("inputs.include", settings.include),
            _compiled("inputs.exclude", settings.exclude),
        )

    def takes(self, relative: PurePosixPath | str) -> bool:
        """Whether a path is taken: by an ``include``, if there are any, and by no ``exclude``."""
        text = str(relative)
        if self.include and not any(pattern.fullmatch(text) for pattern in self.include):
            return False
        return not any(pattern.fullmatch(text) for pattern in self.exclude)


def _compiled(key: str, patterns: Sequence[str]) -> tuple[re.Pattern[str], ...]:
    return tuple(_pattern(key, text) for text in patterns)


def _pattern(key: str, text: str) -> re.Pattern[str]:
    plain = text.strip().removeprefix("./")
    if not plain or plain.startswith("/"):
        raise ConfigError(
            f"{key}: {text!r} is no pattern of paths below an input; write one like **/case*/*.svs"
        )
    whole = f"{plain}**" if plain.endswith("/") else plain
    try:
        made = glob_translate(whole if "/" in whole else f"**/{whole}")
        return re.compile(made, re.IGNORECASE)
    except (ValueError, re.error) as error:
        raise ConfigError(
            f"{key}: {text!r} is no pattern ({error}); ** stands alone between slashes"
        ) from error
