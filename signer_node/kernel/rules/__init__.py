"""The rules by which a signer judges alone: pure functions over frozen facts (PROTOCOL.md)."""
