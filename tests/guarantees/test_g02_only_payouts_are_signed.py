"""G2: no interface takes a digest to sign, and nothing goes around the rules.

Looked for in the code itself: who may call the vault's secret half, and what the types on the way
there ask for. A new way to a share would have to pass through here.
"""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import get_type_hints

import signer_node
from signer_node.core import node as core
from signer_node.core import signing
from signer_node.core.ledger import Secrets, SessionKey
from signer_node.kernel.documents.envelope import ENTITLED, PayloadType, Sender
from signer_node.kernel.documents.manifest import ManifestKind
from signer_node.kernel.rules.check_manifest import CheckedManifest
from signer_node.kernel.vault.interface import SigningSession, VaultSigner

ROOT = Path(inspect.getfile(signer_node)).parent


def calls(name: str) -> set[str]:
    """The modules of signer_node in which something called `name` or `.name` is called."""
    found = set()
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            called = node.func if isinstance(node, ast.Call) else None
            if name in (getattr(called, "attr", None), getattr(called, "id", None)):
                found.add(path.relative_to(ROOT).as_posix())
    return found


def test_a_vault_signs_sessions_and_nothing_else() -> None:
    hints = get_type_hints(VaultSigner.sign)
    assert hints["session"] is SigningSession
    assert get_type_hints(Secrets.sign)["key"] is SessionKey
    assert "bytes" not in [str(hint) for hint in get_type_hints(Secrets.sign).values()][:2]


def test_one_place_opens_sessions_and_it_takes_a_checked_manifest() -> None:
    assert calls("open_session") == {"core/signing.py"}
    assert get_type_hints(signing._open_session)["checked"] is CheckedManifest


def test_a_checked_manifest_is_made_by_the_rules_alone() -> None:
    assert calls("CheckedManifest") == {"kernel/rules/check_manifest.py"}


def test_shares_leave_only_in_answer_to_a_package_of_the_coordinator() -> None:
    entitled = [role for role in Sender if PayloadType.SIGNING_PACKAGE in ENTITLED.get(role, ())]
    assert entitled == [Sender.COORDINATOR]
    makers = {
        path.relative_to(ROOT).as_posix()
        for path in ROOT.rglob("*.py")
        if "PayloadType.SHARE_SET" in path.read_text() and path.name != "envelope.py"
    }
    assert makers == {"core/signing.py"}
    assert core._HANDLERS[PayloadType.SIGNING_PACKAGE] is signing.on_package


def test_payouts_are_the_only_kind_there_is() -> None:
    assert [kind for kind in ManifestKind if kind is not ManifestKind.UNKNOWN] == [
        ManifestKind.PAYOUT
    ]


def test_no_two_documents_share_a_tag() -> None:
    from signer_node.kernel import documents

    names = [
        node.value.value
        for path in Path(inspect.getfile(documents)).parent.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.AnnAssign)
        and getattr(node.target, "id", "") == "NAME"
        and isinstance(node.value, ast.Constant)
    ]
    assert len(names) > 15
    assert len(set(names)) == len(names)
