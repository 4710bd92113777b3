"""What the tests of the operations files share: an installation as the files expect it."""

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from tests.run.small_slides import stained_tissue, write_slide
from tests.run.tiny_network import save_tiny_network

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = ROOT / "workflows"


@dataclass(frozen=True, slots=True)
class Installation:
    """Folders as ``ki67.env`` names them, all below one.

    Attributes
    ----------
    environment
        The file that the units and scripts read.
    """

    folder: Path
    environment: Path

    @property
    def out(self) -> Path:
        return self.folder / "results" / "archive"

    @property
    def variables(self) -> dict[str, str]:
        return read_environment(self.environment)


def read_environment(path: Path) -> dict[str, str]:
    """Read a file as systemd does: names, values, quotes removed; nothing is expanded."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    pairs = [line.partition("=") for line in lines if line and line[0] not in "#;"]
    return {name: "".join(shlex.split(value)) for name, _, value in pairs}


def install(folder: Path) -> Installation:
    """Make the folders, one slide, settings and an environment file of the shipped names."""
    (folder / "slides").mkdir(parents=True)
    (folder / "home").mkdir()
    (folder / "home" / "bin").symlink_to(ROOT / ".venv" / "bin")
    write_slide(folder / "slides" / "case.tif", stained_tissue(8, width=1300, height=1100))
    model = save_tiny_network(folder / "tiny")
    shipped = (WORKFLOWS / "configs" / "nightly.toml").read_text(encoding="utf-8")
    small = f'[prediction]\nmodel = "{model}"\ntile_core_px = 128\n[score]\nmin_cells = 10\n'
    settings = folder / "nightly.toml"
    settings.write_text(f"{small}[inputs]\nsettle_s = 0\n{shipped}workers = 1\n")
    values = {
        "KI67_HOME": folder / "home",
        "KI67_ARCHIVE": folder / "slides",
        "KI67_OUT": folder / "results" / "archive",
        "KI67_CONFIG": settings,
        "KI67_LOG": folder / "nightly.log",
        "KI67_EVERY": "1s",
        "KI67_MAIL_TO": "root",
    }
    shipped_names = read_environment(WORKFLOWS / "ki67.env").keys()
    if shipped_names != values.keys():
        raise ValueError(f"ki67.env names {sorted(shipped_names)}")
    (folder / "results").mkdir()
    environment = folder / "ki67.env"
    environment.write_text("".join(f'{name}="{value}"\n' for name, value in values.items()))
    return Installation(folder, environment)


def surroundings(**more: str) -> dict[str, str]:
    """The environment of this process, without settings of another run."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KI67_")}
    return kept | more
