"""The kernel decides. It is pure: no input or output, clock, entropy, logging or protobuf."""
