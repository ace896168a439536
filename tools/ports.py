"""Ports of the loopback that nobody listens at."""

import socket
from contextlib import ExitStack


def free(n: int) -> list[int]:
    """So many different ones."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(n)]
        return [each.getsockname()[1] for each in sockets]
