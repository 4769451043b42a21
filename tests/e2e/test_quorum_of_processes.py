"""Real processes over real sockets: paid once whatever is killed, and nothing secret left lying."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path

import pytest

from deploy.local.cluster import BACKEND, NODES, OPERATORS, VAULT, Cluster
from deploy.local.processes import CommandFailed, Daemon, until
from signer_node.adapters.keystore import Keystore, read_sealed, unseal
from signer_node.adapters.shares import open_share, share_sealing_key
from signer_node.kernel.curve import point_from_secret
from signer_node.kernel.documents.vault import VaultCertificate
from signer_node.wire import decode, open_countersigned
from tests.e2e.exchange_day import SENT, Round, operators_on_duty
from tests.world.interpolation import interpolate

pytestmark = [pytest.mark.timeout(900), pytest.mark.slow, pytest.mark.xdist_group("e2e")]


def test_a_payment_goes_all_the_way(round_: Round) -> None:
    round_.ask(3)
    round_.approve()
    round_.finish()


def test_what_waits_says_for_whom(round_: Round) -> None:
    round_.ask(1)
    digest = round_.manifest_digest()
    (waiting,) = round_.states().values()
    assert waiting["blocked_reason"] == "APPROVALS"
    round_.approve(digest=digest)
    round_.finish()


@pytest.mark.parametrize("victim", ["s1", "s3"])
@pytest.mark.parametrize("moment", ["before the batch", "after the approvals"])
def test_one_signer_killed_and_the_payment_completes(
    round_: Round, victim: str, moment: str
) -> None:
    approvers = [node for node in NODES if node != victim] if moment[0] == "b" else ["s1", "s2"]
    if moment == "before the batch":
        round_.cluster.signers[victim].kill()
        round_.ask(2)
        round_.approve(approvers)
    else:
        round_.ask(2)
        round_.approve(approvers)
        round_.cluster.signers[victim].kill()
    round_.await_states(*SENT)
    assert not round_.cluster.signers[victim].is_running
    round_.finish()


def test_two_signers_killed_and_it_waits_says_for_whom_and_completes_when_one_returns(
    round_: Round,
) -> None:
    cluster = round_.cluster
    round_.ask(2)
    digest = round_.manifest_digest()
    round_.approve(["s2"], digest)
    cluster.signers["s2"].kill()
    cluster.signers["s3"].kill()
    round_.approve(["s1"], digest)

    def named() -> bool:
        waits = [one["blocked_detail"] for one in round_.states().values()]
        reasons = {one["blocked_reason"] for one in round_.states().values()}
        return reasons == {"SIGNERS"} and all("s2" in one and "s3" in one for one in waits)

    until("it says that it waits for s2 and s3", named, 120, poll_s=0.3)
    assert not any(one["state"] in SENT for one in round_.states().values())
    cluster.signers["s3"].start()
    round_.await_states(*SENT)
    assert not cluster.signers["s2"].is_running
    round_.finish()


def test_the_backend_killed_and_the_payer_still_confirms_once_it_is_back(round_: Round) -> None:
    cluster = round_.cluster
    cluster.backend.kill()
    round_.ask(2)
    round_.approve()
    until(
        "it waits for the payer",
        lambda: {one["blocked_reason"] for one in round_.states().values()} == {"PAYER"},
        120,
        poll_s=0.3,
    )
    cluster.backend.start()
    round_.finish()


def test_the_chain_node_killed_between_broadcast_and_block(round_: Round) -> None:
    round_.ask(2)
    round_.approve()
    round_.await_states(*SENT)
    round_.cluster.devnet.kill()
    round_.cluster.devnet.start()
    round_.cluster.await_ready()
    round_.finish()


def test_the_coordinator_killed_at_every_transition_pays_each_line_once(
    round_: Round, tmp_path: Path
) -> None:
    cluster = round_.cluster
    crashed = tmp_path / "crashed"
    words = [sys.executable, "-m", "tests.e2e.crashing_coordinator", "--crashed", str(crashed)]
    cluster.coordinator.stop()
    crashing = cluster.make_coordinator(words)
    round_.patience_s = 600
    crashing.start()
    try:
        with operators_on_duty(cluster), _revived(crashing):
            # What the command cannot submit it keeps; the backend's process submits it later.
            round_.ask(2)
            round_.finish()
    finally:
        crashing.stop()
    seen = set(crashed.read_text().split("\n")) - {""}
    kinds = {one.partition(".")[0] for one in seen}
    assert {"chain", "batch", "round"} <= kinds, seen
    steps = ("proposed", "approved", "committed", "broadcast", "confirmed", "final")
    assert {f"batch.{one}" for one in steps} <= seen, seen
    cluster.coordinator.start()


def test_no_secret_lies_in_clear_in_any_folder_or_log(quorum: Cluster) -> None:
    secrets = known_secrets(quorum)
    assert len(secrets) >= len(NODES) * 3 + len(OPERATORS) + 1
    searched = 0
    for path in quorum.root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            searched += 1
            for name, value in secrets.items():
                for form in (value, value.hex().encode(), value[::-1], value[::-1].hex().encode()):
                    assert form not in content, f"{name} in {path}"
    assert searched > 20


def test_every_t_of_the_sealed_shares_make_the_vaults_key_and_no_fewer(quorum: Cluster) -> None:
    """G1 on the demo's own files; that no folder or log holds a share is the test above."""
    shares = {number: share_of(quorum, node) for number, node in enumerate(NODES, 1)}
    certificate = bytes.fromhex(quorum.sre("vault", "show", VAULT)["certificate"])
    body, _signatures = open_countersigned(certificate)
    frost = decode(VaultCertificate, body).frost
    assert frost is not None
    for names in combinations(shares, 2):
        key = interpolate({one: shares[one] for one in names})
        assert point_from_secret(key) == frost.threshold_key
    for share in shares.values():
        assert point_from_secret(share) != frost.threshold_key
    for daemon in quorum.signers.values():
        limits = Path(f"/proc/{daemon.pid}/limits").read_text()
        assert "Max core file size        0 " in limits


def test_private_folders_and_files_are_closed_to_others(quorum: Cluster) -> None:
    for name in ("coordinator", *NODES, "backend"):
        folder = quorum.folder(name)
        assert folder.stat().st_mode & 0o077 == 0, folder
    for path in (quorum.folder("backend") / "request.key", quorum.key_file("s1")):
        assert path.stat().st_mode & 0o077 == 0, path


def test_wrong_use_of_the_commands_is_refused_with_what_to_do(quorum: Cluster) -> None:
    for words, code in (
        (("withdrawals", "show", "never-asked"), 3),
        (("withdraw", "--vault", "cold", "x", "bcrt1q", "1"), 3),
        (("withdrawals", "list", "--state", "PURPLE"), 3),
        (("holds", "release", "x"), 3),
    ):
        with pytest.raises(CommandFailed) as failed:
            quorum.exchange(*words)
        assert failed.value.code == code, (words, failed.value.said)
        assert "to_do" in failed.value.said


def test_the_transport_certificate_is_renewed_while_everything_runs(quorum: Cluster) -> None:
    before = (quorum.folder("backend") / "tls.crt").read_bytes()
    assert quorum.exchange("certificate", "renew")["expires_at_s"] > 0
    assert (quorum.folder("backend") / "tls.crt").read_bytes() != before
    assert quorum.exchange("status")["signers"]


def test_an_exported_vault_gives_the_same_addresses_in_another_wallet(
    quorum: Cluster, tmp_path: Path
) -> None:
    import bdkpython as bdk

    made = quorum.exchange("address", "new", "--vault", VAULT)
    quorum.exchange("vault", "export", VAULT, "--output", str(tmp_path / "export"))
    text = (tmp_path / "export" / "descriptor.txt").read_text().strip()
    external, _internal = bdk.Descriptor(text, bdk.NetworkKind.TEST).to_single_descriptors()
    derived = external.derive_address(made["index"], bdk.Network.REGTEST)
    assert str(derived) == made["address"]


# --- helpers of this file ---


@contextmanager
def _revived(daemon: Daemon) -> Iterator[None]:
    """Start a process again whenever it died, until the end."""
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.05):
            if not daemon.is_running:
                daemon.start()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def share_of(cluster: Cluster, node: str) -> bytes:
    """A node's share of the vault's key, opened as whoever knows the passphrase can."""
    keystore = Keystore(cluster.folder(node) / "keys")
    root = keystore.open("vault-root", cluster.passphrases[node]).value
    (path,) = (cluster.folder(node) / "shares").glob("*.share")
    return open_share(share_sealing_key(root), path.read_bytes(), path.name)


def known_secrets(cluster: Cluster) -> dict[str, bytes]:
    """Passphrases, and what they open: the keys of nodes, operators, backend."""
    from custodyd.client.keys import open_request_key

    found = {f"passphrase of {name}": value for name, value in cluster.passphrases.items()}
    for node in NODES:
        keystore = Keystore(cluster.folder(node) / "keys")
        for purpose in ("identity", "host", "vault-root"):
            found[f"{purpose} of {node}"] = keystore.open(purpose, cluster.passphrases[node]).value
        found[f"share of {node}"] = share_of(cluster, node)
        person, _role = OPERATORS[node]
        sealed = read_sealed(cluster.key_file(node))
        found[f"key of {person}"] = unseal(sealed, cluster.passphrases[person]).value
    key = open_request_key(cluster.folder("backend"), cluster.passphrases[BACKEND])
    found["request key"] = key._secret
    return found
