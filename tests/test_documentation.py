"""The documentation names what the code writes and links only to what is there."""

import re
import subprocess
from pathlib import Path

import pytest
from pydantic import BaseModel

from pipeline import __version__
from pipeline.cli import COMMANDS
from pipeline.io.results import SLIDE_COLUMNS
from pipeline.io.score import ScoreRecord

ROOT = Path(__file__).resolve().parent.parent
OUTPUTS = (ROOT / "docs" / "outputs.md").read_text(encoding="utf-8")
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)")


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    paths = [ROOT / line for line in listed.stdout.splitlines()]
    return [path for path in paths if path.is_file()]


def section(title: str) -> str:
    return OUTPUTS.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_every_column_of_slides_csv_is_described_in_order() -> None:
    rows = [line.split("|")[1] for line in section("slides.csv").splitlines() if "| `" in line]
    assert re.findall(r"`(\w+)`", " ".join(rows)) == list(SLIDE_COLUMNS)


def test_every_key_of_score_json_is_described() -> None:
    text = section("score.json")
    for name, field in ScoreRecord.model_fields.items():
        assert f"`{field.alias or name}`" in text
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            missing = [key for key in kind.model_fields if f"`{key}`" not in text]
            assert not missing, f"{name}: {missing}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    targets = LINK.findall(page.read_text(encoding="utf-8"))
    dead = [target for target in targets if not (page.parent / target).exists()]
    assert not dead, dead


def test_every_command_that_is_written_down_exists() -> None:
    words = set()
    for page in PAGES:
        words |= set(re.findall(r"(?m)(?:`|bin/)ki67 ([a-z]+)", page.read_text(encoding="utf-8")))
    assert words <= COMMANDS.keys(), words - COMMANDS.keys()


def test_the_citation_names_this_version() -> None:
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(rf"(?m)^version: {re.escape(__version__)}$", text)


def test_no_machine_path_is_in_the_repository() -> None:
    path_of_a_machine = re.compile(r"(?<![\w./:])/(?:root|home|tmp)/\w")
    named = []
    for path in tracked():
        if path.suffix in {".md", ".py", ".toml", ".yml", ".json", ".txt"} or not path.suffix:
            text = path.read_text(encoding="utf-8", errors="replace")
            named += [str(path.relative_to(ROOT)) for _ in path_of_a_machine.findall(text)]
    assert not named, sorted(set(named))
