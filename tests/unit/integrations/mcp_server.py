"""A server of the official package, as a program: ``python mcp_server.py stdio``, or ``http PORT``."""

import sys

from mcp.server.mcpserver import MCPServer


def make() -> MCPServer:
    server = MCPServer("tested")

    @server.tool()
    def add(first: int, second: int) -> int:
        """The sum."""
        return first + second

    @server.tool()
    def fail() -> str:
        """Never works."""
        raise ValueError("the disk is full")

    return server


if __name__ == "__main__":
    if sys.argv[1] == "stdio":
        make().run("stdio")
    else:
        make().run("streamable-http", host="127.0.0.1", port=int(sys.argv[2]))
