"""Tokens that nobody must be let in with, each by what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.adapters.auth.signing import (
    AUDIENCE,
    ISSUER,
    JKU,
    PUBLIC_URL,
    SECONDS,
    claims,
    der,
    encoded,
    header,
    key,
    pem,
    public,
    signed_by,
    token,
)
from tests.build import LEFT_OUT

Make = Callable[[], str]
CANARY = "http://127.0.0.1:9/jwks.json"


def _claimed(**members: Any) -> Make:
    return lambda: token(claims(**members))


def _headed(**members: Any) -> Make:
    return lambda: token(None, header(**members), by="ES384")


def _raw(head: str, said: str) -> Make:
    return lambda: token(said, head)


def _good(part: dict[str, Any]) -> str:
    return json.dumps(part)[1:-1]


def _unsigned(alg: Any) -> Make:
    def make() -> str:
        head, said, _ = token(None, header(alg), by="ES384").split(".")
        return f"{head}.{said}."

    return make


def _changed(change: Callable[[list[str]], list[str]]) -> Make:
    return lambda: ".".join(change(token().split(".")))


def _hs(alg: str, secret: Callable[[], bytes], kid: str) -> Make:
    return lambda: token(None, header(alg, kid), secret=secret(), by=alg)


SECRETS: dict[str, Callable[[str], bytes]] = {
    "PEM": pem,
    "PEM without its last line break": lambda kid: pem(kid).strip(),
    "DER": der,
    "JWK": lambda kid: json.dumps(public(kid)).encode(),
    "kid": str.encode,
    "nothing": lambda _: b"\0",
}
NONE = ("none", "None", "NONE", "nOnE", "none ", " none", "", "null")
BIG = "1" + "0" * 400


def _respelt(good: str) -> str:
    """Change bits of the last letter that stand for nothing: 256 bytes are 341 letters and a third of one."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return good[:-1] + alphabet[alphabet.index(good[-1]) ^ 1]


def _in_der() -> str:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA

    head, said, _ = token().split(".")
    return f"{head}.{said}.{encoded(key('es384').sign(f'{head}.{said}'.encode(), ECDSA(hashes.SHA384())))}"


def _utf16() -> str:
    from jwt.algorithms import get_default_algorithms

    signed = f"{encoded(json.dumps(header()).encode())}.{encoded(json.dumps(claims()).encode('utf-16'))}"
    return f"{signed}.{encoded(get_default_algorithms()['ES384'].sign(signed.encode(), key('es384')))}"


TIMES: dict[str, Any] = {
    "null": None,
    "true": True,
    "a text": str(int(SECONDS + 100)),
    "a list": [SECONDS],
    "an object": {},
    "negative": -1,
    "huge": 10**30,
    "milliseconds": (SECONDS + 100) * 1000,
}

HOSTILE: dict[str, Make] = {
    # --- algorithms ---
    **{f"alg {alg!r}, no signature": _unsigned(alg) for alg in NONE},
    **{f"alg {alg!r}, signed": _headed(alg=alg) for alg in NONE},
    **{f"alg {alg} for a key of ES384": _headed(alg=alg) for alg in ("ES256", "ES512", "RS256", "RS384", "PS384")},
    **{
        f"{alg} signed with the {name} of {kid}": _hs(alg, lambda name=name, kid=kid: SECRETS[name](kid), kid)  # type: ignore[misc]
        for alg in ("HS256", "HS384", "HS512")
        for name in SECRETS
        for kid in ("es384", "rs384")
    },
    "no alg": _headed(alg=LEFT_OUT),
    "alg null": _headed(alg=None),
    "alg a number": _headed(alg=384),
    "alg a list": _headed(alg=["ES384"]),
    "alg an object": _headed(alg={"ES384": 1}),
    "alg in small letters": _headed(alg="es384"),
    "alg ES256K": lambda: signed_by("k1", "ES256K"),
    "alg EdDSA": _headed(alg="EdDSA"),
    "RS256 by a key for RS384": lambda: signed_by("rs384-only", "RS256"),
    "PS384 by a key for RS384": lambda: signed_by("rs384-only", "PS384"),
    # --- keys ---
    "no kid": _headed(kid=LEFT_OUT),
    "kid null": _headed(kid=None),
    "kid empty": _headed(kid=""),
    "kid a number": _headed(kid=1),
    "kid a list": _headed(kid=["es384"]),
    "kid unknown": _headed(kid="unknown"),
    "kid of another key": lambda: token(None, header(kid="rs384"), by="ES384"),
    "kid a path": _headed(kid="../../../../dev/null"),
    "kid SQL": _headed(kid="x' UNION SELECT 'a'--"),
    "kid with a line break": _headed(kid="es384\n"),
    "kid with white space": _headed(kid=" es384"),
    "kid in capitals": _headed(kid="ES384"),
    "signed by somebody else": lambda: token(None, header(), signer="es384-stranger"),
    "signed by a key for encryption": lambda: signed_by("rs384-enc", "RS384"),
    "signed by a key that may only sign": lambda: signed_by("es384-signs", "ES384"),
    "signed by a key of 1024 bits": lambda: signed_by("rsa1024", "RS384"),
    "signed by a key of another curve": lambda: token(None, header(kid="es256"), by="ES384", signer="es384"),
    "signed with a secret in the key set": lambda: token(None, header("HS256", "oct"), secret=b"x" * 32, by="HS256"),
    "signed by the key in the header": lambda: token(
        None, header(jwk=public("es384-stranger"), kid="es384"), signer="es384-stranger"
    ),
    "signed by the certificate in the header": lambda: token(None, header(x5c=["MII="]), signer="es384-stranger"),
    "keys at x5u": lambda: token(None, header(x5u=CANARY), signer="es384-stranger"),
    "private key's own jwk": lambda: token(None, header(jwk=public("es384")), signer="es384-stranger"),
    # --- where keys are ---
    **{
        f"jku {jku}": _headed(jku=jku)
        for jku in (
            CANARY,
            f"{JKU}.evil.example",
            f"{JKU}x",
            f"{JKU}/",
            f"{JKU}?x",
            f"{JKU}#x",
            JKU.replace("https", "http"),
            JKU.upper(),
            JKU.replace("/.well-known", "/./.well-known"),
            JKU.replace("hospital.example", "hospital.example.evil.example"),
            JKU.replace("://", "://x@"),
            JKU.replace("example/", "example:443/"),
            JKU.replace("hospital.example", "hospital.example\\@evil.example"),
            f" {JKU}",
            f"{JKU}\n",
            "file:///etc/passwd",
        )
    },
    "jku a list": _headed(jku=[JKU]),
    "jku null": _headed(jku=None),
    # --- what kind of token ---
    "crit unknown": _headed(crit=["exp2"], exp2=1),
    "crit b64": _headed(crit=["b64"], b64=True),
    "crit empty": _headed(crit=[]),
    "b64 false": _headed(b64=False),
    "b64 false and critical": _headed(b64=False, crit=["b64"]),
    "b64 true": _headed(b64=True),
    "zip": _headed(zip="DEF"),
    "enc": _headed(enc="A256GCM"),
    "typ of an access token": _headed(typ="at+jwt"),
    "typ of a logout token": _headed(typ="logout+jwt"),
    "typ JOSE": _headed(typ="JOSE"),
    "typ a number": _headed(typ=1),
    "typ null": _headed(typ=None),
    # --- shape ---
    "five parts": _changed(lambda parts: [*parts, "AA", "AA"]),
    "four parts": _changed(lambda parts: [*parts, "AA"]),
    "two parts": _changed(lambda parts: parts[:2]),
    "one part": _changed(lambda parts: parts[:1]),
    "no signature": _changed(lambda parts: [*parts[:2], ""]),
    "no claims": _changed(lambda parts: [parts[0], "", parts[2]]),
    "no header": _changed(lambda parts: ["", *parts[1:]]),
    "three dots": lambda: "...",
    "more than 8 KB": _claimed(note="x" * 9_000),
    "60 KB": _claimed(note="x" * 60_000),
    "not ASCII": lambda: token() + "\u00e9",
    "padded": _changed(lambda parts: [parts[0], parts[1], f"{parts[2]}="]),
    "padded claims": _changed(lambda parts: [parts[0], f"{parts[1]}==", parts[2]]),
    "white space inside": _changed(lambda parts: [parts[0], parts[1], f" {parts[2]}"]),
    "a line break inside": _changed(lambda parts: [parts[0], parts[1], f"{parts[2][:9]}\n{parts[2][9:]}"]),
    "a strange letter in the signature": _changed(lambda parts: [parts[0], parts[1], f"{parts[2][:9]}!{parts[2][9:]}"]),
    "base64 with + and /": lambda: token(claims(jti="\u00ff?\u00fe>" * 9)).replace("_", "/").replace("-", "+"),
    "another spelling of the signature": lambda: _respelt(signed_by("rs384", "RS384")),
    "signature of another token": lambda: ".".join([*token().split(".")[:2], token().split(".")[2]]),
    "signature cut": _changed(lambda parts: [parts[0], parts[1], parts[2][:-4]]),
    "signature longer": _changed(lambda parts: [parts[0], parts[1], f"{parts[2]}AAAA"]),
    "signature of zeros": _changed(lambda parts: [parts[0], parts[1], encoded(bytes(96))]),
    "signature in DER": _in_der,
    "claims no JSON": _raw(json.dumps(header()), "x"),
    "claims an array": _raw(json.dumps(header()), "[]"),
    "claims a text": _raw(json.dumps(header()), '"x"'),
    "claims null": _raw(json.dumps(header()), "null"),
    "header an array": _raw("[]", json.dumps(claims())),
    "header no JSON": _raw("{", json.dumps(claims())),
    "alg twice in the header": _raw('{"alg":"none",' + _good(header()) + "}", json.dumps(claims())),
    "kid twice in the header": _raw("{" + _good(header()) + ',"kid":"es384"}', json.dumps(claims())),
    "aud twice in the claims": lambda: token('{"aud":"x",' + _good(claims()) + "}"),
    "aud twice, the good one first": lambda: token("{" + _good(claims()) + ',"aud":"x"}'),
    "iss twice by an escape": lambda: token('{"i\\u0073s":"x",' + _good(claims()) + "}"),
    "a member twice in an object inside": lambda: token("{" + _good(claims()) + ',"fhir":{"a":1,"a":2}}'),
    "very deep claims": lambda: token("{" + _good(claims()) + ',"a":' + "[" * 2_000 + "]" * 2_000 + "}"),
    "claims with NaN": lambda: token("{" + _good(claims()) + ',"a":NaN}'),
    "claims in UTF-16": _utf16,
    "claims with half a character": lambda: token("{" + _good(claims(jti=LEFT_OUT)) + ',"jti":"\\ud800"}'),
    # --- who ---
    "no iss": _claimed(iss=LEFT_OUT),
    "iss null": _claimed(iss=None),
    "iss a list": _claimed(iss=[ISSUER]),
    "iss unknown": _claimed(iss="https://evil.example"),
    "iss longer": _claimed(iss=f"{ISSUER}x"),
    "iss shorter": _claimed(iss=ISSUER[:-1]),
    "iss with a slash": _claimed(iss=f"{ISSUER}/"),
    "iss in capitals": _claimed(iss=ISSUER.upper()),
    "iss with white space": _claimed(iss=f"{ISSUER} "),
    "iss empty": _claimed(iss=""),
    # --- for whom ---
    "no aud": _claimed(aud=LEFT_OUT),
    "aud null": _claimed(aud=None),
    "aud empty": _claimed(aud=""),
    "aud an empty list": _claimed(aud=[]),
    "aud a list of others": _claimed(aud=["https://a.example", "https://b.example"]),
    "aud a list in a list": _claimed(aud=[[AUDIENCE]]),
    "aud an object": _claimed(aud={AUDIENCE: 1}),
    "aud the base": _claimed(aud=PUBLIC_URL),
    "aud discovery": _claimed(aud=f"{PUBLIC_URL}/cds-services"),
    "aud another service": _claimed(aud=f"{PUBLIC_URL}/cds-services/calcinosis-order-sign"),
    "aud our feedback": _claimed(aud=f"{AUDIENCE}/feedback"),
    "aud longer": _claimed(aud=f"{AUDIENCE}x"),
    "aud another host": _claimed(aud=AUDIENCE.replace("hospital", "other")),
    "aud http": _claimed(aud=AUDIENCE.replace("https", "http")),
    "aud another port": _claimed(aud=AUDIENCE.replace(".example/", ".example:8443/")),
    "aud port 80": _claimed(aud=AUDIENCE.replace(".example/", ".example:80/")),
    "aud only the path": _claimed(aud=AUDIENCE.removeprefix(PUBLIC_URL)),
    "aud with a user": _claimed(aud=AUDIENCE.replace("://", "://x@")),
    "aud with a query": _claimed(aud=f"{AUDIENCE}?x=1"),
    "aud with a fragment": _claimed(aud=f"{AUDIENCE}#x"),
    "aud with a line break": _claimed(aud=f"{AUDIENCE}\n"),
    "aud with two slashes": _claimed(aud=f"{AUDIENCE}//"),
    "aud climbing": _claimed(aud=f"{PUBLIC_URL}/x/../cds-services/calcinosis-patient-view"),
    "aud path in capitals": _claimed(aud=PUBLIC_URL + AUDIENCE.removeprefix(PUBLIC_URL).upper()),
    # --- when ---
    **{
        f"{name} {shown}": _claimed(**{name: value})
        for name in ("exp", "iat", "nbf")
        for shown, value in TIMES.items()
        if not (name == "nbf" and value == -1)
    },
    **{
        f"{name} {raw[:8]}": lambda name=name, raw=raw: token(  # type: ignore[misc]
            "{" + _good(claims(**{name: LEFT_OUT})) + f',"{name}":{raw}}}'
        )
        for name in ("exp", "iat", "nbf")
        for raw in ("1e999", "-1e999", BIG, "1" * 5_000, "Infinity", "NaN", "-1")
    },
    "no exp": _claimed(exp=LEFT_OUT),
    "no iat": _claimed(iat=LEFT_OUT),
    "expired 61 s ago": _claimed(exp=SECONDS - 61, iat=SECONDS - 300),
    "expired 60 s ago": _claimed(exp=SECONDS - 60, iat=SECONDS - 300),
    "made 61 s from now": _claimed(iat=SECONDS + 61),
    "valid 61 s from now": _claimed(nbf=SECONDS + 61),
    "lives longer than an hour": _claimed(exp=SECONDS + 3_601),
    "lives for a year": _claimed(exp=SECONDS + 31_536_000),
    "made long ago, to expire soon": _claimed(iat=SECONDS - 3_590, exp=SECONDS + 300),
    "expires before it was made": _claimed(iat=SECONDS + 30, exp=SECONDS),
    # --- once ---
    "no jti": _claimed(jti=LEFT_OUT),
    "jti null": _claimed(jti=None),
    "jti a number": _claimed(jti=1),
    "jti empty": _claimed(jti=""),
    "jti a list": _claimed(jti=["x"]),
    "jti huge": _claimed(jti="x" * 257),
    # --- tenants ---
    "tenant of nobody": _claimed(tenant="somebody"),
    "tenant a number": _claimed(tenant=1),
    "tenant null": _claimed(tenant=None),
    "tenant a list": _claimed(tenant=[""]),
}
