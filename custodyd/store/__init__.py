"""The coordinator's database: the one truth that every stage reads and writes.

A stage never calls the next: it commits state here, and the next stage's reconciler finds it.
Tables of a stage stand in that stage's `tables.py` and hang on `store.schema.METADATA`.
"""

from custodyd.store.store import Store, open_store

__all__ = ["Store", "open_store"]
