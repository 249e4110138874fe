"""What a reader must know to read a comparison, one sentence each."""

from collections.abc import Iterator

from robusteval.attacks.flags import FLAGS
from robusteval.reporting import corruptions, tables
from robusteval.reporting.compare.columns import Column
from robusteval.reporting.compare.differences import BOOTSTRAP, EXACT, LEVEL, SEEDS
from robusteval.reporting.compare.table import Comparison


def notes(comparison: Comparison, intervals: bool = False) -> list[str]:
    """The notes of a table.

    Args:
        comparison: the table.
        intervals: whether it shows them.
    """
    lines = [_data(comparison), *_spread(comparison, intervals), *_marks(comparison), *_tests(comparison)]
    views = comparison.pool.metrics["view"].isin([view for column in comparison.columns for view in column.views])
    lines += tables.about_corruptions(corruptions.kinds(comparison.pool.metrics[views]))
    lines += [*_calibration(comparison), *_grades(comparison)]
    if comparison.missing:
        lines.append(f"Not in the record: {', '.join(comparison.missing)}.")
    return [" ".join(line.split()) for line in lines]


def _data(comparison: Comparison) -> str:
    """Which samples of which data each column is of."""
    sizes: dict[int, list[str]] = {}
    for column in comparison.columns:
        counts = [comparison.figures[row.name, column.label].n for row in comparison.rows]
        for n in {count for count in counts if count is not None}:
            sizes.setdefault(n, []).append(column.label)
    most = max(sizes, key=lambda n: len(sizes[n]), default=0)
    rest = [f"; {n} for {', '.join(labels)}" for n, labels in sizes.items() if n != most]
    data = dict.fromkeys(comparison.pool.metrics["data"].dropna())
    folders = ", ".join(record.name for record in comparison.pool.terms)
    return f"{folders}: {', '.join(data)}, {most} samples{''.join(rest)}. Rates and calibration errors in %."


def _spread(comparison: Comparison, intervals: bool) -> Iterator[str]:
    counts = {len(row.models) for row in comparison.rows}
    if max(counts) > 1:
        yield "Rows with several training seeds: mean ± standard deviation over the seeds."
    if intervals:
        over = ["over samples of a single checkpoint (Wilson, bootstrap)"] if 1 in counts else []
        over += ["over seeds of several (Student's t)"] if max(counts) > 1 else []
        yield f"In brackets the 95% interval: {'; '.join(over)}."


def _marks(comparison: Comparison) -> Iterator[str]:
    if comparison.best:
        yield (
            "Bold: best of its column here. Italic: not significantly worse, so perhaps the true best, or too little "
            f"evidence (tests below; Holm over {len(comparison.behind)} comparisons with the bold row, {LEVEL:.0%}). "
            "The bold row was seen to be best in these data; a claim that another is worse wants --baseline."
        )
    if any(figure.flags for figure in comparison.figures.values()):
        yield f"!: {tables.UNRELIABLE}; such a number is not ranked."


def _tests(comparison: Comparison) -> Iterator[str]:
    used = {each.test for each in (*comparison.behind.values(), *comparison.differences.values())}
    words = [
        (SEEDS, "Welch's t-test over training seeds where both sides have two or more"),
        (EXACT, "McNemar's exact test between two checkpoints (interval: Tango's)"),
        (BOOTSTRAP, "the paired bootstrap over samples for anything else"),
    ]
    if used:
        yield f"Tests: {'; '.join(text for name, text in words if name in used)}."
    if comparison.differences:
        count = len(comparison.differences)
        yield (
            f"Differences to {comparison.baseline} with their own 95% intervals; *: significant after Holm's "
            f"correction over {count} comparisons ({LEVEL:.0%})."
        )
    if comparison.differences and _untested(comparison):
        yield "A dash where both numbers are known: there is no test over samples for such a number."
    if used & {EXACT, BOOTSTRAP}:
        marked = "Differences marked s are" if comparison.differences else "Tests over samples are"
        yield f"{marked} conditional on these checkpoints: another training seed may differ by more."


def _untested(comparison: Comparison) -> bool:
    """Whether some number has no difference to the baseline's though both are known."""
    places = [(row.name, column.label) for row in comparison.rows[1:] for column in comparison.columns]
    known = {place for place in places if comparison.figures[place].values}
    return any(
        comparison.figures[str(comparison.baseline), label].values and (row, label) not in comparison.differences
        for row, label in known
    )


def _calibration(comparison: Comparison) -> Iterator[str]:
    metrics = {column.metric for column in comparison.columns}
    if any(metric.startswith("ece") for metric in metrics):
        yield "ECE: top label, 15 equal-width bins, L1; biased up at small n, which tests over samples correct for."
    if any(column.metric != column.base for column in comparison.columns):
        names = [column.metric.removeprefix(f"{column.base} after ") for column in comparison.columns]
        after = [name for name, column in zip(names, comparison.columns, strict=True) if column.metric != column.base]
        yield from tables.about_recalibration(comparison.pool.metrics, list(dict.fromkeys(after)))
    if "gamma" in metrics:
        yield "gamma: local linearity error of the loss, in nats; lower is better."


def _grades(comparison: Comparison) -> Iterator[str]:
    grades = {figure.grade for figure in comparison.figures.values()}
    if "quick" in grades:
        yield "quick: a single or short attack; accuracy under it is an upper bound of robust accuracy."
    if grades & {"A", "B"}:
        yield "Grade A: AutoAttack's standard version or stronger; grade B: a converged attack with gradients."
    if any(_attacked(comparison, column) for column in comparison.columns) and not _has_clean(comparison):
        yield "Clean accuracy was not measured: robust accuracy means little without it; add the view clean."
    names: dict[str, None] = {}
    for (row, label), figure in comparison.figures.items():
        if figure.flags:
            yield f"! {row}, {label}: {tables.UNRELIABLE} ({figure.flags})."
            names.update(dict.fromkeys(figure.flags.split(", ")))
        if figure.failed:
            yield f"failed: {row}, {label}: {figure.failed}"
    yield from (f"{name}: {FLAGS[name].says}" for name in names if name in FLAGS)


def _attacked(comparison: Comparison, column: Column) -> bool:
    return column.metric == "accuracy" and any(
        comparison.figures[row.name, column.label].grade is not None for row in comparison.rows
    )


def _has_clean(comparison: Comparison) -> bool:
    return any(column.views == ("clean",) and column.metric == "accuracy" for column in comparison.columns)
