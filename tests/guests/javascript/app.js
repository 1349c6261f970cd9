// Three calls at once, written against wit/ alone: `measure` fetches a page and says how long it is,
// `three` measures three pages beside each other.
import * as step from 'trackway:guest/step@0.1.0';
import * as effect from 'trackway:guest/effect@0.1.0';

const manifest = { contract: '0.1', workflows: [{ name: 'three' }], functions: [{ name: 'measure' }] };

function completion(role) {
  for (;;) {
    const { kind, id, body } = role.next();
    if (kind === 'succeeded') return [id, JSON.parse(body)];
    if (kind === 'failed' || kind === 'cancel') throw body;
  }
}

export function describe() {
  return JSON.stringify(manifest);
}

export function run(workflow, input, context) {
  const asked = JSON.parse(input).urls.map((url) => step.call('measure', JSON.stringify(url), '', undefined));
  const answers = new Map(asked.map(() => completion(step)));
  return JSON.stringify(asked.map((id) => answers.get(id)));
}

export function call(name, input, context) {
  effect.http(JSON.stringify({ url: JSON.parse(input) }), '', undefined);
  const [, answer] = completion(effect);
  return JSON.stringify({ status: answer.status, size: answer.body.length });
}
