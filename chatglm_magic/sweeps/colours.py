"""A scale of colours whose lightness falls all the way: it reads the same in grey, and to the colour-blind.

The cells are opaque and bring the colour of their text along, so that a dark theme changes nothing in them.
"""

from __future__ import annotations

STOPS = ((255, 247, 214), (199, 233, 180), (65, 182, 196), (34, 94, 168), (8, 29, 88))
"""Yellow, green, blue: from the least to the most."""

Colour = tuple[int, int, int]


def colour(share: float) -> Colour:
    """Return the colour of a share from 0 (light) to 1 (dark)."""
    at = min(max(share, 0.0), 1.0) * (len(STOPS) - 1)
    low = min(int(at), len(STOPS) - 2)
    a, b = STOPS[low], STOPS[low + 1]
    red, green, blue = (round(x + (y - x) * (at - low)) for x, y in zip(a, b, strict=True))
    return red, green, blue


def ink(ground: Colour) -> Colour:
    """Return black or white, whichever is easier to read on a ground: a contrast of 4.5 at least."""
    return (0, 0, 0) if contrast(ground, (0, 0, 0)) >= contrast(ground, (255, 255, 255)) else (255, 255, 255)


def contrast(a: Colour, b: Colour) -> float:
    """Return the contrast of two colours as WCAG defines it, 1 to 21."""
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(found: Colour) -> float:
    """Return how light a colour is, 0 to 1: what is left of it in grey."""
    parts = [part / 255 for part in found]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def css(found: Colour) -> str:
    """Return a colour as CSS writes it."""
    return "#{:02x}{:02x}{:02x}".format(*found)
