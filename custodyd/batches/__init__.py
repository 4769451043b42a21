"""Batches: choosing withdrawals, building the manifest, what operators and payer say to it."""
