"""Keys and tokens for tests: good ones, and everything that can be wrong with one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from functools import cache
from itertools import count
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm, get_default_algorithms

from tests.build import NOW, SERVICE, without

Json = dict[str, Any]
PUBLIC_URL = "https://cds.hospital.example"
AUDIENCE = PUBLIC_URL + SERVICE
ISSUER = "https://ehr.hospital.example/fhir"
JKU = "https://ehr.hospital.example/.well-known/jwks.json"
# Epic's key ids are base64 (EHRS.md).
EPIC_KID = "Zq3+a/B9x=="
CURVES = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
SECONDS = NOW.timestamp()
_numbers = count(1)


@cache
def key(kid: str) -> Any:
    """Return the private key with an id: the id says of which kind it is."""
    kind = kid.partition("-")[0].upper()
    if kind in CURVES:
        return ec.generate_private_key(CURVES[kind])
    if kind == "K1":
        return ec.generate_private_key(ec.SECP256K1())
    return rsa.generate_private_key(65_537, 1024 if kind == "RSA1024" else 2048)


def public(name: str, **members: Any) -> Json:
    """Return the public key with an id, as a JSON Web Key."""
    if name.startswith("k1"):
        numbers = key(name).public_key().public_numbers()
        return {"kty": "EC", "crv": "secp256k1", "x": _number(numbers.x), "y": _number(numbers.y), "kid": name}
    writer = ECAlgorithm if hasattr(key(name), "curve") else RSAAlgorithm
    made = json.loads(writer.to_jwk(key(name).public_key()))
    made.pop("key_ops", None)
    return without(**{**made, "kid": name, **members})


def _number(number: int) -> str:
    return encoded(number.to_bytes(32, "big"))


def key_set(*keys: Json) -> bytes:
    return json.dumps({"keys": list(keys)}).encode()


def pem(kid: str) -> bytes:
    return bytes(key(kid).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def der(kid: str) -> bytes:
    return bytes(key(kid).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def claims(**members: Any) -> Json:
    """Return good claims, with changes."""
    ordinary = {"iss": ISSUER, "aud": AUDIENCE, "exp": SECONDS + 300, "iat": SECONDS, "jti": f"jti-{next(_numbers)}"}
    return without(**{**ordinary, **members})


def header(alg: Any = "ES384", kid: Any = "es384", **members: Any) -> Json:
    return without(**{"alg": alg, "kid": kid, "typ": "JWT", "jku": JKU, **members})


def token(
    said: Json | str | None = None,
    head: Json | str | None = None,
    *,
    signer: str = "",
    by: str = "",
    secret: bytes = b"",
) -> str:
    """
    Return a signed token; header and claims may be given as text.

    ``signer`` is the id of the key that signs, ``by`` the algorithm; ``secret`` signs by HMAC instead.
    """
    head = header() if head is None else head
    parts = [_text(head), _text(claims() if said is None else said)]
    signed = ".".join(parts).encode()
    if secret:
        digest = {"HS384": hashlib.sha384, "HS512": hashlib.sha512}.get(by, hashlib.sha256)
        return ".".join([*parts, encoded(hmac.new(secret, signed, digest).digest())])
    algorithm = get_default_algorithms()[by or (head["alg"] if isinstance(head, dict) else "ES384")]
    return ".".join([*parts, encoded(algorithm.sign(signed, key(signer or "es384")))])


def _text(part: Json | str) -> str:
    return encoded((part if isinstance(part, str) else json.dumps(part)).encode())


def signed_by(kid: str, alg: str, said: Json | None = None, **members: Any) -> str:
    """Return a good token, signed with a key and an algorithm."""
    return token(said, header(alg, kid, **members), signer=kid)
