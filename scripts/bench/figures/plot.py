"""The rows that are ratios to the yardstick, as one SVG: a group of bars per workload, logarithmic, the goal dashed."""

import math
from xml.sax.saxutils import escape

from .servers import YARDSTICK
from .table import digits

LEFT, WIDTH, LINE, GAP = 230, 620, 20, 46
LEAST, MOST = 0.125, 64
COLOURS = {"subject": "#1f6feb", "yardstick": "#57606a", "peer": "#b6bec9", "bar": "#cf222e"}


def svg(rows):
    parts, y = [], 40
    for row in rows:
        bars = [(name, value) for name, value in row.values.items() if name != YARDSTICK and value]
        if "raw epoll" not in row.unit or not bars:
            continue
        parts.append(_text(12, y, row.workload, "bold"))
        top = y + 8
        for name, value in bars:
            y += LINE
            kind = "subject" if name == row.subject else "peer"
            parts.append(_text(LEFT - 8, y + 4, name, anchor="end"))
            parts.append(_rectangle(_x(LEAST), y - 8, _x(value) - _x(LEAST), COLOURS[kind]))
            parts.append(_text(_x(value) + 6, y + 4, digits(value)))
        parts.append(_line(1, top, y + 10, COLOURS["yardstick"], ""))
        parts.append(_line(row.most, top, y + 10, COLOURS["bar"], "4 3"))
        y += GAP
    title = _text(12, 18, "× raw epoll (solid line), logarithmic; less is better; dashed: the bar for the blue one")
    size = f'width="{LEFT + WIDTH + 80}" height="{y}" viewBox="0 0 {LEFT + WIDTH + 80} {y}"'
    style = "<style>text{font:13px sans-serif;fill:#1f2328}.bold{font-weight:bold}</style>"
    style += '<rect width="100%" height="100%" fill="#fff"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{style}{title}{"".join(parts)}</svg>\n'


def _x(value):
    inside = min(max(value, LEAST), MOST)
    return LEFT + WIDTH * math.log(inside / LEAST) / math.log(MOST / LEAST)


def _text(x, y, text, style="", anchor="start"):
    return f'<text x="{x:.1f}" y="{y}" class="{style}" text-anchor="{anchor}">{escape(text)}</text>'


def _rectangle(x, y, width, colour):
    return f'<rect x="{x:.1f}" y="{y}" width="{max(width, 1):.1f}" height="{LINE - 5}" fill="{colour}"/>'


def _line(value, top, bottom, colour, dashes):
    x = _x(value)
    return f'<line x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}" stroke="{colour}" stroke-dasharray="{dashes}"/>'
