"""Settings: complete defaults, TOML, --set pairs, one clear line for every mistake."""

from operator import attrgetter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import RunConfig, digest, known_keys, load_config, validated
from pipeline.errors import ConfigError


def test_defaults_need_no_file() -> None:
    assert load_config() == RunConfig()


def test_a_toml_file_changes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text("[score]\nmin_cells = 200\n[slides]\nreader = 'tiffslide'\n")
    config = load_config(path)
    assert config.score.min_cells == 200
    assert config.slides.reader == "tiffslide"
    assert config.prediction == RunConfig().prediction


def test_set_pairs_come_after_the_file(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text("[score]\nmin_cells = 200\n")
    assert load_config(path, ["score.min_cells=300"]).score.min_cells == 300


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("slides.mpp=0.25", 0.25),
        ("slides.reader=openslide", "openslide"),
        ('slides.reader="openslide"', "openslide"),
        ("cluster.dashboard=false", False),
        ("heatmap.ome_zarr=0.4", "0.4"),
        ("prediction.model=my model", "my model"),
        ("cluster.scheduler=tcp://127.0.0.1:8786", "tcp://127.0.0.1:8786"),
    ],
)
def test_set_takes_toml_values_and_bare_words(pair: str, value: object) -> None:
    section, name = pair.partition("=")[0].split(".")
    assert getattr(getattr(load_config(overrides=[pair]), section), name) == value


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("prediction.halo=64", "unknown setting prediction.halo; did you mean prediction.halo_px?"),
        ("min_cells=5", "unknown setting min_cells; did you mean score.min_cells?"),
        ("scores.min_cells=5", "unknown setting scores; did you mean score?"),
        ("hotspot.min_cells=9", "unknown setting hotspot; did you mean hotspots?"),
        ("score.min_cells=0", "score.min_cells: Input should be greater than or equal to 1, got 0"),
        ("slides.mpp=-1", "slides.mpp: Input should be greater than 0, got -1"),
        ("slides.mpp=inf", "slides.mpp: Input should be a finite number, got inf"),
        ("slides.mpp=nan", "slides.mpp: Input should be"),
        ("slides.reader=zeiss", "'openslide' or 'tiffslide', got 'zeiss'"),
        ("prediction.device=gpu", "got 'gpu'"),
        ("prediction.halo_px=50", "prediction: halo_px=50 must be a multiple of 32"),
        ("prediction.dtype=float16", "on a cpu use float32 or bfloat16"),
        ("prediction.tile_core_px=100", "tile_core_px=100 must be a multiple of 32"),
        ("prediction.tile_core_px=96", "tile_core_px=96 must be a multiple of 32 x heatmap.down"),
        ("category.scheme=vienna", "'net_3_20' or 'own', got 'vienna'"),
        ("category.scheme=own", "belong to scheme=own, and it needs both"),
        (
            "category.cutoffs=[20.0]",
            "category: scheme=none with cutoffs=[20.0]: cutoffs and labels",
        ),
        ("prediction=5", "prediction: Input should be a valid dictionary"),
        ("mpp", "--set mpp: write it as section.key=value"),
        ("=4", "--set =4: write it as section.key=value"),
    ],
)
def test_mistakes_are_one_line_with_key_value_and_remedy(pair: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(overrides=[pair])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_value_is_no_section() -> None:
    with pytest.raises(ConfigError, match="score is not a section"):
        load_config(overrides=["score=5", "score.min_cells=5"])


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(ConfigError, match=r"downsample.*; .*min_cells"):
        load_config(overrides=["score.min_cells=0", "heatmap.downsample=0"])


@pytest.mark.parametrize("content", [b"[score\n", b"\xff\xfe", None])
def test_unreadable_files_are_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "broken.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"broken\.toml: cannot be read as TOML"):
        load_config(path)


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        RunConfig().score.min_cells = 3  # type: ignore[misc]


def test_known_keys_are_all_keys_that_can_be_set() -> None:
    keys = known_keys(RunConfig)
    assert "prediction.halo_px" in keys
    assert len(keys) == len(set(keys))
    for key in keys:
        *sections, name = key.split(".")
        assert hasattr(attrgetter(".".join(sections))(RunConfig()), name)


def test_settings_survive_a_round_trip_through_json() -> None:
    config = load_config(overrides=["slides.mpp=0.25", "cluster.workers=3"])
    assert validated(RunConfig, config.model_dump(mode="json")) == config


def test_the_digest_tells_settings_apart() -> None:
    assert RunConfig().digest() == load_config().digest()
    assert RunConfig().digest() != load_config(overrides=["score.min_cells=501"]).digest()


@given(st.dictionaries(st.text(), st.integers() | st.text()))
def test_a_digest_does_not_depend_on_the_order_of_keys(value: dict[str, int | str]) -> None:
    assert digest(value) == digest(dict(reversed(value.items())))


def test_own_cutoffs_need_one_label_more_and_must_rise() -> None:
    own = ["category.scheme=own", "category.cutoffs=[10.0, 30.0]"]
    config = load_config(overrides=[*own, "category.labels=['low', 'medium', 'high']"])
    assert config.category.cutoffs == (10.0, 30.0)
    with pytest.raises(ConfigError, match="2 cutoffs need 3 labels, got 2"):
        load_config(overrides=[*own, "category.labels=['low', 'high']"])
    for wrong in ("[30.0, 10.0]", "[10.0, 10.0]", "[0.0, 10.0]", "[10.0, 100.0]"):
        with pytest.raises(ConfigError, match="must rise between 0 and 100"):
            load_config(
                overrides=[
                    "category.scheme=own",
                    f"category.cutoffs={wrong}",
                    "category.labels=['low', 'medium', 'high']",
                ]
            )


def test_no_category_is_given_unasked() -> None:
    assert RunConfig().category.scheme == "none"
