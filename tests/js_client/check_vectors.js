// The golden bytes of tests/vectors/custodyd, checked by code that shares nothing with custodyd's.
// Prints a JSON line with the number of checks; exits 1 at the first difference.

import assert from "node:assert/strict";
import { createDecipheriv, scryptSync } from "node:crypto";
import { readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { sha256 } from "@noble/hashes/sha2.js";
import { entropyToMnemonic } from "@scure/bip39";
import { wordlist } from "@scure/bip39/wordlists/english.js";
import {
  decode,
  digestOf,
  encode,
  hex,
  NotCanonical,
  publicKey,
  sign,
  signDocument,
  tagOf,
  taggedHash,
  unhex,
  verify,
} from "./canonical.js";
import {
  chainCodeOf,
  openCertificate,
  possessionDigest,
  recoveryDigest,
  transcriptDigest,
  vaultScript,
  vaultSeed,
  xonlyOf,
} from "./vault.js";

const FOLDER = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../vectors/custodyd");
const golden = (name) => JSON.parse(readFileSync(path.join(FOLDER, name), "utf8"));
let checks = 0;

function equal(found, wanted, what) {
  assert.deepEqual(found, wanted, what);
  checks += 1;
}

function checkDocument(one) {
  const what = `${one.document}: ${one.case}`;
  const body = encode(one.document, one.fields);
  equal(hex(body), one.body, what);
  equal(tagOf(one.document), one.tag, what);
  equal(hex(digestOf(one.document, body)), one.digest, what);
  equal(hex(encode(one.document, decode(one.document, body))), one.body, what);
  if (one.signed) {
    const { secret_key, aux, bytes, key, signature } = one.signed;
    const signed = signDocument(one.document, one.fields, unhex(secret_key), unhex(aux));
    equal(hex(signed.bytes), bytes, what);
    verify(unhex(signature), signed.digest, unhex(key));
  }
}

function checkCountersigned() {
  const given = golden("countersigned.json");
  const genesisBody = unhex(golden("documents.json").documents[0].body);
  const genesis = decode("Genesis", genesisBody);
  equal(hex(encode("Countersigned", given)), given.bytes, "countersigned");
  given.secret_keys.forEach((secret, at) => {
    const signature = sign(unhex(given.digest), unhex(secret), unhex(given.aux));
    equal(hex(publicKey(unhex(secret))), given.signatures[at].key_id, "countersigned key");
    equal(hex(signature), given.signatures[at].signature, "countersignature");
  });
  const digest = digestOf("Genesis", genesisBody);
  const { certificate } = openCertificate(unhex(given.bytes), genesis, digest);
  return certificate;
}

function checkDerivations(certificate) {
  const given = golden("derivations.json");
  for (const one of given.vault_seeds) {
    const seed = vaultSeed(unhex(one.vault_root), unhex(one.genesis), one.vault, one.epoch);
    equal(hex(seed), one.seed, "vault seed");
  }
  for (const one of given.possession) {
    const digest = possessionDigest({ ...one, genesis: unhex(one.genesis) });
    equal(hex(digest), one.digest, "possession");
    verify(unhex(one.proof), digest, xonlyOf(one.xpub));
  }
  const cosigners = given.transcript.cosigners.map((one) => ({
    ...one,
    fingerprint: unhex(one.fingerprint),
    possession: unhex(one.possession),
  }));
  const transcript = { ...given.transcript, cosigners, genesis: unhex(given.transcript.genesis) };
  equal(hex(transcriptDigest(transcript)), given.transcript.digest, "transcript");
  for (const one of given.scripts) {
    const script = vaultScript(certificate, one.chain, one.index);
    equal(hex(script), one.script, `script ${one.chain}/${one.index}`);
  }
}

function checkThreshold() {
  const given = golden("derivations.json").threshold;
  const key = unhex(given.threshold_key);
  const recovery = recoveryDigest(unhex(given.recovery_data));
  equal(hex(recovery), given.recovery_digest, "recovery digest");
  equal(hex(chainCodeOf(key, recovery)), given.chain_code, "chain code");
  const { documents } = golden("documents.json");
  const found = documents.find((one) => one.document === "VaultCertificate" && one.fields.frost);
  const certificate = decode("VaultCertificate", unhex(found.body));
  equal(hex(certificate.frost.threshold_key), given.threshold_key, "threshold key");
  for (const one of given.scripts) {
    const script = vaultScript(certificate, one.chain, one.index);
    equal(hex(script), one.script, `threshold script ${one.chain}/${one.index}`);
  }
}

function checkWords() {
  for (const one of golden("genesis_words.json").words) {
    equal(entropyToMnemonic(unhex(one.digest), wordlist), one.words, "words");
  }
}

function checkRefused() {
  for (const one of golden("refused.json").bodies) {
    if (!["BYTES_NOT_CANONICAL", "FIELD_MISSING", "ENUM_UNKNOWN"].includes(one.error)) continue;
    const what = `${one.document}: ${one.case}`;
    assert.throws(() => decode(one.document, unhex(one.body)), NotCanonical, what);
    checks += 1;
  }
}

function checkSealedFiles() {
  const given = golden("sealed_files.json");
  for (const one of given.signer_node) {
    equal(hex(openSealed(unhex(one.content), one.passphrase)), one.secret, one.purpose);
  }
  for (const one of given.backend) {
    const file = JSON.parse(one.content);
    const N = 2 ** file.cost_log2;
    const key = scryptSync(one.passphrase, unhex(file.salt), 32, { N, r: 8, p: 1 });
    const bound = Buffer.from(`${file.form} ${file.kind} ${file.cost_log2}`);
    const secret = openGcm(key, unhex(file.nonce), unhex(file.ciphertext), bound);
    equal(hex(secret), one.secret, one.kind);
  }
}

function openSealed(content, passphrase) {
  const body = content.subarray(0, -32);
  equal(hex(sha256(body)), hex(content.subarray(-32)), "checksum");
  equal(body.subarray(0, 17).toString("latin1"), "custodyd sealed\n\x01", "magic, version");
  const [log2n, r, p] = body.subarray(17, 20);
  const [salt, nonce] = [body.subarray(20, 36), body.subarray(36, 48)];
  const purpose = body.subarray(49, 49 + body[48]);
  const end = 49 + purpose.length + 1 + body[49 + purpose.length];
  const stretched = scryptSync(passphrase, salt, 32, { N: 2 ** log2n, r, p });
  const key = taggedHash("custodyd/sealed-file/v1", Buffer.concat([stretched, purpose]));
  return openGcm(key, nonce, body.subarray(end), body.subarray(0, end));
}

function openGcm(key, nonce, sealed, bound) {
  const cipher = createDecipheriv("aes-256-gcm", key, nonce);
  cipher.setAAD(bound);
  cipher.setAuthTag(sealed.subarray(-16));
  return Buffer.concat([cipher.update(sealed.subarray(0, -16)), cipher.final()]);
}

golden("documents.json").documents.forEach(checkDocument);
golden("journal.json").records.forEach(checkDocument);
checkDerivations(checkCountersigned());
checkThreshold();
checkWords();
checkRefused();
checkSealedFiles();
console.log(JSON.stringify({ checks }));
