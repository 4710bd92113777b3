"""What changed between two results of the same slide, told from the ledger."""

from collections.abc import Iterator

from pipeline.io.ledger_rows import LedgerContents, LedgerSlide
from pipeline.run.job import changed_parts


def changed_rows(ledger: LedgerContents) -> Iterator[tuple[LedgerSlide, tuple[str, ...]]]:
    """Give each row, oldest first, with the names of what differs from the slide's row before."""
    before: dict[str, LedgerSlide] = {}
    for row in ledger.slides:
        earlier = before.get(row.slide_id)
        yield row, () if earlier is None else _changed(ledger, earlier, row)
        before[row.slide_id] = row


def _changed(ledger: LedgerContents, earlier: LedgerSlide, row: LedgerSlide) -> tuple[str, ...]:
    parts, now = ledger.parts(earlier), ledger.parts(row)
    if parts is not None and now is not None:
        if earlier.fingerprint == row.fingerprint and None in (
            earlier.content_sha256,
            row.content_sha256,
        ):
            parts["slide content"] = now["slide content"]  # one of them knows no more than that
        return tuple(changed_parts(parts, now))
    # of a run before settings were kept: what its row has
    pairs = (
        ("model weights", earlier.weights_sha256, row.weights_sha256),
        ("settings", earlier.config_sha256, row.config_sha256),
    )
    return tuple(name for name, old, new in pairs if old and new and old != new)
