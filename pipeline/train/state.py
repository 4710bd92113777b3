"""The state of a training in one atomic file, so that a kill costs only the steps since."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from pipeline.errors import ModelError
from pipeline.io.files import atomic_path

STATE_NAME = "state.safetensors"


@dataclass(slots=True)
class Progress:
    """What a training has come to, besides its tensors.

    Attributes
    ----------
    step
        Steps done.
    best_score
        Highest validation score so far.
    loss_sum, loss_steps
        Of the steps since the last validation.
    history
        One row per validation, in order.
    """

    step: int = 0
    best_score: float = -1.0
    best_step: int = 0
    loss_sum: float = 0.0
    loss_steps: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)


def save_state(
    path: Path,
    *,
    config_digest: str,
    fields_digest: str,
    progress: Progress,
    network: torch.nn.Module,
    averaged: torch.nn.Module | None,
    optimizer: torch.optim.Optimizer,
) -> None:
    """Write everything that the next step depends on; the file is there whole or not at all."""
    tensors = _prefixed("network", network.state_dict())
    if averaged is not None:
        tensors |= _prefixed("averaged", averaged.state_dict())
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= _prefixed(f"optimizer.{index}", moments)
    told = {"config": config_digest, "fields": fields_digest, "progress": asdict(progress)}
    # one entry: several would be written in an arbitrary order, and equal states differ in bytes
    metadata = {"state": json.dumps(told)}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata=metadata)


def load_state(
    path: Path,
    *,
    config_digest: str,
    fields_digest: str,
    network: torch.nn.Module,
    averaged: torch.nn.Module | None,
    optimizer: torch.optim.Optimizer,
) -> Progress:
    """Put a saved state back, in place.

    Raises
    ------
    ModelError
        The file is damaged, or was made with other settings or fields.
    """
    try:
        with safe_open(path, framework="pt") as stored:
            told = json.loads((stored.metadata() or {})["state"])
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise ModelError(f"{path.name}: damaged ({error}); train anew") from error
    if told["config"] != config_digest:
        raise ModelError(
            f"{path.name}: was saved with other settings; give them again or another --out"
        )
    if told.get("fields", fields_digest) != fields_digest:  # older states do not tell
        raise ModelError(
            f"{path.name}: images or annotations have changed since it was saved; restore them or "
            "give another --out"
        )
    network.load_state_dict(_part(tensors, "network"))
    if averaged is not None:
        averaged.load_state_dict(_part(tensors, "averaged"))
    whole = optimizer.state_dict()
    whole["state"] = _moments(_part(tensors, "optimizer"))
    optimizer.load_state_dict(whole)
    return Progress(**told["progress"])


def _prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        f"{prefix}.{name}": value.detach().cpu().contiguous().clone()
        for name, value in tensors.items()
    }


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {name.removeprefix(start): v for name, v in tensors.items() if name.startswith(start)}


def _moments(tensors: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, _, kind = name.partition(".")
        moments.setdefault(int(index), {})[kind] = value
    return moments
