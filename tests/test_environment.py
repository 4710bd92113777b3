"""One list of libraries: pyproject.toml, environment.yml and constraints.txt agree."""

import ast
import re
import sys
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
    "matplotlib": "matplotlib-base",
    "openslide-bin": "openslide",
    "torch": "pytorch",
}
"""PyPI name -> conda-forge name where they differ."""

DISTRIBUTION_OF = {
    "PIL": "pillow",
    "openslide": "openslide-python",
    "pydantic_core": "pydantic",
}
"""Import name -> distribution where they differ."""

NEVER_IMPORTED = {
    "openslide-bin": "the library openslide-python loads",
}

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


def test_what_is_imported_is_what_is_declared() -> None:
    imported = set()
    for path in (ROOT / "pipeline").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.split(".")[0])
    libraries = imported - sys.stdlib_module_names - {"pipeline"}
    declared = {Requirement(line).name for line in project()["project"]["dependencies"]}
    extras = {
        *("aiohttp", "dask_jobqueue", "dask_kubernetes", "onnxruntime", "prometheus_client"),
    }
    used = {DISTRIBUTION_OF.get(name, name) for name in libraries - extras}
    assert used == declared - NEVER_IMPORTED.keys()


def test_dependencies_have_floors_and_no_ceilings() -> None:
    table = project()["project"]
    lines = sum(table["optional-dependencies"].values(), table["dependencies"])
    loose = [line for line in lines if not re.fullmatch(r"[^<>=!~]+>=[^<>=!~,]+", line)]
    assert not loose, f"want exactly one >=: {loose}"


def test_every_direct_dependency_is_pinned_at_or_above_its_floor() -> None:
    table = project()["project"]
    extras = table["optional-dependencies"]
    lines = list(table["dependencies"])
    for name in ("test", "docs", "remote", "slurm", "watch"):
        lines += extras[name]
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
