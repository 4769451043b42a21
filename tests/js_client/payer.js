// The payer's confirmation: a manifest is endorsed only when it pays what was asked here, and once.
//
// 1. It is of the pinned quorum and vault, and has not expired.
// 2. Every payout is a request made here, and its output has that script and amount.
// 3. Every other output is change to the vault's chain 1, derived here.
// 4. Paid once: of the manifests confirmed before with one of its withdrawals, each shares an input
//    with it, so that at most one of them can be in the chain.

import { decode, digestOf, hex, NotCanonical, signDocument } from "./canonical.js";
import { vaultScript } from "./vault.js";

const PSBT_MAGIC = "70736274ff";
const INTERNAL_CHAIN = 1;

class Reader {
  constructor(bytes) {
    this.bytes = Buffer.from(bytes);
    this.at = 0;
  }

  take(length) {
    if (this.at + length > this.bytes.length) throw new NotCanonical("a PSBT ends too early");
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  size() {
    const first = this.take(1)[0];
    if (first < 0xfd) return first;
    return first === 0xfd ? this.take(2).readUInt16LE() : this.take(4).readUInt32LE();
  }

  chunk() {
    return this.take(this.size());
  }
}

// Inputs (outpoints in hex) and outputs of a PSBT's unsigned transaction.
export function readTransaction(psbt) {
  const outer = new Reader(psbt);
  if (hex(outer.take(5)) !== PSBT_MAGIC || hex(outer.chunk()) !== "00") {
    throw new NotCanonical("a PSBT begins with its transaction");
  }
  const reader = new Reader(outer.chunk());
  reader.take(4);
  const inputs = Array.from({ length: reader.size() }, () => {
    const outpoint = hex(reader.take(36));
    reader.chunk();
    reader.take(4);
    return outpoint;
  });
  const outputs = Array.from({ length: reader.size() }, () => ({
    amount_sat: reader.take(8).readBigUInt64LE(),
    script: hex(reader.chunk()),
  }));
  return { inputs, outputs };
}

export class Payer {
  // `vault`: what openCertificate gave; `secret`: the request key's.
  constructor({ secret, key, genesisDigest, vault }) {
    Object.assign(this, { secret, key, genesisDigest, vault });
    this.requests = new Map();
    this.confirmed = [];
  }

  // A request made here: its digest, fields.
  remember(digest, fields) {
    this.requests.set(hex(digest), fields);
  }

  // Signed bytes of the confirmation, or a thrown NotCanonical with the rule that is broken.
  confirm(proposal) {
    const { manifest: body } = decode("ManifestProposal", proposal);
    const manifest = decode("Manifest", body);
    const digest = digestOf("Manifest", body);
    const { inputs, outputs } = readTransaction(manifest.psbt);
    this.#checkQuorum(manifest);
    const ids = this.#checkOutputs(manifest, outputs);
    this.#checkPaidOnce(hex(digest), ids, inputs);
    const confirmation = {
      genesis: this.genesisDigest,
      manifest: digest,
      key: this.key,
      confirmed_at_s: Math.floor(Date.now() / 1000),
    };
    return signDocument("PayerConfirmation", confirmation, this.secret).bytes;
  }

  #checkQuorum(manifest) {
    const same =
      hex(manifest.genesis) === hex(this.genesisDigest) &&
      hex(manifest.certificate) === hex(this.vault.digest);
    if (!same) throw new NotCanonical("a manifest of another quorum or vault");
    if (Date.now() / 1000 > Number(manifest.expires_at_s)) throw new NotCanonical("it expired");
  }

  #checkOutputs(manifest, outputs) {
    const explained = new Set();
    const ids = [];
    for (const { output, request } of manifest.payouts) {
      const own = this.requests.get(hex(request));
      const paid = outputs[output];
      const matches =
        own && paid && paid.script === own.script && paid.amount_sat === BigInt(own.amount_sat);
      if (!matches) throw new NotCanonical(`output ${output} was not asked for here`);
      explained.add(output);
      ids.push(own.withdrawal_id);
    }
    for (const { output, index } of manifest.changes) {
      const script = hex(vaultScript(this.vault.certificate, INTERNAL_CHAIN, index));
      if (outputs[output]?.script !== script) throw new NotCanonical(`output ${output}: no change`);
      explained.add(output);
    }
    const said = manifest.payouts.length + manifest.changes.length;
    const isOneToOne = explained.size === said && outputs.length === said;
    if (!isOneToOne || new Set(ids).size !== ids.length) {
      throw new NotCanonical("outputs are not explained one by one");
    }
    return ids;
  }

  #checkPaidOnce(digest, ids, inputs) {
    for (const before of this.confirmed) {
      if (before.digest === digest || !before.ids.some((one) => ids.includes(one))) continue;
      if (!before.inputs.some((one) => inputs.includes(one))) {
        throw new NotCanonical("it could be paid twice");
      }
    }
    this.confirmed.push({ digest, ids, inputs });
  }
}
