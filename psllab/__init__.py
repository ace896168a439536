"""The compendium around ``pslcore``."""
