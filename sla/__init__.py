"""What an SLA means: pure functions and frozen values; no clock, no I/O, no actors."""
