"""`python -m tests.vectors.custodyd.make`: prints or writes the golden files of our own formats.

The files are promises: tests/kernel/test_golden_bytes.py compares the code with the committed
files and never writes them. `--write` is for adding a case; a change of bytes that stand there
breaks every node and journal out there (docs/how-to/change-a-format.md).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import scrypt, sha256
from pathlib import Path
from typing import Any

from Crypto.Cipher import AES

from signer_node import wire
from signer_node.kernel import curve
from signer_node.kernel.bitcoin.words import words_from_digest
from signer_node.kernel.documents.envelope import Envelope, PayloadType
from signer_node.kernel.documents.fields import ZERO_DIGEST
from signer_node.kernel.documents.journal import JournalRecord, RecordKind, Refused, Release
from signer_node.kernel.documents.manifest import (
    Approval,
    Decision,
    Headers,
    Heartbeat,
    RejectReason,
    Verdict,
)
from signer_node.kernel.documents.request import Request
from signer_node.kernel.documents.signed import Document, document_digest
from signer_node.kernel.documents.vault import CertificateSignature
from signer_node.kernel.errors import ErrorId
from signer_node.kernel.rules.certify import transcript_digest
from signer_node.kernel.rules.keygen import ceremony_fingerprint
from signer_node.kernel.vault.interface import CHAINS
from signer_node.kernel.vault.possession import possession_digest
from tests.vectors.custodyd.json_form import to_json
from tests.vectors.custodyd.story import (
    AUX,
    NOW_S,
    VAULT,
    Story,
    ThresholdStory,
    incarnation,
    public,
    secret,
    signature,
    signed,
)

FOLDER = Path(__file__).resolve().parent
STORY = Story()
THRESHOLD = ThresholdStory()
PASSPHRASE = b"correct horse battery"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the files")
    is_writing = parser.parse_args().write
    for name, content in files().items():
        if is_writing:
            (FOLDER / name).write_text(content, encoding="ascii")
        else:
            print(f"{name}: {sha256(content.encode()).hexdigest()}")
    return 0


def files() -> dict[str, str]:
    """Name and text of every golden file."""
    return {name: json.dumps(make(), indent=1) + "\n" for name, make in FILES.items()}


# --- documents ---


def documents() -> dict[str, Any]:
    about = (
        "Every document: its fields, canonical bytes and digest; where a key signs it, its Signed "
        "form with zero auxiliary randomness. Secret keys are for tests only."
    )
    told = [*ordinary(), *edges(), *envelopes(), *threshold()]
    return {"about": about, "documents": told}


def ordinary() -> Iterator[dict[str, Any]]:
    """The story, in its order."""
    yield entry("the quorum of the story", STORY.genesis)
    yield entry("one header of 80 bytes", Headers((STORY.header,)))
    yield entry("a vault is proposed", STORY.proposal)
    yield entry("s1 answers with its key", STORY.cosigner_key, "s1 identity")
    yield entry("the certificate that follows from the keys", STORY.certificate)
    yield entry(
        "s1 signs the certificate",
        CertificateSignature(STORY.certificate_digest, signature(STORY.certificate, "s1 identity")),
    )
    yield entry("the backend asks for a payment", STORY.request, "backend")
    yield entry("one payment, one change, one input with its proof", STORY.manifest)
    yield entry("the manifest with its request", STORY.manifest_proposal)
    yield entry("a signer accepts", Verdict(STORY.manifest_digest, True, "", ""))
    for person in ("alice", "bob"):
        yield entry(f"{person} approves", STORY.approval(person), person)
    yield entry("the backend confirms the manifest", STORY.payer_confirmation, "backend")
    yield entry("the first round", STORY.opening)
    yield entry("multisig has no commitments", STORY.commitment_set)
    yield entry("the package of the round", STORY.package)
    yield entry("the shares of s1", STORY.share_set)
    yield entry(
        "a sign of life",
        Heartbeat(17, sha256(b"head").digest(), STORY.genesis_body.digest, 1, b"\x11" * 32, NOW_S),
    )
    yield entry("a refusal that the journal keeps", _refusal())
    yield entry("a release that the journal keeps", _release())


def threshold() -> Iterator[dict[str, Any]]:
    """What differs where the vault is one threshold key."""
    keygen = THRESHOLD.keygen
    yield entry("a key generation is proposed, for the second time", THRESHOLD.proposal)
    for case, message in (
        ("s1's first message", keygen.pmsg1),
        ("the first broadcast", keygen.cmsg1),
        ("s1's second message", keygen.pmsg2),
        ("the second broadcast", keygen.cmsg2),
    ):
        yield entry(f"key generation: {case}", THRESHOLD.keygen_message(message))
    yield entry("s1 keeps share and recovery data", THRESHOLD.acknowledgement)
    yield entry("a key generation's outcome that the journal keeps", THRESHOLD.outcome)
    yield entry("the certificate of a threshold key", THRESHOLD.certificate)
    yield entry("a payout by a threshold key", THRESHOLD.manifest)
    yield entry("one public nonce for the one input", THRESHOLD.commitment_set)
    yield entry("the package with both signers' public nonces", THRESHOLD.package)
    yield entry("the partial signature of s1", THRESHOLD.share_set)


def edges() -> Iterator[dict[str, Any]]:
    """Smallest and largest values: what is zero or empty is written, absent messages are not."""
    least = replace(
        STORY.request,
        withdrawal_id="!",
        script=b"\x6a",
        amount_sat=1,
        account="",
        issued_at_s=0,
        valid_until_s=0,
        memo_hash=ZERO_DIGEST,
    )
    yield entry("smallest values: zero and empty are written", least, "backend")
    most = replace(
        STORY.request,
        vault="v" + 31 * "9",
        withdrawal_id=64 * "~",
        script=83 * b"\xff",
        amount_sat=2_100_000_000_000_000,
        account=512 * "\u00e9",
        issued_at_s=2**40,
        valid_until_s=2**40,
    )
    yield entry("largest values; text counts characters, not bytes", most, "backend")
    bare = replace(
        STORY.manifest,
        payouts=(),
        changes=(),
        evidence=(replace(STORY.evidence, inclusion=None),),
        replaces=STORY.manifest_digest,
    )
    yield entry("empty lists and no inclusion: nothing is written for them", bare)
    rejection = replace(
        STORY.approval("carol"),
        decision=Decision.REJECT,
        reason=RejectReason.WRONG_AMOUNT,
        text="output 300 is 10 \u00d7 too much",
        outputs=(0, 1, 300),
    )
    yield entry("a rejection of outputs: packed integers", rejection, "carol")
    refused = Verdict(
        STORY.manifest_digest, False, ErrorId.FEE_EXCEEDS_ABSOLUTE.name, "2001 sat, \u2260 2"
    )
    yield entry("a signer refuses", refused)
    yield entry(
        "the largest integers",
        Heartbeat(2**64 - 1, ZERO_DIGEST, ZERO_DIGEST, 2**32 - 1, ZERO_DIGEST, 2**40),
    )


def envelopes() -> Iterator[dict[str, Any]]:
    """The coordinator's first two envelopes of one start, and one of a signer's."""
    first = _envelope("coordinator", "s1 identity", PayloadType.GENESIS, wire.encode(STORY.genesis))
    yield entry("the first of an incarnation: previous is zero", first, "coordinator")
    second = replace(
        _envelope(
            "coordinator",
            "s1 identity",
            PayloadType.MANIFEST_PROPOSAL,
            wire.encode(STORY.manifest_proposal),
        ),
        sequence=2,
        previous=document_digest(Envelope, wire.encode(first)),
    )
    yield entry("the second names the first", second, "coordinator")
    answer = _envelope(
        "s1 identity",
        "coordinator",
        PayloadType.VERDICT,
        wire.encode(Verdict(STORY.manifest_digest, True, "", "")),
    )
    yield entry("a signer's verdict on its way", replace(answer, sequence=2**64 - 1), "s1 identity")
    approval = signed(STORY.approval("alice"), "alice")
    carried = _envelope("alice", "s1 identity", PayloadType.APPROVAL, approval)
    yield entry("an operator's approval, carried to a node", carried, "alice")


def _envelope(sender: str, recipient: str, kind: PayloadType, payload: bytes) -> Envelope:
    return Envelope(
        type=kind,
        genesis=STORY.genesis_body.digest,
        sender=public(sender),
        incarnation=incarnation(sender),
        sequence=1,
        previous=ZERO_DIGEST,
        recipient=public(recipient),
        expires_at_s=NOW_S + 600,
        payload=payload,
    )


def entry(case: str, document: Document, signer: str | None = None) -> dict[str, Any]:
    """One document of a golden file."""
    body = wire.encode(document)
    found: dict[str, Any] = {
        "document": type(document).__name__,
        "case": case,
        "tag": f"custodyd/{document.NAME}/v1",
        "fields": to_json(document),
        "body": body.hex(),
        "digest": document_digest(type(document), body).hex(),
    }
    if signer is not None:
        found["signed"] = {
            "secret_key": secret(signer).hex(),
            "key": public(signer).hex(),
            "aux": AUX.hex(),
            "signature": signature(document, signer).hex(),
            "bytes": signed(document, signer).hex(),
        }
    return found


# --- what is made of documents ---


def countersigned() -> dict[str, Any]:
    return {
        "about": "A vault certificate with the signatures of all signers, as a Countersigned.",
        "body": wire.encode(STORY.certificate).hex(),
        "digest": STORY.certificate_digest.hex(),
        "secret_keys": [secret(f"{seat.name} identity").hex() for seat in STORY.genesis.signers],
        "aux": AUX.hex(),
        "signatures": [to_json(one) for one in STORY.countersignatures],
        "bytes": STORY.countersigned.hex(),
    }


def genesis_words() -> dict[str, Any]:
    digests = (STORY.genesis_body.digest, bytes(32), b"\xff" * 32, sha256(b"words").digest())
    return {
        "about": "A genesis digest and the 24 words by which people compare it.",
        "words": [
            {"digest": one.hex(), "words": " ".join(words_from_digest(one))} for one in digests
        ],
    }


def derivations() -> dict[str, Any]:
    genesis = STORY.genesis_body.digest
    return {
        "about": "What is hashed for vault keys, with the inputs of each hash.",
        "vault_seeds": [
            {
                "vault_root": secret(f"{one.node} vault root").hex(),
                "genesis": genesis.hex(),
                "vault": VAULT,
                "epoch": 0,
                "seed": STORY.seed(one.node).hex(),
                "xpub": one.xpub,
                "fingerprint": one.fingerprint.hex(),
            }
            for one in STORY.cosigners
        ],
        "possession": [
            {
                "genesis": genesis.hex(),
                "vault": VAULT,
                "epoch": 0,
                "node": one.node,
                "xpub": one.xpub,
                "digest": possession_digest(genesis, VAULT, 0, one.node, one.xpub).hex(),
                "proof": one.possession.hex(),
            }
            for one in STORY.cosigners
        ],
        "transcript": {
            "genesis": genesis.hex(),
            "vault": VAULT,
            "epoch": 0,
            "cosigners": [to_json(one) for one in STORY.cosigners],
            "digest": transcript_digest(STORY.proposal, STORY.cosigners).hex(),
        },
        "scripts": [
            {"chain": chain, "index": index, "script": STORY.vault.script(chain, index).hex()}
            for chain in CHAINS
            for index in (0, 1, 2**31 - 1)
        ],
        "threshold": _threshold(),
    }


def _threshold() -> dict[str, Any]:
    """From recovery data and threshold key to scripts and to the signature."""
    keygen, vault = THRESHOLD.keygen, THRESHOLD.vault
    shares = {node: THRESHOLD.shares_of(node) for node in THRESHOLD.session.signers}
    signed_transaction = vault.aggregate(THRESHOLD.session, shares)
    return {
        "genesis": THRESHOLD.genesis_body.digest.hex(),
        "vault": VAULT,
        "epoch": 0,
        "host_keys": [seat.host_key.hex() for seat in THRESHOLD.genesis.signers],
        "ceremony_fingerprint": ceremony_fingerprint(THRESHOLD.genesis, THRESHOLD.proposal).hex(),
        "threshold_key": keygen.frost.threshold_key.hex(),
        "recovery_data": keygen.recovery_data.hex(),
        "recovery_digest": keygen.frost.recovery.hex(),
        "chain_code": keygen.frost.chain_code.hex(),
        "descriptor": vault.descriptor,
        "scripts": [
            {"chain": chain, "index": index, "script": vault.script(chain, index).hex()}
            for chain in CHAINS
            for index in (0, 1, 2**31 - 1)
        ],
        "shares": {node: [one.hex() for one in given] for node, given in shares.items()},
        "signed_transaction": signed_transaction.raw.hex(),
    }


# --- the journal ---


def journal() -> dict[str, Any]:
    """A chain with a record of every kind, as node s1 would write it."""
    records = []
    previous = ZERO_DIGEST
    for sequence, (kind, body) in enumerate(_record_bodies(), start=1):
        record = JournalRecord(sequence, kind, 1, previous, NOW_S + sequence, body)
        records.append(entry(kind.name, record, "s1 identity"))
        previous = bytes.fromhex(records[-1]["digest"])
    return {
        "about": "A journal with one record of each kind; each names the one before.",
        "records": records,
    }


def _record_bodies() -> list[tuple[RecordKind, bytes]]:
    return [
        (RecordKind.BOOT, incarnation("s1")),
        (RecordKind.GENESIS_CONFIRMED, wire.encode(STORY.genesis)),
        (RecordKind.HEADERS, wire.encode(Headers((STORY.header,)))),
        (RecordKind.COSIGNER_KEY, signed(STORY.cosigner_key, "s1 identity")),
        (RecordKind.CERTIFICATE_SIGNED, wire.encode(STORY.certificate)),
        (RecordKind.VAULT_CERTIFIED, STORY.countersigned),
        (RecordKind.MANIFEST_CHECKED, wire.encode(STORY.manifest_proposal)),
        (RecordKind.REFUSED, wire.encode(_refusal())),
        (RecordKind.DECISION, signed(STORY.approval("alice"), "alice")),
        (RecordKind.COMMITTED, wire.encode(STORY.commitment_set)),
        (RecordKind.RELEASED, wire.encode(_release())),
        (RecordKind.KEYGEN_PROPOSED, wire.encode(THRESHOLD.proposal)),
        (RecordKind.KEYGEN_CONFIRMED, wire.encode(THRESHOLD.proposal)),
        (RecordKind.KEYGEN_STARTED, wire.encode(THRESHOLD.proposal)),
        (RecordKind.KEYGEN_FINISHED, wire.encode(THRESHOLD.outcome)),
        (RecordKind.SHARE_RECOVERED, wire.encode(THRESHOLD.outcome)),
    ]


def _refusal() -> Refused:
    evidence = b"the envelope that was refused"
    return Refused(
        ErrorId.FEE_EXCEEDS_ABSOLUTE.name, "200001 sat, at most 100000", b"\x22" * 32, evidence
    )


def _release() -> Release:
    return Release(wire.encode(STORY.package), wire.encode(STORY.share_set))


# --- key files ---


def sealed_files() -> dict[str, Any]:
    """Made here from formats.md with other libraries; tests open them with the product's code."""
    return {
        "about": "Sealed key files and what they hold. Cost is low for tests.",
        "signer_node": [
            sealed_file("identity", public("identity")),
            sealed_file("vault-root", b""),
        ],
        "backend": [sealed_json("request-key")],
    }


def sealed_file(purpose: str, key_public: bytes) -> dict[str, Any]:
    salt, nonce = sha256(b"salt").digest()[:16], sha256(purpose.encode()).digest()[:12]
    header = b"custodyd sealed\n" + bytes((1, 10, 8, 1)) + salt + nonce
    header += bytes((len(purpose),)) + purpose.encode() + bytes((len(key_public),)) + key_public
    stretched = scrypt(PASSPHRASE, salt=salt, n=1 << 10, r=8, p=1, dklen=32)
    key = curve.tagged_hash("custodyd/sealed-file/v1", stretched + purpose.encode())
    content = header + _encrypt(key, nonce, secret(purpose), header)
    content += sha256(content).digest()
    return {
        "purpose": purpose,
        "public": key_public.hex(),
        "passphrase": PASSPHRASE.decode(),
        "secret": secret(purpose).hex(),
        "content": content.hex(),
    }


def sealed_json(kind: str) -> dict[str, Any]:
    salt, nonce = sha256(b"salt").digest()[:16], sha256(kind.encode()).digest()[:12]
    key = scrypt(PASSPHRASE, salt=salt, n=1 << 10, r=8, p=1, dklen=32)
    record = {
        "form": "custodyd-sealed/1",
        "kind": kind,
        "cost_log2": 10,
        "salt": salt.hex(),
        "nonce": nonce.hex(),
        "ciphertext": _encrypt(
            key, nonce, secret(kind), f"custodyd-sealed/1 {kind} 10".encode()
        ).hex(),
    }
    return {
        "kind": kind,
        "passphrase": PASSPHRASE.decode(),
        "secret": secret(kind).hex(),
        "content": json.dumps(record, indent=1) + "\n",
    }


def _encrypt(key: bytes, nonce: bytes, plain: bytes, bound: bytes) -> bytes:
    cipher = AES.new(key, AES.MODE_GCM, nonce=nonce)
    cipher.update(bound)
    ciphertext, tag = cipher.encrypt_and_digest(plain)
    return ciphertext + tag


# --- bytes that nobody may accept ---


def refused() -> dict[str, Any]:
    """Bytes near canonical ones, each with the id by which they are refused."""
    return {
        "about": "Bodies that are refused, with the error id.",
        "bodies": [
            {"document": kind.__name__, "case": case, "error": error.name, "body": body.hex()}
            for case, kind, error, body in (*_bent_requests(), *_bent_approvals())
        ],
    }


def _bent_requests() -> Iterator[tuple[str, type[Document], ErrorId, bytes]]:
    body = wire.encode(STORY.request)
    genesis, rest = body[:34], body[34:]
    vault, later = rest[:5], rest[5:]
    amount = b"\x30\xce\xc2\xf1\x05"
    bytes_wrong, missing = ErrorId.BYTES_NOT_CANONICAL, ErrorId.FIELD_MISSING
    yield "a trailing byte", Request, bytes_wrong, body + b"\x00"
    yield "an unknown field", Request, bytes_wrong, body + b"\x60\x01"
    yield "a field twice", Request, bytes_wrong, genesis + body
    yield "fields in another order", Request, bytes_wrong, vault + genesis + later
    longer = amount[:-1] + bytes((amount[-1] | 0x80, 0))
    yield "an integer not in its shortest form", Request, bytes_wrong, body.replace(amount, longer)
    yield "a length not in its shortest form", Request, bytes_wrong, b"\x0a\xa0\x00" + body[2:]
    yield "cut short", Request, bytes_wrong, body[:-1]
    yield "a field missing", Request, missing, genesis + later
    yield "nothing at all", Request, missing, b""
    zero = body.replace(amount, b"\x30\x00")
    yield "no amount", Request, ErrorId.FIELD_INVALID, zero
    yield "a short digest", Request, ErrorId.FIELD_INVALID, b"\x0a\x1f" + genesis[3:] + rest
    for name, text in (("a C0 control", "custom\ner 7"), ("a bidi mark", "custom\u202e77")):
        bent = body.replace(b"customer 77", text.encode())
        if len(text.encode()) != 11:
            raise AssertionError("the length in front of the text must stay right")
        yield f"{name} in text", Request, ErrorId.TEXT_FORBIDDEN, bent
    capital = body.replace(b"\x12\x03hot", b"\x12\x03Hot")
    yield "a name with a capital", Request, ErrorId.FIELD_INVALID, capital


def _bent_approvals() -> Iterator[tuple[str, type[Document], ErrorId, bytes]]:
    rejection = replace(
        STORY.approval("carol"),
        decision=Decision.REJECT,
        outputs=(0, 1, 300),
        reason=RejectReason.FEE,
    )
    body = wire.encode(rejection)
    packed, unpacked = b"\x3a\x04\x00\x01\xac\x02", b"\x38\x00\x38\x01\x38\xac\x02"
    wrong = ErrorId.BYTES_NOT_CANONICAL
    yield "integers that are not packed", Approval, wrong, body.replace(packed, unpacked)
    yield "an enum's zero", Approval, ErrorId.ENUM_UNKNOWN, body.replace(b"\x20\x02", b"\x20\x00")
    yield "an unknown enum", Approval, ErrorId.ENUM_UNKNOWN, body.replace(b"\x20\x02", b"\x20\x09")


FILES: dict[str, Callable[[], dict[str, Any]]] = {
    "documents.json": documents,
    "countersigned.json": countersigned,
    "genesis_words.json": genesis_words,
    "derivations.json": derivations,
    "journal.json": journal,
    "sealed_files.json": sealed_files,
    "refused.json": refused,
}

if __name__ == "__main__":
    sys.exit(main())
