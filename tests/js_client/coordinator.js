// The coordinator over mutual TLS: calls with deadlines, typed errors, the same call again.

import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";
import protobuf from "protobufjs";
import { PROTO } from "./canonical.js";

const SERVER_NAME = "custodyd-coordinator";
const CALL_TIMEOUT_MS = 10_000;
const ATTEMPTS = 5;
const BACKOFF_MS = 500;
const DETAILS = "grpc-status-details-bin";

// Of google.rpc: status.proto and error_details.proto, as far as they are read here.
const errors = protobuf.parse(
  `syntax = "proto3"; package google.rpc;
   message Any { string type_url = 1; bytes value = 2; }
   message Status { int32 code = 1; string message = 2; repeated Any details = 3; }
   message ErrorInfo { string reason = 1; string domain = 2; map<string, string> metadata = 3; }`,
  { keepCase: true },
).root;
const Status = errors.lookupType("google.rpc.Status");
const ErrorInfo = errors.lookupType("google.rpc.ErrorInfo");

// An answer that is no: `reason` is an id of docs/reference/errors.md, empty when there is none.
export class Refused extends Error {
  constructor(error) {
    super(error.details ?? error.message);
    this.code = grpc.status[error.code] ?? "UNKNOWN";
    this.details = detailsOf(error);
    const info = this.details.find((one) => one.type === "google.rpc.ErrorInfo");
    const decoded = info ? ErrorInfo.decode(info.value) : {};
    this.reason = decoded.reason ?? "";
    this.domain = decoded.domain ?? "";
    this.metadata = { ...decoded.metadata };
    this.isRetryable =
      this.code === "UNAVAILABLE" ||
      this.code === "DEADLINE_EXCEEDED" ||
      this.details.some((one) => one.type === "google.rpc.RetryInfo");
  }
}

function detailsOf(error) {
  const [raw] = error.metadata?.get(DETAILS) ?? [];
  if (raw === undefined) return [];
  return Status.decode(raw).details.map(({ type_url, value }) => ({
    type: type_url.slice(type_url.lastIndexOf("/") + 1),
    value,
  }));
}

export class Coordinator {
  constructor({ address, authority_file, certificate_file, key_file }) {
    const definition = protoLoader.loadSync(
      ["withdrawal", "event", "batch", "admin"].map((one) => `custodyd/rpc/v1/${one}.proto`),
      { includeDirs: [PROTO], keepCase: true, longs: String, enums: String, defaults: true },
    );
    const { v1 } = grpc.loadPackageDefinition(definition).custodyd.rpc;
    const credentials = grpc.credentials.createSsl(
      readFileSync(authority_file),
      readFileSync(key_file),
      readFileSync(certificate_file),
    );
    const options = {
      "grpc.ssl_target_name_override": SERVER_NAME,
      "grpc.default_authority": SERVER_NAME,
      "grpc.max_receive_message_length": 32 * 1024 * 1024,
    };
    const open = (service) => new v1[service](address, credentials, options);
    this.withdrawals = open("WithdrawalService");
    this.events = open("EventService");
    this.batches = open("BatchService");
    this.admin = open("AdminService");
  }

  // One call; a failure that may pass is tried again, as it was.
  async call(service, method, request) {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.callOnce(service, method, request);
      } catch (fault) {
        if (!fault.isRetryable || attempt === ATTEMPTS) throw fault;
        await sleep(BACKOFF_MS * attempt);
      }
    }
  }

  callOnce(service, method, request, deadline = Date.now() + CALL_TIMEOUT_MS) {
    const metadata = new grpc.Metadata();
    return new Promise((resolve, reject) => {
      const options = deadline === null ? {} : { deadline };
      this[service][method](request, metadata, options, (error, answer) =>
        error ? reject(new Refused(error)) : resolve(answer),
      );
    });
  }

  // Events above a sequence until the deadline; throws Refused when the stream breaks.
  async *watch(after_sequence, store_incarnation, deadline) {
    const request = { after_sequence, store_incarnation };
    const stream = this.events.WatchEvents(request, new grpc.Metadata(), { deadline });
    try {
      for await (const message of stream) yield message;
    } catch (fault) {
      throw new Refused(fault);
    } finally {
      stream.cancel();
    }
  }

  close() {
    for (const client of [this.withdrawals, this.events, this.batches, this.admin]) client.close();
  }
}
