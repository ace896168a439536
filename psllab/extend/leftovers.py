"""What operating systems, NAS boxes, photo managers and trash bins leave in people's folders, by its name.

In any case: a copy to another system changes the case. What somebody might well call a folder of pictures, such as
``thumbs``, is not on the list.
"""

import re
import unicodedata
from fnmatch import fnmatchcase, translate

LEFTOVERS = {
    "what an archive made on a Mac carries along": ("__macosx", "._*"),
    "what a Mac leaves in folders": (
        ".ds_store", ".appledouble", ".appledb", ".appledesktop", ".spotlight-v100", ".fseventsd", ".temporaryitems",
        ".documentrevisions-v100", ".apdisk", ".localized", "icon\r", "temporary items", "thevolumesettingsfolder",
    ),
    "what Windows leaves in folders": (
        "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "iconcache.db", "system volume information",
    ),
    "of a trash bin": (
        ".trash", ".trash-*", ".trashes", ".trashed-*", ".dtrash", "network trash folder", "$recycle.bin", "recycler",
        "#recycle", "@recycle", ".recycle", "recycle.bin", "files_trashbin",
    ),
    "what a photo manager or a NAS keeps as thumbnails": (
        "@eadir", "*@synoeastream", "*@synoresource", ".@__thumb", "@__thumb", ".thumbnails", ".thumbs", ".thumb",
        ".thumbcache*", ".thumbdata*", ".xvpics", ".picasaoriginals", ".picasa.ini", "picasa.ini", "*.lrdata",
    ),
    "what a NAS keeps for itself": (
        "#snapshot", "@recently-snapshot", ".snapshot", ".snapshots", "~snapshot", ".zfs", "@tmp", ".streams",
        ".syncthing.*", ".stfolder", ".stversions", "files_versions",
    ),
    "what a file system keeps for itself": ("lost+found", "found.[0-9][0-9][0-9]", ".nfs*", ".fuse_hidden*"),
    "what a program keeps for itself": (".ipynb_checkpoints", "__pycache__"),
}  # fmt: skip
"""What it is, and the names, in lower case; ``*`` stands for anything."""

_NAMES = {name: why for why, patterns in LEFTOVERS.items() for name in patterns if not {"*", "["} & set(name)}
_PATTERNS = {name: why for why, patterns in LEFTOVERS.items() for name in patterns if name not in _NAMES}
_ANY = re.compile("|".join(map(translate, _PATTERNS)))  # albums have many files, and few match


def leftover(name: str) -> str:
    """Why a file or folder of this name is left out, as half a sentence; empty where nothing speaks against it.

    Whatever is hidden, by a dot in front of its name, is left out as well, known or not.
    """
    folded = unicodedata.normalize("NFC", name).lower()
    why = _NAMES.get(folded, "")
    if not why and _ANY.match(folded):
        why = next(why for pattern, why in _PATTERNS.items() if fnmatchcase(folded, pattern))
    return f"it is {why}" if why else "it is hidden" if name.startswith(".") else ""
