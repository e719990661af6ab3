// The same fan-out over WebSocket with the package `ws`, as its documentation shows it. An event's bytes are made once.
// Stores nothing. `node server.mjs PORT`

import { createServer } from "node:http";
import { WebSocketServer } from "ws";
import { listen, publish } from "../node/publish.mjs";

const server = createServer((request, response) => {
  publish(request, response, (data) => {
    for (const bytes of data.map((data) => Buffer.from(data))) {
      for (const client of sockets.clients) client.send(bytes, { binary: false });
    }
  });
});
const sockets = new WebSocketServer({ server });
listen(server);
