"""Styles that are worked out once a process: documents come from one template and its sheets.

WeasyPrint works out some hundred properties for each kind of element, anew for each document;
that is a fifth of the time of a page. What they come to depends on the parent's style and on
the declarations that apply, and on nothing else once media, page size and fonts are given, as
they are here. Documents are the same to the byte with and without; a test holds them against
each other.
"""

from __future__ import annotations

from typing import Any

PARSED_ANEW = frozenset({"anchor", "height", "lang", "width"})
"""Properties that attributes of elements set: their values are equal, but never the same."""


def share_styles() -> None:
    """Have this process keep computed styles from one document to the next."""
    from weasyprint import css  # noqa: PLC0415 (only rendering processes pay for it)

    kept: dict[Any, tuple[Any, Any]] = {}

    class SharedStyles(css.StyleFor):  # type: ignore[misc]
        """The styles of one document, taken from those before it where they are the same."""

        def set_computed_styles(
            self, element: Any, parent: Any, root: Any = None, pseudo_type: Any = None, **rest: Any
        ) -> None:
            """Give the element the style that it has in every document."""
            above = None if parent is None else self._computed_styles[parent, None]
            cascaded = self._cascaded_styles.get((element, pseudo_type), {})
            declared = [
                (name, value if name in PARSED_ANEW else id(value))
                for name, (value, _weight) in cascaded.items()
            ]
            key = (id(above), pseudo_type, *declared)
            if key not in kept:
                super().set_computed_styles(element, parent, root, pseudo_type, **rest)
                # With what the key names: while it is kept, nothing else gets its address.
                kept[key] = (self._computed_styles[element, pseudo_type], (above, cascaded))
            self._computed_styles[element, pseudo_type] = kept[key][0]

    css.StyleFor = SharedStyles
