// Takes `POST`s as a hub does: the body is an event's data, or, as `text/event-stream`, some events.

/** Calls `send` with the data of each event in a request, all at once, and answers. */
export function publish(request, response, send) {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    const body = Buffer.concat(parts).toString();
    const isStream = request.headers["content-type"] === "text/event-stream";
    const data = isStream ? body.split("\n").filter((line) => line.startsWith("data: ")).map((line) => line.slice(6)) : [body];
    send(data);
    response.writeHead(200, { "content-type": "application/json" }).end('{"count":1}\n');
  });
}

/** Listens at the port of the first argument, with room for many who come at once. */
export function listen(server) {
  server.listen({ host: "127.0.0.1", port: Number(process.argv[2] ?? 4103), backlog: 4096 });
}
