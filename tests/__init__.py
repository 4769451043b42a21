"""Tests, by claim: see docs/explanation/tests.md."""
