"""What every test stands on: real slides when there are any, no writing into the repository."""

import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.processes import end_all

# no test has imported numpy or torch yet: one thread each, and idle threads sleep
for name, value in (
    ("OMP_NUM_THREADS", "1"),
    ("OMP_WAIT_POLICY", "passive"),
    ("GOMP_SPINCOUNT", "0"),
):
    os.environ.setdefault(name, value)

ROOT = Path(__file__).resolve().parent.parent
DATA_VARIABLE = "KI67_DATA"
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CACHES = frozenset(
    {".pytest_cache", ".hypothesis", ".benchmarks", ".mypy_cache", ".ruff_cache", "__pycache__"}
    | {".git", ".venv"}
)

# the machine may be loaded: only wrong answers fail, never slow ones; the same examples every time
settings.register_profile("ki67", deadline=None, database=None, derandomize=True)
settings.load_profile("ki67")

written: list[str] = []
counted = {"ran": 0, "skipped": 0}


def _data_folder() -> Path:
    named = os.environ.get(DATA_VARIABLE)
    return Path(named) if named else ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def ki67_data() -> Path:
    """The folder of real slides and annotated fields; the test is skipped where there is none."""
    folder = _data_folder()
    if not folder.is_dir():
        pytest.skip(f"no real data: set {DATA_VARIABLE} to the folder that holds it")
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "ki67_data" in getattr(item, "fixturenames", ()):
            item.add_marker("real_data")
    # files of long tests first: of two that run at a time, neither waits for the other's last one
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    # seen once per test, also where other processes run them: reports end in the first
    if "real_data" not in report.keywords:
        return
    if report.skipped:
        counted["skipped"] += 1
    elif report.when == "call":
        counted["ran"] += 1


def pytest_terminal_summary(terminalreporter: Any) -> None:
    ran, skipped = counted["ran"], counted["skipped"]
    place = os.environ.get(DATA_VARIABLE, "not set: looked for beside the repository")
    terminalreporter.write_line(
        f"real-data tests: {ran} ran, {skipped} skipped ({DATA_VARIABLE}={place})"
    )


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    """Audit hook: remember what this process writes inside the repository."""
    if event == "open":
        path, _, flags = arguments
        if not (isinstance(flags, int) and flags & WRITING):
            return
    elif event in {"os.mkdir", "os.remove"}:
        path = arguments[0]
        if arguments[-1] != -1:  # relative to an open folder, as shutil.rmtree does, not to ours
            return
    elif event == "os.rename":
        path = arguments[1]
    else:
        return
    if not isinstance(path, str | bytes | os.PathLike):
        return
    place = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 - runs on every open
    if place.startswith(f"{ROOT}{os.sep}") and CACHES.isdisjoint(Path(place).parts):
        written.append(place)


sys.addaudithook(_watch)


@pytest.fixture(autouse=True)
def _nothing_stays_behind() -> Iterator[None]:
    """No process of a test, and no file in the repository."""
    written.clear()
    yield
    end_all()
    assert not written, f"wrote into the repository: {written[:5]}"
