"""``ki67 models``: which models there are, what they mark, where they come from."""

import json
from pathlib import Path
from typing import Any

import click
import torch

from pipeline.model.card import ModelCard, load_card
from pipeline.model.registry import build_network
from pipeline.model.size import network_sizes, parameter_count
from pipeline.model.spec import ARCHITECTURES, network_spec
from pipeline.model.zoo import default_name, models_folder, resolve_model, shipped_names


@click.command("models")
@click.argument("model", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Write the whole cards as JSON.")
@click.option("--sizes", is_flag=True, help="List the networks that can be trained instead.")
@click.option(
    "--side", type=click.IntRange(min=32), default=512, show_default=True, help="With --sizes: px."
)
def models(model: tuple[str, ...], *, as_json: bool, sizes: bool, side: int) -> None:
    """List the models that ship with the package, or the named MODELs and model folders."""
    if sizes:
        click.echo(_size_table(model or tuple(ARCHITECTURES), side))
        return
    names = model or tuple(shipped_names())
    folders = [resolve_model(name) for name in names]
    cards = [load_card(folder) for folder in folders]
    default = _default_folder()
    entries = [
        card.model_dump(mode="json")
        | {
            "parameters": _parameters(card),
            "folder": str(folder),
            "default": folder == default,
        }
        for card, folder in zip(cards, folders, strict=True)
    ]
    if as_json:
        click.echo(json.dumps(entries, indent=2))
        return
    if not entries:
        click.echo("No model is shipped; give a model folder.")
    for entry in entries:
        click.echo(_describe(entry))


def _size_table(names: tuple[str, ...], side_px: int) -> str:
    """Markdown: parameters, and multiply-adds on one image with one output channel and with two."""
    specs = [network_spec(name, channels=channels) for name in names for channels in (1, 2)]
    sizes = network_sizes(specs, side_px=side_px)
    lines = [
        f"| network | parameters, M | multiply-adds at {side_px} px, G | with two channels, G |",
        "| --- | ---: | ---: | ---: |",
    ]
    for one, two in zip(sizes[::2], sizes[1::2], strict=True):
        figures = (one.parameters / 1e6, one.multiply_adds / 1e9, two.multiply_adds / 1e9)
        numbers = " | ".join(f"{figure:.2f}" for figure in figures)
        lines.append(f"| {one.spec.architecture} | {numbers} |")
    return "\n".join(lines)


def _default_folder() -> Path | None:
    return models_folder() / default_name() if (models_folder() / "DEFAULT").exists() else None


def _parameters(card: ModelCard) -> int | None:
    if card.spec is None:
        return None
    with torch.device("meta"):
        return parameter_count(build_network(card.spec))


def _describe(entry: dict[str, Any]) -> str:
    sources = "; ".join(f"{s['name']} ({s['licence']}; {s['use']})" for s in entry["sources"])
    use = "research use only" if entry["research_use_only"] else "see the licence for its use"
    network = "an ONNX file, by ONNX Runtime"
    if entry["spec"] is not None:
        millions = entry["parameters"] / 1e6
        network = f"{entry['spec']['architecture']}, {millions:.2f} M parameters"
    lines = [
        entry["name"] + ("  (default)" if entry["default"] else ""),
        f"  network     {network}",
        f"  resolution  {entry['mpp_um']:g} um/px",
        f"  threshold   {entry['threshold']:g}, candidates from {entry['floor']:g}",
        f"  marks       {entry['population']}",
        f"  caveat      {entry['caveat']}",
        f"  sources     {sources or 'none'}",
        *_measured(entry["metrics"].get("cross_validation", {})),
        f"  licence     {entry['licence']}; {use}",
        f"  folder      {entry['folder']}",
    ]
    return "\n".join(lines)


def _measured(told: dict[str, Any]) -> list[str]:
    """What cross-validation says of the recipe, a line for each source that was held out."""
    lines = []
    for row in told.get("rows", []):
        figures = row["at_3.125_um"]
        shown = [figures[f"f1_{of}"]["mean"] for of in ("all", "positive", "negative")]
        f1 = " / ".join("-" if one is None else f"{one:.1f}" for one in shown)
        lines.append(
            f"  measured    {row['group']}, {row['fields']}, each fold at its own threshold: "
            f"F1 {f1} % (all / positive / negative)"
        )
    if "command" in told:
        lines.append(f"  again by    {told['command']}")
    return lines
