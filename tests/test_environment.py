"""One list of libraries: pyproject.toml, environment.yml and constraints.txt agree."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent

CONDA_NAMES = {
    "dask": "dask-core",
    "geopandas": "geopandas-base",
    "openslide-bin": "openslide",
    "torch": "pytorch",
}
"""PyPI name -> conda-forge name where they differ."""

NOT_LIBRARIES = {"python", "pip"}
ENVIRONMENT_PYTHON = "3.12"


def project() -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return table


def floors() -> dict[str, str]:
    table = project()
    lines = table["project"]["dependencies"] + table["build-system"]["requires"]
    return {
        CONDA_NAMES.get(requirement.name, requirement.name): str(requirement.specifier)
        for requirement in map(Requirement, lines)
    }


def conda_lines() -> dict[str, str]:
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    lines: list[str] = yaml.safe_load(text)["dependencies"]
    found = [re.fullmatch(r"([A-Za-z0-9_.-]+?)([<>=].*)?", line) for line in lines]
    return {match[1]: match[2] or "" for match in found if match}


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return {
        canonicalize_name(name): pinned
        for name, _, pinned in (line.partition("==") for line in lines if line[:1] != "#")
    }


def test_conda_and_pip_ask_for_the_same_libraries() -> None:
    conda = {name: line for name, line in conda_lines().items() if name not in NOT_LIBRARIES}
    assert conda == floors()
    assert conda_lines()["python"] == f"={ENVIRONMENT_PYTHON}"


def test_dependencies_have_floors_and_no_ceilings() -> None:
    table = project()["project"]
    lines = sum(table["optional-dependencies"].values(), table["dependencies"])
    loose = [line for line in lines if not re.fullmatch(r"[^<>=!~]+>=[^<>=!~,]+", line)]
    assert not loose, f"want exactly one >=: {loose}"


def test_every_direct_dependency_is_pinned_at_or_above_its_floor() -> None:
    table = project()["project"]
    extras = table["optional-dependencies"]
    lines = table["dependencies"] + extras["test"] + extras["docs"] + extras["slurm"]
    pinned = pins()
    for requirement in map(Requirement, lines):
        name = canonicalize_name(requirement.name)
        assert name in pinned, f"{name} is not in constraints.txt"
        assert requirement.specifier.contains(pinned[name]), f"{requirement} but {pinned[name]}"


def test_constraints_are_names_and_versions_only() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    odd = [line for line in lines if line[:1] != "#" and not re.fullmatch(r"[\w.-]+==[\w.]+", line)]
    assert not odd, odd


@pytest.mark.parametrize("name", ["numpy", "scipy", "torch", "zarr", "tifffile", "shapely"])
def test_the_installed_version_is_not_below_the_floor(name: str) -> None:
    specifier = Requirement(f"x{floors()[CONDA_NAMES.get(name, name)]}").specifier
    assert specifier.contains(version(name), prereleases=True)
