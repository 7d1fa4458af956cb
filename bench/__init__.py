"""Measurements that are no tests: speed, and the statistics' own coverage. docs/LOG.md and docs/evidence.md hold what came out."""
