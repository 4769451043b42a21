"""The public API as generated from proto/custodyd/rpc."""
