"""What the request log says of a shadow: the live slot's GETs, and the copies that the candidate got.

Each request was copied or not by a coin of its own, so that both are the same mixture of requests
(whoever made them: unlike users, copies are never sticky). They are counted as users' requests are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from reld.nginx.shapes import SHADOW

_COPY, _ASKED = f"|GET|{SHADOW}|", "|GET|plain|"


def compared(lines: Iterable[str]) -> Iterator[str]:
    """The lines that can be compared, as if users had made all of them."""
    for line in lines:
        if _ASKED in line:
            yield line
        elif _COPY in line:
            yield line.replace(_COPY, _ASKED, 1)
