// Loaded before a gateway under test: it listens on loopback only, and can reach nothing else.
"use strict";
const net = require("node:net");

const LOOPBACK = new Set(["127.0.0.1", "::1", "localhost"]);

const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (first, ...rest) {
  if (first !== null && typeof first === "object") {
    return listen.call(this, { ...first, host: "127.0.0.1" }, ...rest);
  }
  const callback = rest.find((one) => typeof one === "function");
  return listen.call(this, { port: Number(first), host: "127.0.0.1" }, callback);
};

const connect = net.Socket.prototype.connect;
net.Socket.prototype.connect = function (...given) {
  const [first, second] = Array.isArray(given[0]) ? given[0] : given;
  const host = first !== null && typeof first === "object" ? first.host || first.hostname : second;
  if (host && !LOOPBACK.has(host)) {
    process.nextTick(() => this.destroy(new Error(`not loopback: ${host}`)));
    return this;
  }
  return connect.apply(this, given);
};
