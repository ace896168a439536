"""Widgets shared by the notebooks' pages: gallery, controls, a job in the background."""

from html import escape


def paragraph(text: str, bad: bool = False) -> str:
    """Plain text for an HTML widget; red, if it warns."""
    return f'<div class="psl-told{" psl-bad" * bad}">{escape(text)}</div>'


def status(text: str, bad: bool = False) -> str:
    """The same for a line that changes: screen readers read it out, a warning at once."""
    role = "alert" if bad else "status"
    return f'<div class="psl-told psl-note{" psl-bad" * bad}" role="{role}">{escape(text)}</div>'
