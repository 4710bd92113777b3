"""Checks of what is installed: versions, devices, readers, the model, a small cluster."""

import re
import shutil
import tempfile
import time
from functools import partial
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import numpy as np
import torch
from distributed import Client

from pipeline.config import ClusterSettings
from pipeline.io.openslide_reader import LEAST_LIBRARY, library_version
from pipeline.io.slides import open_slide
from pipeline.io.synthetic import SyntheticSlide, write_synthetic_slide
from pipeline.model.predictor import get_predictor, predictor_spec
from pipeline.model.zoo import resolve_model
from pipeline.run.clusters import connect
from pipeline.run.doctor.checking import Outcome, Question

DISTRIBUTION = "ki67-pipeline"
CLUSTER_S = 60.0
"""A cluster of one worker that needs longer is slow enough to say so."""

_CONSTRAINTS = Path(__file__).resolve().parents[3] / "constraints.txt"
_SLIDE_SEED = 1_000_001
_FLOOR = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(\[[^]]*\])?\s*>=\s*(?P<floor>[0-9.]+)")
_EXTRA = re.compile(r"""extra\s*==\s*["'](?P<extra>[^"']+)["']""")
_TOOLS_OF_DEVELOPERS = {"test", "docs"}
_DECISIVE = ("numpy", "scipy", "torch", "tiffslide", "tifffile", "zarr")
"""What results were measured with: other versions are worth a line."""

Answer = tuple[Outcome, str, str]


def questions() -> list[Question]:
    """Checks of the installation; the later ones take seconds."""
    return [
        ("packages", packages),
        ("tested versions", tested_versions),
        ("extras", extras),
        ("torch", torch_build),
        ("openslide library", openslide_library),
        ("reader openslide", partial(reads, "openslide")),
        ("reader tiffslide", partial(reads, "tiffslide")),
        ("model", predicts),
        ("cluster", cluster),
    ]


def packages() -> Answer:
    """Every package of the main list is there and no older than its floor."""
    wrong = []
    for name, floor, extra in _wanted():
        if extra is None and (complaint := _complaint(name, floor)):
            wrong.append(complaint)
    if wrong:
        return "fail", "; ".join(wrong), f"pip install -U {DISTRIBUTION}"
    return "ok", f"{DISTRIBUTION} {version(DISTRIBUTION)} with all its packages", ""


def tested_versions() -> Answer:
    """Whether the packages that results depend on are those they were measured with."""
    if not _CONSTRAINTS.is_file():
        return "ok", "no list of tested versions in this installation", ""
    tested = {}
    for line in _CONSTRAINTS.read_text(encoding="utf-8").splitlines():
        name, _, wanted = line.partition("==")
        tested[name.strip().lower()] = wanted.strip()
    other = [
        f"{name} {found} (tested {tested[name]})"
        for name in _DECISIVE
        # the wheel's build tag (+cpu, +cu126) is no other version
        if name in tested and (found := version(name)).partition("+")[0] != tested[name]
    ]
    if other:
        return "warn", "; ".join(other), f"pip install -c constraints.txt {DISTRIBUTION}"
    return "ok", "those that results were measured with", ""


def extras() -> Answer:
    """Which optional parts are there, and how to get the others."""
    there: dict[str, bool] = {}
    for name, floor, extra in _wanted():
        if extra is not None and extra not in _TOOLS_OF_DEVELOPERS:
            there[extra] = there.get(extra, True) and not _complaint(name, floor)
    found = ", ".join(f"{extra} {'yes' if yes else 'no'}" for extra, yes in sorted(there.items()))
    missing = sorted(extra for extra, yes in there.items() if not yes)
    if missing:  # nobody needs all of them
        return "ok", found, f"if you want them: pip install '{DISTRIBUTION}[{','.join(missing)}]'"
    return "ok", found or "none", ""


def torch_build() -> Answer:
    """Torch's build and the devices it sees."""
    built, usable = torch.version.cuda, torch.cuda.is_available()
    found = f"{torch.__version__}, built for {'CUDA ' + built if built else 'CPU'}"
    if usable:
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return "ok", f"{found}, {', '.join(names)}", ""
    driver = Path("/proc/driver/nvidia/version")
    if built and (driver.exists() or shutil.which("nvidia-smi")):
        return (
            "warn",
            f"{found}, but it cannot use the device",
            (
                f"the driver is older than CUDA {built} needs, or the container has no --gpus: "
                "update the driver or install torch for an older CUDA"
            ),
        )
    if driver.exists():
        return "warn", f"{found}, but there is a device", "install torch built for CUDA to use it"
    return "ok", f"{found}, no device", ""


def openslide_library() -> Answer:
    """Whether the OpenSlide library is one without known faults."""
    found = library_version()
    if tuple(int(part) for part in re.findall(r"\d+", found)[:3]) < LEAST_LIBRARY:
        return (
            "fail",
            f"{found}: CVE-2026-48977 (memory write) and CVE-2026-54604",
            ("pip install 'openslide-bin>=4.0.1'"),
        )
    return "ok", found, ""


def reads(reader: str) -> Answer:
    """Write a small slide and read it back."""
    with tempfile.TemporaryDirectory(prefix="ki67-doctor-") as folder:
        path = Path(folder) / "small.tif"
        write_synthetic_slide(path, SyntheticSlide(_SLIDE_SEED, 512, 512, coverage=0.3))
        slide = open_slide(path, reader)
        try:
            pixels = slide.read(0, 0, 0, 512, 512)
            found = f"{slide.reader_version}, {slide.vendor}"
        finally:
            slide.close()
    if pixels.shape != (512, 512, 3) or pixels.min() == pixels.max():
        return "fail", f"{found}: a written slide reads as one colour", f"reinstall {reader}"
    return "ok", found, ""


def predicts() -> Answer:
    """Load the shipped model, whose weights are hashed on loading, and predict a tile twice."""
    predictor = get_predictor(predictor_spec(resolve_model("default")))
    tile = np.random.default_rng(0).integers(0, 256, (1, 512, 512, 3), np.uint8)
    first = predictor.predict(tile)
    begun = time.perf_counter()
    second = predictor.predict(tile)
    taken_s = time.perf_counter() - begun
    card = predictor.card
    found = f"{card.name} {card.weights_sha256[:12]}, a tile of 512 px in {taken_s:.2f} s"
    if not np.array_equal(first, second):
        return "fail", f"{found}: two predictions of one tile differ", "reinstall torch"
    return "ok", found, ""


def cluster() -> Answer:
    """Start one worker on this machine and ask it something."""
    begun = time.perf_counter()
    settings = ClusterSettings(workers=1, dashboard=False)
    with connect(settings) as client:
        answer = _sum_there(client)
    taken_s = time.perf_counter() - begun
    found = f"dask {version('dask')}, a worker on loopback answered in {taken_s:.1f} s"
    if answer != 3:
        return "fail", f"{found}, wrongly", "reinstall dask and distributed"
    if taken_s > CLUSTER_S:
        return "warn", found, "the machine is very busy, or its disk very slow"
    return "ok", found, ""


def _sum_there(client: Client) -> int:
    return int(client.submit(sum, [1, 2], pure=False).result(timeout=CLUSTER_S))


def _wanted() -> list[tuple[str, str, str | None]]:
    """Name, floor and extra of everything this distribution asks for."""
    wanted = []
    for line in requires(DISTRIBUTION) or []:
        found, extra = _FLOOR.match(line), _EXTRA.search(line)
        if found:
            wanted.append((found["name"], found["floor"], extra["extra"] if extra else None))
    return wanted


def _complaint(name: str, floor: str) -> str:
    try:
        found = version(name)
    except PackageNotFoundError:
        return f"{name} is missing"
    return f"{name} {found} is older than {floor}" if _numbers(found) < _numbers(floor) else ""


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text.partition("+")[0])[:4])
