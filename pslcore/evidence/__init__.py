"""What records amount to: statistics, verdicts, figures, tables, the page; each a module that needs records alone."""

from pslcore.evidence import (
    buckets,
    carried,
    command,
    figures,
    forecast,
    machines,
    page,
    published,
    reference,
    report,
    settle,
    standing,
    tables,
    trying,
    verdicts,
    verify,
    views,
    words,
)
