"""The file that holds a network, as the card beside it vouches for it (no torch here)."""

import hashlib
from pathlib import Path

from pipeline.errors import ModelError
from pipeline.model.card import CARD_NAME, ModelCard

WEIGHTS_NAME = "weights.safetensors"
NETWORK_NAME = "network.onnx"
PICKLE_SUFFIXES = frozenset({".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt"})


def read_signed(folder: Path, card: ModelCard) -> bytes:
    """Read the file that holds the network, and hold it against the card's checksum.

    Raises
    ------
    ModelError
        It cannot be read, or is not the one the card vouches for.
    """
    path = folder / (WEIGHTS_NAME if card.spec is not None else NETWORK_NAME)
    payload = _read_weights(path)
    found = hashlib.sha256(payload).hexdigest()
    if found != card.weights_sha256:
        raise ModelError(
            f"{path}: sha256 {found[:12]} is not the card's "
            f"{(card.weights_sha256 or 'nothing')[:12]}; fetch the model again"
        )
    return payload


def refuse_pickle(path: Path) -> None:
    """Raise ModelError if ``path`` is a pickle, or a folder that holds only one."""
    pickles = [path] if path.is_file() else sorted(path.glob("*")) if path.is_dir() else []
    pickles = [entry for entry in pickles if entry.suffix.lower() in PICKLE_SUFFIXES]
    if pickles and not any((path / name).exists() for name in (WEIGHTS_NAME, NETWORK_NAME)):
        raise ModelError(
            f"{pickles[0]}: pickled weights can run code and are refused; "
            f"use a folder with {WEIGHTS_NAME} and {CARD_NAME}"
        )


def _read_weights(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ModelError(f"{path}: cannot read the weights ({reason})") from error
