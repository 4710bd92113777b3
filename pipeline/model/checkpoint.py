"""Checkpoints: a folder with safetensors weights and the card that vouches for them."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_tensors
from safetensors.torch import save as format_tensors
from torch import Tensor

from pipeline.errors import ModelError
from pipeline.model.card import ModelCard, load_card
from pipeline.model.files import CARD_NAME, WEIGHTS_NAME
from pipeline.model.registry import HeatmapNetwork, build_network
from pipeline.model.signed import read_signed, refuse_pickle


def save_checkpoint(
    folder: Path, network: HeatmapNetwork, card: ModelCard, *, half: bool = False
) -> ModelCard:
    """Write the weights and the card, whole or not at all, and return the card as written.

    Parameters
    ----------
    folder
        Made if missing; an older checkpoint in it is replaced file by file, weights first, so that
        a crash in between is found by the checksum and never loads as the wrong model.
    network
        Its specification must be the card's.
    card
        ``weights_sha256`` is filled in.
    half
        Store kernels as float16 (half the size); norms and biases stay float32.

    Raises
    ------
    ModelError
        If a weight is not finite (in float16 where asked for) or the specifications differ.
    """
    if network.spec != card.spec:
        raise ModelError(f"{card.name}: the card's specification is not the network's")
    tensors = _stored_tensors(network, half=half)
    _check_finite(card.name, tensors)
    payload = format_tensors(tensors)
    signed = card.model_copy(update={"weights_sha256": hashlib.sha256(payload).hexdigest()})
    text = signed.model_dump_json(indent=2) + "\n"
    _replace_files(folder, {WEIGHTS_NAME: payload, CARD_NAME: text.encode()})
    return signed


def load_checkpoint(folder: Path) -> tuple[HeatmapNetwork, ModelCard]:
    """Read a checkpoint into a float32 network on the CPU, in evaluation mode.

    Raises
    ------
    ModelError
        If the folder is a pickle, a file is missing, the checksum does not hold, or a tensor is
        missing, unknown, misshapen or not finite.
    """
    refuse_pickle(folder)
    card = load_card(folder)
    if card.spec is None:
        raise ModelError(
            f"{folder}: an ONNX network; torch takes one of a named architecture (ki67 models "
            "--sizes) with its weights"
        )
    payload = read_signed(folder, card)
    try:
        tensors = parse_tensors(payload)
    except SafetensorError as error:
        raise ModelError(f"{folder / WEIGHTS_NAME}: not a safetensors file ({error})") from error
    with torch.device("meta"):
        network = build_network(card.spec)
    _check_tensors(folder / WEIGHTS_NAME, tensors, network.state_dict())
    single = {name: _single(tensor) for name, tensor in tensors.items()}
    network.load_state_dict(single, strict=True, assign=True)
    return network.eval(), card


def _stored_tensors(network: HeatmapNetwork, *, half: bool) -> dict[str, Tensor]:
    kernels = {name for name, value in network.named_parameters() if value.ndim > 1}
    tensors = {}
    for name, value in network.state_dict().items():
        stored = value.detach().cpu().contiguous()
        tensors[name] = stored.half() if half and name in kernels else stored.clone()
    return tensors


def _check_tensors(path: Path, tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    missing = sorted(wanted.keys() - tensors.keys())
    unknown = sorted(tensors.keys() - wanted.keys())
    if missing:
        raise ModelError(f"{path}: {len(missing)} tensors are missing, first {missing[0]!r}")
    if unknown:
        raise ModelError(f"{path}: {len(unknown)} tensors are unknown, first {unknown[0]!r}")
    for name, tensor in tensors.items():
        if tensor.shape != wanted[name].shape:
            raise ModelError(
                f"{path}: {name!r} has shape {tuple(tensor.shape)}, "
                f"the architecture needs {tuple(wanted[name].shape)}"
            )
        if tensor.is_floating_point() != wanted[name].is_floating_point():
            raise ModelError(f"{path}: {name!r} has type {tensor.dtype}")
    _check_finite(str(path), tensors)


def _check_finite(owner: str, tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise ModelError(f"{owner}: {name!r} has values that are not finite; train again")


def _single(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def _replace_files(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        # mkdtemp is private to the user; a checkpoint is as readable as any other folder
        work.chmod(0o755)
        for name, content in files.items():
            _write_durably(work / name, content)
        if not folder.exists():
            work.replace(folder)
        else:
            for name in files:
                (work / name).replace(folder / name)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    _sync_folder(folder)
    _sync_folder(folder.parent)


def _write_durably(path: Path, content: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
