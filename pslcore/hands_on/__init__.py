"""What a person clicks: an album of one's own pictures; buckets and peers to explore. Plain objects, widgets above.

The widgets (``explorer``, ``trainer``, ``gallery``) need plotly and ipywidgets: notebooks take them from their files.
"""

from pslcore.hands_on import command
from pslcore.hands_on.album import Album
from pslcore.hands_on.exchange import (
    Taken,
    ask_csv,
    ask_page,
    label_config,
    labels_csv,
    studio_tasks,
    take_in,
    tree,
)  # fmt: skip
from pslcore.hands_on.learn import Learning, TaskLearner
from pslcore.hands_on.pictures import HEIC, Picture
from pslcore.hands_on.protect import Dates, Place, Protect
from pslcore.hands_on.report import Preview, Report, Suggestion
