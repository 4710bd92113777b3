"""One step of a training: eager on the CPU, one captured graph on CUDA."""

import math

import torch
from torch import Tensor

from pipeline.errors import ModelError
from pipeline.model.registry import HeatmapNetwork
from pipeline.train.config import TrainConfig
from pipeline.train.crops import Batch
from pipeline.train.optimising import learning_rate, set_learning_rate, summed_error

EAGER_STEPS = 3
"""Steps made eagerly before the capture: libraries choose their kernels and reserve memory."""


class Stepper:
    """Makes steps and adds up their losses on the device, so that no step waits for a number.

    On CUDA thousands of small kernels make a step, and launching them takes longer than running
    them: after a few steps they are recorded once and replayed.
    """

    def __init__(
        self, config: TrainConfig, network: HeatmapNetwork, optimizer: torch.optim.Optimizer
    ) -> None:
        self._config = config
        self._network = network
        self._optimizer = optimizer
        self._device = torch.device(config.device)
        # doubles: the sum is exact, however a training is cut into pieces
        self._loss_sum = torch.zeros((), dtype=torch.float64, device=self._device)
        self._made = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._input: Batch | None = None

    def step(self, batch: Batch, step: int) -> None:
        """Move the weights by one batch."""
        set_learning_rate(self._optimizer, learning_rate(self._config, step))
        self._network.train()
        if self._device.type == "cuda":
            self._step_on_cuda(batch)
        else:
            self._eager(batch)
        self._made += 1

    def take_losses(self, step: int) -> float:
        """Return the sum of the losses since the last call.

        Raises
        ------
        ModelError
            It is not finite.
        """
        value = float(self._loss_sum)
        self._loss_sum.zero_()
        if not math.isfinite(value):
            raise ModelError(f"the loss is not finite at step {step}; lower lr={self._config.lr:g}")
        return value

    def _step_on_cuda(self, batch: Batch) -> None:
        if self._made < EAGER_STEPS:
            # not on the default stream: a capture takes over what was reserved here
            side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                self._eager(batch)
            torch.cuda.current_stream().wait_stream(side)
            return
        if self._input is None:
            self._input = _like(batch)
        _copy(batch, self._input)
        if self._graph is None:
            self._graph = torch.cuda.CUDAGraph()
            self._optimizer.zero_grad(set_to_none=True)
            with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
                self._eager(self._input)
        self._graph.replay()

    def _eager(self, batch: Batch) -> None:
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._config.amp):
            heatmap = self._network(batch.images)
        loss = summed_error(heatmap.float(), batch)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._network.parameters(), self._config.clip_norm)
        self._optimizer.step()
        self._loss_sum += loss.detach()


def _like(batch: Batch) -> Batch:
    def empty(some: Tensor | None) -> Tensor | None:
        return None if some is None else torch.empty_like(some)

    return Batch(
        torch.empty_like(batch.images), torch.empty_like(batch.targets), empty(batch.classed)
    )


def _copy(source: Batch, target: Batch) -> None:
    target.images.copy_(source.images)
    target.targets.copy_(source.targets)
    if target.classed is not None and source.classed is not None:
        target.classed.copy_(source.classed)
