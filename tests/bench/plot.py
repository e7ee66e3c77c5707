"""A curve as SVG: both axes logarithmic, one line for the server and one for ours. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape

from tests.bench.measures.growth import Curve

#: Pixels.
WIDTH, HEIGHT = 560, 320
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 36, 48

FONT = 'font-family="sans-serif" font-size="11"'

LINES = (("server", "#b5482a"), ("pytask", "#2a62b5"), ("limit loop's server", "#7a7a7a"))


class Scale:
    """Numbers to pixels, by their logarithm."""

    def __init__(self, values: Sequence[float], first: float, last: float) -> None:
        self.low = math.floor(math.log10(min(values)))
        self.high = max(math.ceil(math.log10(max(values))), self.low + 1)
        self._first, self._last = first, last

    def __call__(self, value: float) -> float:
        part = (math.log10(value) - self.low) / (self.high - self.low)
        return round(self._first + part * (self._last - self._first), 1)

    def ticks(self) -> list[float]:
        """Powers of ten."""
        return [10.0**power for power in range(self.low, self.high + 1)]


def svg(curve: Curve) -> str:
    """Return the picture."""
    x = Scale([point[0] for point in curve.points], LEFT, WIDTH - RIGHT)
    costs = [max(cost, 0.1) for point in curve.points for cost in point[1:]]
    y = Scale(costs, HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" {FONT}>',
        f"<title>{escape(curve.name)}: {escape(curve.sentence)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        *_grid(curve, x, y),
        *(_line(curve, place, x, y) for place in range(len(curve.points[0]) - 1)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _grid(curve: Curve, x: Scale, y: Scale) -> Iterator[str]:
    for tick in x.ticks():
        at = x(tick)
        yield f'<line x1="{at}" x2="{at}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="#ddd"/>'
        yield f'<text x="{at}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{tick:,.0f}</text>'
    for tick in y.ticks():
        at = y(tick)
        yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at}" y2="{at}" stroke="#ddd"/>'
        yield f'<text x="{LEFT - 6}" y="{at + 4}" text-anchor="end">{tick:,g}</text>'
    yield f'<text x="{WIDTH / 2}" y="{HEIGHT - 10}" text-anchor="middle">{escape(curve.along)}</text>'
    yield f'<text x="{LEFT}" y="16">CPU, µs a task</text>'


def _line(curve: Curve, place: int, x: Scale, y: Scale) -> str:
    name, colour = LINES[place]
    points = [(x(point[0]), y(max(point[1 + place], 0.1))) for point in curve.points]
    path = " ".join(f"{across},{down}" for across, down in points)
    dots = "".join(f'<circle cx="{across}" cy="{down}" r="3" fill="{colour}"/>' for across, down in points)
    label = f'<text x="{LEFT + 150 + 90 * place}" y="16" fill="{colour}">■ {name}</text>'
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>{dots}{label}'
