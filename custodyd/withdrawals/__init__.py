"""Intake of withdrawals: signed requests come in, and wait until a batch takes them."""
