"""One kind of SLA actor a file: reads the time, asks `sla`, sends what follows."""
