"""Benchmarks: what slakeeper takes on this machine, as tables. ``python -m bench`` runs them."""
