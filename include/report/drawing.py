"""What the reports' pictures share: SVG with its texts as text, the same bytes for the same facts."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SETTINGS: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "stellwerk",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "text.parse_math": False,
    "hatch.linewidth": 0.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_STEPS: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400)
_MOST_TICKS: Final = 9


def drawn(draw: Callable[[], Figure], *, title: str, description: str, name: str = "stellwerk") -> str:
    """The picture as SVG: no document type, no metadata, nothing loaded.

    :param title: what it shows
    :param description: the same in words, for those who cannot see it
    :param name: tells pictures of one page apart; letters, digits and ``-`` only
    """
    import matplotlib as mpl

    out = io.BytesIO()
    with mpl.rc_context(_SETTINGS):
        draw().savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = out.getvalue().decode()
    picture = re.sub(r"\s*<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    opening, rest = picture.split(">", 1)
    described = (
        f'{opening} role="img" aria-labelledby="{name}-titel {name}-text">\n'
        f' <title id="{name}-titel">{html.escape(title)}</title>\n'
        f' <desc id="{name}-text">{html.escape(description)}</desc>'
    )
    return f"{described}{rest.rstrip()}\n"


def ticks(start: float, end: float) -> list[float]:
    """Where a time axis is marked: whole seconds, minutes or hours, few enough to be read.

    :param start: seconds since the epoch, as ``end``
    """
    step = next((step for step in _STEPS if (end - start) / step <= _MOST_TICKS), _STEPS[-1])
    first = int(-(-start // step)) * step
    return [first + number * step for number in range(int((end - first) // step) + 1)]
