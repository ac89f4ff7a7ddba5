"""Layers in MiniStack's saved state: small, and there again after a kill."""

from __future__ import annotations

import base64
import io
import os
import zipfile
from typing import Any

from localcloud.aws.functions.code_store import Digests

USES_LAYER = "import shared\ndef handler(event, context):\n    return len(shared.TEXT)\n"
MEGABYTE = 1 << 20


def layer_zip() -> bytes:
    """A megabyte that does not compress."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("python/shared.py", f"TEXT = '{base64.b64encode(os.urandom(MEGABYTE)).decode()}'\n")
    return target.getvalue()


def test_a_layer_is_a_file_and_survives_a_kill(own_ministack: Any) -> None:
    functions = own_ministack.functions()
    layer = functions.client.publish_layer_version(LayerName="shared", Content={"ZipFile": layer_zip()})
    name = functions.create(USES_LAYER, Layers=[layer["LayerVersionArn"]])
    before = functions.invoke(name).payload
    state = own_ministack.home.ministack / "state"
    assert (state / "lambda.json").stat().st_size < MEGABYTE / 4
    assert len(list((state / "lambda-blobs").glob("*.zip"))) == 2
    own_ministack.stop()
    own_ministack.start()
    assert functions.invoke(name).payload == before > MEGABYTE
    functions.client.delete_function(FunctionName=name)
    functions.client.delete_layer_version(LayerName="shared", VersionNumber=1)
    assert not list((state / "lambda-blobs").glob("*.zip"))


def test_a_digest_is_computed_once_and_belongs_to_its_bytes() -> None:
    digests = Digests()
    known = [os.urandom(8) for _ in range(200)]
    assert [digests.of(each) for each in known] == [Digests().of(each) for each in known]
    assert digests.of(bytes([1])) != digests.of(bytes([2]))
