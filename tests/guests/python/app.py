# Three calls at once, written against wit/ alone: `measure` fetches a page and says how long it is,
# `three` measures three pages beside each other.
import json

import wit_world
from componentize_py_types import Err
from wit_world.imports import effect, step

MANIFEST = {"contract": "0.1", "workflows": [{"name": "three"}], "functions": [{"name": "measure"}]}


def completion(interface):
    while True:
        done = interface.next()
        if done.kind == "succeeded":
            return done.id, json.loads(done.body)
        if done.kind in ("failed", "cancel"):
            raise Err(done.body)


class WitWorld(wit_world.WitWorld):
    def describe(self):
        return json.dumps(MANIFEST)

    def run(self, workflow, input, context):
        urls = json.loads(input)["urls"]
        asked = [step.call("measure", json.dumps(url), "", None) for url in urls]
        answers = dict(completion(step) for _ in asked)
        return json.dumps([answers[id] for id in asked])

    def call(self, function, input, context):
        effect.http(json.dumps({"url": json.loads(input)}), "", None)
        _, answer = completion(effect)
        return json.dumps({"status": answer["status"], "size": len(answer["body"])})
