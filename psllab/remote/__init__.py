"""The two sides on two machines: a cloud that is a server, its stub on the client, and a log that can be replayed.

The server is ``service``, the stub ``stub``; what crosses is defined in ``messages``, kept in ``log``, and trained on
in ``training``, by the server and by ``replay`` alike. See ``docs/remote.md``; a machine that does nothing else needs
``pip install ".[cloud]"``.
"""

try:
    import fastapi
    import httpx
    import prometheus_client
    import safetensors
    import uvicorn
except ImportError as error:
    told = f"two machines need {error.name}, which is not installed here"
    raise ValueError(f"{told}: install it with `pip install '.[cloud]'`.") from error
