"""A night that goes wrong: a batch with bad slides, killed workers and killed drivers.

    python -m benchmarks.archive_survival FOLDER [--slides 200] [--bad 10] [--kill-every 20]

Writes an archive of small slides into FOLDER, runs it undisturbed and disturbed, and compares:
every good slide is done, every bad one is named, and the results are equal bit for bit. Then runs
the finished batch once more. Prints a table and exits with 1 where a promise was broken.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.archive_slides import REASONS, SABOTAGE, SETTINGS, write_archive
from pipeline.io.results import read_score
from tests.run.small_slides import result_bytes
from tests.run.tiny_network import save_tiny_network

SAMPLE_S = 0.25
FIRST_KILL_S = 10.0


@dataclass
class Watched:
    """What was seen of one batch, whose driver may have been started several times."""

    codes: list[int] = field(default_factory=list)
    wall_s: float = 0.0
    cpu_s: float = 0.0
    driver_mb: list[tuple[int, float]] = field(default_factory=list)
    """(slides with a result, memory of the driver) over time."""
    most_open: int = 0
    first_result_s: float | None = None
    workers_killed: int = 0
    drivers_killed: int = 0


class Night:
    """Runs ``ki67 run`` on the archive and disturbs it."""

    def __init__(self, home: Path, *, seed: int, workers: int) -> None:
        self._home, self._random = home, random.Random(seed)  # noqa: S311 - which worker dies
        model = save_tiny_network(home / "model")
        settings = SETTINGS.format(model=model, workers=workers)
        (home / "run.toml").write_text(settings, encoding="utf-8")
        sabotage = home / "sabotage"
        sabotage.mkdir(exist_ok=True)
        (sabotage / "sitecustomize.py").write_text(SABOTAGE, encoding="utf-8")
        self._environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(sabotage), str(Path.cwd())])
        }

    def run(
        self,
        archive: Path,
        out: Path,
        *,
        kill_every_s: float = 0.0,
        drivers: tuple[float, ...] = (),
    ) -> Watched:
        """Run until the batch has ended; kill drivers at these shares of slides done."""
        seen, left = Watched(), list(drivers)
        total = sum(1 for _ in archive.iterdir())
        began = time.monotonic()
        while True:
            killed = self._once(archive, out, seen, kill_every_s, total, left, began)
            if not killed:
                break
        seen.wall_s = time.monotonic() - began
        return seen

    def _once(
        self,
        archive: Path,
        out: Path,
        seen: Watched,
        kill_every_s: float,
        total: int,
        left: list[float],
        began: float,
    ) -> bool:
        log = (self._home / f"{out.name}.log").open("a", encoding="utf-8")
        command = [sys.executable, "-m", "pipeline", "run", str(archive), "--out", str(out)]
        command += ["--config", str(self._home / "run.toml")]
        with (
            log,
            subprocess.Popen(  # noqa: S603 - our own console script
                command, env=self._environment, stdout=log, stderr=log
            ) as driver,
        ):
            process = psutil.Process(driver.pid)
            next_kill = time.monotonic() + FIRST_KILL_S
            cpu: dict[int, float] = {}
            while driver.poll() is None:
                time.sleep(SAMPLE_S)
                done = self._sample(process, out, seen, cpu, began)
                if left and done >= left[0] * total:
                    left.pop(0)
                    seen.drivers_killed += 1
                    driver.kill()
                    driver.wait()
                    seen.cpu_s += sum(cpu.values())
                    return True
                if kill_every_s and time.monotonic() > next_kill:
                    next_kill = time.monotonic() + kill_every_s
                    seen.workers_killed += self._kill_a_worker(process)
            seen.cpu_s += sum(cpu.values())
            seen.codes.append(driver.returncode)
        return False

    def _sample(
        self, process: psutil.Process, out: Path, seen: Watched, cpu: dict[int, float], began: float
    ) -> int:
        folders = list((out / "slides").glob("*")) if out.exists() else []
        done = sum((folder / "done.json").exists() for folder in folders)
        seen.most_open = max(seen.most_open, sum(map(_open, folders)))
        if done and seen.first_result_s is None:
            seen.first_result_s = time.monotonic() - began
        try:
            seen.driver_mb.append((done, process.memory_info().rss / 1e6))
            for one in [process, *process.children(recursive=True)]:
                times = one.cpu_times()
                cpu[one.pid] = max(cpu.get(one.pid, 0.0), times.user + times.system)
        except psutil.Error:
            pass  # it has just ended
        return done

    def _kill_a_worker(self, process: psutil.Process) -> int:
        try:
            # workers are the forks of one server
            workers = [
                fork
                for child in process.children()
                if "forkserver" in " ".join(child.cmdline())
                for fork in child.children()
            ]
            if not workers:
                return 0
            self._random.choice(workers).kill()
        except psutil.Error:
            return 0
        return 1


def _open(folder: Path) -> bool:
    """Whether a slide is under way: what is kept of one that failed does not count."""
    return (folder / ".work").exists() and not (folder / "score.json").exists()


def broken_promises(
    out: Path, reference: Path, good: list[str], bad: dict[str, str], seen: Watched
) -> list[str]:
    """Every promise that a disturbed batch did not keep, in a line each."""
    broken = []
    scores = {
        score.slide.name: score
        for score in (read_score(path) for path in out.glob("slides/*/score.json"))
    }
    for name in good:
        if name not in scores or scores[name].status == "failed":
            reason = scores[name].reason if name in scores else "no score"
            broken.append(f"{name}: good, but {reason}")
    for name, kind in bad.items():
        if name not in scores or scores[name].status != "failed":
            broken.append(f"{name}: {kind}, but not failed")
        elif not any(words in (scores[name].reason or "") for words in REASONS[kind]):
            broken.append(f"{name}: no reason for {kind}: {scores[name].reason}")
    ids = {scores[name].slide.id for name in good if name in scores}
    ours, theirs = (
        {path: content for path, content in result_bytes(folder).items() if _slide_of(path) in ids}
        for folder in (out, reference)
    )
    broken += [
        f"{path}: differs from the undisturbed run"
        for path in sorted(ours.keys() | theirs.keys())
        if ours.get(path) != theirs.get(path)
    ]
    if seen.codes != [1]:
        broken.append(f"exit codes {seen.codes}, not 1")
    return broken


def _slide_of(path: str) -> str:
    return path.split("/")[1]


def _memory(seen: Watched, low: int, high: int) -> float:
    chosen = [mb for done, mb in seen.driver_mb if low <= done <= high]
    return max(chosen, default=float("nan"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--slides", type=int, default=200)
    parser.add_argument("--bad", type=int, default=10)
    parser.add_argument("--kill-every", type=float, default=20.0, help="seconds; 0: no kills")
    parser.add_argument("--drivers", type=float, nargs="*", default=[0.3, 0.65])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    home = args.folder.resolve()
    home.mkdir(parents=True, exist_ok=True)
    good, bad = write_archive(home / "archive", args.slides, args.bad)
    shutil.rmtree(home / "clean", ignore_errors=True)
    for name in good:
        (home / "clean").mkdir(exist_ok=True)
        os.link(home / "archive" / name, home / "clean" / name)
    night = Night(home, seed=args.seed, workers=args.workers)
    for name in ("undisturbed", "disturbed"):
        shutil.rmtree(home / name, ignore_errors=True)
        (home / f"{name}.log").unlink(missing_ok=True)
    calm = night.run(home / "clean", home / "undisturbed")
    wild = night.run(
        home / "archive",
        home / "disturbed",
        kill_every_s=args.kill_every,
        drivers=tuple(args.drivers),
    )
    broken = broken_promises(home / "disturbed", home / "undisturbed", good, bad, wild)
    again = night.run(home / "clean", home / "undisturbed")
    for name, seen in (("undisturbed", calm), ("disturbed", wild), ("once more", again)):
        first = "-" if seen.first_result_s is None else f"{seen.first_result_s:.1f} s"
        print(
            f"{name:12} wall {seen.wall_s:7.1f} s, CPU {seen.cpu_s:7.1f} s, exit {seen.codes}, "
            f"first result {first}, at most {seen.most_open} slides open, "
            f"{seen.workers_killed} workers and {seen.drivers_killed} drivers killed"
        )
    tenth, end = len(good) // 10, len(good)
    print(
        f"driver memory, undisturbed: {_memory(calm, tenth, 2 * tenth):.0f} MB at a tenth, "
        f"{_memory(calm, end // 2, end // 2 + tenth):.0f} MB at half, "
        f"{_memory(calm, end - tenth, end - 1):.0f} MB before the last slide, "
        f"{_memory(calm, end, end):.0f} MB with the report"
    )
    reasons = {
        path.parent.name: read_score(path).reason
        for path in sorted((home / "disturbed").glob("slides/*/score.json"))
        if read_score(path).status == "failed"
    }
    print(json.dumps(reasons, indent=1))
    print("\n".join(broken) if broken else "every promise kept")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
