"""slakeeper keeps service level agreements: it watches, acts, tells, works out what is owed, and proves it."""

__version__ = "0.1.0"
