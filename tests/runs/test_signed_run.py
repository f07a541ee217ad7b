"""`run --sign` and `verify --key` as commands: what an earlier run has left is signed, and a changed byte is named."""

from __future__ import annotations

import json
from pathlib import Path

from tests.output.test_proofs import write_keys
from tests.support import Run, arguments_of_three, copy_of_out, liteferry


def test_a_run_that_finds_all_done_signs_it_and_a_changed_byte_is_named(demo: Run, three: Run, tmp_path: Path) -> None:
    out = copy_of_out(three, tmp_path / "out")
    private, public = write_keys(tmp_path)
    command = [*arguments_of_three(demo), "--output", str(out), "--quiet"]
    said = liteferry(*command, "--sign", private)
    assert said.returncode == 1, "one of the three is broken"
    assert "were done already" in said.stdout
    assert "not signed" not in said.stderr
    blessed = [path.parent.name for path in out.glob("models/*/BLESSED")]
    assert len(blessed) == 2
    for name in blessed:
        envelope = json.loads((out / "models" / name / f"{name}.intoto.jsonl").read_text())
        assert len(envelope["signatures"]) == 1
    verify = ["verify", str(out), "--no_rows", "--key", public]
    assert liteferry(*verify).returncode == 0
    path = out / "models" / "cnn" / "model_card.md"
    path.write_bytes(path.read_bytes().replace(b"Blessed", b"blessed", 1))
    said = liteferry(*verify)
    assert said.returncode == 1
    assert "cnn: cnn.intoto.jsonl: model_card.md is not the file that it vouches for" in said.stdout
    path.unlink()
    again = liteferry(*command, "--sign", write_keys(tmp_path, "ecdsa")[0])
    assert again.returncode == 1
    assert "not signed: cnn: model_card.md has changed since its statement was written" in again.stderr
