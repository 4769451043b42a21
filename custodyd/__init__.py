"""custodyd: the coordinator of a signing quorum, and the exchange's client."""
