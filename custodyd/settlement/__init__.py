"""Settlement: from signed bytes to a payment that is final."""
