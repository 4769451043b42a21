"""The signer node: the trusted base of a custodyd quorum."""
