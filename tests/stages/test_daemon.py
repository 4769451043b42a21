"""The coordinator's process: its folder, its configuration, its genesis, its end and its return."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from custodyd.api.certificates import open_authority
from custodyd.api.identity import Identity, Role
from custodyd.api.slots import Desk, enroll
from custodyd.daemon import setup
from custodyd.daemon.config import check_config, load_config, show_config
from custodyd.daemon.files import DataFolder, read_private
from custodyd.daemon.reconciler import LEASE, Loop, Reconciler, Stage
from custodyd.daemon.run import Contexts, check_network
from custodyd.daemon.sealing import Sealer
from custodyd.errors import CustodydError, ErrorId
from custodyd.store import Store, open_store
from custodyd.store.context import StageContext
from custodyd.store.incarnation import Sidecar
from custodyd.store.leases import acquire_lease
from signer_node.kernel import curve
from signer_node.kernel.bitcoin.network import Network
from signer_node.kernel.bitcoin.serial import sha256d
from signer_node.kernel.bitcoin.words import words_from_digest
from signer_node.kernel.documents.envelope import PayloadType
from signer_node.kernel.documents.fields import ZERO_DIGEST
from signer_node.kernel.documents.genesis import Genesis
from signer_node.kernel.documents.signed import authenticate
from signer_node.kernel.errors import ErrorId as SignerErrorId
from signer_node.kernel.errors import Refusal
from signer_node.mailbox.v1 import enrolment_pb2
from signer_node.wire import decode_body, open_envelope
from tests.stages.coordinator import certificate_request, make_folder
from tests.world.quorum import PEOPLE, RITA, secret

RULES_TOML = """
label = "test quorum"
threshold = 2
corrupt_max = 1
[rules]
approvals_required = 2
payer_confirmation_required = true
max_fee_sat = 100000
max_fee_rate_sat_vb = 100
max_fee_share_ppm = 50000
max_change_outputs = 2
min_change_sat = 10000
change_index_gap = 20
max_manifest_lifetime_s = 86400
approval_lifetime_s = 7200
min_input_confirmations = 1
"""
DAEMON = """
import sys
from pathlib import Path
from custodyd.daemon.run import run
from custodyd.errors import CustodydError
try:
    run(Path(sys.argv[1]), dict(part.split("=", 1) for part in sys.argv[2:]))
except CustodydError as refused:
    print(refused.error.name)
    sys.exit(refused.error.value.exit_code.value)
"""


def _refusal(error: ErrorId) -> contextlib.AbstractContextManager[object]:
    return pytest.raises(CustodydError, match=f"^{error.name}")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An initialised folder, made once and copied for each test."""
    return make_folder(tmp_path_factory.mktemp("template") / "c").path


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> DataFolder:
    return DataFolder(shutil.copytree(template, tmp_path / "c"))


# -------------------------------------------------------------------------------------------- init
def test_init_makes_a_folder_whose_secrets_only_its_owner_reads(folder: DataFolder) -> None:
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    for private in (folder.authority_key, folder.envelope_key, folder.config):
        assert stat.S_IMODE(private.stat().st_mode) == 0o600
    check_config(folder.path)


def test_init_never_overwrites_a_coordinator(folder: DataFolder) -> None:
    before = folder.envelope_key.read_bytes()
    with _refusal(ErrorId.ALREADY_INITIALISED):
        setup.init(setup.InitOptions(folder.path, "regtest"))
    assert folder.envelope_key.read_bytes() == before


def test_an_interrupted_init_can_be_done_again(folder: DataFolder) -> None:
    folder.config.unlink()
    with _refusal(ErrorId.NOT_INITIALISED):
        load_config(folder.path)
    setup.init(setup.InitOptions(folder.path, "regtest"))
    check_config(folder.path)


def test_a_secret_file_that_others_can_read_is_refused(folder: DataFolder) -> None:
    folder.envelope_key.chmod(0o644)
    with _refusal(ErrorId.FILE_UNREADABLE):
        check_config(folder.path)


def test_a_damaged_key_file_is_refused_without_quoting_it(folder: DataFolder) -> None:
    folder.envelope_key.write_text("canary-secret")
    with pytest.raises(CustodydError) as refused:
        folder.envelope_secret()
    assert "canary" not in repr(refused.value)
    assert refused.value.__cause__ is None


# ----------------------------------------------------------------------------------- configuration
@pytest.mark.parametrize(
    ("more", "named"),
    [
        ("[chain2]\nx = 1\n", "chain2"),
        ("[fees]\nflor_sat_vb = 1\n", "flor_sat_vb"),
        ("[fees]\nfloor_sat_vb = 0\n", "fees.floor_sat_vb"),
        ("[fees]\nfloor_sat_vb = 300\n", "floor_sat_vb exceeds"),
        ("[fees]\nfloor_sat_vb = 'many'\n", "fees.floor_sat_vb"),
        ("[depths]\ndeposit_tiers = [{from_sat = 5, depth = 1}]\n", "deposit_tiers"),
        ("[depths]\ndeposit_tiers = []\n", "deposit_tiers"),
        ("[batches\n", "custodyd.toml"),
    ],
)
def test_a_wrong_configuration_names_what_is_wrong(
    folder: DataFolder, more: str, named: str
) -> None:
    with folder.config.open("a") as file:
        file.write(more)
    with pytest.raises(CustodydError, match=named) as refused:
        load_config(folder.path)
    assert refused.value.error is ErrorId.CONFIG_INVALID


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("telemetry.address", "0.0.0.0:9000"),
        ("api.address", "nowhere"),
        ("network", "testnet"),
        ("chain.port", "70000"),
        ("no.such.key", "1"),
        ("network.x", "1"),
        ("telemetry.log_level", "loud"),
    ],
)
def test_a_wrong_flag_is_refused(folder: DataFolder, key: str, value: str) -> None:
    with _refusal(ErrorId.CONFIG_INVALID):
        load_config(folder.path, {key: value})


def test_a_flag_beats_the_file_and_the_origin_is_shown(folder: DataFolder) -> None:
    loaded = load_config(folder.path, {"chain.port": "18543", "api.reflection": "true"})
    assert loaded.config.chain.port == 18_543
    assert loaded.config.api.reflection is True
    shown = {key: (value, origin) for key, value, origin in show_config(loaded)}
    assert shown["chain.port"] == ("18543", "flag")
    assert shown["chain.host"] == ("127.0.0.1", str(folder.config))
    assert shown["fees.cap_sat_vb"] == ("200", "default")


def test_a_password_in_the_database_url_is_masked(folder: DataFolder) -> None:
    loaded = load_config(folder.path, {"store.url": "postgresql://me:canary@db/custodyd"})
    assert "canary" not in str(show_config(loaded))
    assert loaded.store_url() == "postgresql://me:canary@db/custodyd"


# ----------------------------------------------------------------------------------------- genesis
def _fill(folder: DataFolder, role: str, name: str, applicant: dict[str, object]) -> None:
    token = setup.add_slot(folder.path, role, name)
    _, csr = certificate_request()
    request = enrolment_pb2.EnrollRequest(
        token=token,
        certificate_request=csr,
        **applicant,  # type: ignore[arg-type]
    )
    with setup.opened(folder.path) as (_, store), store.transaction() as connection:
        desk = Desk(open_authority(folder.authority()), "127.0.0.1:1")
        enroll(connection, request, desk, int(time.time()))


def _signer(number: int) -> dict[str, object]:
    name = f"s{number}"
    operator = enrolment_pb2.OperatorEnrolment(
        person=PEOPLE[number], role="treasury", key=curve.xonly_from_secret(secret(f"{name} op"))
    )
    return {
        "signer": enrolment_pb2.SignerEnrolment(
            identity_key=curve.xonly_from_secret(secret(f"{name} id")),
            host_key=curve.point_from_secret(secret(f"{name} host")),
            operators=[operator],
        )
    }


def _rules(folder: DataFolder, text: str = RULES_TOML) -> Path:
    path = folder.path / "rules.toml"
    path.write_text(text)
    return path


@pytest.fixture
def enrolled(folder: DataFolder) -> DataFolder:
    for number in (1, 2, 3):
        _fill(folder, "signer", f"s{number}", _signer(number))
    key = curve.xonly_from_secret(secret("backend"))
    backend = enrolment_pb2.BackendEnrolment(request_key=key, people=[RITA])
    _fill(folder, "backend", "b", {"backend": backend})
    return folder


def test_the_genesis_is_what_was_enrolled(enrolled: DataFolder) -> None:
    genesis = setup.create_genesis(enrolled.path, _rules(enrolled))
    document = genesis.document
    assert [seat.name for seat in document.signers] == ["s1", "s2", "s3"]
    assert [(seat.person, seat.node) for seat in document.operators] == [
        (PEOPLE[1], "s1"), (PEOPLE[2], "s2"), (PEOPLE[3], "s3"),
    ]  # fmt: skip
    assert document.coordinator_key == curve.xonly_from_secret(enrolled.envelope_secret())
    assert len(words_from_digest(genesis.digest)) == 24
    assert setup.show_genesis(enrolled.path) == genesis
    assert decode_body(Genesis, genesis.raw) == genesis
    with _refusal(ErrorId.GENESIS_EXISTS):
        setup.create_genesis(enrolled.path, _rules(enrolled))


def test_a_genesis_waits_for_every_slot_and_says_for_which(enrolled: DataFolder) -> None:
    setup.add_slot(enrolled.path, "signer", "s4")
    with pytest.raises(CustodydError, match="signer/s4") as refused:
        setup.create_genesis(enrolled.path, _rules(enrolled))
    assert refused.value.error is ErrorId.SLOTS_UNFILLED


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("threshold = 2", "threshold = 4", SignerErrorId.GENESIS_INVALID),
        ("approvals_required = 2", "approvals_required = 4", SignerErrorId.GENESIS_INVALID),
        ("_confirmation_required = true", "_confirmation_required = false",
         SignerErrorId.GENESIS_INVALID),
        ("max_fee_sat = 100000", "max_fee_sat = 2100000000000001", SignerErrorId.FIELD_INVALID),
        ("max_fee_sat = 100000", "max_fee_sat = -1", ErrorId.CONFIG_INVALID),
        ("label", "labl", ErrorId.CONFIG_INVALID),
    ],
)  # fmt: skip
def test_an_unsound_genesis_is_never_made(
    enrolled: DataFolder, old: str, new: str, error: ErrorId | SignerErrorId
) -> None:
    rules = _rules(enrolled, RULES_TOML.replace(old, new))
    with pytest.raises((CustodydError, Refusal)) as refused:
        setup.create_genesis(enrolled.path, rules)
    assert isinstance(refused.value, CustodydError | Refusal)
    assert refused.value.error is error
    with _refusal(ErrorId.GENESIS_MISSING):
        setup.show_genesis(enrolled.path)


def test_slots_are_made_once_and_a_lost_token_is_replaced(folder: DataFolder) -> None:
    first = setup.add_slot(folder.path, "signer", "s1")
    with _refusal(ErrorId.SLOT_EXISTS):
        setup.add_slot(folder.path, "signer", "s1")
    second = setup.renew_token(folder.path, "signer", "s1")
    assert first != second
    assert first.split(".")[2] == second.split(".")[2]
    for role, name in [("root", "x"), ("signer", "S1"), ("signer", ""), ("observer", "o")]:
        with _refusal(ErrorId.ARGUMENT_INVALID):
            setup.add_slot(folder.path, role, name)
    with _refusal(ErrorId.NOT_FOUND):
        setup.renew_token(folder.path, "signer", "s2")
    (slot,) = setup.list_slots(folder.path)
    assert (slot.identity, slot.enrolment) == (Identity(Role.SIGNER, "s1"), None)


def test_a_running_daemon_finds_the_genesis_that_is_made_later(enrolled: DataFolder) -> None:
    loaded = load_config(enrolled.path)
    store = open_store(loaded.store_url())
    contexts = Contexts(store, loaded)
    assert contexts().genesis is None
    genesis = setup.create_genesis(enrolled.path, _rules(enrolled))
    assert contexts().genesis == genesis
    store.close()


# --------------------------------------------------------------------------------------- envelopes
def test_envelopes_are_chained_in_the_transaction_that_posts_them(store: Store) -> None:
    key = secret("coordinator")
    sealer = Sealer(b"\1" * 32, b"\2" * 16, lambda: 100, 50, key)
    assert key.hex() not in repr(sealer)
    assert repr(key) not in repr(sealer)
    to = curve.xonly_from_secret(secret("s1"))

    def seal(connection: Connection) -> bytes:
        return sealer(connection, PayloadType.HEADERS, to, b"payload")

    def seal_and_fail(connection: Connection) -> None:
        seal(connection)
        raise RuntimeError

    first = open_envelope(store.run(seal))
    with pytest.raises(RuntimeError):
        store.run(seal_and_fail)
    second = open_envelope(store.run(seal))
    authenticate(second, SignerErrorId.ENVELOPE_SIGNATURE_INVALID)
    assert first.document.previous == ZERO_DIGEST
    assert second.document.previous == first.digest
    assert second.document.sequence == first.document.sequence + 1
    assert (second.document.recipient, second.document.expires_at_s) == (to, 150)


# ---------------------------------------------------------------------------------------- the loop
def _loop(folder: DataFolder, store: Store, stages: list[Stage], holder: str = "me") -> Loop:
    contexts = Contexts(store, load_config(folder.path))
    return Loop(store, contexts, stages, Sidecar(folder.sidecar), holder, 0.05)


@pytest.fixture
def opened_store(folder: DataFolder) -> Iterator[Store]:
    store = open_store(load_config(folder.path).store_url())
    yield store
    store.close()


def test_a_stage_that_fails_does_not_keep_the_others_from_their_turn(
    folder: DataFolder, opened_store: Store
) -> None:
    ran: list[str] = []

    def fail(_store: Store, _context: StageContext) -> None:
        ran.append("bad")
        raise ValueError("defect")

    def refuse(_store: Store, _context: StageContext) -> None:
        raise CustodydError(ErrorId.CHAIN_UNREACHABLE)

    def work(_store: Store, _context: StageContext) -> None:
        ran.append("good")

    stages = [Stage("chain", refuse), Stage("batches", fail), Stage("signing", work)]
    assert Reconciler(_loop(folder, opened_store, stages)).run_once() is False
    assert ran == ["bad", "good"]


@dataclass(frozen=True, slots=True)
class _Node:
    """A chain node that knows its first block only."""

    first_block: bytes

    def call(self, method: str, *params: object) -> Any:
        assert (method, params) == ("getblockhash", (0,))
        return self.first_block[::-1].hex()


def test_a_chain_node_of_another_network_is_not_followed(
    folder: DataFolder, opened_store: Store
) -> None:
    context = Contexts(opened_store, load_config(folder.path))()
    first_block = {
        network: sha256d(network.parameters.genesis_header)
        for network in (Network.MAIN, Network.SIGNET, Network.REGTEST)
    }
    check_network(replace(context, node=_Node(first_block[Network.REGTEST])))
    for other in (Network.MAIN, Network.SIGNET):
        with _refusal(ErrorId.CHAIN_OTHER_NETWORK):
            check_network(replace(context, node=_Node(first_block[other])))


def test_a_replica_without_the_lease_does_nothing_and_one_that_loses_it_stops(
    folder: DataFolder, opened_store: Store
) -> None:
    ran: list[str] = []

    def steal(store: Store, context: StageContext) -> None:
        ran.append("first")
        with store.transaction() as connection:
            acquire_lease(connection, LEASE, "other", context.now_s() + 3_600, 3_600)

    def fenced(store: Store, context: StageContext) -> None:
        with store.transaction() as connection:
            context.fence(connection)
        ran.append("fenced")

    def later(_store: Store, _context: StageContext) -> None:
        ran.append("later")

    stages = [Stage("chain", steal), Stage("batches", fenced), Stage("signing", later)]
    assert Reconciler(_loop(folder, opened_store, stages)).run_once() is False
    assert ran == ["first"]
    assert Reconciler(_loop(folder, opened_store, stages)).run_once() is False
    assert ran == ["first"]


# ------------------------------------------------------------------------------- the whole process
def _start(folder: DataFolder, *flags: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", DAEMON, str(folder.path), *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _started(process: subprocess.Popen[str]) -> dict[str, object]:
    assert process.stderr is not None
    for line in process.stderr:
        entry: dict[str, object] = json.loads(line)
        if entry["event"] == "started":
            return entry
    raise AssertionError(f"it ended with {process.wait()}")


def test_sigterm_ends_it_with_exit_code_0_and_its_logs_hold_no_secret(folder: DataFolder) -> None:
    process = _start(folder, "telemetry.log_level=debug")
    _started(process)
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "stopping" in [json.loads(line)["event"] for line in log.splitlines()]
    key = folder.envelope_secret()
    authority_key = read_private(folder.authority_key)
    for file in folder.path.iterdir():
        if file not in (folder.envelope_key, folder.authority_key):
            content = file.read_bytes()
            assert key not in content
            assert key.hex().encode() not in content
            assert authority_key not in content
    assert key.hex() not in log


def test_two_processes_never_run_on_one_folder(folder: DataFolder) -> None:
    first = _start(folder)
    _started(first)
    second = _start(folder)
    out, _ = second.communicate(timeout=20)
    assert (out.strip(), second.returncode) == ("DAEMON_RUNNING", 7)
    first.terminate()
    first.communicate(timeout=20)


@pytest.mark.parametrize("key", ["api.address", "api.enrolment_address", "telemetry.address"])
def test_a_taken_port_is_named_and_nothing_keeps_running(folder: DataFolder, key: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        process = _start(folder, f"{key}={address}")
        out, _ = process.communicate(timeout=30)
    assert out.strip() == "PORT_TAKEN"
    assert process.returncode == 5


def test_after_kill_9_it_returns_at_once_with_the_same_incarnation(folder: DataFolder) -> None:
    process = _start(folder)
    first = _started(process)["incarnation"]
    process.kill()
    process.communicate(timeout=20)
    again = _start(folder)
    assert _started(again)["incarnation"] == first
    again.terminate()
    again.communicate(timeout=20)
    assert again.returncode == 0


def test_yesterdays_database_comes_back_under_a_new_incarnation(folder: DataFolder) -> None:
    yesterday = folder.path / "yesterday"
    shutil.copy(folder.database, yesterday)
    process = _start(folder)
    first = _started(process)["incarnation"]
    process.terminate()
    process.communicate(timeout=20)
    for name in ("", "-wal", "-shm"):
        folder.database.with_name(folder.database.name + name).unlink(missing_ok=True)
    shutil.copy(yesterday, folder.database)
    again = _start(folder)
    assert _started(again)["incarnation"] != first
    again.terminate()
    again.communicate(timeout=20)


def test_a_folder_without_its_database_schema_is_refused(folder: DataFolder) -> None:
    folder.database.unlink()
    process = _start(folder)
    out, _ = process.communicate(timeout=20)
    assert out.strip() == "STORE_SCHEMA_DIFFERS"
