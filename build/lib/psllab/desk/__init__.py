"""The widgets that label an album in a notebook."""
