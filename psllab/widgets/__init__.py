"""Widgets shared by the notebooks' pages: gallery, controls, a job in the background."""

from html import escape


def paragraph(text: str) -> str:
    """Plain text for an HTML widget."""
    return f'<div class="psl-told">{escape(text)}</div>'
