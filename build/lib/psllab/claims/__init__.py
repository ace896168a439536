"""The claims of the paper: how each is checked, its verdict, what would decide it."""
