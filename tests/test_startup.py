"""Starting is quick and says the right thing: import, --help, --version, unknown commands."""

import importlib
import json
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from pipeline import __version__, errors
from pipeline.cli import COMMANDS, cli, exit_code

ROOT = Path(__file__).resolve().parent.parent
IMPORT_SECONDS = 0.1
HELP_SECONDS = 1.0
ONLY_WORKERS = {"torch", "zarr", "scipy", "pyarrow", "openslide", "tiffslide"}
ONLY_COMPILING = {"torch._dynamo", "torch._inductor", "sympy"}
HEAVY = {"torch", "numpy", "dask", "zarr", "pydantic", "openslide", "tiffslide"}


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def best_of_three(*arguments: str) -> float:
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        assert python(*arguments).returncode == 0
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def test_importing_the_package_takes_under_a_tenth_of_a_second() -> None:
    timed = (
        "import time; start = time.perf_counter(); import pipeline; "
        "print(time.perf_counter() - start)"
    )
    best = min(float(python("-c", timed).stdout) for _ in range(3))
    assert best < IMPORT_SECONDS


def test_help_answers_within_a_second() -> None:
    assert best_of_three("-m", "pipeline", "--help") < HELP_SECONDS


def test_the_command_line_imports_nothing_heavy() -> None:
    listing = "import json, sys, pipeline.cli; print(json.dumps(list(sys.modules)))"
    assert HEAVY.isdisjoint(json.loads(python("-c", listing).stdout))


def test_a_driver_imports_nothing_that_only_workers_need() -> None:
    listing = "import json, sys, pipeline.cli.run; print(json.dumps(list(sys.modules)))"
    assert ONLY_WORKERS.isdisjoint(json.loads(python("-c", listing).stdout))


def test_a_worker_loads_the_model_that_ships_without_torch_s_compiler() -> None:
    listing = (
        "import json, sys; from pipeline.config import load_config; "
        "from pipeline.model.torch_engine import load_torch_engine; "
        "from pipeline.model.zoo import resolve_model; "
        "folder = resolve_model(load_config().prediction.model); "
        "load_torch_engine(folder, device='cpu', threads=1); print(json.dumps(list(sys.modules)))"
    )
    assert ONLY_COMPILING.isdisjoint(json.loads(python("-c", listing).stdout))


@pytest.mark.parametrize("code", [0, 1, 75])
def test_a_process_that_ends_at_once_keeps_its_code_and_what_it_wrote(code: int) -> None:
    ending = (
        "import atexit, logging, sys; from pipeline.leaving import leave; "
        f"atexit.register(leave, {code}); atexit.register(print, 'other handlers ran'); "
        "logging.basicConfig(stream=sys.stdout); logging.warning('logged'); print('printed')"
    )
    answer = python("-c", ending)
    assert answer.returncode == code
    assert answer.stdout.splitlines() == ["WARNING:root:logged", "printed", "other handlers ran"]


def test_a_process_whose_reader_is_gone_ends_as_python_ends_it() -> None:
    command = [sys.executable, "-m", "pipeline", "--help"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait() not in (0, None)


def test_the_module_and_the_script_give_the_version() -> None:
    answer = python("-m", "pipeline", "--version")
    assert answer.returncode == 0
    assert __version__ in answer.stdout


def test_help_lists_every_command_with_its_line() -> None:
    answer = CliRunner().invoke(cli, ["--help"])
    assert answer.exit_code == 0
    for name, (_, line) in COMMANDS.items():
        assert f"{name} " in answer.output
        assert line in answer.output


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_can_be_called_and_says_what_it_does(name: str) -> None:
    module, _, function = COMMANDS[name][0].partition(":")
    command = getattr(importlib.import_module(module), function)
    assert isinstance(command, click.Command)
    assert command.help
    answer = CliRunner().invoke(cli, [name, "--help"])
    assert answer.exit_code == 0
    assert "--traceback" in answer.output


def test_an_unknown_command_is_answered_with_the_nearest() -> None:
    answer = CliRunner().invoke(cli, ["rnu"])
    assert answer.exit_code == 2
    assert answer.stderr == "ki67: error: no command rnu; did you mean run? (see ki67 --help)\n"


def test_an_unknown_option_is_one_line() -> None:
    answer = CliRunner().invoke(cli, ["models", "--nothing"])
    assert answer.exit_code == 2
    assert answer.stderr.startswith("ki67: error: ")
    assert answer.stderr.count("\n") == 1


def test_an_error_is_one_line_and_the_traceback_is_on_request(tmp_path: Path) -> None:
    missing = str(tmp_path / "no-model")
    plain = CliRunner().invoke(cli, ["models", missing])
    assert plain.exit_code == 2
    assert plain.stderr.startswith("ki67: error: ")
    assert plain.stderr.count("\n") == 1
    told = CliRunner().invoke(cli, ["models", missing, "--traceback"])
    assert told.exit_code == 2
    assert "Traceback" in told.stderr
    assert told.stderr.endswith(plain.stderr)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigError("x"), 2),
        (errors.ModelError("x"), 2),
        (errors.AnnotationError("x"), 2),
        (errors.OutputError("x"), 2),
        (errors.LockedError("x"), 3),
        (errors.InterruptedRunError("x"), 75),
        (errors.UnreadableSlideError("x"), 1),
    ],
)
def test_the_exit_code_tells_the_kind_of_failure(error: errors.PipelineError, code: int) -> None:
    assert exit_code(error) == code
