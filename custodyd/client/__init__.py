"""The exchange's side of the protocol: a small library without a database server.

It signs requests with a key made on its own host, keeps its own ledger, derives addresses from a
certificate that it verified and pinned, credits and calls final only what it verified itself
(PROTOCOL.md G14), endorses manifests after the same paid-once check as every signer (G4), and asks
again when the coordinator's store is another one (G10).

Doors: `backend.Backend` (the process of its own), `requests`, `verify`, `payer`, `keys`, `ledger`,
`connection`, `enrolment`.
"""
