// `node withdraw.js CONFIG.json`: asks custodyd for one withdrawal and follows it to final.
//
// The configuration names address, authority_file, certificate_file, key_file (transport),
// request_key (hex, secret), genesis (its digest, hex, as compared by words), vault, initiator,
// external_id, script (hex), amount_sat, account, timeout_s. It prints one JSON object: the
// withdrawal, the states seen, and how three calls that are wrong were answered. Exit code 1 when
// the withdrawal did not become final; the error stands on standard error, as JSON.

import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { decode, digestOf, hex, NotCanonical, publicKey, signDocument, unhex } from "./canonical.js";
import { Coordinator, Refused } from "./coordinator.js";
import { Payer } from "./payer.js";
import { openCertificate } from "./vault.js";

const VALID_FOR_S = 86_400;
const LOOK_EVERY_MS = 500;
const ENDED = ["FINAL", "REJECTED", "CANCELLED", "EXPIRED"].map((s) => `WITHDRAWAL_STATE_${s}`);

// The quorum behind the address, if it is the one whose words were compared.
async function openQuorum(coordinator, config) {
  const { genesis: body } = await coordinator.call("admin", "GetGenesis", {});
  const genesisDigest = digestOf("Genesis", body);
  if (hex(genesisDigest) !== config.genesis) throw new NotCanonical("another genesis");
  const genesis = decode("Genesis", body);
  const { certificate } = await coordinator.call("admin", "GetVault", { vault: config.vault });
  return { genesisDigest, vault: openCertificate(certificate, genesis, genesisDigest) };
}

function makeRequest(config, genesisDigest, secret, changes = {}) {
  const now_s = Math.floor(Date.now() / 1000);
  const fields = {
    genesis: genesisDigest,
    vault: config.vault,
    key: publicKey(secret),
    withdrawal_id: config.external_id,
    script: config.script,
    amount_sat: config.amount_sat,
    account: config.account,
    initiator: config.initiator,
    issued_at_s: now_s,
    valid_until_s: now_s + VALID_FOR_S,
    memo_hash: Buffer.alloc(32),
    ...changes,
  };
  return { fields, ...signDocument("Request", fields, secret) };
}

const create = (coordinator, signed_request, request_id = randomUUID()) =>
  coordinator.call("withdrawals", "CreateWithdrawal", { request_id, signed_request });

async function refusalOf(promise) {
  try {
    await promise;
  } catch (fault) {
    if (!(fault instanceof Refused)) throw fault;
    const { code, reason, domain, metadata } = fault;
    return { code, reason, domain, ...metadata };
  }
  return null;
}

// Calls that must be refused, each with its id.
async function probe(coordinator, config, genesisDigest, secret) {
  const more = (BigInt(config.amount_sat) + 1n).toString();
  const other = makeRequest(config, genesisDigest, secret, { amount_sat: more });
  const id = { withdrawal_id: `${config.external_id}-bent` };
  const bent = Buffer.from(makeRequest(config, genesisDigest, secret, id).bytes);
  bent[bent.length - 1] ^= 1;
  return {
    second_body: await refusalOf(create(coordinator, other.bytes)),
    bent_signature: await refusalOf(create(coordinator, bent)),
    no_deadline: await refusalOf(coordinator.callOnce("admin", "GetStatus", {}, null)),
  };
}

// Confirms what waits and is ours, until stopped.
async function confirmManifests(coordinator, payer, stop) {
  const seen = { confirmed: [], refused: [] };
  while (!stop.aborted) {
    const { manifests } = await coordinator.call("batches", "ListUnconfirmedManifests", {});
    for (const { batch_id, proposal } of manifests) {
      try {
        const signed_confirmation = payer.confirm(proposal);
        await coordinator.call("batches", "ConfirmManifest", { batch_id, signed_confirmation });
        seen.confirmed.push(batch_id);
      } catch (fault) {
        if (!(fault instanceof NotCanonical)) throw fault;
        seen.refused.push({ batch_id, why: fault.message });
      }
    }
    await sleep(LOOK_EVERY_MS);
  }
  return seen;
}

// The states of our withdrawal as events tell them; a broken stream goes on where it broke.
async function follow(coordinator, external_id, deadline) {
  const states = [];
  let [sequence, incarnation] = ["0", Buffer.alloc(0)];
  while (Date.now() < deadline) {
    try {
      for await (const message of coordinator.watch(sequence, incarnation, deadline)) {
        incarnation = message.store_incarnation;
        sequence = message.event.sequence;
        const { withdrawal } = message.event;
        if (withdrawal?.external_id !== external_id) continue;
        if (states.at(-1) !== withdrawal.state) states.push(withdrawal.state);
        if (ENDED.includes(withdrawal.state)) return states;
      }
    } catch (fault) {
      if (!fault.isRetryable) throw fault;
      await sleep(LOOK_EVERY_MS);
    }
  }
  return states;
}

async function withdraw(coordinator, config) {
  const secret = unhex(config.request_key);
  const { genesisDigest, vault } = await openQuorum(coordinator, config);
  const payer = new Payer({ secret, key: publicKey(secret), genesisDigest, vault });
  const request = makeRequest(config, genesisDigest, secret);
  payer.remember(request.digest, request.fields);
  const request_id = randomUUID();
  const first = await create(coordinator, request.bytes, request_id);
  const again = await create(coordinator, request.bytes, request_id);
  const refusals = await probe(coordinator, config, genesisDigest, secret);
  const stop = new AbortController();
  const confirming = confirmManifests(coordinator, payer, stop.signal);
  const deadline = Date.now() + config.timeout_s * 1000;
  const following = follow(coordinator, config.external_id, deadline);
  const failed = confirming.then(() => new Promise(() => {}));
  const states = await Promise.race([following, failed]);
  stop.abort();
  const manifests = await confirming;
  const { external_id } = config;
  const withdrawal = await coordinator.call("withdrawals", "GetWithdrawal", { external_id });
  return {
    withdrawal: { ...withdrawal, request_digest: hex(withdrawal.request_digest) },
    request_digest: hex(request.digest),
    same_answer_again:
      first.withdrawal.request_digest.equals(again.withdrawal.request_digest) &&
      first.store_incarnation.equals(again.store_incarnation),
    states,
    manifests,
    refusals,
  };
}

const config = JSON.parse(readFileSync(process.argv[2], "utf8"));
const coordinator = new Coordinator(config);
try {
  const found = await withdraw(coordinator, config);
  console.log(JSON.stringify(found, null, 1));
  process.exitCode = found.withdrawal.state === "WITHDRAWAL_STATE_FINAL" ? 0 : 1;
} catch (fault) {
  const { code, reason, metadata } = fault;
  console.error(JSON.stringify({ error: fault.message, code, reason, ...metadata }));
  process.exitCode = 1;
} finally {
  coordinator.close();
}
