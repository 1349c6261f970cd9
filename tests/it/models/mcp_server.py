"""An MCP server that the protocol's own SDK makes: `mcp_server.py json` answers as JSON, `mcp_server.py events` as streams.

It prints its port, and a line for each call of a tool.
"""

import socket
import sys

import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel

server = MCPServer("library")


class Found(BaseModel):
    pages: list[int]


@server.tool()
def read(page: int) -> str:
    """Reads a page."""
    print("read", page, flush=True)
    if page < 1:
        raise ToolError("there is no such page")
    return f"This is page {page}."


@server.tool()
def find(word: str) -> Found:
    """Finds the pages with a word."""
    print("find", word, flush=True)
    return Found(pages=[len(word)])


listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
app = server.streamable_http_app(json_response=sys.argv[1] == "json")
uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])
