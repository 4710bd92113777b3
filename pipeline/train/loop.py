"""The training loop: resumable to the bit on the CPU, validated with the pipeline's own rules."""

import csv
import logging
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.config import digest
from pipeline.errors import ConfigError
from pipeline.io.files import atomic_path
from pipeline.model.checkpoint import load_checkpoint
from pipeline.model.registry import HeatmapNetwork, NetworkSpec, build_network
from pipeline.model.zoo import resolve_model
from pipeline.train.ahead import Ahead
from pipeline.train.config import TrainConfig
from pipeline.train.crops import Batch, CropSampler, Plan
from pipeline.train.export import export_model
from pipeline.train.fields import Field
from pipeline.train.optimising import average_weights, learning_rate, make_optimizer
from pipeline.train.plot import plot_history
from pipeline.train.roles import load_roles
from pipeline.train.state import STATE_NAME, Progress, load_state, save_state
from pipeline.train.stepping import EAGER_STEPS, Stepper
from pipeline.train.validation import SweepResult, validate

LOG = logging.getLogger(__name__)

MODEL_FOLDER = "model"
METRICS_NAME = "metrics.csv"
PLOT_NAME = "progress.png"


@dataclass(slots=True, eq=False)
class Trainer:
    """Everything that one training changes."""

    config: TrainConfig
    out: Path
    network: HeatmapNetwork
    averaged: HeatmapNetwork | None
    optimizer: torch.optim.Optimizer
    stepper: Stepper
    sampler: CropSampler
    validation: Sequence[Field]
    fields_digest: str
    progress: Progress

    @property
    def judged(self) -> HeatmapNetwork:
        """The network that is validated and exported."""
        return self.averaged if self.averaged is not None else self.network


def train(
    config: TrainConfig,
    out: Path,
    *,
    data: Path = Path(),
    resume: bool = False,
    stop_after: int | None = None,
    on_row: Callable[[dict[str, Any]], None] | None = None,
) -> Path:
    """Train a network and return the folder of the best model.

    Parameters
    ----------
    config
        All settings.
    out
        Gets ``state.safetensors``, ``metrics.csv``, ``progress.png`` and ``model/``.
    data
        Folder that relative source paths start from.
    resume
        Go on from the state in ``out`` if there is one.
    stop_after
        Stop after this many steps in all, state saved; the schedule stays that of ``steps``.
    on_row
        Called with each validation's row.

    Raises
    ------
    ConfigError, AnnotationError, ModelError
        Settings, fields or a saved state cannot be used; the loss is not finite.
    """
    trainer = _prepare(config, out, data, resume=resume)
    last = config.steps if stop_after is None else min(stop_after, config.steps)
    progress, began = trainer.progress, time.monotonic()
    with _batches(trainer) as batches:
        while progress.step < last and not _stalled(trainer):
            train_step(trainer, _batch(trainer, batches, last))
            step = progress.step
            if step % config.validate_every == 0 or step == config.steps:
                seconds = time.monotonic() - began
                row = _validate_and_keep(trainer)
                if on_row is not None:
                    on_row(row | {"seconds": round(seconds, 1)})
                began = time.monotonic()
            if step % config.save_every == 0 or step == last:
                _save(trainer)
    return out / MODEL_FOLDER


def _stalled(trainer: Trainer) -> bool:
    """Whether ``patience`` validations in a row brought nothing better."""
    config, progress = trainer.config, trainer.progress
    since = (progress.step - progress.best_step) // config.validate_every
    return bool(config.patience and progress.history) and since >= config.patience


def train_step(trainer: Trainer, batch: Batch) -> None:
    """Make one step: weights, averaged weights, progress."""
    progress = trainer.progress
    trainer.stepper.step(batch, progress.step)
    progress.step += 1
    progress.loss_steps += 1
    if trainer.averaged is not None:
        average_weights(trainer.averaged, trainer.network, trainer.config.ema, progress.step)


def seconds_per_step(config: TrainConfig, *, data: Path = Path(), steps: int = 4) -> float:
    """Measure a training step's time; the first ones, which warm up, are left out."""
    trainer = _prepare(config, Path("not-written"), data, resume=False)
    warm = 1 if config.device == "cpu" else EAGER_STEPS + 1
    last = warm + steps
    with _batches(trainer) as batches:
        for _ in range(warm):
            train_step(trainer, _batch(trainer, batches, last))
        trainer.stepper.take_losses(warm)
        began = time.perf_counter()
        for _ in range(steps):
            train_step(trainer, _batch(trainer, batches, last))
        trainer.stepper.take_losses(last)
        return (time.perf_counter() - began) / steps


def _batches(trainer: Trainer) -> Ahead[Batch | Plan]:
    """Whole batches are made ahead on the CPU; for CUDA only what chance decides."""
    sampler = trainer.sampler
    return Ahead(sampler.batch if trainer.config.device == "cpu" else sampler.plan)


def _batch(trainer: Trainer, batches: Ahead[Batch | Plan], last: int) -> Batch:
    ready = batches.get(trainer.progress.step, last=last)
    return trainer.sampler.render(ready) if isinstance(ready, Plan) else ready


def _prepare(config: TrainConfig, out: Path, data: Path, *, resume: bool) -> Trainer:
    state = out / STATE_NAME
    if not resume and (state.exists() or (out / MODEL_FOLDER).exists()):
        raise ConfigError(f"{out.name}: holds a training; add --resume or give another --out")
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device=cuda: torch sees no CUDA device; use --set device=cpu")
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    spec = config.spec
    network = _initial_network(spec, config).to(config.device)
    # a step takes two thirds of the time in this layout, on the CPU too
    nn.utils.convert_conv2d_weight_memory_format(network, torch.channels_last)
    torch.backends.cudnn.benchmark = True
    averaged = deepcopy(network).requires_grad_(requires_grad=False) if config.ema else None
    optimizer = make_optimizer(network, config)
    fields = load_roles(config, data=data)
    trainer = Trainer(
        config=config,
        out=out,
        network=network,
        averaged=averaged,
        optimizer=optimizer,
        stepper=Stepper(config, network, optimizer),
        sampler=CropSampler(config, fields.training, channels=spec.channels),
        validation=[field.resampled(config.mpp_um) for field in fields.validation],
        fields_digest=fields.digest,
        progress=Progress(),
    )
    if state.exists():
        trainer.progress = load_state(
            state,
            config_digest=_digest(config),
            fields_digest=trainer.fields_digest,
            network=network,
            averaged=averaged,
            optimizer=optimizer,
        )
    return trainer


def _initial_network(spec: NetworkSpec, config: TrainConfig) -> HeatmapNetwork:
    if config.initial is None:
        return build_network(spec)
    network, card = load_checkpoint(resolve_model(config.initial))
    if network.spec != spec:
        raise ConfigError(f"initial={config.initial}: {card.name} is another architecture")
    return network


def _validate_and_keep(trainer: Trainer) -> dict[str, Any]:
    config, progress = trainer.config, trainer.progress
    progress.loss_sum += trainer.stepper.take_losses(progress.step)
    loss = progress.loss_sum / max(1, progress.loss_steps)
    progress.loss_sum, progress.loss_steps = 0.0, 0
    result = _validated(trainer)
    row = _row(progress.step, loss, learning_rate(config, progress.step - 1), result)
    progress.history.append(row)
    if result.score > progress.best_score:
        progress.best_score, progress.best_step = result.score, progress.step
        export_model(
            trainer.out / MODEL_FOLDER,
            trainer.judged,
            config,
            threshold=result.threshold,
            validation=result.figures,
            step=progress.step,
        )
    _write_history(trainer.out, progress.history)
    return row


def _validated(trainer: Trainer) -> SweepResult:
    config = trainer.config
    if not trainer.validation:
        # nothing to choose by: the latest step is the one that is kept
        return SweepResult(config.post.threshold or 0.0, float(trainer.progress.step), {})
    return validate(
        _predict_with(trainer.judged, config.device),
        trainer.validation,
        halo_px=config.card.halo_px,
        post=config.post,
        match_radius_um=config.match_radius_um,
        classed=config.channels > 1,
    )


def _predict_with(
    network: HeatmapNetwork, device: str
) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    network.eval()

    def predict(tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        pixels = torch.from_numpy(np.ascontiguousarray(tiles.transpose(0, 3, 1, 2))).to(device)
        with torch.inference_mode():
            heatmap: Tensor = network(pixels)
        return np.asarray(heatmap.float().cpu().numpy(), np.float32)

    return predict


def _row(step: int, loss: float, lr: float, result: SweepResult) -> dict[str, Any]:
    kept = ("f1_labelled", "f1_all", "f1_positive", "f1_negative", "count_mae", "index_mae_pct")
    figures = {name: result.figures.get(name) for name in kept}
    return {
        "step": step,
        "loss": round(loss, 4),
        "lr": float(f"{lr:.4g}"),
        "threshold": result.threshold,
        **figures,
    }


def _write_history(out: Path, history: Sequence[dict[str, Any]]) -> None:
    with (
        atomic_path(out / METRICS_NAME) as path,
        path.open("w", encoding="utf-8", newline="") as stream,
    ):
        writer = csv.DictWriter(stream, fieldnames=list(history[0]))
        writer.writeheader()
        writer.writerows(history)
    plot_history(out / PLOT_NAME, history)


def _save(trainer: Trainer) -> None:
    trainer.progress.loss_sum += trainer.stepper.take_losses(trainer.progress.step)
    save_state(
        trainer.out / STATE_NAME,
        config_digest=_digest(trainer.config),
        fields_digest=trainer.fields_digest,
        progress=trainer.progress,
        network=trainer.network,
        averaged=trainer.averaged,
        optimizer=trainer.optimizer,
    )


def _digest(config: TrainConfig) -> str:
    # how often to look and to save changes no weight
    return digest(config.model_dump(mode="json", exclude={"save_every", "card"}))
