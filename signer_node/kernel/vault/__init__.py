"""Vault kinds: how a quorum's keys make scripts, shares and signed transactions.

`interface` is what everybody else sees. Its public half (`open_vault`, of `registry`) derives
scripts, checks shares and aggregates; the coordinator uses it as the signers do. Its secret half
(`open_signer`, of `signer_registry`) makes commitments and shares and is imported by the signer
alone. Only this room compares vault kinds: a kind with nonces and one without look the same from
outside, the latter's commitments just being empty.
"""
