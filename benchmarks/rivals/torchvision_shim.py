"""Lets the torchvision of the package index, built for CUDA, be imported beside a CPU torch.

Its compiled part cannot be loaded there, and the import stops at two operators that it would have
declared. Declared here, models and transforms can be imported; those two operators do not work.
"""

import contextlib

import torch

for name, schema in (
    ("nms", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"),
    ("qnms", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"),
):
    with contextlib.suppress(RuntimeError):  # declared already
        torch.library.define(f"torchvision::{name}", schema)

import torchvision  # noqa: E402, F401
