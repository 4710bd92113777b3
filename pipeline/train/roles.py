"""The fields of a training by their role: kept apart, and a digest of all that is learnt from."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.errors import ConfigError
from pipeline.train.config import TrainConfig
from pipeline.train.datasets import load_fields
from pipeline.train.fields import Field


@dataclass(frozen=True, slots=True, eq=False)
class Roles:
    """Fields to learn, by source, and fields that choose step and threshold.

    Attributes
    ----------
    digest
        Of every pixel and mark of both: what was learnt from other ones is another training.
    """

    training: Sequence[Sequence[Field]]
    validation: Sequence[Field]
    digest: str


def load_roles(config: TrainConfig, *, data: Path) -> Roles:
    """Read the fields of a training; those held out are read as well, and only looked at.

    Raises
    ------
    AnnotationError
        Fields cannot be used.
    ConfigError
        One field has two roles.
    """
    training = [load_fields(source, data=data) for source in config.training]
    validation = [field for source in config.validation for field in load_fields(source, data=data)]
    _check_apart(training, validation, "validated on")
    for source in config.held_out:
        _check_apart(training, load_fields(source, data=data), "held out")
    return Roles(training, validation, _digest([*training, validation]))


def _check_apart(training: Sequence[Sequence[Field]], others: Sequence[Field], what: str) -> None:
    trained = {(field.name, field.image.tobytes()) for fields in training for field in fields}
    for field in others:
        if (field.name, field.image.tobytes()) in trained:
            raise ConfigError(f"{field.name}: is both trained on and {what}; exclude it once")


def _digest(sources: Sequence[Sequence[Field]]) -> str:
    found = hashlib.sha256()
    for fields in sources:
        for field in fields:
            found.update(f"{field.name} {field.mpp_um} {field.image.shape}".encode())
            for part in (field.image, field.x_px, field.y_px, field.label, field.other_xy_px):
                found.update(np.ascontiguousarray(part).data)
    return found.hexdigest()
