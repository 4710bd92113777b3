"""What a run costs that finds nothing to do: many finished slides, started by the console script.

    python -m benchmarks.finished_batch FOLDER [--slides 200]

One small slide is scored; its file and its results are copied under other names, which is what a
finished archive of equal slides looks like. Then the same command runs twice more.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.archive_slides import SETTINGS, write_good
from pipeline.io.sources import slide_id
from tests.run.tiny_network import save_tiny_network


def multiply(archive: Path, out: Path, slides: int) -> None:
    """Copy the one slide and its results until there are ``slides``."""
    (first,) = archive.iterdir()
    (scored,) = (out / "slides").iterdir()
    for number in range(1, slides):
        name = f"slide-{number:04d}.tif"
        shutil.copy2(first, archive / name)
        folder = out / "slides" / slide_id(name)
        shutil.copytree(scored, folder)
        score = json.loads((folder / "score.json").read_text(encoding="utf-8"))
        score["slide"]["id"], score["slide"]["name"] = folder.name, name
        text = json.dumps(score)
        (folder / "score.json").write_text(text, encoding="utf-8")
        mark = json.loads((folder / "done.json").read_text(encoding="utf-8"))
        mark["files"]["score.json"]["size"] = len(text.encode())
        (folder / "done.json").write_text(json.dumps(mark), encoding="utf-8")


def timed(command: list[str]) -> tuple[float, float, str]:
    """Wall and CPU seconds of a command and its last line."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - began, cpu_s, done.stdout.strip().splitlines()[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--slides", type=int, default=200)
    args = parser.parse_args()
    home = args.folder.resolve()
    archive, out = home / "archive", home / "out"
    for folder in (archive, out):
        shutil.rmtree(folder, ignore_errors=True)
    archive.mkdir(parents=True)
    model = save_tiny_network(home / "model")
    settings = SETTINGS.format(model=model, workers=2)
    (home / "run.toml").write_text(settings, encoding="utf-8")
    write_good(archive, 0)
    command = [sys.executable, "-m", "pipeline", "run", str(archive), "--out", str(out)]
    command += ["--config", str(home / "run.toml")]
    timed(command)
    multiply(archive, out, args.slides)
    for name in ("first time", "once more"):
        wall_s, cpu_s, line = timed(command)
        print(f"{name}: {args.slides} finished slides, wall {wall_s:.1f} s, CPU {cpu_s:.1f} s")
        print(f"  {line}")


if __name__ == "__main__":
    main()
