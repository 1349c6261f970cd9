// DBOS: the work as its workflows, behind Node's own HTTP server. `node dbos.mjs PORT`, with
// DBOS_SYSTEM_DATABASE_URL in the environment.

import http from "node:http";

const { workflows } = await import("./work.mjs");
const { DBOS } = await import("@dbos-inc/dbos-sdk");
const made = workflows({
  step: (_, body) => DBOS.runStep(body, { name: "step" }),
  all: (promises) => Promise.all(promises),
});
const started = Object.fromEntries(
  Object.entries(made).map(([name, workflow]) => [
    `/work/${name}`,
    DBOS.registerWorkflow((plan) => workflow(null, plan), { name }),
  ]),
);
DBOS.setConfig({ name: "work", systemDatabaseUrl: process.env.DBOS_SYSTEM_DATABASE_URL, logLevel: "warn", runAdminServer: false });
await DBOS.launch();

const server = http.createServer(async (request, answer) => {
  let text = "";
  for await (const part of request) text += part;
  try {
    // Taken out first: called as a method, DBOS would look for an instance.
    const start = started[request.url];
    answer.end(JSON.stringify(await start(JSON.parse(text))));
  } catch (error) {
    answer.statusCode = 500;
    answer.end(String(error));
  }
});
server.on("connection", (socket) => socket.setNoDelay(true));
server.listen(Number(process.argv[2]), "127.0.0.1");
