"""Published runs, a user's method benchmarked against them, and a published run verified by repeating it."""
