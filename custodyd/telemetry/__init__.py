"""What SREs see: metrics, probes, logs."""
