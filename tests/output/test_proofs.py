"""Proof that travels: a blessed model's folder has a statement on every file in it; what is signed cannot change unseen."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from securesystemslib.exceptions import UnverifiedSignatureError

from liteferry import storage
from liteferry.cli import main
from liteferry.commands.report_pages import rebuild_pages
from liteferry.commands.verify import verify
from liteferry.errors import JobError, ReasonCode
from liteferry.output import held_back, proofs, signing
from liteferry.output.finished import finished_report
from liteferry.output.model_folder import scan
from liteferry.plan.model_plan import ModelPlan
from liteferry.storage import layout
from tests.output.test_held_back import STRICT, bytes_of, newer, publish
from tests.output.test_publish import make_plan
from tests.output.test_rules import put

KINDS: dict[str, Callable[[], Any]] = {
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ecdsa": lambda: ec.generate_private_key(ec.SECP256R1()),
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
}
PEM = serialization.Encoding.PEM


def write_keys(folder: Path, kind: str = "ed25519", *, passphrase: str | None = None) -> tuple[str, str]:
    """Paths of a private key and of its public one."""
    private = KINDS[kind]()
    locked = serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption()
    paths = folder / f"{kind}.pem", folder / f"{kind}.pub.pem"
    paths[0].write_bytes(private.private_bytes(PEM, serialization.PrivateFormat.PKCS8, locked))
    paths[1].write_bytes(private.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    return str(paths[0]), str(paths[1])


@pytest.fixture
def good(tmp_path: Path) -> ModelPlan:
    """A blessed model, `a`."""
    plan = make_plan(tmp_path / "out")
    assert publish(plan)["status"] == "blessed"
    return plan


@pytest.fixture
def keys(tmp_path: Path) -> tuple[str, str]:
    return write_keys(tmp_path)


@pytest.fixture
def signed(good: ModelPlan, keys: tuple[str, str]) -> ModelPlan:
    assert proofs.sign_all(good.out, ["a"], signing.signer_of(keys[0])) == []
    return good


def statement_path(plan: ModelPlan) -> Path:
    return Path(plan.model_directory()) / "a.intoto.jsonl"


def report_of(plan: ModelPlan) -> dict[str, Any]:
    return scan(plan.model_directory()).published_report()


def told(plan: ModelPlan, public: str | None = None) -> list[str]:
    """What `verify` says of the model's files; its few rows are no sample set, which `verify` says in other words."""
    key = signing.public_key_of(public) if public else None
    found = verify(plan.out, processes=1, with_rows=False, key=key).problems
    return [sentence for who, sentence in found if who == "a" and "sample rows" not in sentence]


# The statement


def test_the_statement_has_every_file_of_the_folder_but_itself(good: ModelPlan) -> None:
    line = statement_path(good).read_bytes()
    assert line.count(b"\n") == 1
    statement = json.loads(line)
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    subjects = {subject["name"]: subject["digest"]["sha256"] for subject in statement["subject"]}
    there = bytes_of(good.model_directory())
    del there["a.intoto.jsonl"]
    assert subjects == there
    assert {"report.json", "report.html", "BLESSED", "model.cdx.json", "model_card.md", "tflite/float32.tflite"} < set(subjects)


def test_the_predicate_says_what_was_proven_on_what_by_what(good: ModelPlan) -> None:
    found, report = json.loads(statement_path(good).read_bytes())["predicate"], report_of(good)
    assert found["checkpoint"]["digest"] == good.digest
    assert found["recipe"]["recipe_digest"] == good.recipe_digest
    assert found["rows"].keys() == {"name", "row_count", "digest"}
    assert found["artifacts"]["float32"]["gates"] == report["variants"]["float32"]["gates"]
    assert found["artifacts"]["saved_model"]["gates"][0].keys() >= {"metric", "limit", "observed"}
    assert found["versions"] == report["environment"]


def test_the_same_report_gives_the_same_statement(good: ModelPlan) -> None:
    before = statement_path(good).read_bytes()
    statement_path(good).unlink()
    rebuild_pages(good.out)
    assert statement_path(good).read_bytes() == before


@pytest.mark.parametrize("night", [{"difference": 0.1}, {"reason": ReasonCode.LOAD_CORRUPT}], ids=["gates", "load"])
def test_what_is_not_blessed_has_no_statement(tmp_path: Path, night: dict[str, Any]) -> None:
    plan = make_plan(tmp_path / "out")
    publish(plan, **night)
    assert not statement_path(plan).exists()
    assert (Path(plan.model_directory()) / layout.CARD).exists() == ("difference" in night), "there is something to describe"


def test_a_model_that_is_held_back_keeps_its_statement_and_the_attempt_has_none(signed: ModelPlan) -> None:
    before = bytes_of(signed.model_directory())
    publish(newer(signed), difference=0.1)
    assert bytes_of(signed.model_directory()) == before
    assert set(bytes_of(held_back.directory(signed))) == {"report.json", "report.html", "NOT_BLESSED"}


def test_a_blessing_that_is_taken_back_takes_the_statement_along(tmp_path: Path) -> None:
    plan = make_plan(tmp_path / "out", gates={"saved_model": {"max_rel": 0.1}, "float32": {"max_rel": 0.1}})
    publish(plan, difference=0.01)
    assert statement_path(plan).exists()
    told = publish(newer(plan, recipe_digest="sha256:other", gates=STRICT), difference=0.1)
    assert told["takes_back"]
    assert not statement_path(plan).exists()


@pytest.mark.parametrize("length", [10, 200, 250])
def test_a_name_as_long_as_a_folder_may_have_still_gets_a_statement(length: int) -> None:
    name = layout.statement_name("m" * length)
    assert len(f"{name}.{'0' * 32}.tmp") <= 255
    assert name.endswith(".intoto.jsonl")


# Signed


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_what_one_key_signs_the_other_verifies(good: ModelPlan, tmp_path: Path, kind: str) -> None:
    private, public = write_keys(tmp_path, kind)
    assert proofs.sign_all(good.out, ["a"], signing.signer_of(private)) == []
    envelope = json.loads(statement_path(good).read_bytes())
    assert envelope["payloadType"] == "application/vnd.in-toto+json"
    assert told(good, public) == []
    assert told(good) == [], "who has no key still sees that files and statement agree"


def test_a_signed_model_is_done(signed: ModelPlan) -> None:
    assert finished_report(signed) is not None


def test_signing_twice_leaves_every_byte(signed: ModelPlan, keys: tuple[str, str]) -> None:
    before = bytes_of(signed.model_directory())
    assert proofs.sign_all(signed.out, ["a"], signing.signer_of(keys[0])) == []
    assert bytes_of(signed.model_directory()) == before


def test_another_key_signs_anew(signed: ModelPlan, tmp_path: Path) -> None:
    private, public = write_keys(tmp_path, "ecdsa")
    proofs.sign_all(signed.out, ["a"], signing.signer_of(private))
    assert told(signed, public) == []


def test_a_folder_of_an_older_liteferry_is_signed_without_being_done_again(good: ModelPlan, keys: tuple[str, str]) -> None:
    for name in (layout.CARD, layout.BILL, "a.intoto.jsonl"):
        (Path(good.model_directory()) / name).unlink()
    assert finished_report(good) is not None
    assert proofs.sign_all(good.out, ["a"], signing.signer_of(keys[0])) == []
    assert told(good, keys[1]) == []


def test_a_changed_byte_anywhere_is_named(signed: ModelPlan, keys: tuple[str, str]) -> None:
    root = Path(signed.model_directory())
    for name in bytes_of(str(root)):
        path, content = root / name, (root / name).read_bytes()
        for place in sorted({0, len(content) // 2, len(content) - 1}):
            path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            assert any(name in sentence for sentence in told(signed, keys[1])), f"byte {place} of {name}"
        path.write_bytes(content)
    assert told(signed, keys[1]) == []


def test_no_byte_of_the_statement_can_change(signed: ModelPlan, keys: tuple[str, str]) -> None:
    content, key = statement_path(signed).read_bytes(), signing.public_key_of(keys[1])
    signing.opened(content, key)
    for place in range(len(content)):
        for other in {content[place] ^ 1, content[place] ^ 32, 32} - {content[place]}:
            with pytest.raises(signing.NotSignedError):
                signing.opened(content[:place] + bytes([other]) + content[place + 1 :], key)
    for odd in (b" " + content, content + b"\n", content[:-1], content.replace(b'"sig"', b'"more":1,"sig"')):
        with pytest.raises(signing.NotSignedError):
            signing.opened(odd, key)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda root: (root / "tflite" / "float32.tflite").unlink(), "tflite/float32.tflite is gone"),
        (lambda root: (root / "model_card.md").unlink(), "model_card.md is gone"),
        (lambda root: (root / "note.txt").write_text("x"), "it does not vouch for note.txt"),
        (lambda root: (root / "b.intoto.jsonl").write_text("x"), "it does not vouch for b.intoto.jsonl"),
        (lambda root: (root / "a.intoto.jsonl").unlink(), "nothing of this folder is signed"),
    ],
    ids=["artifact gone", "card gone", "a file more", "a statement more", "statement gone"],
)
def test_what_is_gone_or_has_come_is_named(
    signed: ModelPlan, keys: tuple[str, str], damage: Callable[[Path], None], words: str
) -> None:
    damage(Path(signed.model_directory()))
    assert any(words in sentence for sentence in told(signed, keys[1]))


def test_a_statement_of_another_key_and_an_unsigned_one_are_no_proof(good: ModelPlan, tmp_path: Path) -> None:
    _, public = write_keys(tmp_path)
    assert any("is not signed" in sentence for sentence in told(good, public))
    private, _ = write_keys(tmp_path, "rsa")
    proofs.sign_all(good.out, ["a"], signing.signer_of(private))
    assert any("another key" in sentence for sentence in told(good, public))


def test_the_folder_of_another_model_is_not_taken_for_this_one(signed: ModelPlan, keys: tuple[str, str]) -> None:
    root = Path(signed.model_directory())
    shutil.copytree(root, root.parent / "b")
    found = verify(signed.out, processes=1, with_rows=False, key=signing.public_key_of(keys[1])).problems
    assert any(who == "b" and "report.json is about 'a'" in sentence for who, sentence in found)


@pytest.mark.parametrize("name", ["tflite/float32.tflite", "report.html", "saved_model/1/variables/data"])
def test_what_has_changed_since_it_was_judged_is_not_signed(good: ModelPlan, keys: tuple[str, str], name: str) -> None:
    path, before = Path(good.model_directory()) / name, statement_path(good).read_bytes()
    path.write_bytes(path.read_bytes()[:-1] + b"~")
    (sentence,) = proofs.sign_all(good.out, ["a"], signing.signer_of(keys[0]))
    assert name in sentence
    assert statement_path(good).read_bytes() == before


def test_pages_under_a_signature_stay_and_report_says_so(signed: ModelPlan, keys: tuple[str, str]) -> None:
    path = Path(signed.model_directory()) / "report.html"
    path.write_bytes(path.read_bytes() + b"<!-- of another version -->")
    before = bytes_of(signed.model_directory())
    lines: list[str] = []
    rebuild_pages(signed.out, lines.append)
    assert bytes_of(signed.model_directory()) == before
    assert lines == ["1 signed page stays as it was: a"]
    assert any("report.html" in sentence for sentence in told(signed, keys[1]))


def test_pages_that_are_not_signed_are_built_again_with_their_statement(good: ModelPlan) -> None:
    path = Path(good.model_directory()) / "report.html"
    page = path.read_bytes()
    path.write_bytes(b"an older page")
    assert any("report.html" in sentence for sentence in told(good))
    rebuild_pages(good.out)
    assert path.read_bytes() == page
    assert told(good) == []


def test_on_a_store_as_on_a_disk(memory_store: str, tmp_path: Path, keys: tuple[str, str]) -> None:
    plan = dataclasses.replace(make_plan(tmp_path / "out"), out=memory_store)
    assert publish(plan)["status"] == "blessed"
    assert proofs.sign_all(plan.out, ["a"], signing.signer_of(keys[0])) == []
    assert told(plan, keys[1]) == []
    names = storage.files_under(plan.model_directory())
    assert not [name for name in names if name.startswith("PUBLISHING")], "its lease is given back"
    assert finished_report(plan) is not None


# Keys


def test_an_encrypted_key_takes_its_passphrase_from_the_environment(
    good: ModelPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private, public = write_keys(tmp_path, passphrase="correct horse")
    with pytest.raises(JobError, match=f"encrypted.*{signing.PASSPHRASE}"):
        signing.signer_of(private)
    monkeypatch.setenv(signing.PASSPHRASE, "wrong")
    with pytest.raises(JobError, match="--sign"):
        signing.signer_of(private)
    monkeypatch.setenv(signing.PASSPHRASE, "correct horse")
    assert proofs.sign_all(good.out, ["a"], signing.signer_of(private)) == []
    assert told(good, public) == []


@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\n", b"\xff" * 99])
def test_a_key_that_is_none_is_bad_usage_before_anything_runs(
    tmp_path: Path, content: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "key.pem"
    if content is not None:
        path.write_bytes(content)
    out = tmp_path / "out"
    assert main(["run", "--checkpoints", str(tmp_path), "--output", str(out), "--sign", str(path)]) == 2
    assert "--sign" in capsys.readouterr().err
    assert not out.exists()


# Keyless. Sigstore's services cannot be reached from here: what goes to them and comes from them is not tested.


class Vouched:
    """A key that checks a signature with what lies beside it, as an identity does."""

    keytype, keyid = "sigstore-oidc", "ab" * 32

    @property
    def public_key(self) -> Vouched:
        return self

    def sign(self, payload: bytes) -> Any:
        from securesystemslib.signer import Signature

        return Signature(self.keyid, "00ff", {"bundle": {"of": hashlib.sha256(payload).hexdigest()}})

    def verify_signature(self, signature: Any, data: bytes) -> None:
        if signature.unrecognized_fields["bundle"] != {"of": hashlib.sha256(data).hexdigest()}:
            raise UnverifiedSignatureError


def test_what_a_keyless_signature_has_beside_it_travels_in_the_envelope() -> None:
    key: Any = Vouched()
    line = signing.signed(b'{"a": 1}', key)
    assert signing.opened(line, key) == signing.payload_of(line) == b'{"a": 1}'
    for changed in (
        line.replace(b"of", b"if"),
        line.replace(b'"bundle":', b'"bungle":'),
        line.replace(b'"bundle":', b'"x":1,"bundle":'),
    ):
        assert changed != line
        with pytest.raises(signing.NotSignedError):
            signing.opened(changed, key)


def test_nothing_may_lie_beside_the_signature_of_a_key(tmp_path: Path) -> None:
    private, public = write_keys(tmp_path)
    line = signing.signed(b"{}", signing.signer_of(private))
    key = signing.public_key_of(public)
    assert signing.opened(line, key) == b"{}"
    more = json.loads(line)
    more["signatures"][0]["bundle"] = {}
    with pytest.raises(signing.NotSignedError, match="around its signature"):
        signing.opened(json.dumps(more, separators=(",", ":")).encode() + b"\n", key)


def test_a_service_that_refuses_is_told_for_the_model(good: ModelPlan) -> None:
    class Refusing(Vouched):
        def sign(self, payload: bytes) -> Any:
            raise ConnectionError("fulcio does not answer")

    signer: Any = Refusing()
    (sentence,) = proofs.sign_all(good.out, ["a"], signer)
    assert sentence == "a: it could not be signed: ConnectionError: fulcio does not answer"
    assert told(good) == [], "its unsigned statement stands"


@pytest.mark.parametrize("text", ["sigstore:", "sigstore:me@example.org", "sigstore:,https://a.example", "sigstore:me,a.example"])
def test_an_identity_without_an_issuer_is_bad_usage(text: str) -> None:
    with pytest.raises(JobError, match="write sigstore:IDENTITY,ISSUER"):
        signing.public_key_of(text)


def test_an_identity_is_a_key() -> None:
    key: Any = signing.public_key_of("sigstore:me@example.org,https://accounts.google.com")
    assert key.keyval == {"identity": "me@example.org", "issuer": "https://accounts.google.com"}
    assert key.keyid == signing.public_key_of("sigstore:me@example.org,https://accounts.google.com").keyid
    assert key.keyid != signing.public_key_of("sigstore:you@example.org,https://accounts.google.com").keyid


@pytest.mark.skipif(importlib.util.find_spec("sigstore") is not None, reason="sigstore is there")
def test_without_sigstore_signing_says_what_to_install() -> None:
    with pytest.raises(JobError, match=r"needs sigstore\S*, which is not installed: pip install 'liteferry\[sign\]'"):
        signing.signer_of("sigstore:me@example.org,https://accounts.google.com")


def test_verify_with_a_key_gives_status_one_for_a_folder_that_is_not_signed(
    good: ModelPlan, keys: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    rebuild_pages(good.out)
    assert main(["verify", good.out, "--no_rows", "--key", keys[1]]) == 1
    assert "is not signed" in capsys.readouterr().out


# Bill of materials and card


def test_the_bill_names_the_files_with_their_digests_and_the_metrics(good: ModelPlan) -> None:
    bill = json.loads((Path(good.model_directory()) / layout.BILL).read_bytes())
    hashes = {one["name"]: one["hashes"][0]["content"] for one in bill["components"] if one["bom-ref"].startswith("file:")}
    assert hashes == {name: facts["sha256"].removeprefix("sha256:") for name, facts in report_of(good)["files"].items()}
    card = bill["metadata"]["component"]["modelCard"]
    assert any(metric["type"].startswith("float32: ") for metric in card["quantitativeAnalysis"]["performanceMetrics"])
    assert [one["format"] for one in card["modelParameters"]["inputs"]] == ["x: float32 ?x2"]


def test_the_card_says_the_verdict_and_holds_no_markup_of_a_stranger(good: ModelPlan) -> None:
    from liteferry.report.proof.model_card import model_card

    report = {**report_of(good), "metadata": {"owner": "<script>[x](http://evil)\n# head"}}
    card = model_card(report).decode()
    assert card.startswith("# a\n\nBlessed: ")
    assert "\\<script\\>\\[x\\](http://evil) \\# head" in card


@pytest.mark.parametrize("value", [None, 3, "text \ud800", ["a"], {"a": {"b": [None, float("nan")]}}], ids=repr)
def test_a_report_of_any_shape_gives_a_statement_a_bill_and_a_card(good: ModelPlan, value: Any) -> None:
    report = report_of(good)
    for key in report.keys() - {"status", "files", "saved_model"}:
        odd = {**report, key: value}
        assert set(proofs.written_about(odd)) == {layout.BILL, layout.CARD}
        assert json.loads(proofs.statement_of(odd, {}) or b"")["predicate"]
        assert json.loads(proofs.written_about(odd)[layout.BILL])["bomFormat"] == "CycloneDX"


def test_a_report_that_calls_itself_something_else_writes_nothing_elsewhere(good: ModelPlan, tmp_path: Path) -> None:
    put(good, {**report_of(good), "model_id": "../../../escaped"})
    before = {path for path in tmp_path.rglob("*") if "escaped" in path.name}
    rebuild_pages(good.out)
    assert {path for path in tmp_path.rglob("*") if "escaped" in path.name} == before == set()
