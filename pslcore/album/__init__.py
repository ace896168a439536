"""An album: a folder of one's own pictures, labelled by people, learned by the very loop of the experiments.

``Album(folder, classes, protect)`` with ``next``, ``answer``, ``skip``, ``undo``, ``train`` and ``report``; no widget.
"""

from pslcore.album import command
from pslcore.album.album import Album
from pslcore.album.exchange import (
    Taken,
    ask_csv,
    ask_page,
    label_config,
    labels_csv,
    studio_tasks,
    take_in,
    tree,
)  # fmt: skip
from pslcore.album.homes import KnownPictures
from pslcore.album.learn import Learning, TaskLearner
from pslcore.album.pictures import HEIC, Picture
from pslcore.album.protect import BY_HAND, Dates, Place, Protect, rules
from pslcore.album.protection import ProtectionWarning
from pslcore.album.report import Preview, Report, Suggestion
