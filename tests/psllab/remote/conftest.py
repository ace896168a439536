"""A server in a process of its own, over TLS on the loopback."""

import signal

import pytest

pytest.importorskip("fastapi", reason="fastapi is not installed: pip install '.[cloud]'")

import wire


@pytest.fixture(scope="package")
def server(tmp_path_factory):
    """A server that runs."""
    process = wire.Process(tmp_path_factory.mktemp("cloud"))
    process.begin().ready()
    yield process
    process.end(signal.SIGTERM)


@pytest.fixture
def own_server(tmp_path):
    """A server to be killed; not begun yet."""
    process = wire.Process(tmp_path)
    yield process
    process.end()
