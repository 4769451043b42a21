"""Commands that decide. The operator's approval key is opened here, in the operator's process."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from signer_node.adapters.folder import Folder, require_private
from signer_node.adapters.keystore import OPERATOR, read_sealed, unseal
from signer_node.console import decision, screen
from signer_node.console.messages import ConfirmRequest, DeliverRequest, Shown, ShowRequest
from signer_node.console.server import ask
from signer_node.console.terminal import ask as ask_person
from signer_node.console.terminal import say, say_json
from signer_node.console.view import View, view_of
from signer_node.daemon.config import Configuration
from signer_node.daemon.look_commands import ask_daemon
from signer_node.daemon.passphrase import passphrase_source, read_passphrase
from signer_node.kernel.documents.manifest import Decision, RejectReason
from signer_node.kernel.errors import ErrorId, ExitCode, Refusal


def genesis_confirm(args: argparse.Namespace, configuration: Configuration) -> ExitCode:
    """Bind the node to the genesis whose words were compared."""
    words = args.words or ask_person("the 24 words, as the others read them: ")
    ask(Folder(configuration.data_dir).socket, ConfirmRequest(words))
    if args.json:
        say_json({"confirmed": True})
    else:
        say("confirmed: this node serves this quorum and no other")
    return ExitCode.OK


def approve(args: argparse.Namespace, configuration: Configuration) -> ExitCode:
    """Show the screen, ask for the last group of the largest payout's address, sign, deliver."""
    view = view_of(ask_daemon(configuration, ShowRequest(args.id), Shown))
    typed = args.confirm
    if typed is None:
        say(view.text)
        say()
        typed = ask_person(f"to approve, type the last group of #{view.review.largest.output}: ")
    else:
        _require_whole_digest(args.id, view)
    decision.require_typed(view.review, typed)
    return _decide(args, configuration, view, decision.APPROVE)


def _require_whole_digest(name: str, view: View) -> None:
    """Whoever saw the screen in another command says which manifest it was: between the two,
    another one of the same batch id, or of a digest that begins alike, may have come."""
    if name.replace(" ", "").lower() != view.review.digest.hex():
        raise Refusal(
            ErrorId.DECISION_NOT_CONFIRMED, "with --confirm the manifest is named by its digest"
        )


def reject(args: argparse.Namespace, configuration: Configuration) -> ExitCode:
    """Sign and deliver a rejection with its reason."""
    view = view_of(ask_daemon(configuration, ShowRequest(args.id), Shown))
    reason = RejectReason[args.reason.upper().replace("-", "_")]
    word = decision.Word(Decision.REJECT, reason, args.text, _outputs(args.outputs))
    decision.check_word(view.review, word)
    return _decide(args, configuration, view, word)


def _outputs(text: str | None) -> tuple[int, ...]:
    try:
        return tuple(sorted({int(one) for one in text.split(",")})) if text else ()
    except ValueError:
        raise Refusal(ErrorId.CONFIG_INVALID, "--outputs: numbers, like 1,2") from None


def _decide(
    args: argparse.Namespace, configuration: Configuration, view: View, word: decision.Word
) -> ExitCode:
    path = Path(args.key)
    require_private(path)
    sealed = read_sealed(path)
    if not sealed.purpose.startswith(f"{OPERATOR}/"):
        raise Refusal(ErrorId.OPERATOR_KEY_UNKNOWN, f"{path.name} is no operator's key")
    operator = unseal(sealed, read_passphrase(passphrase_source(args, configuration)))
    addressed = decision.Addressed(view.identity_key, int(time.time()))
    envelope = decision.decision_envelope(view.review, view.genesis, operator, word, addressed)
    ask(Folder(configuration.data_dir).socket, DeliverRequest(envelope))
    verb = "approved" if word.decision is Decision.APPROVE else "rejected"
    digest = view.review.digest
    if args.json:
        say_json({"manifest": digest.hex(), "decision": verb})
    else:
        say(f"{verb} {screen.digest_groups(digest)}")
    return ExitCode.OK
