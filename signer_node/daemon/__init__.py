"""The running node and its commands: the only room that reads configuration."""
