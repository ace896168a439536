"""Makes known to the core what resolves names that are not its own: imported when such a name is asked for."""

from pslcore import packages

packages.register("networks", "pslcore.models.others")
packages.register("datasets", "pslcore.data.others")
packages.register("methods", "pslcore.strategies.skactiveml")
packages.register("features", "psllab.features")
