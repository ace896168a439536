"""What a person clicks: plain objects, and thin widgets above them."""

from pslcore.hands_on.explorer import Explorer
from pslcore.hands_on.gallery import Gallery
from pslcore.hands_on.trainer import Trainer
