"""Deposits: what arrived at addresses that were handed out, and from when it may be credited."""
