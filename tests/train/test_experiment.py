"""Experiments: every shipped one runs on stand-ins, resumes, and is tabulated from its points."""

import json
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image
from scipy.io import savemat

from pipeline.cli import cli
from pipeline.errors import ConfigError
from pipeline.train.config import SourceConfig
from pipeline.train.experiment.config import Experiment, load_experiment, merged
from pipeline.train.experiment.run import RUN_NAME, Run, planned_runs, run_experiment
from pipeline.train.experiment.table import write_results
from pipeline.train.scoring import role_fields

CONFIGS = Path(__file__).parents[2] / "workflows" / "configs" / "experiments"
SHIPPED = sorted(path for path in CONFIGS.glob("*.toml") if not path.name.startswith("base"))
SIDE = 64
STEMS = {
    "bcdata": [str(number) for number in range(18)],
    "shidc": [
        *("p1_0299_1", "p1_0309_3", "p1_0310_7", "p1_0313_1", "p1_0317_1"),
        *("p1_0318_1", "p1_0321_7", "p1_0322_7"),
    ],
    "uw": [f"img{number}" for number in range(1, 101)],
    "brca_m2c": ["TCGA-A1-A0SP-DX1", "TCGA-A2-A0D0-DX1"],
}


@dataclass(frozen=True)
class Dots:
    """A picture of dark brown (positive) and pale blue (negative) dots."""

    image: NDArray[np.uint8]
    xy: NDArray[np.int64]
    positive: NDArray[np.bool_]


def draw_dots(seed: int) -> Dots:
    rng = np.random.default_rng(seed)
    image = np.full((SIDE, SIDE, 3), 245, np.uint8)
    xy = np.array([(x, y) for x in (14, 34, 52) for y in (12, 32, 50)]) + rng.integers(
        -3, 4, (9, 2)
    )
    positive = rng.random(9) < 0.5
    yy, xx = np.ogrid[:SIDE, :SIDE]
    for (x, y), dark in zip(xy, positive, strict=True):
        image[(xx - x) ** 2 + (yy - y) ** 2 <= 16] = (110, 60, 30) if dark else (120, 140, 200)
    return Dots(image, xy, positive)


def write_stand_in(kind: str, folder: Path, stems: list[str]) -> None:
    """A small set in the form of a real one."""
    (folder / "images").mkdir(parents=True)
    (folder / "annotations").mkdir()
    for word in ("positive", "negative"):
        (folder / "annotations" / word).mkdir()
    for seed, stem in enumerate(stems):
        dots = draw_dots(seed)
        suffix = "jpg" if kind == "shidc" else "png"
        Image.fromarray(dots.image).save(folder / "images" / f"{stem}.{suffix}")
        target = folder / "annotations"
        if kind == "bcdata":
            for word, chosen in (("positive", dots.positive), ("negative", ~dots.positive)):
                with h5py.File(target / word / f"{stem}.h5", "w") as stored:
                    stored["coordinates"] = dots.xy[chosen]
        elif kind == "shidc":
            codes = np.where(dots.positive, 1, 2)
            rows = [
                {"x": int(x), "y": int(y), "label_id": int(code)}
                for (x, y), code in zip(dots.xy, codes, strict=True)
            ]
            (target / f"{stem}.json").write_text(json.dumps(rows))
        elif kind == "brca_m2c":
            (folder / "labels").mkdir(exist_ok=True)
            lines = [
                f"{y} {x} {2 if dark else 3}"
                for (x, y), dark in zip(dots.xy, dots.positive, strict=True)
            ]
            (folder / "labels" / f"{stem}_gt_class_coords.txt").write_text("\n".join(lines) + "\n")
        else:
            savemat(target / f"{stem}_detection.mat", {"detection": dots.xy + 1.0})


def few(experiment: Experiment, source: str) -> list[str]:
    """One image for each pattern of each fold and one that trains, so that no role is empty."""
    chosen = set()
    for fold in experiment.folds:
        patterns = fold.validation.get(source, ()) + fold.held_out.get(source, ())
        for pattern in patterns:
            chosen.add(next(stem for stem in STEMS[source] if fnmatchcase(stem, pattern)))
        apart = [s for s in STEMS[source] if not any(fnmatchcase(s, p) for p in patterns)]
        chosen.update(apart[-1:])
    return sorted(chosen)


def shrunk(experiment: Experiment, *, folds: int) -> Experiment:
    """The same comparison with tiny networks, two steps and the first folds."""
    tiny = {"crop_px": 32, "batch": 2, "card": {"halo_px": 32}, "validate_every": 1, "threads": 1}
    variants = []
    for variant in experiment.variants:
        changes = dict(variant.changes)
        if "architecture" in changes:
            changes["architecture"] = re.sub(r"(_w18)?_small$", "_tiny", changes["architecture"])
        variants.append(variant.model_copy(update={"changes": changes}))
    base = merged(experiment.base, tiny | {"architecture": "m_hrnet_tiny"})
    update = {"variants": tuple(variants), "base": base, "steps": 1}
    return experiment.model_copy(update=update | {"folds": experiment.folds[:folds]})


def stand_ins(experiment: Experiment, data: Path) -> Experiment:
    for source in experiment.sources:
        if source.kind != "synthetic":
            write_stand_in(source.kind, data / str(source.path), few(experiment, source.name))
    small = {"mpp_um": 0.5, "count": 1, "size_px": SIDE}
    coarse = tuple(source.model_copy(update=small) for source in experiment.sources)
    return experiment.model_copy(update={"sources": coarse})


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_experiment_runs_on_small_stand_ins(path: Path, tmp_path: Path) -> None:
    experiment = shrunk(load_experiment(path), folds=1)
    experiment = stand_ins(experiment, tmp_path / "data")

    run_experiment(experiment, tmp_path / "out", data=tmp_path / "data")
    table = write_results(experiment, tmp_path / "out", data=tmp_path / "data")

    for variant in experiment.variants:
        assert f"| {variant.name} | 1 |" in table, variant.name
    stored = json.loads((tmp_path / "out" / "results.json").read_text())
    assert {row["variant"] for row in stored["rows"]} == {v.name for v in experiment.variants}
    assert (tmp_path / "out" / "results.md").read_text() == table


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_no_real_image_is_in_two_roles_of_a_fold(path: Path) -> None:
    experiment = load_experiment(path)
    for fold in experiment.folds:
        config = experiment.training_config(experiment.variants[0], fold, 1, 1)
        seen: list[tuple[str, str]] = []
        for role in ("training", "validation", "held_out"):
            found = [
                (source.name, stem)
                for source in config.sources(role)
                for stem in STEMS.get(source.name, ())
                if fits(stem, source)
            ]
            chosen_by = role != "validation" or experiment.thresholds == "validation"
            assert bool(found) == chosen_by, f"{fold.name}: {role}"
            seen += found
        assert len(seen) == len(set(seen)), fold.name


def fits(stem: str, source: SourceConfig) -> bool:
    wanted = any(fnmatchcase(stem, pattern) for pattern in source.include)
    return wanted and not any(fnmatchcase(stem, pattern) for pattern in source.exclude)


@pytest.mark.parametrize("name", ["cross_validation", "maps_and_post", "uw_gradient_modules"])
def test_the_folds_hold_out_every_image_once(name: str) -> None:
    experiment = load_experiment(CONFIGS / f"{name}.toml")
    folds = [fold for fold in experiment.folds if fold.group in {"all folds", "three folds"}]
    for source in {name for fold in folds for name in fold.held_out}:
        held = [
            stem
            for fold in folds
            for stem in STEMS[source]
            if any(fnmatchcase(stem, pattern) for pattern in fold.held_out[source])
        ]
        assert sorted(held) == sorted(STEMS[source])


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Experiment, Path]:
    """Two networks that share a training, the classical detector, two folds; all run once."""
    data = tmp_path_factory.mktemp("experiment")
    experiment = shrunk(load_experiment(CONFIGS / "maps_and_post.toml"), folds=2)
    named = {variant.name: variant for variant in experiment.variants}
    kept = [named["edt_ccls"], named["edt_lmss"]]
    classical = kept[0].model_copy(update={"name": "classical", "classical": True})
    experiment = experiment.model_copy(update={"variants": (*kept, classical)})
    experiment = stand_ins(experiment, data)
    run_experiment(experiment, data / "out", data=data)
    return experiment, data


def test_finished_runs_are_kept_and_lost_ones_made_again(small: tuple[Experiment, Path]) -> None:
    experiment, data = small
    told: list[tuple[str, str, str]] = []

    def remember(run: Run, state: str) -> None:
        told.append((run.variant.name, run.fold.name, state))

    lost = data / "out" / "edt_lmss" / "second-seed1" / RUN_NAME
    before = (lost.parent / "predictions.json").read_bytes()
    lost.unlink()
    run_experiment(experiment, data / "out", data=data, on_run=remember)

    again = [line[:2] for line in told if line[2] == "done"]
    assert again == [("edt_lmss", "second")]
    assert sum(state == "kept" for *_, state in told) == 5
    assert (lost.parent / "predictions.json").read_bytes() == before


def test_a_shared_network_is_trained_once(small: tuple[Experiment, Path]) -> None:
    _, data = small
    assert (data / "out" / "edt_ccls" / "first-seed1" / "training" / "model").is_dir()
    assert not (data / "out" / "edt_lmss" / "first-seed1" / "training").exists()


def test_the_table_comes_from_the_stored_points_alone(small: tuple[Experiment, Path]) -> None:
    experiment, data = small
    first = write_results(experiment, data / "out", data=data)
    runs = {run.folder for run in planned_runs(experiment, data / "out")}
    path = sorted(runs)[0] / "predictions.json"
    whole = path.read_text()
    stored = json.loads(whole)
    truth = [draw_dots(0)]  # the first stand-in, found perfectly
    for part in stored["sets"].values():
        for columns in part["fields"].values():
            keep_one(columns, truth[0])
    path.write_text(json.dumps(stored))
    try:
        assert write_results(experiment, data / "out", data=data) != first
    finally:
        path.write_text(whole)
    assert write_results(experiment, data / "out", data=data) == first


def keep_one(columns: dict[str, Any], truth: Dots) -> None:
    columns["x_px"], columns["y_px"] = (truth.xy[:, axis] + 0.5 for axis in (0, 1))
    columns["x_px"], columns["y_px"] = columns["x_px"].tolist(), columns["y_px"].tolist()
    columns["label"], columns["score"] = truth.positive.astype(int).tolist(), [1.0] * 9


def test_runs_made_together_find_what_runs_made_in_turn_find(
    small: tuple[Experiment, Path],
) -> None:
    experiment, data = small

    run_experiment(experiment, data / "together", data=data, jobs=2)

    in_turn = sorted((data / "out").rglob("predictions.json"))
    assert len(in_turn) == 6
    for path in in_turn:
        again = data / "together" / path.relative_to(data / "out")
        assert again.read_bytes() == path.read_bytes()


def test_parts_of_an_experiment_are_made_where_they_are_asked_for(
    small: tuple[Experiment, Path],
) -> None:
    experiment, data = small
    made: list[tuple[str, str]] = []

    run_experiment(
        experiment,
        data / "part",
        data=data,
        only=lambda run: (run.variant.name, run.fold.name) == ("classical", "second"),
        on_run=lambda run, state: made.append((run.fold.name, state)),
    )

    assert made == [("second", "starts"), ("second", "done")]


def test_fields_of_all_folds_count_together_and_the_spread_is_that_of_the_folds(
    small: tuple[Experiment, Path],
) -> None:
    experiment, data = small
    write_results(experiment, data / "out", data=data)
    results = json.loads((data / "out" / "results.json").read_text())
    of_classical = [run for run in results["runs"] if run["variant"] == "classical"]
    single = [run["figures"]["bcdata"]["at_10_px512"] for run in of_classical]
    values = [100 * figures["f1_all"] for figures in single]
    row = next(row for row in results["rows"] if row["variant"] == "classical")
    assert row["runs"] == len(values) == 2
    hits = np.array([27 * figures["recall_all"] for figures in single])
    found = hits / [figures["precision_all"] for figures in single]
    pooled = 100 * 2 * hits.sum() / (found.sum() + 2 * 27)
    assert row["at_10_px512"]["f1_all"]["mean"] == pytest.approx(pooled, abs=1e-3)
    assert row["at_10_px512"]["f1_all"]["sd"] == pytest.approx(np.std(values, ddof=1), abs=1e-5)


def test_results_of_other_settings_are_refused(small: tuple[Experiment, Path]) -> None:
    experiment, data = small
    other = experiment.model_copy(update={"base": experiment.base | {"lr": 0.5}})
    with pytest.raises(ConfigError, match="edt_ccls/first-seed1: finished with other settings"):
        run_experiment(other, data / "out", data=data)


def test_a_budget_in_minutes_is_measured_once(small: tuple[Experiment, Path]) -> None:
    experiment, data = small
    update = {"steps": None, "minutes": 0.001, "variants": experiment.variants[:1]}
    timed = experiment.model_copy(update=update)
    run_experiment(timed, data / "timed", data=data)

    budget = json.loads((data / "timed" / "edt_ccls" / "budget.json").read_text())
    for fold in ("first", "second"):
        run = json.loads((data / "timed" / "edt_ccls" / f"{fold}-seed1" / RUN_NAME).read_text())
        assert run["steps"] == budget["steps"] >= 1
    run_experiment(timed, data / "timed", data=data)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('trained_as = "edt_ccls"', 'trained_as = "edt_xx"', "trained_as=edt_xx is no variant"),
        ('changes.post.kind = "lmss"', "changes.lr = 1e-3", "only post.kind may differ"),
        ("steps = 600", "", "give one budget: steps or minutes"),
        (
            "steps = 600",
            'steps = 600\nthresholds = "cross_fitted"',
            "fold first: thresholds=cross_fitted needs no validation fields",
        ),
        (
            'validation.bcdata = ["0", "1", "2"]',
            "",
            "fold second: thresholds=validation needs validation fields",
        ),
        ('held_out.bcdata = ["[0-5]"]', 'held_out.uw = ["1"]', "there is no source 'uw'"),
        ("map.c1 = 5.0, map.c2 = 0.5", "map.c4 = 5.0", "unknown setting map.c4"),
        ('name = "idt_ccls"', 'name = "edt_ccls"', "two variants have the name 'edt_ccls'"),
    ],
)
def test_what_cannot_be_compared_is_told_at_once(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    text = (CONFIGS / "maps_and_post.toml").read_text()
    assert old in text
    (tmp_path / "bad.toml").write_text(text.replace(old, new))
    (tmp_path / "base_ki67.toml").write_text((CONFIGS / "base_ki67.toml").read_text())

    with pytest.raises(ConfigError, match=re.escape(message)):
        load_experiment(tmp_path / "bad.toml")


def test_the_command_prints_the_table(small: tuple[Experiment, Path], tmp_path: Path) -> None:
    path = CONFIGS / "maps_and_post.toml"
    words = ["experiment", str(path), "--out", str(tmp_path), "--table"]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.output
    assert "Runs finished: 0 of 30" in done.output
    nowhere = CliRunner().invoke(cli, [*words, "--fold", "fourth"])
    assert nowhere.exit_code == 2
    assert "there is no fold 'fourth'; known: first, second, third" in nowhere.output
    wrong = CliRunner().invoke(cli, [*words, "--set", "step=3"])
    assert wrong.exit_code == 2
    assert "did you mean" in wrong.output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "images"),
    [("uw_gradient_modules", [50, 50]), ("cross_validation", [12, 12, 13, 19, 18])],
)
def test_the_real_folds_hold_out_what_they_say(
    name: str, images: list[int], ki67_data: Path
) -> None:
    experiment = load_experiment(CONFIGS / f"{name}.toml")
    for fold, count in zip(experiment.folds, images, strict=True):
        config = experiment.training_config(experiment.variants[0], fold, 1, 1)
        held_out = role_fields(config, "held_out", data=ki67_data)
        assert sum(len(fields) for fields in held_out.values()) == count
