"""Features of frozen, pretrained networks as data sets, by names such as ``cifar10+efficientnet_lite0@128``."""

from psllab.features import backbones
from psllab.features.backbones import Backbone, resized
from psllab.features.extraction import known, load, missing, parse, pictures
