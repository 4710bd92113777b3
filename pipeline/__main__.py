"""``python -m pipeline``: the same as the console script ``ki67``."""

from pipeline.cli import main

if __name__ == "__main__":
    main()
