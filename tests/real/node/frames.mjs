// Reads and writes event-stream frames with the codec of the AWS SDK for JavaScript.
// stdin: {decode: [base64 of one frame], encode: [{headers: {name: string}, payload: base64}]}
// stdout: {decoded: [{headers, payload} | {error}], encoded: [base64]}
import { EventStreamCodec } from "@smithy/eventstream-codec";
import { text } from "node:stream/consumers";

const codec = new EventStreamCodec(
  (bytes) => Buffer.from(bytes).toString("utf8"),
  (string) => new Uint8Array(Buffer.from(string, "utf8")),
);

function decoded(frame) {
  try {
    const message = codec.decode(new Uint8Array(Buffer.from(frame, "base64")));
    const headers = Object.fromEntries(Object.entries(message.headers).map(([name, header]) => [name, header.value]));
    return { headers, payload: Buffer.from(message.body).toString("base64") };
  } catch (error) {
    return { error: error.message };
  }
}

function encoded({ headers, payload }) {
  const typed = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, { type: "string", value }]));
  return Buffer.from(codec.encode({ headers: typed, body: new Uint8Array(Buffer.from(payload, "base64")) })).toString("base64");
}

const task = JSON.parse(await text(process.stdin));
process.stdout.write(JSON.stringify({ decoded: task.decode.map(decoded), encoded: task.encode.map(encoded) }));
