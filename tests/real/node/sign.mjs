// Signs requests as the AWS SDK for JavaScript would, from what arrived on the wire.
// stdin: one a line, {method, path, query, headers, body, region, service, secretAccessKey, signed}, body in base64.
// stdout: one signature a line, in the same order.
import { SignatureV4 } from "@smithy/signature-v4";
import { Sha256 } from "@aws-crypto/sha256-js";
import { createInterface } from "node:readline";

const NOT_INPUT = new Set(["authorization", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256"]);

async function signature(request) {
  const signed = new Set(request.signed);
  const headers = {};
  for (const [name, value] of request.headers) {
    const lower = name.toLowerCase();
    if (signed.has(lower) && !NOT_INPUT.has(lower)) headers[lower] = value;
  }
  const seen = Object.fromEntries(request.headers.map(([name, value]) => [name.toLowerCase(), value]));
  const stamp = seen["x-amz-date"].replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, "$1-$2-$3T$4:$5:$6Z");
  const signer = new SignatureV4({
    region: request.region,
    service: request.service,
    sha256: Sha256,
    uriEscapePath: true,
    applyChecksum: signed.has("x-amz-content-sha256"),
    credentials: {
      accessKeyId: "in no signature",
      secretAccessKey: request.secretAccessKey,
      sessionToken: seen["x-amz-security-token"],
    },
  });
  const query = Object.fromEntries(new URLSearchParams(request.query));
  const result = await signer.sign(
    {
      method: request.method,
      protocol: "http:",
      hostname: "unused",
      path: request.path,
      query,
      headers,
      body: Buffer.from(request.body, "base64"),
    },
    { signingDate: new Date(stamp), signableHeaders: signed },
  );
  return result.headers.authorization.match(/Signature=([0-9a-f]{64})$/)[1];
}

for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  process.stdout.write(`${await signature(JSON.parse(line))}\n`);
}
