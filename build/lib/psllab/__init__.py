"""The compendium around `pslcore`: grids, analysis, claims, the page, albums; what people bring is made known here."""

from pslcore import plugins

plugins.register("networks", "psllab.extend.network_resolver")
plugins.register("datasets", "psllab.extend.dataset_resolver")
plugins.register("methods", "psllab.extend.skactiveml")
plugins.register("features", "psllab.features")
