"""The chain and what is watched on it: RPC, follower, vaults, the way out to the signer nodes."""
