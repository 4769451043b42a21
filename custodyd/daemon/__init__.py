"""The coordinator's process: configuration, files, wiring."""
