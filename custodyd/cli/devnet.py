"""`custodyd devnet`: the embedded node for trying things, regtest only."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from custodyd.cli.screen import EXIT_FAILED, Screen, Trouble, command, fail
from custodyd.devnet.service import DEFAULT_PORT, DevnetConfig, DevnetFailed, serve


@click.command()
@click.option("--data-dir", type=click.Path(path_type=Path), required=True)
@click.option(
    "--rpc-password-file",
    type=click.Path(path_type=Path),
    required=True,
    help="file with user:password; made with a random password when missing",
)
@click.option("--port", type=click.IntRange(0, 65_535), default=DEFAULT_PORT, show_default=True)
@command
def devnet(screen: Screen, data_dir: Path, rpc_password_file: Path, port: int) -> None:
    """Run a regtest Bitcoin node on loopback until SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        serve(DevnetConfig(data_dir, rpc_password_file, port))
    except DevnetFailed as fault:
        trouble = Trouble("DEVNET_FAILED", str(fault), "mend it, then start again", EXIT_FAILED)
        fail(trouble, as_json=screen.as_json)
    screen.done({"stopped": True})
