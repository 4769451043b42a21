"""The bytes of our own formats are those of the committed golden files, in both directions.

Nothing here writes a file: `python -m tests.vectors.custodyd.make --write` does, for new cases.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from signer_node import wire
from signer_node.adapters.secrets import vault_seed
from signer_node.kernel import curve
from signer_node.kernel.bitcoin.network import Network
from signer_node.kernel.bitcoin.transaction import parse_transaction
from signer_node.kernel.bitcoin.words import digest_from_words, words_from_digest
from signer_node.kernel.documents import (
    envelope,
    genesis,
    journal,
    manifest,
    request,
    signing,
    vault,
)
from signer_node.kernel.documents.envelope import Envelope
from signer_node.kernel.documents.fields import ZERO_DIGEST
from signer_node.kernel.documents.genesis import Genesis, check_genesis
from signer_node.kernel.documents.journal import JournalRecord, RecordKind
from signer_node.kernel.documents.signed import Document, authenticate, document_digest
from signer_node.kernel.documents.vault import KeySignature, VaultCertificate, VaultProposal
from signer_node.kernel.errors import ErrorId, Refusal
from signer_node.kernel.rules.certify import (
    check_certificate,
    check_countersignatures,
    transcript_digest,
)
from signer_node.kernel.rules.keygen import ceremony_fingerprint, chain_code, recovery_digest
from signer_node.kernel.vault.interface import SessionInput
from signer_node.kernel.vault.possession import possession_digest, verify_possession
from signer_node.kernel.vault.signer_registry import new_cosigner
from tests.vectors.custodyd import make
from tests.vectors.custodyd.json_form import from_json
from tests.vectors.custodyd.story import COIN_SAT

FOLDER = Path(make.__file__).parent
MODULES = (envelope, genesis, journal, manifest, request, signing, vault)


def golden(name: str) -> Any:
    return json.loads((FOLDER / name).read_text(encoding="ascii"))


DOCUMENTS = golden("documents.json")["documents"]
SIGNED = [one for one in DOCUMENTS if "signed" in one]
RECORDS = golden("journal.json")["records"]
REFUSED = golden("refused.json")["bodies"]
BY_NAME: dict[str, type[Document]] = {
    kind.__name__: kind
    for module in MODULES
    for kind in vars(module).values()
    if isinstance(kind, type) and hasattr(kind, "NAME")
}


def label(one: dict[str, Any]) -> str:
    return f"{one['document']}: {one['case']}"


@pytest.mark.parametrize("name", make.FILES)
def test_the_generator_still_makes_what_is_committed(name: str) -> None:
    made, committed = make.files()[name], (FOLDER / name).read_text(encoding="ascii")
    assert made == committed, f"{name} is a promise: read the head of make.py"


def test_every_document_has_golden_bytes() -> None:
    assert {kind.__name__ for kind in BY_NAME.values()} == {
        one["document"] for one in (*DOCUMENTS, *RECORDS)
    }


@pytest.mark.parametrize("one", [*DOCUMENTS, *RECORDS], ids=label)
def test_bytes_fields_and_digest_agree(one: dict[str, Any]) -> None:
    kind, body = BY_NAME[one["document"]], bytes.fromhex(one["body"])
    document = from_json(kind, one["fields"])
    assert wire.decode(kind, body) == document
    assert wire.encode(document) == body
    assert one["tag"] == f"custodyd/{kind.NAME}/v1"
    assert document_digest(kind, body).hex() == one["digest"]


@pytest.mark.parametrize("one", [*SIGNED, *RECORDS], ids=label)
def test_signatures_are_those_of_the_key_and_verify(one: dict[str, Any]) -> None:
    kind, given = BY_NAME[one["document"]], one["signed"]
    secret, aux = bytes.fromhex(given["secret_key"]), bytes.fromhex(given["aux"])
    digest, signature = bytes.fromhex(one["digest"]), bytes.fromhex(given["signature"])
    key = curve.xonly_from_secret(secret)
    assert key.hex() == given["key"]
    assert curve.sign_schnorr(secret, digest, aux) == signature
    assert wire.signed_bytes(bytes.fromhex(one["body"]), key, signature).hex() == given["bytes"]
    received = wire.open_signed(kind, bytes.fromhex(given["bytes"]))
    authenticate(received, ErrorId.ENVELOPE_SIGNATURE_INVALID)
    assert received.digest == digest


def test_envelopes_open_as_what_their_sender_signed() -> None:
    opened = [
        wire.open_envelope(bytes.fromhex(one["signed"]["bytes"]))
        for one in SIGNED
        if one["document"] == "Envelope"
    ]
    assert len(opened) >= 3
    first, second = opened[0], opened[1]
    assert first.document.previous == ZERO_DIGEST
    assert second.document.previous == document_digest(Envelope, wire.encode(first.document))


def test_the_countersigned_certificate_is_valid_for_its_genesis() -> None:
    given = golden("countersigned.json")
    body, signatures = wire.open_countersigned(bytes.fromhex(given["bytes"]))
    assert body.hex() == given["body"]
    assert signatures == tuple(from_json(KeySignature, one) for one in given["signatures"])
    assert wire.countersigned_bytes(body, signatures).hex() == given["bytes"]
    quorum = wire.decode_body(Genesis, bytes.fromhex(DOCUMENTS[0]["body"]))
    check_genesis(quorum.document)
    certificate = wire.decode_body(VaultCertificate, body)
    assert certificate.digest.hex() == given["digest"]
    check_countersignatures(certificate, quorum, signatures)
    kind = check_certificate(certificate, quorum).kind
    for one in golden("derivations.json")["scripts"]:
        assert kind.script(one["chain"], one["index"]).hex() == one["script"]


def test_genesis_words_are_those_of_the_digest() -> None:
    for one in golden("genesis_words.json")["words"]:
        assert " ".join(words_from_digest(bytes.fromhex(one["digest"]))) == one["words"]
        assert digest_from_words(one["words"]).hex() == one["digest"]


def test_vault_seeds_and_their_keys_are_derived_as_written() -> None:
    given = golden("derivations.json")
    kind = from_json(VaultProposal, DOCUMENTS[2]["fields"]).kind
    for one in given["vault_seeds"]:
        root, quorum = bytes.fromhex(one["vault_root"]), bytes.fromhex(one["genesis"])
        seed = vault_seed(root, quorum, one["vault"], one["epoch"])
        key = new_cosigner(kind, seed, "", Network.REGTEST)
        assert (seed.hex(), key.xpub) == (one["seed"], one["xpub"])
        assert key.fingerprint.hex() == one["fingerprint"]
    for one in given["possession"]:
        quorum = bytes.fromhex(one["genesis"])
        digest = possession_digest(quorum, one["vault"], one["epoch"], one["node"], one["xpub"])
        assert digest.hex() == one["digest"]
        verify_possession(Network.REGTEST, one["xpub"], digest, bytes.fromhex(one["proof"]))


def test_the_transcript_digest_is_that_of_the_cosigners() -> None:
    given = golden("derivations.json")["transcript"]
    proposal = from_json(VaultProposal, DOCUMENTS[2]["fields"])
    cosigners = [from_json(vault.Cosigner, one) for one in given["cosigners"]]
    assert transcript_digest(proposal, cosigners).hex() == given["digest"]


def threshold_certificate() -> VaultCertificate:
    """The last certificate of the documents is that of the threshold key."""
    (given,) = [
        one
        for one in DOCUMENTS
        if one["document"] == "VaultCertificate" and "frost" in one["fields"]
    ]
    return wire.decode(VaultCertificate, bytes.fromhex(given["body"]))


def test_a_threshold_keys_chain_code_and_scripts_are_derived_as_written() -> None:
    given = golden("derivations.json")["threshold"]
    quorum = wire.decode_body(Genesis, bytes.fromhex(DOCUMENTS[0]["body"]))
    certificate = threshold_certificate()
    frost = certificate.frost
    assert frost is not None
    recovery = recovery_digest(bytes.fromhex(given["recovery_data"]))
    key = bytes.fromhex(given["threshold_key"])
    assert recovery.hex() == given["recovery_digest"]
    assert chain_code(key, recovery).hex() == given["chain_code"]
    assert (frost.threshold_key, frost.recovery) == (key, recovery)
    kind = check_certificate(
        wire.decode_body(VaultCertificate, wire.encode(certificate)), quorum
    ).kind
    assert kind.descriptor == given["descriptor"]
    for one in given["scripts"]:
        assert kind.script(one["chain"], one["index"]).hex() == one["script"]
    proposal = VaultProposal(quorum.digest, given["vault"], certificate.kind, given["epoch"])
    assert ceremony_fingerprint(quorum.document, proposal).hex() == given["ceremony_fingerprint"]
    kind.verify_signed(
        [SessionInput(0, 0, COIN_SAT)],
        parse_transaction(bytes.fromhex(given["signed_transaction"])),
    )


def test_the_golden_journal_is_one_chain_with_every_kind_of_record() -> None:
    previous = ZERO_DIGEST
    kinds = []
    for sequence, one in enumerate(RECORDS, start=1):
        record = from_json(JournalRecord, one["fields"])
        assert (record.sequence, record.previous) == (sequence, previous)
        kinds.append(record.kind)
        previous = bytes.fromhex(one["digest"])
    assert kinds == [kind for kind in RecordKind if kind is not RecordKind.UNKNOWN]


@pytest.mark.parametrize("one", REFUSED, ids=label)
def test_bytes_that_are_nearly_right_are_refused(one: dict[str, Any]) -> None:
    with pytest.raises(Refusal) as refusal:
        wire.decode(BY_NAME[one["document"]], bytes.fromhex(one["body"]))
    assert refusal.value.error is ErrorId[one["error"]]
