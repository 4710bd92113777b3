"""The house rules of the source tree, as tests: who may import whom, how long, how named."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "pipeline"

RANK = {
    "errors": 0,
    "leaving": 0,
    "config": 1,
    "core": 2,
    "model": 3,
    "io": 3,
    "train": 4,
    "run": 4,
    "report": 4,
    "cli": 5,
}
ENTRANCES = {"__init__", "__main__"}

ONLY_IN = {
    "dask": {"run"},
    "distributed": {"run"},
    "dask_jobqueue": {"run"},
    "dask_kubernetes": {"run"},
    "geopandas": {"io"},
    "h5py": {"io", "train"},
    "imagecodecs": {"io"},
    "openslide": {"io"},
    "shapely": {"io"},
    "simplejpeg": {"io"},
    "sqlite3": {"io"},
    "tifffile": {"io"},
    "tiffslide": {"io"},
    "zarr": {"io"},
    "safetensors": {"model", "train"},
    "onnxruntime": {"model"},
    "torch": {"model", "train", "run", "cli"},
    "jinja2": {"report", "run"},
    "bokeh": {"run"},
    "tornado": {"run"},
    "prometheus_client": {"run"},
    "matplotlib": {"report"},
    "click": {"cli"},
    "rich": {"cli"},
}
NOT_IN_CORE = {"logging", "time", "datetime", "os", "pathlib", "pydantic", "pyarrow", "PIL", "json"}
"""core is pure functions on arrays: no file, clock or log."""

VAGUE = {
    "chip",
    "common",
    "handler",
    "helper",
    "helpers",
    "manager",
    "misc",
    "patch",
    "patches",
    "util",
    "utils",
}
VAGUE_ALONE = {"data", "info"}
LONGEST_FILE = 300
LONGEST_FUNCTION = 50
LONGEST_RECIPE = 60

Function = ast.FunctionDef | ast.AsyncFunctionDef


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    """Every module a file imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms_imported(path: Path) -> set[str]:
    parts = [name.split(".") for name in imported(path)]
    return {part[1] for part in parts if part[0] == "pipeline" and len(part) > 1} & RANK.keys()


def body_length(function: Function) -> int:
    """Lines from ``def`` to the end, without the docstring."""
    documented = ast.get_docstring(function, clean=False) is not None
    docstring = function.body[0]
    skipped = (docstring.end_lineno or 0) - docstring.lineno + 1 if documented else 0
    return (function.end_lineno or 0) - function.lineno + 1 - skipped


def words(name: str) -> set[str]:
    """``TileHelper`` and ``tile_helper`` are both {tile, helper}."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", name)}


def test_every_file_lives_in_a_known_room() -> None:
    unknown = {room_of(path) for path in sources()} - RANK.keys() - ENTRANCES
    assert not unknown, f"rooms without a rank: {unknown}"


def test_imports_point_down() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {home} imports {room}"
        for path in sources()
        if (home := room_of(path)) not in ENTRANCES
        for room in rooms_imported(path)
        if room != home and RANK[room] >= RANK[home]
    ]
    assert not wrong, wrong


def test_the_law_sees_an_upward_import(tmp_path: Path) -> None:
    planted = tmp_path / "planted.py"
    planted.write_text("def late():\n    from pipeline.run import archive\n    return archive\n")
    assert rooms_imported(planted) == {"run"}


def test_libraries_stay_in_their_rooms() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {library}"
        for path in sources()
        for library in {name.split(".")[0] for name in imported(path)} & ONLY_IN.keys()
        if room_of(path) not in ONLY_IN[library]
    ]
    assert not wrong, wrong


def test_core_touches_no_file_clock_or_log() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources()
        if room_of(path) == "core"
        for name in {name.split(".")[0] for name in imported(path)} & NOT_IN_CORE
    ]
    assert not wrong, wrong


def test_no_file_holds_more_than_one_subject() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in sources()}
    long = {str(path.relative_to(ROOT)): n for path, n in lengths.items() if n > LONGEST_FILE}
    assert not long, f"over {LONGEST_FILE} lines: {long}"


def test_no_function_is_longer_than_a_screen() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name} ({body_length(node)} lines)"
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, Function) and body_length(node) > LONGEST_FUNCTION
    ]
    assert not long, long


def test_every_file_says_its_subject_in_the_first_line() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in sources()
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not silent, silent


def test_no_name_is_vague() -> None:
    vague = []
    for path in sources():
        names = [path.stem] + [
            node.name
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        ]
        vague += [
            f"{path.relative_to(ROOT)}: {name}"
            for name in names
            if words(name) & VAGUE or name.strip("_").lower() in VAGUE_ALONE
        ]
    assert not vague, vague


def test_recipes_are_short() -> None:
    long = [
        path.name
        for path in sorted((ROOT / "workflows").glob("*.py"))
        if len(path.read_text(encoding="utf-8").splitlines()) > LONGEST_RECIPE
    ]
    assert not long, f"over {LONGEST_RECIPE} lines: {long}"


def test_test_files_have_names_of_their_own() -> None:
    names = [path.name for path in sorted((ROOT / "tests").rglob("test_*.py"))]
    twice = {name for name in names if names.count(name) > 1}
    assert not twice, f"pytest cannot tell these apart: {twice}"
