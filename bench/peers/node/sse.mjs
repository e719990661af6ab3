// A minimal SSE server on Node's own `http`: each event is encoded once and written to each open response. Stores nothing.
// `node sse.mjs PORT`

import { createServer } from "node:http";
import { listen, publish } from "./publish.mjs";

const clients = new Set();
let seq = 0;

listen(
  createServer((request, response) => {
    if (request.method === "POST") {
      publish(request, response, (data) => {
        const bytes = Buffer.from(data.map((data) => `id: ${++seq}\ndata: ${data}\n\n`).join(""));
        for (const client of clients) client.write(bytes);
      });
      return;
    }
    response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
    response.flushHeaders();
    clients.add(response);
    response.on("close", () => clients.delete(response));
  }),
);
