"""Numbers as text: units beside them, thousands apart, a dash where nothing is known."""

NOTHING = "–"


def percent(value: float | None) -> str:
    """One decimal, or a dash."""
    return NOTHING if value is None else f"{value:.1f} %"


def interval(ends: tuple[float, float] | None) -> str:
    """Both ends with one decimal, or a dash."""
    return NOTHING if ends is None else f"{ends[0]:.1f} – {ends[1]:.1f} %"


def count(value: int | None) -> str:
    """Thousands apart, or a dash."""
    return NOTHING if value is None else f"{value:,}"


def square_mm(value: float | None) -> str:
    """Square millimetres to what can be told apart, or a dash; the unit stands beside it."""
    if value is None:
        return NOTHING
    if 0 < value < 0.005:
        return "< 0.01"
    return f"{value:,.1f}" if value >= 100 else f"{value:.2f}"


def per_mm2(value: float | None) -> str:
    """Cells per square millimetre, or a dash."""
    return NOTHING if value is None else f"{value:,.0f}"


def probability(value: float | None) -> str:
    """A p value; the smallest that permutations can give is said as it is."""
    return NOTHING if value is None else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def length(value_um: float) -> str:
    """Micrometres, or millimetres from one on."""
    return f"{value_um / 1000:g} mm" if value_um >= 1000 else f"{value_um:g} µm"


def duration(seconds: float | None) -> str:
    """Seconds, minutes or hours, or a dash."""
    if seconds is None:
        return NOTHING
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def moment(iso: str | None) -> str:
    """A UTC time of ISO 8601 without fractions of a second, or a dash."""
    return NOTHING if not iso else f"{iso[:10]} {iso[11:16]} UTC"


def plural(number: int, word: str) -> str:
    """``1 slide``, ``2 slides``."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"
