// Restate: the work as a service of its TypeScript SDK. `node restate.mjs PORT`

// The SDK asks for what came with Node 22.
Promise.withResolvers ??= function () {
  let resolve, reject;
  const promise = new Promise((yes, no) => ([resolve, reject] = [yes, no]));
  return { promise, resolve, reject };
};

const { workflows } = await import("./work.mjs");
const restate = await import("@restatedev/restate-sdk");
const handlers = workflows({
  step: (context, body) => context.run("step", body),
  all: (promises) => restate.RestatePromise.all(promises),
});
const work = restate.service({ name: "work", handlers });
await restate.serve({ services: [work], port: Number(process.argv[2]) });
