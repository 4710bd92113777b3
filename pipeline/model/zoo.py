"""The models that ship with the package, and how a name becomes a folder."""

from importlib.resources import files
from pathlib import Path

from pipeline.errors import ModelError
from pipeline.model.card import ModelCard, load_card
from pipeline.model.files import CARD_NAME

DEFAULT_NAME = "default"


def models_folder() -> Path:
    """Return the folder of the shipped models: ``<name>/card.json`` and the file ``DEFAULT``."""
    return Path(str(files("pipeline"))) / "models"


def list_models() -> list[ModelCard]:
    """Return the cards of the shipped models, by name."""
    return [load_card(models_folder() / name) for name in shipped_names()]


def shipped_names() -> list[str]:
    """Return the names of the shipped models, sorted."""
    return sorted(path.parent.name for path in models_folder().glob(f"*/{CARD_NAME}"))


def default_name() -> str:
    """Return the name of the model that is used when none is given.

    Raises
    ------
    ModelError
        If no default is shipped, or it names no shipped model.
    """
    path = models_folder() / "DEFAULT"
    try:
        name = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ModelError("no default model is shipped; name a model folder") from error
    if name not in shipped_names():
        raise ModelError(f"the default model {name!r} is not shipped; known: {_known()}")
    return name


def resolve_model(name_or_folder: str | Path) -> Path:
    """Return the folder of a model: ``default``, a shipped name, or a folder with a card.

    Raises
    ------
    ModelError
        If it is none of them.
    """
    name = str(name_or_folder)
    if name == DEFAULT_NAME:
        return models_folder() / default_name()
    if name in shipped_names():
        return models_folder() / name
    folder = Path(name_or_folder).expanduser()
    if (folder / CARD_NAME).is_file():
        return folder.resolve()
    if folder.is_dir():
        raise ModelError(f"{folder}: no {CARD_NAME}; a model is a folder with weights and a card")
    if folder.is_file():
        raise ModelError(f"{folder}: is a file; give the folder that holds {CARD_NAME}")
    raise ModelError(f"no model {name!r}; shipped: {_known()}; or give a model folder")


def _known() -> str:
    return ", ".join(shipped_names()) or "none"
