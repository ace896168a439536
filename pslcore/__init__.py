"""Peer Study Learning: responsible active learning with peer students, a teacher and a human in the loop."""

__version__ = "1.0.0"
