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
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from liteferry.errors import JobError
from liteferry.json_records import parse
from liteferry.output import keyless
from liteferry.report.proof.statement import PAYLOAD_TYPE

if TYPE_CHECKING:
    from securesystemslib.signer import Key, Signer

PASSPHRASE = "LITEFERRY_KEY_PASSPHRASE"
"""The environment variable with the passphrase of an encrypted private key."""

_MOST_KEY_BYTES = 2**20


class NotSignedError(ValueError):
    """The key has not signed this statement in its present form; the message says why."""


def signer_of(path: str) -> Signer:
    """The signer of a private key in PEM: Ed25519, ECDSA on a NIST curve, or RSA; or of an identity, see `keyless`.

    Raises:
      JobError: the key does not exist, its passphrase is missing or wrong, nothing vouches for the identity, or securesystemslib
        or sigstore is not installed.
    """
    with _told_of(path, "--sign"):
        if keyless.is_keyless(path):
            return keyless.signer_of(path)
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
        from securesystemslib.signer import CryptoSigner, SSlibKey

        phrase = os.environ.get(PASSPHRASE)
        private = load_pem_private_key(_read(path), phrase.encode() if phrase else None)
        return CryptoSigner(private, SSlibKey.from_crypto(private.public_key()))


def public_key_of(path: str) -> Key:
    """The public key in a PEM file, or an identity. Raises JobError as `signer_of` does."""
    with _told_of(path, "--key"):
        if keyless.is_keyless(path):
            return keyless.key_of(path)
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
    if keyless.is_keyless(path):
        return f"{path}: {error}"
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
    """The statement in an envelope with one signature, as one line of JSON. NotSignedError where a service that signs refuses."""
    from securesystemslib.dsse import Envelope

    envelope = Envelope(statement, PAYLOAD_TYPE, {})
    try:
        signature = envelope.sign(signer)
    except Exception as error:
        raise NotSignedError(f"it could not be signed: {type(error).__name__}: {error}") from error
    return _line(_Parts(statement, signature.keyid, bytes.fromhex(signature.signature), signature.unrecognized_fields))


class _Parts(NamedTuple):
    """Payload, key id and signature of an envelope, and what a keyless signature has beside it."""

    payload: bytes
    key_id: str
    signature: bytes
    beside: Mapping[str, Any] = MappingProxyType({})


def _line(parts: _Parts) -> bytes:
    """The canonical form of an envelope, so that any changed byte is detected."""
    content = {
        "payload": base64.b64encode(parts.payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"keyid": parts.key_id, "sig": base64.b64encode(parts.signature).decode(), **parts.beside}],
    }
    return json.dumps(content, separators=(",", ":")).encode() + b"\n"


def is_envelope(content: bytes) -> bool:
    """Whether a statement is, or was, in an envelope."""
    return content.startswith(b'{"payload')


def opened(content: bytes, key: Key) -> bytes:
    """The statement in an envelope that `key` has signed and of which no byte has changed. Raises NotSignedError."""
    from securesystemslib.exceptions import UnverifiedSignatureError, VerificationError
    from securesystemslib.signer import Signature

    parts = _parts(content)
    if parts.key_id != key.keyid:
        raise NotSignedError(f"it is signed by another key ({parts.key_id[:12]}…, and not {key.keyid[:12]}…)")
    if _line(parts) != content or set(parts.beside) != keyless.beside_signatures_of(key):
        raise NotSignedError("bytes around its signature have changed since it was signed")
    from securesystemslib.dsse import Envelope

    told = Signature(parts.key_id, parts.signature.hex(), dict(parts.beside))
    try:
        key.verify_signature(told, Envelope(parts.payload, PAYLOAD_TYPE, {}).pae())
    except UnverifiedSignatureError as error:
        raise NotSignedError("its signature does not fit: it has changed since it was signed") from error
    except VerificationError as error:
        raise NotSignedError(f"its signature cannot be checked here: {error.__cause__ or error}") from error
    return parts.payload


def payload_of(content: bytes) -> bytes:
    """The statement, signed or not; its signature is not checked. Raises NotSignedError."""
    return _parts(content).payload if is_envelope(content) else content


def _parts(content: bytes) -> _Parts:
    """Raises NotSignedError."""
    try:
        envelope: Any = parse(content)
        (signature,) = envelope["signatures"]
        if not isinstance(signature, Mapping) or envelope["payloadType"] != PAYLOAD_TYPE:
            raise TypeError
        payload, sig = (base64.b64decode(text, validate=True) for text in (envelope["payload"], signature["sig"]))
        beside = {key: value for key, value in signature.items() if key not in ("keyid", "sig")}
        return _Parts(payload, str(signature["keyid"]), sig, beside)
    except (ValueError, TypeError, KeyError, RecursionError, binascii.Error) as error:
        words = "has changed since it was signed" if is_envelope(content) else "is not signed"
        raise NotSignedError(f"it {words}: no DSSE envelope with one signature") from error
