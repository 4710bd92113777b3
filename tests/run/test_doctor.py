"""The doctor's checks: each alone, each with a remedy where something is wrong."""

import json
import resource
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.cli import cli
from pipeline.run.doctor import examine, folders, machine, software
from pipeline.run.doctor.checking import Outcome, ask

NAMES = {
    *("python", "cpu", "memory", "open files", "clock", "text"),
    *("disk of the output", "disk of temporary files", "shared memory", "locks and renames"),
    *("packages", "tested versions", "extras", "torch", "openslide library"),
    *("reader openslide", "reader tiffslide", "model", "cluster"),
}


def test_this_machine_passes_every_check_and_nothing_stays_behind(tmp_path: Path) -> None:
    checks = list(examine(tmp_path))
    assert {check.name for check in checks} == NAMES
    assert [check for check in checks if check.outcome == "fail"] == []
    assert all(check.remedy for check in checks if check.outcome == "warn")
    assert list(tmp_path.iterdir()) == []


def test_a_check_that_crashes_fails_alone() -> None:
    def crashing() -> tuple[Outcome, str, str]:
        raise ZeroDivisionError("a line\nand another")

    first, second = ask([("one", crashing), ("two", machine.python_version)])
    assert (first.outcome, first.found) == ("fail", "ZeroDivisionError: a line and another")
    assert second.outcome == "ok"


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 0.5),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
    ],
)
def test_a_containers_share_of_the_cores_is_seen(
    tmp_path: Path, files: dict[str, str], cores: float | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert machine.cpu_quota(tmp_path) == cores


def test_few_open_files_are_warned_of_with_the_command() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        assert machine.open_files()[0] == "warn"
        assert "ulimit -n" in machine.open_files()[2]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_folder_that_is_not_there_is_checked_where_it_would_be(tmp_path: Path) -> None:
    assert folders.trial_files(tmp_path / "a" / "b")[0] == "ok"
    assert list(tmp_path.iterdir()) == []


def test_an_old_openslide_fails_with_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(software, "library_version", lambda: "4.0.0")
    outcome, found, remedy = software.openslide_library()
    assert (outcome, "CVE-2026-48977" in found) == ("fail", True)
    assert "openslide-bin>=4.0.1" in remedy


def test_the_command_speaks_json_and_exits_0(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(software, "questions", list)
    done = CliRunner().invoke(cli, ["doctor", "--json", "--out", str(tmp_path)])
    assert done.exit_code == 0
    assert {check["name"] for check in json.loads(done.stdout)} < NAMES
