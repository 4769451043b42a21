"""Commands about the node itself: make it, enrol it, run it, keep it safe."""

from __future__ import annotations

import argparse
import re
import time
from pathlib import Path
from typing import Any, Final

import msgspec

from signer_node.adapters import archive, transport
from signer_node.adapters.entropy import fresh
from signer_node.adapters.folder import Folder, locked, make_folder, read_file, write_file
from signer_node.adapters.journal import Journal, connect_memory, connect_read_only, reader
from signer_node.adapters.keystore import (
    HOST,
    IDENTITY,
    OPERATOR,
    TLS,
    VAULT_ROOT,
    Cost,
    Keystore,
    Secret,
    parse_sealed,
    write_sealed,
)
from signer_node.adapters.projections import TABLES
from signer_node.console.terminal import say, say_json
from signer_node.daemon.config import Configuration
from signer_node.daemon.log import start_logging
from signer_node.daemon.passphrase import (
    NEW_FILE_NAME,
    Source,
    passphrase_source,
    read_passphrase,
)
from signer_node.daemon.run import coordinator_address, node_version, run
from signer_node.kernel.curve import point_from_secret, xonly_from_secret
from signer_node.kernel.errors import ErrorId, ExitCode, Refusal

NAME: Final = re.compile("[a-z][a-z0-9-]{0,31}")
_SECRET_BYTES: Final = 32


class OperatorCard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An operator's public part, in the file that is handed to the node for its enrolment."""

    person: str
    role: str
    key: str


def init(args: argparse.Namespace, configuration: Configuration) -> ExitCode:
    """Make the node's keys, each sealed by itself."""
    folder = Folder(configuration.data_dir)
    keystore = Keystore(folder.keys)
    if keystore.exists():
        raise Refusal(ErrorId.ALREADY_INITIALISED, str(folder.root))
    passphrase = read_passphrase(passphrase_source(args, configuration, is_new=True))
    with locked(folder.root):
        identity, host, root = (fresh(_SECRET_BYTES) for _key in range(3))
        secrets = (
            Secret(IDENTITY, xonly_from_secret(identity), identity),
            Secret(HOST, point_from_secret(host), host),
            Secret(VAULT_ROOT, b"", root),
            Secret(TLS, b"", transport.new_tls_key()),
        )
        keystore.seal_all(secrets, passphrase, Cost(args.kdf_log2_n))
    report = {
        "data_dir": str(folder.root),
        "identity_key": secrets[0].public.hex(),
        "host_key": secrets[1].public.hex(),
    }
    _report(args, report, f"made a node in {folder.root}\nidentity key {report['identity_key']}")
    return ExitCode.OK


def create_operator(args: argparse.Namespace, configuration: Configuration) -> ExitCode:
    """Make an operator's approval key in a sealed file, and its public card beside it."""
    path = Path(args.out)
    card_path = path.with_name(path.name + ".pub")
    for taken in (path, card_path):
        if taken.exists():
            raise Refusal(ErrorId.ALREADY_INITIALISED, str(taken))
    for name in (args.person, args.role):
        if not NAME.fullmatch(name):
            raise Refusal(ErrorId.CONFIG_INVALID, f"{name!r}: a name is {NAME.pattern}")
    passphrase = read_passphrase(passphrase_source(args, configuration, is_new=True))
    secret = fresh(_SECRET_BYTES)
    purpose = f"{OPERATOR}/{args.person}/{args.role}"
    sealed = Secret(purpose, xonly_from_secret(secret), secret)
    make_parent(path)
    write_sealed(path, sealed, passphrase, Cost(args.kdf_log2_n))
    card = OperatorCard(args.person, args.role, sealed.public.hex())
    write_file(card_path, msgspec.json.encode(card) + b"\n")
    _report(
        args,
        {**msgspec.to_builtins(card), "file": str(path), "card": str(card_path)},
        f"made the approval key of {args.person} ({args.role}) in {path}\n"
        f"for the enrolment: {card_path}",
    )
    return ExitCode.OK


def enroll(args: argparse.Namespace, configuration: Configuration) -> ExitCode:
    """Take the slot that a one-time token opens."""
    folder = Folder(configuration.data_dir)
    keystore = Keystore(folder.keys)
    operators = tuple(_read_card(Path(path)) for path in args.operator or ())
    identity, host = keystore.sealed(IDENTITY), keystore.sealed(HOST)
    target = configuration.settings.coordinator
    if not target:
        raise Refusal(ErrorId.CONFIG_INVALID, "--coordinator HOST:PORT of the enrolment port")
    passphrase = read_passphrase(passphrase_source(args, configuration))
    tls = keystore.open(TLS, passphrase)
    applicant = transport.Applicant(identity.public, host.public, operators)
    address = transport.enroll(folder, read_token(args), target, tls.value, applicant)
    _report(
        args,
        {"coordinator": address, "expires_s": transport.certificate_expiry_s(folder)},
        f"enrolled; the coordinator is {address}\n"
        "next: signer-node run, and compare the genesis words when they come",
    )
    return ExitCode.OK


def read_token(args: argparse.Namespace) -> str:
    """The token, from its file or the flag."""
    if args.token_file:
        return read_file(Path(args.token_file)).decode("ascii", "replace").strip()
    return str(args.token)


def renew(args: argparse.Namespace, configuration: Configuration) -> ExitCode:
    """Get a newer transport certificate; a running daemon takes it up when it reconnects."""
    folder = Folder(configuration.data_dir)
    target = coordinator_address(configuration, folder)
    passphrase = read_passphrase(passphrase_source(args, configuration))
    transport.renew(folder, Keystore(folder.keys).open(TLS, passphrase).value, target)
    expires_s = transport.certificate_expiry_s(folder)
    _report(args, {"expires_s": expires_s}, f"renewed; valid until {expires_s} (Unix seconds)")
    return ExitCode.OK


def run_daemon(args: argparse.Namespace, configuration: Configuration) -> ExitCode:
    """Run the node until SIGTERM."""
    if args.check_config:
        return check_config(args, configuration)
    start_logging(configuration.settings.log_level)
    source = passphrase_source(args, configuration)
    return run(configuration, lambda: read_passphrase(source))


def check_config(args: argparse.Namespace, configuration: Configuration) -> ExitCode:
    """The configuration was read: say that it holds."""
    _report(args, {"ok": True}, "the configuration is good")
    return ExitCode.OK


def show_config(args: argparse.Namespace, configuration: Configuration) -> ExitCode:
    """Every setting, its value and where it came from; no setting is a secret."""
    values: dict[str, Any] = msgspec.to_builtins(configuration.settings)
    lines = [
        f"{name} = {value!r}   [{configuration.origins[name]}]" for name, value in values.items()
    ]
    table = {
        name: {"value": value, "origin": configuration.origins[name]}
        for name, value in values.items()
    }
    _report(args, table, "\n".join(lines))
    return ExitCode.OK


def change_passphrase(args: argparse.Namespace, configuration: Configuration) -> ExitCode:
    """Seal all keys of the node under a new passphrase, in one step."""
    folder = Folder(configuration.data_dir)
    keystore = Keystore(folder.keys)
    keystore.sealed(IDENTITY)
    old = read_passphrase(passphrase_source(args, configuration))
    new = read_passphrase(
        Source(
            args.new_passphrase_fd,
            configuration.settings.credentials_dir,
            NEW_FILE_NAME,
            "new passphrase",
            is_new=True,
        )
    )
    with locked(folder.keys):
        keystore.change_passphrase(old, new, Cost(args.kdf_log2_n))
    _report(args, {"ok": True}, "the keys are sealed under the new passphrase; old backups are not")
    return ExitCode.OK


def back_up(args: argparse.Namespace, configuration: Configuration) -> ExitCode:
    """Write keystore and journal into one file."""
    archive.back_up(Folder(configuration.data_dir), Path(args.file), int(time.time()))
    text = f"wrote {args.file}; its secrets are sealed under today's passphrase"
    _report(args, {"file": args.file}, text)
    return ExitCode.OK


RESTORED: Final = (
    "THIS IS A COPY: it must never run beside its original. Before it signs, make sure that the\n"
    "original is gone for good and that nothing was released since the backup was made."
)


def restore(args: argparse.Namespace, configuration: Configuration) -> ExitCode:
    """Make a node of a backup."""
    folder = Folder(configuration.data_dir)
    with locked(folder.root):
        records = archive.restore(Path(args.file), folder)
    text = f"restored {records} journal records into {folder.root}\n{RESTORED}"
    _report(args, {"records": records, "warning": RESTORED.replace("\n", " ")}, text)
    return ExitCode.OK


def verify_journal(args: argparse.Namespace, configuration: Configuration) -> ExitCode:
    """Verify every record, and that the projections are what the records say."""
    folder = Folder(configuration.data_dir)
    identity_key = Keystore(folder.keys).sealed(IDENTITY).public
    if not folder.journal.exists():
        raise Refusal(ErrorId.NOT_INITIALISED, f"{folder.journal}: the node never ran")
    origin, copy = connect_read_only(folder.journal), connect_memory()
    origin.backup(copy)
    origin.close()
    # Made again in a database of its own: a schema that was changed would change the replay too.
    journal = Journal(connect_memory(), reader(identity_key))
    count = journal.take_records(copy)
    if _tables(Journal(copy, reader(identity_key))) != _tables(journal):
        raise Refusal(ErrorId.JOURNAL_BROKEN, "the projections are not what the records say")
    head = journal.head()
    _report(
        args,
        {"records": count, "head": head.digest.hex()},
        f"{count} records, chained and signed; head {head.digest.hex()}\n"
        "the projections are what the records say",
    )
    return ExitCode.OK


def _tables(journal: Journal) -> dict[str, list[Any]]:
    return {name: journal.table(name) for name in TABLES}


def show_version(args: argparse.Namespace, _configuration: Configuration) -> ExitCode:
    """The installed version."""
    _report(args, {"version": node_version()}, node_version())
    return ExitCode.OK


def make_parent(path: Path) -> None:
    """Make the folder of a file that is written, unless it is there."""
    if not path.parent.exists():
        make_folder(path.parent)


def _read_card(path: Path) -> transport.OperatorPublic:
    """An operator's public part, from the card or from the sealed file itself."""
    content = read_file(path)
    try:
        card = msgspec.json.decode(content, type=OperatorCard)
        return transport.OperatorPublic(card.person, card.role, bytes.fromhex(card.key))
    except (msgspec.MsgspecError, ValueError):
        sealed = parse_sealed(content, path.name)
        _operator, person, role = [*sealed.purpose.split("/"), "", ""][:3]
        return transport.OperatorPublic(person, role, sealed.public)


def _report(args: argparse.Namespace, value: Any, text: str) -> None:
    if args.json:
        say_json(value)
    else:
        say(text)
