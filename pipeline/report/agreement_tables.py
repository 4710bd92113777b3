"""What a comparison with manual scores says: sentences and tables, for Markdown and HTML alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.core.agreement import CategoryAgreement, Comparison, Panel, Share
from pipeline.core.reliability import Estimate
from pipeline.io.manual_scores import LeftOut

HUMAN_ICC = "0.84 to 0.87"
"""ICC of 22 laboratories in the International Ki67 Working Group's third phase (core biopsies)."""
LONGEST_LIST = 50


@dataclass(frozen=True, slots=True)
class Table:
    """A table with a title and a sentence on how to read it."""

    title: str
    note: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def markdown(sections: Sequence[str | Table]) -> str:
    """Write sentences and tables as Markdown."""
    lines = ["# Agreement with manual scores", "", "For research use only.", ""]
    for part in sections:
        if isinstance(part, str):
            lines += [part, ""]
            continue
        lines += [f"## {part.title}", ""]
        lines += [part.note, ""] if part.note else []
        if part.rows:
            rule = [
                "---:" if _is_figures(column) else "---" for column in zip(*part.rows, strict=True)
            ]
            cells = [part.header, rule, *part.rows]
            lines += ["| " + " | ".join(map(_cell, row)) + " |" for row in cells] + [""]
    return "\n".join(lines)


def sentences(comparisons: Sequence[Comparison]) -> list[str]:
    """Say each comparison with the pipeline in one or two plain sentences."""
    return [_sentence(one) for one in comparisons]


def tables(
    with_machine: Sequence[Comparison],
    between_readers: Sequence[Comparison],
    panels: Sequence[Panel],
    left_out: Sequence[LeftOut],
    sources: Mapping[str, str],
) -> list[Table]:
    """Make the tables in reading order."""
    every = [*with_machine, *between_readers]
    made = [_coefficients(every, panels), _differences(every), _close(every), _kappas(every)]
    for one in with_machine:
        made += [_confusion(one, scheme) for scheme in one.by_scheme]
    made += [_reasons(every)] if any(True for _ in _undefined(every)) else []
    made.append(_left_out(left_out))
    rows = tuple(sources.items())
    return [*made, Table("What was compared", "", ("", ""), rows)]


def _sentence(one: Comparison) -> str:
    count, limits = len(one.slides), one.limits
    start = f"{one.first.capitalize()} against {one.second}, {count} slide{'s' * (count != 1)}:"
    if limits.bias.value is None or limits.lower.value is None or limits.upper.value is None:
        return f"{start} no figures, because {limits.bias.reason or one.icc_agreement.reason}."
    bias = limits.bias.value
    side = "above" if bias >= 0 else "below"
    text = (
        f"{start} the {one.first} is on average {abs(bias):.1f} points {side} {one.second}, "
        f"and 95 % of the differences are expected between {limits.lower.value:+.1f} and "
        f"{limits.upper.value:+.1f} points. ICC(2,1) is {_estimate(one.icc_agreement, 2)}."
    )
    slope = limits.slope
    if slope.interval95 and slope.interval95[0] * slope.interval95[1] > 0:
        grows = "rises" if (slope.value or 0) > 0 else "falls"
        text += f" The difference {grows} with the index ({slope.value:+.2f} points per point)."
    return text


def _coefficients(every: Sequence[Comparison], panels: Sequence[Panel]) -> Table:
    rows = [
        (
            _title(one),
            str(len(one.slides)),
            *(
                _estimate(value, 3)
                for value in (
                    one.icc_agreement,
                    one.icc_consistency,
                    one.concordance,
                    one.spearman,
                    one.pearson,
                )
            ),
        )
        for one in every
    ]
    for group in panels:
        icc = [_estimate(value, 3) for value in (group.icc_agreement, group.icc_consistency)]
        rows.append((", ".join(group.raters), str(group.slides), *icc, "–", "–", "–"))
    return Table(
        "Coefficients",
        "ICC(2,1) and Lin's coefficient count a constant difference as disagreement; ICC(3,1) and "
        "the correlations do not. Laboratories that score by a common rule reach ICC "
        f"{HUMAN_ICC} with each other. In brackets: 95 % intervals.",
        ("raters", "n", "ICC(2,1)", "ICC(3,1)", "Lin's CCC", "Spearman", "Pearson"),
        tuple(rows),
    )


def _differences(every: Sequence[Comparison]) -> Table:
    rows = [
        (
            _title(one),
            _estimate(one.limits.bias, 2),
            _estimate(one.limits.lower, 1),
            _estimate(one.limits.upper, 1),
            _estimate(one.limits.slope, 3),
            _estimate(one.limits.widening, 2),
        )
        for one in every
    ]
    return Table(
        "Differences in percentage points (Bland and Altman)",
        "First minus second. Slope: change of the difference per point of the mean (proportional "
        "bias when its interval leaves 0 out). Widening: rank correlation of the size of the "
        "difference with the mean; well above 0, the limits are too narrow for high indices and "
        "too wide for low ones.",
        ("raters", "bias", "lower limit", "upper limit", "slope", "widening"),
        tuple(rows),
    )


def _close(every: Sequence[Comparison]) -> Table:
    words = {True: "met", False: "not met", None: "–"}
    rows = [
        (
            _title(one),
            _number(one.closeness.mean_absolute_points, 2),
            _number(one.closeness.median_absolute_points, 2),
            _number(one.closeness.root_mean_square_points, 2),
            _share(one.closeness.within_relative),
            _share(one.closeness.within_points),
            words[one.ajcp_met],
        )
        for one in every
    ]
    return Table(
        "Closeness",
        "Distances in percentage points. Within 20 %: at most a fifth of the second's value away; "
        "within 5: at most 5 points. "
        "Criterion: r above 0.9 and more than 80 % of slides within 20 %, as proposed for image "
        "analysis of neuroendocrine tumours.",
        (
            "raters",
            "mean",
            "median",
            "root mean square",
            "within 20 %",
            "within 5 points",
            "criterion",
        ),
        tuple(rows),
    )


def _kappas(every: Sequence[Comparison]) -> Table:
    rows = [
        (
            _title(one),
            entry.scheme,
            _share(entry.same),
            _estimate(entry.kappa_linear, 2),
            _estimate(entry.kappa_quadratic, 2) if len(entry.labels) > 2 else "the same",
        )
        for one in every
        for entry in (*one.by_cutoff, *one.by_scheme)
    ]
    return Table(
        "Categories",
        "Kappa weighs a disagreement by how many categories it spans (linear) or by the square of "
        "that (quadratic); with one cut-off both are the plain kappa.",
        ("raters", "cut-offs", "same category", "kappa, linear", "kappa, quadratic"),
        tuple(rows),
    )


def _confusion(one: Comparison, entry: CategoryAgreement) -> Table:
    rows = [
        (label, *(str(count) for count in counts))
        for label, counts in zip(entry.labels, entry.table, strict=True)
    ]
    cutoffs = ", ".join(f"{cutoff:g}" for cutoff in entry.cutoffs_pct)
    return Table(
        f"{_title(one)}: {entry.scheme} ({cutoffs} %)",
        f"Slides. Rows: {one.first}; columns: {one.second}.",
        (one.first, *entry.labels),
        tuple(rows),
    )


def _undefined(every: Sequence[Comparison]) -> list[tuple[str, str, str]]:
    named = {
        "ICC(2,1)": "icc_agreement",
        "ICC(3,1)": "icc_consistency",
        "Lin's CCC": "concordance",
        "Spearman": "spearman",
        "Pearson": "pearson",
    }
    found = []
    for one in every:
        parts = {words: getattr(one, name) for words, name in named.items()}
        limits = one.limits
        parts |= {"bias": limits.bias, "limits": limits.lower, "slope": limits.slope}
        for entry in (*one.by_cutoff, *one.by_scheme):
            parts[f"kappa, {entry.scheme}"] = entry.kappa_linear
        found += [(_title(one), words, part.reason) for words, part in parts.items() if part.reason]
    return found


def _reasons(every: Sequence[Comparison]) -> Table:
    return Table(
        "What is not given, and why", "", ("raters", "figure", "why"), tuple(_undefined(every))
    )


def _left_out(left_out: Sequence[LeftOut]) -> Table:
    rows = [(entry.what or "–", entry.where, entry.reason) for entry in left_out[:LONGEST_LIST]]
    more = len(left_out) - len(rows)
    note = "Nothing." if not left_out else f"{len(left_out)} in all."
    note += f" The first {LONGEST_LIST} are shown; agreement.json has every one." if more else ""
    return Table("Left out", note, ("slide", "where", "why"), tuple(rows))


def _title(one: Comparison) -> str:
    return f"{one.first} – {one.second}"


def _estimate(value: Estimate, digits: int) -> str:
    if value.value is None:
        return "–"
    text = f"{value.value:.{digits}f}"
    if value.interval95 is None:
        return text
    low, high = value.interval95
    return f"{text} [{low:.{digits}f}, {high:.{digits}f}]"


def _share(share: Share) -> str:
    return "–" if share.pct is None else f"{share.count} ({share.pct:.0f} %)"


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _is_figures(column: Sequence[str]) -> bool:
    return all(text[:1] in set("0123456789+-–") for text in column)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
