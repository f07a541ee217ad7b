"""Keyless signatures by Sigstore: who signs is an identity that an issuer vouches for, and no key is kept.

A run gets a token of the identity from its surroundings (GitHub Actions, Google Cloud and the like) or, at a terminal, from a
browser; Sigstore's services give a certificate for some minutes and note the signature in a public log. So it needs a network,
for signing and for the trust root of verification.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from securesystemslib.signer import Key, Signer

SCHEME = "sigstore:"
_SHAPE = "write sigstore:IDENTITY,ISSUER, for example sigstore:me@example.org,https://accounts.google.com"


def is_keyless(given: str) -> bool:
    """Whether a flag names an identity and no key's file."""
    return given.startswith(SCHEME)


def key_of(given: str) -> Key:
    """The identity as the key that checks its signatures. ValueError for a text that names none."""
    from securesystemslib.signer import SigstoreSigner

    identity, comma, issuer = given.removeprefix(SCHEME).rpartition(",")
    if not (identity and comma and issuer.startswith("https://")):
        raise ValueError(f"no identity and issuer; {_SHAPE}")
    return SigstoreSigner.import_(identity, issuer)[1]


def beside_signatures_of(key: Key) -> set[str]:
    """The fields that a signature of a key has beside itself: certificate and log entry, where the key is an identity."""
    return {"bundle"} if key.keytype == "sigstore-oidc" else set()


def signer_of(given: str) -> Signer:
    """The signer of an identity. A token lasts some minutes, so it is asked for when the first model is signed, and again later.

    Raises:
      ValueError: the text names no identity, or nothing here can give a token.
      ImportError: sigstore is not installed.
    """
    from sigstore.oidc import detect_credential

    key = key_of(given)
    if detect_credential() is None and not sys.stdin.isatty():
        raise ValueError(
            "nothing here gives a token of an identity: there is no terminal for a browser's answer, and no credential of a CI "
            "system (on GitHub Actions, the job needs `permissions: id-token: write`)"
        )
    signer: Any = _Keyless(key)
    return signer


class _Keyless:
    """Signs as an identity; has of a securesystemslib Signer what signing an envelope takes."""

    def __init__(self, key: Key) -> None:
        self.public_key = key
        self._token: Any = None

    def sign(self, payload: bytes) -> Any:
        """A Signature with its bundle. Raises what sigstore raises, and ValueError for a token of another issuer."""
        from securesystemslib.signer import SigstoreSigner

        if self._token is None or not self._token.in_validity_period():
            self._token = _new_token()
        wanted = self.public_key.keyval["issuer"]
        if self._token.federated_issuer != wanted:
            raise ValueError(f"the token is of {self._token.federated_issuer}, not of {wanted}")
        return SigstoreSigner(self._token, self.public_key).sign(payload)


def _new_token() -> Any:
    from sigstore.models import ClientTrustConfig
    from sigstore.oidc import IdentityToken, Issuer, detect_credential

    ambient = detect_credential()
    if ambient is not None:
        return IdentityToken(ambient)
    return Issuer(ClientTrustConfig.production().signing_config.get_oidc_url()).identity_token()
