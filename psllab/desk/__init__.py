"""The widgets of an album."""
