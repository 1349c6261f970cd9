"""litellm's proxy, as an operator sets it up: `litellm_server.py UPSTREAM KEY` asks UPSTREAM for what it does not know itself.

It prints its port.
"""

import json
import os
import socket
import sys
import tempfile

upstream, key = sys.argv[1:]
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)


def model(name: str, **more: object) -> dict:
    params = {"model": f"openai/{name}", "api_base": upstream, "api_key": key, **more}
    return {"model_name": name, "litellm_params": params}


# JSON is YAML. `said` is answered by the proxy itself, the others by whoever is behind it.
config = {
    "model_list": [model("m"), model("busy"), model("said", mock_response="It is raining in Bern.")],
    "general_settings": {"master_key": key},
    "litellm_settings": {"telemetry": False, "num_retries": 0},
}
folder = tempfile.TemporaryDirectory()
path = os.path.join(folder.name, "config.yaml")
with open(path, "w", encoding="utf-8") as file:
    json.dump(config, file)
os.environ["CONFIG_FILE_PATH"] = path
# Its list of models comes along; nothing is fetched.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import uvicorn  # noqa: E402
from litellm.proxy.proxy_server import app  # noqa: E402

uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])
