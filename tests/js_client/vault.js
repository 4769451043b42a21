// A vault's certificate and scripts: of cosigners' xpubs (BIP-32, BIP-67, BIP-383), or of one
// threshold key (BIP-32 from a synthetic xpub, BIP-86).

import { createHmac } from "node:crypto";
import { secp256k1 } from "@noble/curves/secp256k1.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { decode, digestOf, NotCanonical, taggedHash, verify } from "./canonical.js";

const ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const XPUB_BYTES = 78;
const Point = secp256k1.Point;

function u32(number) {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(number);
  return bytes;
}

function text(ascii) {
  const bytes = Buffer.from(ascii, "ascii");
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 255]), bytes]);
}

export function vaultSeed(root, genesis, vault, epoch) {
  const data = Buffer.concat([root, genesis, text(vault), u32(epoch)]);
  return taggedHash("custodyd/vault-seed/v1", data);
}

export function possessionDigest({ genesis, vault, epoch, node, xpub }) {
  const data = Buffer.concat([genesis, text(vault), u32(epoch), text(node), text(xpub)]);
  return taggedHash("custodyd/possession/v1", data);
}

export function transcriptDigest({ genesis, vault, epoch, cosigners }) {
  const parts = [genesis, text(vault), u32(epoch)];
  for (const one of cosigners) {
    parts.push(text(one.node), text(one.xpub), one.fingerprint, one.possession);
  }
  return taggedHash("custodyd/keygen-transcript/v1", Buffer.concat(parts));
}

function decodeXpub(xpub) {
  let number = 0n;
  for (const letter of xpub) number = number * 58n + BigInt(ALPHABET.indexOf(letter));
  const bytes = Buffer.from(number.toString(16).padStart((XPUB_BYTES + 4) * 2, "0"), "hex");
  const payload = bytes.subarray(0, XPUB_BYTES);
  const checksum = sha256(sha256(payload)).slice(0, 4);
  if (!bytes.subarray(XPUB_BYTES).equals(Buffer.from(checksum))) throw new NotCanonical("xpub");
  return { chainCode: payload.subarray(13, 45), point: payload.subarray(45) };
}

export function xonlyOf(xpub) {
  return decodeXpub(xpub).point.subarray(1);
}

function child({ chainCode, point }, index) {
  const hash = createHmac("sha512", chainCode).update(Buffer.concat([point, u32(index)])).digest();
  const tweak = BigInt(`0x${hash.subarray(0, 32).toString("hex")}`);
  const sum = Point.fromBytes(point).add(Point.BASE.multiply(tweak));
  return { chainCode: hash.subarray(32), point: Buffer.from(sum.toBytes(true)) };
}

export function recoveryDigest(recoveryData) {
  return taggedHash("custodyd/recovery-data/v1", recoveryData);
}

export function chainCodeOf(thresholdKey, recovery) {
  return taggedHash("custodyd/chain-code/v1", Buffer.concat([thresholdKey, recovery]));
}

// scriptPubKey of a certified vault at chain/index, whatever its kind.
export function vaultScript(certificate, chain, index) {
  if (certificate.frost) return taprootScript(certificate.frost, chain, index);
  const xpubs = certificate.cosigners.map((one) => one.xpub);
  return multisigScript(certificate.threshold, xpubs, chain, index);
}

// tr(KEY) without a script tree.
function taprootScript({ threshold_key, chain_code }, chain, index) {
  const root = { chainCode: Buffer.from(chain_code), point: Buffer.from(threshold_key) };
  const internal = child(child(root, chain), index).point.subarray(1);
  const tweak = BigInt(`0x${Buffer.from(taggedHash("TapTweak", internal)).toString("hex")}`);
  const even = Point.fromBytes(Buffer.concat([Buffer.from([2]), internal]));
  const output = Buffer.from(even.add(Point.BASE.multiply(tweak)).toBytes(true)).subarray(1);
  return Buffer.concat([Buffer.from([0x51, 32]), output]);
}

// wsh(sortedmulti).
function multisigScript(threshold, xpubs, chain, index) {
  const keys = xpubs.map((one) => child(child(decodeXpub(one), chain), index).point);
  keys.sort(Buffer.compare);
  const pushes = keys.map((key) => Buffer.concat([Buffer.from([33]), key]));
  const witnessScript = Buffer.concat([
    Buffer.from([0x50 + threshold]),
    ...pushes,
    Buffer.from([0x50 + keys.length, 0xae]),
  ]);
  return Buffer.concat([Buffer.from([0, 32]), Buffer.from(sha256(witnessScript))]);
}

// The certificate in Countersigned bytes, once it is of this genesis and signed by all signers.
export function openCertificate(countersigned, genesis, genesisDigest) {
  const { body, signatures } = decode("Countersigned", countersigned);
  const certificate = decode("VaultCertificate", body);
  const digest = digestOf("VaultCertificate", body);
  const same = (one, other) => Buffer.from(one).equals(Buffer.from(other));
  if (!same(certificate.genesis, genesisDigest) || signatures.length !== genesis.signers.length) {
    throw new NotCanonical("a certificate of another quorum");
  }
  const { frost, cosigners } = certificate;
  if (Boolean(frost) === cosigners.length > 0) throw new NotCanonical("keys of two kinds, or none");
  const members = frost ? frost.pubshares : cosigners;
  if (members.length !== genesis.signers.length) throw new NotCanonical("not the roster");
  genesis.signers.forEach((seat, at) => {
    if (seat.name !== members[at].node || !same(seat.identity_key, signatures[at].key_id)) {
      throw new NotCanonical("the certificate's members are not the roster");
    }
    verify(signatures[at].signature, digest, seat.identity_key);
    if (!frost) checkPossession(certificate, genesisDigest, members[at]);
  });
  if (frost && !same(chainCodeOf(frost.threshold_key, frost.recovery), frost.chain_code)) {
    throw new NotCanonical("somebody chose the chain code");
  }
  return { certificate, digest };
}

function checkPossession({ vault, epoch }, genesis, { node, xpub, possession }) {
  verify(possession, possessionDigest({ genesis, vault, epoch, node, xpub }), xonlyOf(xpub));
}
