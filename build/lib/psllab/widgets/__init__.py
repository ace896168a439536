"""Widgets shared by the notebooks' pages: gallery, controls, a job in the background."""
