"""The systemd units are legal, call the console script, and their commands work."""

import re
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.processes import await_true, ended, start
from tests.workflows.operations import ROOT, WORKFLOWS, Installation, install, read_environment
from tests.workflows.operations import surroundings as environment_of

UNITS = WORKFLOWS / "systemd"
HARDENING = UNITS / "ki67-run-.service.d" / "10-run.conf"
EXPOSURE_MOST = 1.5
"""Of `systemd-analyze security`, 0 to 10; it was 1.2 when this was written."""


def analyze(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here")
    return subprocess.run(
        ["systemd-analyze", *words],
        cwd=folder,
        env=environment_of(SYSTEMD_UNIT_PATH=f"{folder}:"),
        capture_output=True,
        text=True,
        check=False,
    )


def settings(path: Path, key: str) -> list[str]:
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    return re.findall(rf"(?m)^{key}=(.*)$", text)


def command(unit: str, installed: Installation) -> list[str]:
    """ExecStart as systemd would call it, its program taken from this environment."""
    [line] = settings(UNITS / unit, "ExecStart")
    program, *words = shlex.split(line)
    assert program == "/opt/ki67/bin/ki67"
    values = installed.variables
    filled = [re.sub(r"\$\{(\w+)\}", lambda name: values[name[1]], word) for word in words]
    return [str(ROOT / ".venv" / "bin" / "ki67"), *filled]


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units with a program that is here, so that it can be checked too."""
    folder = tmp_path / "units"
    shutil.copytree(UNITS, folder)
    for path in folder.glob("*.service"):
        path.write_text(path.read_text().replace("/opt/ki67/bin/ki67", "/bin/true"))
    return folder


@pytest.fixture
def installed(tmp_path: Path) -> Installation:
    return install(tmp_path / "with blank")


def unit_names() -> list[str]:
    return sorted(path.name for path in UNITS.iterdir() if path.suffix in (".service", ".timer"))


def test_systemd_takes_every_unit_without_a_word(units: Path) -> None:
    done = analyze(units, "verify", *(f"./{name}" for name in unit_names()))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_systemd_takes_the_drop_ins_too(units: Path) -> None:
    for path in (units / "drop-ins").iterdir():
        shutil.copy(path, units / "ki67-run-.service.d")
    done = analyze(units, "verify", "./ki67-run-nightly.service")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_check_sees_a_key_that_systemd_does_not_know(units: Path) -> None:
    with (units / "ki67-run-.service.d" / "10-run.conf").open("a") as file:
        file.write("ProtectEverything=yes\n")
    assert "ProtectEverything" in analyze(units, "verify", "./ki67-run-watch.service").stderr


@pytest.mark.parametrize("unit", ["ki67-run-nightly.service", "ki67-run-watch.service"])
def test_the_units_expose_little(units: Path, unit: str) -> None:
    told = analyze(units, "security", "--offline=true", f"./{unit}").stdout
    found = re.search(r"exposure level for \S+: ([\d.]+)", told)
    assert found, told
    assert float(found[1]) <= EXPOSURE_MOST


def test_results_lie_where_the_units_may_write() -> None:
    shipped = read_environment(WORKFLOWS / "ki67.env")
    [writable] = settings(HARDENING, "ReadWritePaths")
    assert Path(shipped["KI67_OUT"]).is_relative_to(writable)
    for unit in ("ki67-run-nightly.service", "ki67-run-watch.service"):
        assert writable in settings(UNITS / unit, "RequiresMountsFor")[0].split()


def test_a_stop_leaves_more_than_twice_the_grace() -> None:
    from pipeline.config import ClusterSettings

    [stop] = settings(HARDENING, "TimeoutStopSec")
    assert float(stop.removesuffix("s")) > 2 * ClusterSettings().grace_s


def test_the_timers_are_dates_that_come(units: Path) -> None:
    for path in UNITS.glob("*.timer"):
        [when] = settings(path, "OnCalendar")
        assert "Next elapse" in analyze(units, "calendar", when).stdout


@pytest.mark.slow
def test_the_nightly_unit_scores_and_then_finds_nothing_to_do(installed: Installation) -> None:
    words = command("ki67-run-nightly.service", installed)
    first = subprocess.run(words, capture_output=True, text=True, env=environment_of(), check=False)
    assert first.returncode == 0, first.stderr
    assert "case.tif: ok" in first.stderr
    assert (installed.out / "report.html").exists()
    again = subprocess.run(words, capture_output=True, text=True, env=environment_of(), check=False)
    assert again.returncode == 0
    assert "already done" in again.stderr


@pytest.mark.slow
def test_the_watch_unit_ends_with_0_when_it_is_stopped_at_rest(tmp_path: Path) -> None:
    installed = install(tmp_path / "with blank")
    words = command("ki67-run-watch.service", installed)
    watch = start(words, stderr=subprocess.PIPE, env=environment_of())
    # the report is written last: then the watch rests
    await_true(lambda: (installed.out / "report.html").exists(), of=watch)
    time.sleep(2.0)
    watch.send_signal(signal.SIGTERM)
    code, told = ended(watch)
    assert "case.tif: ok" in told
    assert code == 0, told
