"""What came out, as text: rows with a bar and a verdict, and the numbers behind them as Markdown tables."""

import statistics
from dataclasses import dataclass, field

from .servers import SUBJECT, YARDSTICK


@dataclass
class Row:
    """One bar. `values`: by server, all in `unit`; `details`: a table, its head first."""

    workload: str
    unit: str
    most: float | None
    subject: str = SUBJECT
    values: dict = field(default_factory=dict)
    details: list = field(default_factory=list)
    notes: list = field(default_factory=list)
    problem: str | None = None  # why there is no value for the subject
    failed: bool = False  # something is wrong here, as opposed to: there is no such thing in this build

    @property
    def value(self):
        return self.values.get(self.subject)

    @property
    def verdict(self):
        if self.problem:
            return self.problem
        if self.value is None:
            return "not asked for"
        return "met" if self.value <= self.most else "**missed**"


def ratios(numbers):
    """{server: [number of each round]} → {server: median of the ratios to the yardstick in the same round}."""
    base = numbers[YARDSTICK]
    return {name: statistics.median(each / by for each, by in zip(own, base)) for name, own in numbers.items()}


def spread(own, base):
    """The least and the greatest of the rounds' ratios."""
    each = [number / by for number, by in zip(own, base)]
    return f"{min(each):.2f} to {max(each):.2f}"


def digits(value):
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"


def summary(rows, names):
    """`names`: the servers with a column of their own."""
    peers = [name for name in names if name not in (SUBJECT, YARDSTICK)]
    lines = [["workload", "unit", "bar", SUBJECT, "verdict", YARDSTICK, *peers]]
    for row in rows:
        bar = "-" if row.most is None else f"≤ {row.most:g}"
        others = (digits(row.values.get(name)) for name in (YARDSTICK, *peers))
        lines.append([row.workload, row.unit, bar, digits(row.value), row.verdict, *others])
    return markdown(lines)


def report(rows, names, head):
    parts = [head, summary(rows, names)]
    for row in rows:
        if len(row.details) > 1 or row.notes:
            parts.append(f"### {row.workload}")
        if len(row.details) > 1:
            parts.append(markdown(row.details))
        if row.notes:
            parts.append("\n".join(f"- {note}" for note in row.notes))
    return "\n\n".join(parts) + "\n"


def markdown(lines):
    """The first is the head. The first column is text, the others are mostly numbers."""
    widths = [max(map(len, column)) for column in zip(*lines)]
    head, *body = ["| " + " | ".join(map(_pad, line, widths, range(len(line)))) + " |" for line in lines]
    rule = "|" + "|".join("-" * (width + 1) + ("-" if at == 0 else ":") for at, width in enumerate(widths)) + "|"
    return "\n".join([head, rule, *body])


def _pad(cell, width, at):
    return cell.ljust(width) if at == 0 else cell.rjust(width)
