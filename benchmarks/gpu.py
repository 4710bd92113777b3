"""The whole pipeline on a CUDA device against its network alone, in one run.

    python -m benchmarks.gpu FOLDER [--wheels .whl] [--side 20000] [--workers 1,2,4,8] [--naive]

Prints for the default model: Mpx and mm2 per second of the network alone, by data type and by way
of running it, and the cells each loses against float32; then slides per hour, mm2 of tissue per
second, how busy the device was and the seconds by stage for whole runs, by workers on the device.
Packages that the machine lacks are taken from the wheels in ``--wheels``, nothing is downloaded.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
REPEATS = 8
NEAR_PX = 2.0


@dataclass
class Busy:
    """How busy the device was while it was watched: percent, and the most memory in MiB."""

    percent: list[float] = field(default_factory=list)
    memory_mib: float = 0.0

    def watch(self) -> Callable[[], None]:
        """Begin; the function that comes back ends it."""
        asked = "--query-gpu=utilization.gpu,memory.used"
        process = subprocess.Popen(  # noqa: S603 - words of our own
            ["nvidia-smi", asked, "--format=csv,noheader,nounits", "-lms", "200"],  # noqa: S607
            stdout=subprocess.PIPE,
            text=True,
        )

        def read() -> None:
            for line in process.stdout or ():
                values = line.split(",")
                if len(values) == 2 and values[0].strip().isdigit():
                    self.percent.append(float(values[0]))
                    self.memory_mib = max(self.memory_mib, float(values[1]))

        thread = threading.Thread(target=read, daemon=True)
        thread.start()

        def end() -> None:
            process.terminate()
            process.wait()
            thread.join()

        return end


def add_wheels(wheels: Path, target: Path) -> None:
    """Unpack the wheels beside everything else, for this process and its children."""
    if not target.exists():
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps"]
        found = sorted(str(path) for path in wheels.glob("*.whl"))
        subprocess.run([*command, "--target", str(target), *found], check=True)  # noqa: S603
    places = [str(ROOT), str(target), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, places))
    # behind the machine's own packages: only what it lacks is taken from here
    sys.path[:0] = [str(ROOT)]
    sys.path.append(str(target))
    if find_spec("imagecodecs") is None:
        # 26 MB of codecs that are looked up and not called: tiles are encoded by Pillow
        empty = ModuleType("imagecodecs")
        vars(empty)["__getattr__"] = _no_codec
        sys.modules["imagecodecs"] = empty


def _no_codec(name: str) -> Callable[..., Any]:
    if name.startswith("__"):
        raise AttributeError(name)

    def refuse(*_: object, **__: object) -> Any:
        raise RuntimeError(f"imagecodecs is not installed here, and {name} is asked for")

    return refuse


def tiles_of(slide: Path, side_px: int, count: int) -> list[Any]:
    """Tiles of tissue, ``(side, side, 3)`` uint8 each, as a region would cut them."""
    import numpy as np

    from pipeline.core.frame import PlaneFrame
    from pipeline.core.tiling import Box
    from pipeline.io.plane import SlidePlane
    from pipeline.io.slides import open_slide

    reader = open_slide(slide)
    frame = PlaneFrame.over(0, 0, *reader.size, (0.25, 0.25), 0.5)
    plane = SlidePlane(reader, frame)
    places = np.linspace(0.3, 0.7, count)
    return [
        plane.read(Box(x, x, x + side_px, x + side_px))
        for x in (int(place * (frame.width - side_px)) for place in places)
    ]


def alone(slide: Path, model: Path) -> float:
    """Print what the network does by itself; return the best float32 speed in Mpx of cores a s."""
    import torch

    from pipeline.core.ccls import localize
    from pipeline.core.matching import match
    from pipeline.model.checkpoint import load_checkpoint
    from pipeline.model.fold import fold_network
    from pipeline.model.torch_engine import TorchCudaEngine

    network, card = load_checkpoint(model)
    halo = card.halo_px
    core = 1536
    tiles = tiles_of(slide, core + 2 * halo, 4) * 2
    core_mpx = len(tiles) * core**2 / 1e6
    device = torch.device("cuda:0")
    cells: dict[str, Any] = {}
    print(f"network alone: {card.name}, {len(tiles)} tiles of {core} + 2 x {halo} px")
    print("| | Mpx of cores a second | mm2 a second | cells | F1 with float32 | memory MiB |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    best = 0.0
    for dtype in ("float32", "float16", "bfloat16"):
        engine = TorchCudaEngine(fold_network(network), device, dtype=dtype)
        torch.cuda.reset_peak_memory_stats()
        first = [heatmap.copy() for heatmap in engine.heatmaps(tiles[:4], margin=halo)]
        found = [
            localize(heatmap, window=card.peak_rule().window, threshold=card.threshold)
            for heatmap in first
        ]
        cells[dtype] = found
        taken = []
        for _ in range(REPEATS):
            begun = time.perf_counter()
            for _ in engine.heatmaps(tiles, margin=halo):
                pass
            taken.append(time.perf_counter() - begun)
        speed = core_mpx / statistics.median(taken)
        best = max(best, speed) if dtype == "float32" else best
        same = total = 0
        for ours, true in zip(found, cells["float32"], strict=True):
            places = [_places(peaks) for peaks in (ours, true)]
            pairs = match(*places, NEAR_PX)
            same += int((ours.label[pairs[:, 0]] == true.label[pairs[:, 1]]).sum())
            total += len(ours) + len(true)
        memory = torch.cuda.max_memory_allocated() / 2**20
        mm2 = speed * card.mpp_um**2
        number = sum(map(len, found))
        print(f"| {dtype} | {speed:.0f} | {mm2:.1f} | {number} | {2 * same / total:.4f} "
              f"| {memory:.0f} |", flush=True)  # fmt: skip
        del engine
        torch.cuda.empty_cache()
    _other_ways(network, tiles, core_mpx, card.mpp_um)
    return best


def _places(peaks: Any) -> Any:
    import numpy as np

    return np.column_stack([peaks.x_px, peaks.y_px])


def _other_ways(network: Any, tiles: list[Any], core_mpx: float, mpp_um: float) -> None:
    """Forward on tensors that are on the device already: eager, CUDA graph, compiled."""
    import numpy as np
    import torch

    from pipeline.model.fold import fold_network

    folded = fold_network(network).to("cuda:0")
    pixels = torch.from_numpy(np.stack(tiles[:2])).to("cuda:0").permute(0, 3, 1, 2)

    def forward(dtype: Any, run: Callable[[Any], Any]) -> Callable[[], Any]:
        def once() -> Any:
            with torch.inference_mode(), torch.autocast("cuda", dtype, enabled=dtype is not None):
                return run(pixels)

        return once

    print("| forward on the device | Mpx of cores a second | mm2 a second |")
    print("| --- | ---: | ---: |")
    ways: dict[str, Callable[[], Callable[[], Any]]] = {
        "eager float32": lambda: forward(None, folded),
        "eager float16": lambda: forward(torch.float16, folded),
        "CUDA graph float16": lambda: _graphed(forward(torch.float16, folded)),
        "torch.compile float16": lambda: forward(torch.float16, torch.compile(folded)),
    }
    for name, make in ways.items():
        try:
            run = make()
            for _ in range(3):
                run()
            torch.cuda.synchronize()
            begun = time.perf_counter()
            for _ in range(REPEATS):
                run()
            torch.cuda.synchronize()
            taken_s = (time.perf_counter() - begun) / REPEATS
        except Exception as error:  # noqa: BLE001 - one way that fails is a row that says so
            print(f"| {name} | failed: {type(error).__name__}: {str(error)[:120]} | |", flush=True)
            continue
        speed = core_mpx * 2 / len(tiles) / taken_s
        print(f"| {name} | {speed:.0f} | {speed * mpp_um**2:.1f} |", flush=True)


def _graphed(run: Callable[[], Any]) -> Callable[[], Any]:
    import torch

    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def whole_runs(
    slide: Path, folder: Path, model: str, workers: int, dtype: str, copies: int
) -> None:
    """Run ``copies`` of the slide with so many workers on the device and print a row."""
    from pipeline.config import load_config
    from pipeline.run.archive import run_archive
    from pipeline.run.events import Event

    inputs = folder / "slides"
    inputs.mkdir(exist_ok=True)
    for number in range(copies):
        link = inputs / f"copy-{number}.svs"
        if not link.exists():
            os.link(slide, link)
    out = folder / f"out-{workers}-{dtype}"
    shutil.rmtree(out, ignore_errors=True)
    config = load_config(
        None,
        [
            f"prediction.model={model}",
            "prediction.device=cuda",
            f"prediction.dtype={dtype}",
            f"cluster.workers_per_gpu={workers}",
            "cluster.dashboard=false",
            "inputs.settle_s=0",
        ],
    )
    seconds: Counter[str] = Counter()
    pixels, started, ended = 0, 0.0, 0.0

    def tell(event: Event) -> None:
        nonlocal pixels, started, ended
        if event.work is not None:
            started = started or time.perf_counter()
            ended = time.perf_counter()
            pixels += event.work.pixels
            seconds.update(event.work.seconds)

    busy = Busy()
    end = busy.watch()
    begun = time.perf_counter()
    summary = run_archive([inputs], out, config, on_event=tell)
    wall_s = time.perf_counter() - begun
    end()
    mm2 = sum(record.score.area_mm2.tissue or 0.0 for record in summary.records)
    work_s = ended - started or wall_s
    stages = ", ".join(f"{name} {value:.1f}" for name, value in seconds.most_common())
    percent = statistics.fmean(busy.percent) if busy.percent else float("nan")
    print(
        f"| {workers} | {dtype} | {wall_s:.1f} | {3600 * len(summary.records) / work_s:.0f} "
        f"| {mm2 / work_s:.2f} | {pixels / 1e6 / work_s:.0f} | {percent:.0f} "
        f"| {busy.memory_mib:.0f} | {stages} |",
        flush=True,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--wheels", type=Path)
    parser.add_argument("--side", type=int, default=20_000)
    parser.add_argument("--copies", type=int, default=3, help="slides of each run")
    parser.add_argument("--workers", default="1,2,4,8", help="on the device, by commas")
    parser.add_argument("--dtypes", default="float32,float16")
    parser.add_argument("--model", default="default")
    parser.add_argument("--naive", action="store_true", help="the naive script on the device too")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    if asked.wheels is not None:
        add_wheels(asked.wheels, asked.folder / "packages")
    from benchmarks.repeated_slide import write_repeated_slide
    from pipeline.model.zoo import resolve_model

    slide = asked.folder / f"side-{asked.side}.svs"
    if not slide.exists():
        write_repeated_slide(slide, asked.side)
    alone(slide, resolve_model(asked.model))
    print("| workers | dtype | wall s | slides an hour | mm2 a second | Mpx a second | busy % "
          "| device MiB | seconds by stage, all workers |")  # fmt: skip
    print("| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |")
    for dtype in asked.dtypes.split(","):
        for workers in map(int, asked.workers.split(",")):
            whole_runs(slide, asked.folder, asked.model, workers, dtype, asked.copies)
    if asked.naive:
        script = [sys.executable, "-m", "benchmarks.rivals.naive", str(slide)]
        made = asked.folder / "naive"
        begun = time.perf_counter()
        command = [*script, str(made), "--net", "hrnet", "--device", "cuda"]
        subprocess.run(command, check=True)  # noqa: S603 - our own script
        print(f"naive, hrnet on the device: {time.perf_counter() - begun:.1f} s a slide")


if __name__ == "__main__":
    main()
