"""Put the scores of several output folders into one table and renew the report of each."""

import argparse
import csv
import sys
from pathlib import Path

from pipeline.report.html import load_records, write_report

COLUMNS = ("folder", "slide", "status", "index_pct", "positive", "negative", "weights_sha256")


def main() -> int:
    """Write the table; the column of weights shows where two models would be mixed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+", help="of `ki67 run --out`")
    parser.add_argument("--table", type=Path, required=True, help="CSV to write")
    options = parser.parse_args()
    models = set()
    with options.table.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(COLUMNS)
        for folder in options.folders:
            write_report(folder)
            for score in load_records(folder)[0]:
                counts, weights = score.counts, score.provenance.weights_sha256
                models.add(weights)
                numbers = (score.ki67.index_pct, counts.positive, counts.negative)
                table.writerow([folder.name, score.slide.name, score.status, *numbers, weights])
    if len(models) > 1:
        sys.stderr.write(f"{len(models)} different models in one table: do not compare indices\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
