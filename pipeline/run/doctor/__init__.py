"""Doctor: does this machine have what a run needs; each check ends ok, warn or fail by itself."""

from pipeline.run.doctor.checking import Check, examine

__all__ = ["Check", "examine"]
