"""Settings of an experiment: a base training, what varies, the folds, the budget."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from pipeline.config import Section, set_pair, validated
from pipeline.errors import ConfigError
from pipeline.train.config import SourceConfig, TrainConfig

SAFE_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
Patterns = dict[str, tuple[str, ...]]
"""Source name -> patterns of image names."""


class Fold(Section):
    """Which images are tested on, which choose step and threshold; all others train."""

    name: str = Field(pattern=SAFE_NAME)
    group: str = Field("all folds", min_length=1, description="folds averaged into one row")
    training: Patterns = Field(default_factory=dict, description="empty: every source")
    validation: Patterns = Field(default_factory=dict)
    held_out: Patterns = Field(min_length=1)


class Variant(Section):
    """One thing to compare."""

    name: str = Field(pattern=SAFE_NAME)
    changes: dict[str, Any] = Field(default_factory=dict, description="to the base training")
    trained_as: str | None = Field(
        None, description="take that variant's networks; only post.kind may differ"
    )
    classical: bool = Field(default=False, description="the detector without a network")


class Experiment(Section):
    """A comparison of variants over folds and seeds, each training with the same budget."""

    name: str = Field(pattern=SAFE_NAME)
    question: str = Field(min_length=1)
    base: dict[str, Any] = Field(description="settings of a training without its sources")
    sources: tuple[SourceConfig, ...] = Field(min_length=1)
    folds: tuple[Fold, ...] = Field(min_length=1)
    variants: tuple[Variant, ...] = Field(min_length=1)
    seeds: tuple[int, ...] = Field((1,), min_length=1)
    steps: int | None = Field(None, gt=0, description="budget: steps of each training")
    minutes: float | None = Field(None, gt=0, description="budget: time of each training's steps")
    thresholds: Literal["validation", "cross_fitted"] = Field(
        "validation",
        description="chosen on a fold's validation fields, or on what other folds' networks found "
        "on the fields that the fold trained on",
    )

    @model_validator(mode="after")
    def _names_fit(self) -> "Experiment":
        if (self.steps is None) == (self.minutes is None):
            raise ValueError("give one budget: steps or minutes")
        for what, names in (
            ("source", [source.name for source in self.sources]),
            ("fold", [fold.name for fold in self.folds]),
            ("variant", [variant.name for variant in self.variants]),
        ):
            for name in names:
                if names.count(name) > 1:
                    raise ValueError(f"two {what}s have the name {name!r}")
        known = {source.name for source in self.sources}
        for fold in self.folds:
            for name in [*fold.training, *fold.validation, *fold.held_out]:
                if name not in known:
                    raise ValueError(f"fold {fold.name}: there is no source {name!r}")
        self._check_thresholds()
        self._check_shared_trainings()
        return self

    def _check_thresholds(self) -> None:
        for fold in self.folds:
            if bool(fold.validation) == (self.thresholds == "cross_fitted"):
                wanted = "no validation" if fold.validation else "validation"
                raise ValueError(
                    f"fold {fold.name}: thresholds={self.thresholds} needs {wanted} fields"
                )

    def _check_shared_trainings(self) -> None:
        by_name = {variant.name: variant for variant in self.variants}
        for variant in self.variants:
            if variant.trained_as is None:
                continue
            origin = by_name.get(variant.trained_as)
            if origin is None or origin.classical or origin.trained_as is not None:
                raise ValueError(
                    f"variant {variant.name}: trained_as={variant.trained_as} is no variant with "
                    "networks of its own"
                )
            post = variant.changes.get("post")
            if variant.changes != {"post": post} or set(post or ()) - {"kind"}:
                raise ValueError(f"variant {variant.name}: only post.kind may differ")

    def variant(self, name: str) -> Variant:
        """Return the variant of a name."""
        return next(variant for variant in self.variants if variant.name == name)

    def training_config(self, variant: Variant, fold: Fold, seed: int, steps: int) -> TrainConfig:
        """All settings of one training.

        Raises
        ------
        ConfigError
            A change of the variant fits no setting.
        """
        settings = self.base
        trained = variant.trained_as
        if trained is not None:
            settings = merged(settings, self.variant(trained).changes)
        settings = merged(settings, variant.changes)
        settings = settings | {
            "seed": seed,
            "steps": steps,
            "training": self._training(fold),
            "validation": self._chosen(fold.validation),
            "held_out": self._chosen(fold.held_out),
        }
        return validated(TrainConfig, settings)

    def _training(self, fold: Fold) -> list[SourceConfig]:
        kept = []
        for source in self.sources:
            if fold.training and source.name not in fold.training:
                continue
            elsewhere = fold.validation.get(source.name, ()) + fold.held_out.get(source.name, ())
            changes = {
                "include": fold.training.get(source.name, source.include),
                "exclude": source.exclude + elsewhere,
            }
            kept.append(source.model_copy(update=changes))
        return kept

    def _chosen(self, patterns: Patterns) -> list[SourceConfig]:
        return [
            source.model_copy(update={"include": patterns[source.name]})
            for source in self.sources
            if source.name in patterns
        ]


def load_experiment(path: Path, overrides: Sequence[str] = ()) -> Experiment:
    """Read an experiment's TOML file, then ``key=value`` pairs; ``base`` may name another file.

    Raises
    ------
    ConfigError
        Unknown key, bad value, unreadable file.
    """
    settings = _read(path)
    if isinstance(settings.get("base"), str):
        settings["base"] = _read(path.parent / settings["base"])
    for pair in overrides:
        set_pair(settings, pair)
    experiment = validated(Experiment, settings)
    for variant in experiment.variants:  # a misspelt change is told now, not hours later
        experiment.training_config(variant, experiment.folds[0], experiment.seeds[0], 1)
    return experiment


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Base settings with changes put in, section by section."""
    both = dict(base)
    for key, value in changes.items():
        old = both.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            both[key] = merged(old, value)
        else:
            both[key] = value
    return both


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path.name}: cannot be read as TOML: {error}") from error
