"""A client in another language, written from the .proto files and formats.md alone.

It checks the golden bytes with an encoder of its own, then asks a real quorum (all processes, by
the commands a person uses) for a payment, confirms the manifest as its payer and follows it to
final. Its request key is enrolled in a backend slot of its own.
"""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from custodyd.client.connection import AUTHORITY_FILE, CERTIFICATE_FILE
from custodyd.client.enrolment import enroll
from custodyd.client.keys import TLS_KEY_FILE, Identity, make_tls_key
from deploy.local.cluster import VAULT, Cluster, Setting, last_group
from deploy.local.processes import LOOPBACK, NotReady, Ports, until
from signer_node.kernel import curve
from signer_node.kernel.bitcoin.words import digest_from_words

FOLDER = Path(__file__).resolve().parent
SLOT = "js"
PERSON = "jules"
APPROVERS = ("s1", "s3")
PAID_SAT = 1_234_567
SCRIPT = "0014" + "07" * 20
VECTORS_TIMEOUT_S = 60
TIMEOUT_S = 240

if shutil.which("node") is None:
    pytest.skip("node is not installed", allow_module_level=True)
if not (FOLDER / "node_modules").is_dir():
    pytest.skip("run `make js-client` first: no node_modules", allow_module_level=True)


def test_the_golden_bytes_hold_for_an_encoder_in_another_language() -> None:
    done = subprocess.run(
        ["node", "check_vectors.js"],
        cwd=FOLDER,
        capture_output=True,
        text=True,
        timeout=VECTORS_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["checks"] > 200


class Exchange:
    """A quorum with a second backend: the JavaScript client's."""

    def __init__(self, root: Path) -> None:
        self.cluster = Cluster(Setting(root, Ports.free(), batch_most=1, batch_age_s=1))
        self.folder = root / SLOT
        self.secret = secrets.token_bytes(curve.SECRET_BYTES)

    def set_up(self) -> None:
        cluster = self.cluster
        cluster.make_keys()
        cluster.enrol()
        self._enrol()
        self.genesis = digest_from_words(" ".join(cluster.agree()))
        cluster.make_vault()
        cluster.prime_chain()
        address = cluster.exchange("address", "new", "--vault", VAULT)["address"]
        cluster.chain("devnet_faucet", address, "1")
        cluster.mine(cluster.setting.deposit_depth)

    def _enrol(self) -> None:
        slot = f"backend:{SLOT}"
        token = self.cluster.coordinate("token", "create", "--slot", slot)["tokens"][slot]
        self.folder.mkdir(mode=0o700)
        make_tls_key(self.folder)
        identity = Identity(curve.xonly_from_secret(self.secret), (PERSON,))
        enroll(self.folder, token, f"{LOOPBACK}:{self.cluster.setting.ports.enrolment}", identity)

    def config(self, external_id: str) -> Path:
        """The JavaScript client's configuration, in a file as private as its key."""
        path = self.folder / "config.json"
        path.touch(mode=0o600)
        content = {
            "address": f"{LOOPBACK}:{self.cluster.setting.ports.coordinator}",
            "authority_file": str(self.folder / AUTHORITY_FILE),
            "certificate_file": str(self.folder / CERTIFICATE_FILE),
            "key_file": str(self.folder / TLS_KEY_FILE),
            "request_key": self.secret.hex(),
            "genesis": self.genesis.hex(),
            "vault": VAULT,
            "initiator": PERSON,
            "external_id": external_id,
            "script": SCRIPT,
            "amount_sat": str(PAID_SAT),
            "account": "customer 7, gr\u00fc\u00dfe",
            "timeout_s": TIMEOUT_S,
        }
        path.write_text(json.dumps(content))
        return path


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    made = Exchange(tmp_path_factory.mktemp("js"))
    try:
        made.set_up()
        yield made
    finally:
        made.cluster.stop()


@pytest.fixture(scope="module")
def told(exchange: Exchange) -> dict[str, Any]:
    """What the client printed, after operators approved and blocks came."""
    argv = ["node", "withdraw.js", str(exchange.config("js-1"))]
    log = exchange.folder / "stderr"
    with log.open("w") as stderr:
        client = subprocess.Popen(
            argv, cwd=FOLDER, stdout=subprocess.PIPE, stderr=stderr, text=True
        )
    try:
        _operate(exchange.cluster, client)
        out, _nothing = client.communicate(timeout=TIMEOUT_S)
    except (AssertionError, NotReady) as fault:
        raise AssertionError(f"{fault}\n{log.read_text()}") from None
    finally:
        client.kill()
        client.wait()
    assert client.returncode == 0, log.read_text() + out
    told: dict[str, Any] = json.loads(out)
    return told


def _operate(cluster: Cluster, client: subprocess.Popen[str]) -> None:
    """Approve at two nodes what waits, then mine until the client ends."""
    for node in APPROVERS:
        waiting = _await(f"a manifest waits at {node}", cluster, client, partial(_told, node))
        cluster.approve(node, waiting[0], last_group(cluster.look(node, waiting[0])))
    _await("it is broadcast", cluster, client, lambda cluster: cluster.chain("getrawmempool"))
    cluster.mine(cluster.setting.final_depth)


def _told(node: str, cluster: Cluster) -> list[str]:
    return cluster.told(node)


def _await(
    claim: str, cluster: Cluster, client: subprocess.Popen[str], found: Callable[[Cluster], Any]
) -> Any:
    """Wait for something at the quorum while the client lives."""

    def look() -> Any:
        if client.poll() is not None:
            raise AssertionError(f"the client ended before {claim}")
        return found(cluster)

    return until(claim, look, TIMEOUT_S, cluster.daemons, poll_s=0.3)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.xdist_group("e2e")
def test_it_is_paid_and_follows_its_withdrawal_to_final(
    told: dict[str, Any], exchange: Exchange
) -> None:
    paid = told["withdrawal"]
    assert paid["state"] == "WITHDRAWAL_STATE_FINAL"
    assert (paid["external_id"], paid["amount_sat"]) == ("js-1", str(PAID_SAT))
    assert paid["request_digest"] == told["request_digest"]
    assert told["states"][-1] == "WITHDRAWAL_STATE_FINAL"
    assert "WITHDRAWAL_STATE_BROADCAST" in told["states"]
    output = exchange.cluster.chain("gettxout", paid["txid"], paid["output"], False)
    assert output["scriptPubKey"]["hex"] == SCRIPT
    assert output["value"] * 100_000_000 == PAID_SAT


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.xdist_group("e2e")
def test_it_confirms_its_manifest_by_its_own_check(told: dict[str, Any]) -> None:
    assert told["manifests"]["confirmed"] == [told["withdrawal"]["batch_id"]]
    assert told["manifests"]["refused"] == []


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.xdist_group("e2e")
def test_a_call_made_twice_is_answered_once_and_wrong_ones_by_their_ids(
    told: dict[str, Any],
) -> None:
    assert told["same_answer_again"] is True
    refusals = told["refusals"]
    assert {name: (one["code"], one["reason"]) for name, one in refusals.items()} == {
        "second_body": ("ALREADY_EXISTS", "WITHDRAWAL_ID_REUSED"),
        "bent_signature": ("INVALID_ARGUMENT", "REQUEST_SIGNATURE_INVALID"),
        "no_deadline": ("INVALID_ARGUMENT", "DEADLINE_REQUIRED"),
    }
    assert {one["domain"] for one in refusals.values()} == {"custodyd"}
    assert all(one["to_do"] and one["fault"] for one in refusals.values())
