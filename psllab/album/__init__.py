"""An album: a folder of one's own pictures, labelled by people, learned by the very loop of the experiments.

``Album(folder, classes, protect)`` with ``next``, ``answer``, ``skip``, ``undo``, ``train`` and ``report``; no widget.
"""

from psllab.album import commands
from psllab.album.album import Album
from psllab.album.exchange import Imported, ask_csv, ask_page, import_labels, labels_csv, suggestions_csv, tree
from psllab.album.homes import KnownPictures
from psllab.album.pictures import HEIC, Picture
from psllab.album.protection import ProtectionWarning
from psllab.album.report import Preview, Report, Suggestion
from psllab.album.rules import BY_HAND, Dates, Place, Protect, rules
from psllab.album.studio import label_config, studio_tasks
from psllab.album.training import Learning, TaskLearner
from psllab.album.written import refresh_written
