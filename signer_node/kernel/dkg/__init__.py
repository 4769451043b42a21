"""Key generation by ChillDKG 0.3.0: simplpedpop, wrapped by encpedpop, wrapped by chilldkg."""
