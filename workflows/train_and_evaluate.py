"""Train a network as a settings file says, then score it on the fields it never saw."""

import argparse
import sys
from pathlib import Path

from pipeline.cli import exit_code
from pipeline.errors import PipelineError
from pipeline.train.config import data_folder, load_train_config
from pipeline.train.loop import train
from pipeline.train.report import markdown, write_evaluation
from pipeline.train.scoring import export_scored, score_role


def main() -> int:
    """Train, export the best model with its figures on the card, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path, help="TOML settings, see workflows/configs")
    parser.add_argument("--data", help="folder of the data sets; default: KI67_DATA")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--resume", action="store_true", help="go on from a saved state")
    options = parser.parse_args()
    try:
        settings, data = load_train_config(options.config), data_folder(options.data)
        train(settings, options.out, data=data, resume=options.resume)
        model = options.out / settings.card.name
        export_scored(settings, options.out, model, data=data)
        scores = score_role(str(model), settings, "held_out", data=data)
        write_evaluation(options.out, scores)
    except PipelineError as error:
        sys.stderr.write(f"{error}\n")
        return exit_code(error)
    sys.stdout.write(f"{markdown(scores)}\nmodel: {model}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
