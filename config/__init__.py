"""YAML files in, checked `sla` values out."""
