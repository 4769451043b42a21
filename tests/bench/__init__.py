"""Measurements of ourselves beside a baseline, both in one run (`make bench`)."""
