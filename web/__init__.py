"""HTTP ingest, API and pages."""
