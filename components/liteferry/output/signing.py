"""Signs statements and checks them: DSSE envelopes, https://github.com/secure-systems-lab/dsse, by securesystemslib.

Only the launcher reads the private key, after all models are made; no worker and no sandbox ever gets it.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from liteferry.errors import JobError
from liteferry.json_records import parse
from liteferry.report.proof.statement import PAYLOAD_TYPE

if TYPE_CHECKING:
    from securesystemslib.signer import Key, Signer

PASSPHRASE = "LITEFERRY_KEY_PASSPHRASE"
"""The environment variable with the passphrase of an encrypted private key."""

_MOST_KEY_BYTES = 2**20


class NotSignedError(ValueError):
    """The key has not signed this statement in its present form; the message says why."""


def signer_of(path: str) -> Signer:
    """The signer of a private key in PEM: Ed25519, ECDSA on a NIST curve, or RSA.

    Raises:
      JobError: the key does not exist, its passphrase is missing or wrong, or securesystemslib is not installed.
    """
    with _told_of(path, "--sign"):
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
        from securesystemslib.signer import CryptoSigner, SSlibKey

        phrase = os.environ.get(PASSPHRASE)
        private = load_pem_private_key(_read(path), phrase.encode() if phrase else None)
        return CryptoSigner(private, SSlibKey.from_crypto(private.public_key()))


def public_key_of(path: str) -> Key:
    """The public key in a PEM file. Raises JobError as `signer_of` does."""
    with _told_of(path, "--key"):
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
        from securesystemslib.signer import SSlibKey

        return SSlibKey.from_crypto(load_pem_public_key(_read(path)))


@contextlib.contextmanager
def _told_of(path: str, flag: str) -> Iterator[None]:
    """Turns any error of a key into one problem of the flag that names it."""
    try:
        yield
    except Exception as error:  # key files have many formats, and each raises its own errors
        raise JobError([f"{flag}: {_words(error, path, flag)}"], source="flags") from error


def _words(error: Exception, path: str, flag: str) -> str:
    if isinstance(error, ImportError):
        return f"needs {error.name or 'securesystemslib'}, which is not installed: pip install 'liteferry[sign]'"
    if isinstance(error, OSError):
        return f"{path}: {error.strerror or error}"
    if isinstance(error, TypeError) and "assword" in str(error):
        return f"{path}: is encrypted, or is not although {PASSPHRASE} is set; that variable holds its passphrase"
    kind = "private" if flag == "--sign" else "public"
    return f"{path}: no {kind} key in PEM of Ed25519, ECDSA (P-256, P-384, P-521) or RSA: {error}"


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(_MOST_KEY_BYTES)


def signed(statement: bytes, signer: Signer) -> bytes:
    """The statement in an envelope with one signature, as one line of JSON."""
    from securesystemslib.dsse import Envelope

    envelope = Envelope(statement, PAYLOAD_TYPE, {})
    signature = envelope.sign(signer)
    return _line(statement, signature.keyid, bytes.fromhex(signature.signature))


def _line(payload: bytes, key_id: str, signature: bytes) -> bytes:
    """The canonical form of an envelope, so that any changed byte is detected."""
    content = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"keyid": key_id, "sig": base64.b64encode(signature).decode()}],
    }
    return json.dumps(content, separators=(",", ":")).encode() + b"\n"


def is_envelope(content: bytes) -> bool:
    """Whether a statement is, or was, in an envelope."""
    return content.startswith(b'{"payload')


def opened(content: bytes, key: Key) -> bytes:
    """The statement in an envelope that `key` has signed and of which no byte has changed. Raises NotSignedError."""
    from securesystemslib.exceptions import VerificationError
    from securesystemslib.signer import Signature

    payload, key_id, signature = _parts(content)
    if key_id != key.keyid:
        raise NotSignedError(f"it is signed by another key ({key_id[:12]}…, and not {key.keyid[:12]}…)")
    if _line(payload, key_id, signature) != content:
        raise NotSignedError("bytes around its signature have changed since it was signed")
    from securesystemslib.dsse import Envelope

    told = Signature(key_id, signature.hex())
    try:
        Envelope(payload, PAYLOAD_TYPE, {key_id: told}).verify([key], 1)
    except VerificationError as error:
        raise NotSignedError("its signature does not fit: it has changed since it was signed") from error
    return payload


def payload_of(content: bytes) -> bytes:
    """The statement, signed or not; its signature is not checked. Raises NotSignedError."""
    return _parts(content)[0] if is_envelope(content) else content


def _parts(content: bytes) -> tuple[bytes, str, bytes]:
    """Payload, key id and signature of an envelope. Raises NotSignedError."""
    try:
        envelope: Any = parse(content)
        (signature,) = envelope["signatures"]
        if not isinstance(signature, Mapping) or envelope["payloadType"] != PAYLOAD_TYPE:
            raise TypeError
        payload, sig = (base64.b64decode(text, validate=True) for text in (envelope["payload"], signature["sig"]))
        return payload, str(signature["keyid"]), sig
    except (ValueError, TypeError, KeyError, RecursionError, binascii.Error) as error:
        words = "has changed since it was signed" if is_envelope(content) else "is not signed"
        raise NotSignedError(f"it {words}: no DSSE envelope with one signature") from error
