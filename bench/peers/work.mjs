// The work that is measured, for the peers that run in Node: the same steps as in the guest `work`.
// It knows no peer: `step(body)` is how that one makes a step, `all` how it waits for several.

import http from "node:http";

const agent = new http.Agent({ keepAlive: true, maxSockets: 1024, noDelay: true });

/** One POST that is answered with a number. */
export function post(url) {
  return new Promise((resolve, reject) => {
    const request = http.request(url, { method: "POST", agent, headers: { "content-length": 1 } }, (answer) => {
      let text = "";
      answer.on("data", (part) => (text += part));
      answer.on("end", () => resolve(Number(text)));
      answer.on("error", reject);
    });
    request.on("error", reject);
    request.end("1");
  });
}

export function workflows({ step, all }) {
  const sum = (numbers) => numbers.reduce((one, other) => one + other, 0);
  const each = (count, make) => Array.from({ length: count }, (_, number) => make(number));
  return {
    async chain_pure(context, { n }) {
      let number = 0;
      for (let i = 0; i < n; i++) {
        const before = number;
        number = await step(context, async () => before + 1);
      }
      return number;
    },
    async chain_http(context, { n, url }) {
      let number = 0;
      for (let i = 0; i < n; i++) number += await step(context, () => post(url));
      return number;
    },
    async fan_pure(context, { n }) {
      return sum(await all(each(n, (number) => step(context, async () => number + 1))));
    },
    async fan_http(context, { n, url }) {
      return sum(await all(each(n, () => step(context, () => post(url)))));
    },
  };
}
