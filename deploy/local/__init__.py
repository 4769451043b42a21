"""A whole quorum on loopback, each part an OS process of the real commands; regtest money."""
