"""The `custodyd` commands: coordinator, vaults, and the exchange's side on top of the client.

Every command takes `--json`, ends with an exit code of the catalogue, and says an error in two
lines: what is wrong, what to do.
"""
