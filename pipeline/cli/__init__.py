"""The console script ``ki67``: commands are imported only when used, errors are one line."""

import atexit
import difflib
import importlib
import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from pipeline import __version__
from pipeline.errors import (
    AnnotationError,
    ConfigError,
    InterruptedRunError,
    LockedError,
    ManifestError,
    ModelError,
    OutputError,
    PipelineError,
)
from pipeline.leaving import leave

COMMANDS = {
    "demo": (
        "pipeline.cli.demo:demo",
        "Make a synthetic slide with known cells, score it and compare.",
    ),
    "run": (
        "pipeline.cli.run:run",
        "Score slides: files, folders and globs in, a folder each out.",
    ),
    "preflight": (
        "pipeline.cli.preflight:preflight",
        "Tell before a run what will be done, fail and be needed.",
    ),
    "score": (
        "pipeline.cli.score:score",
        "Score a run again without predicting: threshold, regions.",
    ),
    "status": ("pipeline.cli.status:status", "Tell how far a run is, and what to do next."),
    "verify": ("pipeline.cli.verify:verify", "Read every result file again; withdraw what fails."),
    "history": ("pipeline.cli.history:history", "Tell which slides were done when, with what."),
    "report": ("pipeline.cli.report:report", "Build report and QuPath project again."),
    "export": (
        "pipeline.cli.export:export",
        "Make files for QuPath and others again from stored results.",
    ),
    "synth": (
        "pipeline.cli.synth:synth",
        "Write a slide whose cells are known, and the truth beside it.",
    ),
    "evaluate": ("pipeline.cli.evaluate:evaluate", "Score a model on annotated fields."),
    "agree": (
        "pipeline.cli.agree:agree",
        "Compare a run's indices with manual ones.",
    ),
    "calibrate": (
        "pipeline.cli.calibrate:calibrate",
        "Make a correction of the index from manual counts.",
    ),
    "train": (
        "pipeline.cli.train:train",
        "Train a network as a settings file says and keep the best model.",
    ),
    "experiment": (
        "pipeline.cli.experiment:experiment",
        "Compare variants of a training over folds and seeds.",
    ),
    "doctor": (
        "pipeline.cli.doctor:doctor",
        "Check that this machine has what a run needs.",
    ),
    "models": (
        "pipeline.cli.models:models",
        "List the models that ship with the package, or the named ones.",
    ),
}
"""Name -> (where it is, its one line, which ``--help`` shows without importing it)."""

EXIT_CODES: tuple[tuple[type[PipelineError], int], ...] = (
    (ConfigError, 2),
    (ModelError, 2),
    (AnnotationError, 2),
    (OutputError, 2),
    (LockedError, 3),
    (InterruptedRunError, 75),
)
OTHER_EXIT_CODE = 1
TRACEBACK_KEY = "pipeline.cli.traceback"


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called, not when they are listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """All commands in the order a newcomer meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        if all(option.name != "traceback" for option in command.params):
            command.params.append(_traceback_option())
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; an unknown one is answered with the nearest known."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f"did you mean {near[0]}?" if near else "ki67 --help lists them"
            raise click.UsageError(f"no command {args[0]}; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands from the table above."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Read the group's own options."""
        with _one_line(None):
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with _one_line(ctx):
            return super().invoke(ctx)


def exit_code(error: PipelineError) -> int:
    """Tell the exit code of an error: 2 usage or settings, 3 locked, 75 interrupted, else 1."""
    return next((code for kind, code in EXIT_CODES if isinstance(error, kind)), OTHER_EXIT_CODE)


@contextmanager
def _one_line(ctx: click.Context | None) -> Iterator[None]:
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "ki67"
        message = error.format_message().rstrip(".")
        raise _refusal(f"{message} (see {path} --help)", 2) from error
    except PipelineError as error:
        if ctx is not None and ctx.find_root().meta.get(TRACEBACK_KEY):
            click.echo(traceback.format_exc(), err=True)
        lines = error.lines if isinstance(error, ManifestError) else (str(error),)
        for line in lines[:-1]:
            _refusal(line, exit_code(error))
        raise _refusal(lines[-1] or type(error).__name__, exit_code(error)) from error


def _refusal(message: str, code: int) -> click.exceptions.Exit:
    click.echo(f"ki67: error: {' '.join(message.split())}", err=True)
    return click.exceptions.Exit(code)


def _remember_traceback(ctx: click.Context, _option: click.Parameter, value: bool) -> None:
    if value:
        ctx.find_root().meta[TRACEBACK_KEY] = True


def _traceback_option() -> click.Option:
    return click.Option(
        ["--traceback"],
        is_flag=True,
        expose_value=False,
        callback=_remember_traceback,
        help="Show where an error came from.",
    )


@click.group(
    "ki67",
    cls=LazyGroup,
    params=[_traceback_option()],
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option("-v", "--verbose", is_flag=True, help="Log each slide and stage to stderr.")
@click.version_option(__version__, prog_name="ki67")
def cli(*, verbose: bool) -> None:
    """Whole-slide Ki-67 labelling index: slides in; cells, heatmaps and a score out.

    For research use only. Start with `ki67 demo`.
    """
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )


def main() -> None:
    """Run the console script."""
    ended: list[int] = []
    atexit.register(_leave, ended)
    try:
        cli(prog_name="ki67")
    except SystemExit as end:
        if isinstance(end.code, int | None):
            ended.append(end.code or 0)
        raise


def _leave(ended: list[int]) -> None:
    # an error that nobody caught ends as Python ends it
    if ended:
        leave(ended[0])
