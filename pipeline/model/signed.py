"""The file that holds a network, as the card beside it vouches for it (no torch here)."""

import hashlib
from pathlib import Path

from pipeline.errors import ModelError
from pipeline.model.card import ModelCard
from pipeline.model.files import CARD_NAME, NETWORK_NAME, WEIGHTS_NAME

PICKLE_SUFFIXES = frozenset({".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt"})


def read_signed(folder: Path, card: ModelCard) -> bytes:
    """Read the file that holds the network, and hold it against the card's checksum.

    Raises
    ------
    ModelError
        It cannot be read, or is not the one the card vouches for.
    """
    path = _signed_path(folder, card)
    try:
        payload = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error
    _compare(path, hashlib.sha256(payload).hexdigest(), card)
    return payload


def check_signed(folder: Path, card: ModelCard) -> str:
    """Hold the file of the network against the card's checksum, and return that; a run begins so.

    Raises
    ------
    ModelError
        The card has no checksum, the file cannot be read, or is not the one the card vouches for.
    """
    if not card.weights_sha256:
        raise ModelError(f"{folder}: the card has no weights_sha256; save the checkpoint again")
    path = _signed_path(folder, card)
    try:
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error
    _compare(path, found, card)
    return card.weights_sha256


def refuse_pickle(path: Path) -> None:
    """Raise ModelError if ``path`` is a pickle, or a folder that holds only one."""
    pickles = [path] if path.is_file() else sorted(path.glob("*")) if path.is_dir() else []
    pickles = [entry for entry in pickles if entry.suffix.lower() in PICKLE_SUFFIXES]
    if pickles and not any((path / name).exists() for name in (WEIGHTS_NAME, NETWORK_NAME)):
        raise ModelError(
            f"{pickles[0]}: pickled weights can run code and are refused; "
            f"use a folder with {WEIGHTS_NAME} and {CARD_NAME}"
        )


def _signed_path(folder: Path, card: ModelCard) -> Path:
    return folder / (WEIGHTS_NAME if card.spec is not None else NETWORK_NAME)


def _compare(path: Path, found: str, card: ModelCard) -> None:
    if found != card.weights_sha256:
        raise ModelError(
            f"{path}: sha256 {found[:12]} is not the card's "
            f"{(card.weights_sha256 or 'nothing')[:12]}; fetch the model again"
        )


def _unreadable(path: Path, error: OSError) -> ModelError:
    reason = error.strerror or type(error).__name__
    return ModelError(f"{path}: cannot read the weights ({reason})")
