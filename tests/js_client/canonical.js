// Canonical bytes, digests and signatures of custodyd's documents, by docs/reference/formats.md.
//
// Messages are read from the .proto files; this encoder shares nothing with protobufjs's own.

import path from "node:path";
import { randomBytes } from "node:crypto";
import { fileURLToPath } from "node:url";
import protobuf from "protobufjs";
import { schnorr } from "@noble/curves/secp256k1.js";
import { sha256 } from "@noble/hashes/sha2.js";

export const PROTO = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../proto");
const WIRE = "signer_node.wire.v1";
const FILES = ["signed", "genesis", "vault", "request", "manifest", "signing", "journal", "chain"];

const root = new protobuf.Root();
root.resolvePath = (_origin, target) => path.join(PROTO, target);
root.loadSync(
  FILES.map((name) => `signer_node/wire/v1/${name}.proto`),
  { keepCase: true },
);
root.resolveAll();

// The one field that may be absent.
const MAY_BE_ABSENT = new Set(["InputEvidence.inclusion", "VaultCertificate.frost"]);
const INTEGERS = new Set(["uint32", "uint64", "bool"]);

export class NotCanonical extends Error {}

export const messageType = (name) => root.lookupType(`${WIRE}.${name}`);

export function hex(bytes) {
  return Buffer.from(bytes).toString("hex");
}

export function unhex(text) {
  return Buffer.from(text, "hex");
}

function varint(value) {
  let rest = BigInt(value);
  if (rest < 0n || rest >> 64n !== 0n) throw new NotCanonical(`${value} is no uint64`);
  const bytes = [];
  while (rest > 127n) {
    bytes.push(Number(rest & 127n) | 128);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return Buffer.from(bytes);
}

function tagged(number, wireType, content) {
  return Buffer.concat([varint((number << 3) | wireType), content]);
}

function chunk(content) {
  return Buffer.concat([varint(content.length), content]);
}

function integerOf(field, value) {
  if (INTEGERS.has(field.type)) return BigInt(value);
  if (field.resolvedType instanceof protobuf.Enum) {
    const number = typeof value === "number" ? value : field.resolvedType.values[value];
    if (!number || field.resolvedType.valuesById[number] === undefined) {
      throw new NotCanonical(`${field.name}: no enum value ${value}`);
    }
    return BigInt(number);
  }
  return null;
}

function contentOf(field, value) {
  if (field.type === "string") return Buffer.from(value, "utf8");
  if (field.type === "bytes") return typeof value === "string" ? unhex(value) : Buffer.from(value);
  return encode(field.resolvedType.name, value);
}

function single(field, value) {
  const integer = integerOf(field, value);
  if (integer !== null) return tagged(field.id, 0, varint(integer));
  return tagged(field.id, 2, chunk(contentOf(field, value)));
}

function repeated(field, values) {
  if (INTEGERS.has(field.type)) {
    if (values.length === 0) return Buffer.alloc(0);
    return tagged(field.id, 2, chunk(Buffer.concat(values.map((one) => varint(one)))));
  }
  return Buffer.concat(values.map((one) => single(field, one)));
}

// Bytes of a document; fields by their .proto names, bytes as hex or arrays, integers in any form.
export function encode(name, fields) {
  const parts = messageType(name)
    .fieldsArray.slice()
    .sort((one, other) => one.id - other.id)
    .map((field) => {
      const value = fields[field.name];
      if (field.repeated) return repeated(field, value ?? []);
      if (value === undefined || value === null) {
        if (MAY_BE_ABSENT.has(`${name}.${field.name}`)) return Buffer.alloc(0);
        throw new NotCanonical(`${name}.${field.name} is missing`);
      }
      return single(field, value);
    });
  return Buffer.concat(parts);
}

// Fields of canonical bytes; throws NotCanonical for any others.
export function decode(name, bytes) {
  const type = messageType(name);
  let fields;
  try {
    fields = type.toObject(type.decode(bytes), { longs: String, enums: Number, arrays: true });
  } catch (fault) {
    throw new NotCanonical(`${name} does not parse: ${fault.message}`);
  }
  if (!encode(name, fields).equals(Buffer.from(bytes))) throw new NotCanonical(name);
  return fields;
}

export function taggedHash(tag, data) {
  const name = sha256(Buffer.from(tag));
  return Buffer.from(sha256(Buffer.concat([name, name, data])));
}

// Signer -> signer, PayerConfirmation -> payer-confirmation.
export function tagOf(name) {
  const words = name.replace(/(?<=[a-z])(?=[A-Z])/g, "-").toLowerCase();
  return `custodyd/${words}/v1`;
}

export function digestOf(name, body) {
  return taggedHash(tagOf(name), body);
}

export function publicKey(secret) {
  return Buffer.from(schnorr.getPublicKey(secret));
}

export function sign(digest, secret, aux = randomBytes(32)) {
  return Buffer.from(schnorr.sign(digest, secret, aux));
}

export function verify(signature, digest, key) {
  if (!schnorr.verify(signature, digest, key)) throw new NotCanonical("a signature is wrong");
}

// Signed bytes of a document with its digest.
export function signDocument(name, fields, secret, aux) {
  const body = encode(name, fields);
  const digest = digestOf(name, body);
  const signature = sign(digest, secret, aux);
  return { body, digest, bytes: encode("Signed", { body, key_id: publicKey(secret), signature }) };
}
