"""Score one slide and print its Ki-67 index: python workflows/single_slide.py SLIDE OUT."""

import argparse
from pathlib import Path

from pipeline.config import load_config
from pipeline.report.html import write_report
from pipeline.run.archive import run_archive


def main() -> None:
    """Run one slide with the defaults, a settings file or single settings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("slide", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--config", type=Path, help="TOML settings")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()

    config = load_config(options.config, options.set)
    summary = run_archive([options.slide], options.out, config, report=write_report)

    for record in summary.records:
        ki67 = record.score.ki67
        print(f"slide     {record.name}")
        print(f"status    {record.score.status}  {record.score.reason or ''}")
        print(f"Ki-67     {ki67.index_pct} %  (95 % interval {ki67.wilson95})")
        print(f"cells     {record.score.counts.positive} positive of {record.score.counts.total}")
        print(f"counted   {record.score.caveat}")
        print(f"files     {options.out / 'slides' / record.slide_id}")
    raise SystemExit(summary.exit_code)


if __name__ == "__main__":  # worker processes import this file
    main()
