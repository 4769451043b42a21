"""How custodyd is put to work: a local quorum to try, later systemd and containers."""
