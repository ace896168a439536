"""Published runs, one's own method against them, a published run made again."""
