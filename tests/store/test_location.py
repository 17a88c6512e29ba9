from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import fsspec
import pytest

from seqrec.errors import MissingExtraError, StoreError
from seqrec.store import SequenceStore, is_local, locate


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("stores/shop", "stores/shop"),
        (Path("/data/shop"), "/data/shop"),
        ("file:///data/shop", "/data/shop"),
        ("local:///data/shop", "/data/shop"),
    ],
)
def test_paths_of_this_machine_are_paths(given: str | Path, path: str) -> None:
    assert locate(given) == Path(path)
    assert is_local(locate(given))


@pytest.mark.parametrize("url", ["memory://shop/store", "s3://bucket/a/store"])
def test_urls_stay_what_they_are(url: str) -> None:
    located = locate(url)
    assert not is_local(located)
    assert str(located) == url
    assert str(located / "shards/x") == f"{url}/shards/x"
    assert locate(located) == located


def test_an_unknown_protocol_is_refused_with_the_nearest() -> None:
    with pytest.raises(StoreError, match=r"(?s)s33://b/x: unknown protocol `s33`.*did you mean `s3://`"):
        locate("s33://b/x")
    with pytest.raises(StoreError, match=r"known are, among others, s3, gs"):
        locate("qqqqqqq://b/x")


def test_a_protocol_without_its_package_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(MissingExtraError, match=r"(?s)`gs://` needs the package `gcsfs`.*pip install gcsfs"):
        SequenceStore("gs://bucket/store")


def test_a_server_that_does_not_answer_is_told_with_the_way_out() -> None:
    with pytest.raises(StoreError, match=r"(?s)^http://127.0.0.1:9/store: cannot be reached \(.*network and cred"):
        SequenceStore("http://127.0.0.1:9/store")


def test_missing_credentials_are_no_missing_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    with pytest.raises(StoreError, match=r"s3://bucket/store: cannot be reached \(NoCredentialsError: "):
        SequenceStore.exists("s3://bucket/store")


def test_stores_of_this_machine_import_no_remote_package() -> None:
    program = "import sys, seqrec.store as s; s.locate('a/b'); print({'upath', 's3fs', 'aiohttp'} & sys.modules.keys())"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "set()\n"
