"""The vaults' coins: which can be spent, which are reserved, what they sum up to."""
