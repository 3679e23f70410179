"""The allow-list for all HTML made from model text, independent of the parser before it."""

from typing import TypedDict

from .outer import TYPESETTING_CLASSES

__all__ = ["sanitize_html"]

_TAG_NAMES = "a blockquote br code div em hr li ol p pre s small span strong table tbody td th thead tr ul"
_TAGS = set(_TAG_NAMES.split())
_STYLED_TAGS = ("div", "li", "p", "pre", "td", "th")
_STYLE_PROPERTIES = "background-color list-style-type margin overflow-x padding text-align white-space"


class _Options(TypedDict):
    tags: set[str]
    clean_content_tags: set[str]
    attributes: dict[str, set[str]]
    tag_attribute_values: dict[str, dict[str, set[str]]]
    set_tag_attribute_values: dict[str, dict[str, str]]
    allowed_classes: dict[str, set[str]]
    filter_style_properties: set[str]
    url_schemes: set[str]
    link_rel: str


def sanitize_html(fragment: str) -> str:
    """Return HTML with only the listed tags, attributes, classes and styles, and every tag closed.

    This is a second line of defence: the parser emits no other tags. ``fragment`` must not contain surrogates.
    """
    import nh3

    return nh3.clean(fragment, **_options())


_cached: list[_Options] = []


def _options() -> _Options:
    # Built at the first use: the classes come from Pygments, which takes 40 ms to import.
    if not _cached:
        _cached.append(_build_options())
    return _cached[0]


def _build_options() -> _Options:
    from pygments.token import STANDARD_TYPES

    colours = {name for name in STANDARD_TYPES.values() if name}
    levels = {str(level) for level in range(1, 7)}
    return {
        "tags": _TAGS,
        "clean_content_tags": {"script", "style"},
        "attributes": {"a": {"href", "title"}, "ol": {"start"}, **{tag: {"style"} for tag in _STYLED_TAGS}},
        "tag_attribute_values": {
            "p": {"role": {"heading"}, "aria-level": levels},
            "pre": {"tabindex": {"0"}},
            "div": {"tabindex": {"0"}},
        },
        "set_tag_attribute_values": {"a": {"target": "_blank"}},
        "allowed_classes": {"div": {"highlight"}, "span": colours | set(TYPESETTING_CLASSES.split())},
        # Nothing that could hold a `url()`, hide text or cover the page.
        "filter_style_properties": set(_STYLE_PROPERTIES.split()),
        "url_schemes": {"http", "https", "mailto"},
        "link_rel": "noopener noreferrer nofollow",
    }
