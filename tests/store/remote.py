"""Servers on this machine, over real connections: a bucket, where moto answers as S3 does, and a web server."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
from moto.server import ThreadedMotoServer


@contextmanager
def bucket() -> Iterator[str]:
    """URL of an empty bucket; variables of the environment name its server, also to processes that are started."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    variables = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    fsspec.get_filesystem_class("s3").clear_instance_cache()  # connections made under other variables
    try:
        fsspec.filesystem("s3", skip_instance_cache=True).mkdir("bucket")
        yield "s3://bucket"
    finally:
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        server.stop()


@contextmanager
def web_server(folder: Path, *, lists_folders: bool) -> Iterator[str]:
    """URL of a folder's files."""

    class Handler(SimpleHTTPRequestHandler):
        def list_directory(self, path: Any) -> Any:
            if lists_folders:
                return super().list_directory(path)
            self.send_error(HTTPStatus.NOT_FOUND)
            return None

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
