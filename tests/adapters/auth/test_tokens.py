"""
Tokens: every good one is let in once, no hostile one ever (SECURITY.md 1; RFC 8725).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cds_service.adapters.auth import Issuer, Issuers, KeyStore, Refused, ReplaysInMemory, Verifier
from cds_service.adapters.auth.keys import read_keys
from cds_service.protocol.urls import normal
from tests.adapters.auth.hostile import HOSTILE
from tests.adapters.auth.signing import (
    AUDIENCE,
    EPIC_KID,
    ISSUER,
    JKU,
    PUBLIC_URL,
    SECONDS,
    claims,
    decoded,
    encoded,
    header,
    key_set,
    public,
    signed_by,
    token,
)
from tests.build import LEFT_OUT
from tests.moments import quickest, spent

SERVED = key_set(
    *[public(kid) for kid in ("es256", "es384", "es512", "rs384", "rsa1024", "k1")],
    public("rs384-only", alg="RS384", use="sig"),
    public("rs384-enc", use="enc"),
    public("es384-signs", key_ops=["sign"]),
    public("es384-verifies", key_ops=["verify"], use="sig", alg="ES384"),
    public(EPIC_KID),
    {"kty": "oct", "kid": "oct", "k": encoded(b"x" * 32), "alg": "HS256"},
)


def verifier(*issuers: Issuer, at: float = 0.0) -> Verifier:
    entries = issuers or (Issuer(ISSUER, JKU),)
    return Verifier(Issuers(entries), KeyStore(lambda _: SERVED), ReplaysInMemory(), lambda: SECONDS + at)


@pytest.fixture(scope="module")
def strict() -> Verifier:
    return verifier()


def refusal(by: Verifier, text: str, audiences: tuple[str, ...] = (AUDIENCE,)) -> str:
    with pytest.raises(Refused) as refused:
        by.verify(text, audiences)
    return refused.value.reason


# --- good ones -------------------------------------------------------------------------------------------------------

GOOD = {
    **{f"ES{bits}": ("es" + bits, "ES" + bits) for bits in ("256", "384", "512")},
    **{alg: ("rs384", alg) for alg in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")},
    "a key that says for what it is": ("es384-verifies", "ES384"),
    "a key that says its algorithm": ("rs384-only", "RS384"),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_token_is_let_in_once(strict: Verifier, name: str) -> None:
    text = signed_by(*GOOD[name])

    assert ISSUER == strict.verify(text, (AUDIENCE,))[0].iss
    assert "replayed" == refusal(strict, text)


FINE: dict[str, dict[str, Any]] = {
    "several audiences": {"aud": ["https://other.example", AUDIENCE]},
    "a slash at the end": {"aud": f"{AUDIENCE}/"},
    "the usual port": {"aud": AUDIENCE.replace(".example/", ".example:443/")},
    "capitals in the host": {"aud": AUDIENCE.replace("cds.hospital", "CDS.Hospital").replace("https", "HTTPS")},
    "expired 59 s ago": {"exp": SECONDS - 59, "iat": SECONDS - 300},
    "made 59 s from now": {"iat": SECONDS + 59},
    "made half a second from now, as the public sandbox does": {"iat": SECONDS + 0.5},
    "valid from 59 s from now": {"nbf": SECONDS + 59},
    "times with fractions": {"exp": SECONDS + 100.25, "iat": SECONDS - 0.125},
    "an hour": {"exp": SECONDS + 3_600},
    "a long id": {"jti": "x" * 256},
    "an id beyond ASCII": {"jti": "\u00e9\U0001f600"},
    "further claims": {"fhir": {"a": [1, {"b": None}]}, "sub": "x"},
}


@pytest.mark.parametrize("name", FINE)
def test_what_is_unusual_but_right_is_let_in(strict: Verifier, name: str) -> None:
    assert strict.verify(token(claims(**FINE[name])), (AUDIENCE,))


def test_an_epic_token_is_let_in(strict: Verifier) -> None:
    """
    RS384, a key id in base64, sub, nbf five minutes before iat, fifteen minutes of life (EHRS.md).
    """
    said = claims(sub="client-id", nbf=SECONDS - 300, exp=SECONDS + 900, iat=SECONDS)
    text = token(said, header("RS384", EPIC_KID), signer=EPIC_KID)

    assert strict.verify(text, (AUDIENCE,))


@pytest.mark.parametrize("typ", ["JWT", "jwt", LEFT_OUT])
@pytest.mark.parametrize("jku", [JKU, LEFT_OUT, ""])
def test_a_token_need_not_say_where_its_keys_are(strict: Verifier, typ: Any, jku: Any) -> None:
    assert strict.verify(token(None, header(typ=typ, jku=jku)), (AUDIENCE,))


def test_fields_of_certificates_are_ignored(strict: Verifier) -> None:
    assert strict.verify(token(None, header(x5t="abc", x5c=["x"], x5u="https://evil.example/x")), (AUDIENCE,))


# --- hostile ones ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_token_is_refused_for_a_reason_of_the_list(strict: Verifier, name: str) -> None:
    reason = refusal(strict, HOSTILE[name]())

    assert reason in {
        *("shape", "typ", "iss", "alg", "kid", "aud", "exp", "iat", "nbf", "expired", "not-yet", "lifetime"),
        *("jti", "tenant", "signature"),
    }


def test_there_are_enough_of_them() -> None:
    assert len(HOSTILE) >= 80


def test_without_an_audience_of_ours_only_the_issuers_counts() -> None:
    assert "aud" == refusal(verifier(), token(), ())
    assert "aud" == refusal(verifier(), token(claims(aud="/cds-services/calcinosis-patient-view")), ())
    assert verifier(Issuer(ISSUER, JKU, audiences=("sand_man",))).verify(token(claims(aud="sand_man")), ())


@pytest.mark.parametrize("aud", ["sand_man ", "Sand_Man", "sand", ["sand"]])
def test_an_audience_of_the_issuer_is_exact(aud: Any) -> None:
    assert "aud" == refusal(verifier(Issuer(ISSUER, JKU, audiences=("sand_man",))), token(claims(aud=aud)))


def test_algorithms_of_the_issuer_bound_those_of_the_service() -> None:
    only = verifier(Issuer(ISSUER, JKU, algorithms=("RS384",)))

    assert only.verify(signed_by("rs384", "RS384"), (AUDIENCE,))
    assert "alg" == refusal(only, token())


# --- tenants and several entries -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listed", "tenant", "let_in"),
    [
        ((), LEFT_OUT, True),
        ((), "a", False),
        (("a", "b"), "a", True),
        (("a", "b"), "c", False),
        (("a", "b"), LEFT_OUT, False),
        (("a", "b"), "A", False),
        (("a", "b"), "", False),
        (("*",), "anything", True),
        (("*",), LEFT_OUT, True),
    ],
)
def test_only_tenants_that_were_listed_are_let_in(listed: tuple[str, ...], tenant: Any, let_in: bool) -> None:
    by = verifier(Issuer(ISSUER, JKU, tenants=listed))
    text = token(claims(tenant=tenant))

    if let_in:
        assert ("" if tenant is LEFT_OUT else tenant) == by.verify(text, (AUDIENCE,))[1]
    else:
        assert "tenant" == refusal(by, text)


def test_a_hospital_that_moves_may_have_two_addresses_of_keys() -> None:
    old, new = Issuer(ISSUER, "https://old.example/jwks", name="old"), Issuer(ISSUER, "https://new.example/jwks")
    sets = {old.jku: key_set(public("es256")), new.jku: key_set(public("es384"))}
    by = Verifier(Issuers([old, new]), KeyStore(sets.__getitem__), ReplaysInMemory(), lambda: SECONDS)

    assert old == by.verify(signed_by("es256", "ES256", jku=old.jku), (AUDIENCE,))[0]
    assert new == by.verify(signed_by("es384", "ES384", jku=LEFT_OUT), (AUDIENCE,))[0]
    assert "kid" == refusal(by, signed_by("es384", "ES384", jku=old.jku))


def test_the_keys_of_one_entry_do_not_open_another() -> None:
    keys = read_keys(SERVED)
    a = Issuer(ISSUER, keys=keys["es256"], tenants=("a",))
    b = Issuer(ISSUER, keys=keys["es384"], tenants=("b",))
    by = verifier(a, b)

    assert a == by.verify(signed_by("es256", "ES256", claims(tenant="a")), (AUDIENCE,))[0]
    assert refusal(by, signed_by("es256", "ES256", claims(tenant="b"))) in {"tenant", "kid"}


def test_where_keys_were_given_an_address_in_the_token_says_nothing() -> None:
    by = verifier(Issuer(ISSUER, keys=read_keys(SERVED)["es384"]))

    assert by.verify(token(None, header(jku="https://anything.example/jwks")), (AUDIENCE,))
    assert "kid" == refusal(by, signed_by("es256", "ES256"))


# --- once ------------------------------------------------------------------------------------------------------------


def test_a_token_used_in_parallel_is_let_in_once() -> None:
    by, text = verifier(), token()

    def let_in(_: int) -> bool:
        try:
            by.verify(text, (AUDIENCE,))
        except Refused:
            return False
        return True

    with ThreadPoolExecutor(16) as threads:
        assert 1 == sum(threads.map(let_in, range(64)))


def test_a_token_that_was_refused_is_not_used_up() -> None:
    by, said = verifier(), claims(jti="the same")
    stranger = token(said, header(), signer="es384-stranger")

    assert "signature" == refusal(by, stranger)
    assert by.verify(token(said), (AUDIENCE,))


def test_the_same_id_of_another_issuer_is_another_token() -> None:
    by = verifier(Issuer(ISSUER, JKU), Issuer("https://other.example", JKU))

    assert by.verify(token(claims(jti="x")), (AUDIENCE,))
    assert by.verify(token(claims(jti="x", iss="https://other.example")), (AUDIENCE,))
    assert "replayed" == refusal(by, token(claims(jti="x", exp=SECONDS + 200)))


def test_within_the_leeway_after_its_end_a_token_still_counts_once() -> None:
    moment = [0.0]
    by = Verifier(
        Issuers([Issuer(ISSUER, JKU)]), KeyStore(lambda _: SERVED), ReplaysInMemory(), lambda: SECONDS + moment[0]
    )
    text = token(claims(exp=SECONDS + 10))
    by.verify(text, (AUDIENCE,))
    moment[0] = 69.0

    assert "replayed" == refusal(by, text)
    moment[0] = 71.0
    assert "expired" == refusal(by, text)


def test_the_memory_of_used_ids_is_bounded_and_cheap() -> None:
    def fill(limit: int) -> ReplaysInMemory:
        used = ReplaysInMemory(limit)
        for number in range(20_000):
            assert not used.seen(ISSUER, f"{number}" * 50, SECONDS + 300, SECONDS)
        return used

    used = fill(1_000)

    assert len(used._used) <= 1_000
    assert used.seen(ISSUER, "19999" * 50, SECONDS + 300, SECONDS)
    # Making room costs less than the ids themselves; looking through all of them for each would cost a hundred times.
    assert quickest(lambda: spent(lambda: fill(1_000))) < 5 * quickest(lambda: spent(lambda: fill(30_000)))


def test_ids_that_have_expired_make_room_first() -> None:
    used = ReplaysInMemory(limit=100)
    used.seen(ISSUER, "kept", SECONDS + 1_000, SECONDS)
    for number in range(1_000):
        used.seen(ISSUER, f"short {number}", SECONDS + number, SECONDS + number)

    assert used.seen(ISSUER, "kept", SECONDS + 1_000, SECONDS + 999)


# --- certificates ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seen", ["", "CN=other", "CN=ehr ", "cn=ehr"])
def test_an_issuer_with_a_certificate_is_let_in_with_it_only(seen: str) -> None:
    by = verifier(Issuer(ISSUER, JKU, certificate="CN=ehr"))
    text = token()

    with pytest.raises(Refused, match="certificate"):
        by.verify(text, (AUDIENCE,), seen)
    assert by.verify(text, (AUDIENCE,), "CN=ehr")


# --- any change at all -----------------------------------------------------------------------------------------------

LETTERS = st.characters(codec="ascii")


@st.composite
def mutated(draw: st.DrawFn) -> tuple[str, str]:
    """Return a good token, and the same with something changed, left out or put in."""
    kid, alg = draw(st.sampled_from([("es384", "ES384"), ("rs384", "RS384"), ("es512", "ES512")]))
    good = signed_by(kid, alg)
    # A token is as long as its random id and its times make it: what is drawn must not depend on that.
    start = draw(st.integers(0, 9_999)) % (len(good) + 1)
    end = start + draw(st.integers(0, 40))
    return good, good[:start] + draw(st.text(LETTERS, max_size=8)) + good[end:]


@settings(deadline=None, max_examples=400)
@given(mutated())
def test_no_change_to_a_good_token_is_let_in(strict: Verifier, tokens: tuple[str, str]) -> None:
    good, changed = tokens
    if changed != good:
        refusal(strict, changed)


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(["es384", "rs384"]), st.integers(min_value=0), st.integers(0, 7))
def test_no_flipped_bit_of_what_is_signed_is_let_in(strict: Verifier, kid: str, place: int, bit: int) -> None:
    parts = signed_by(kid, kid.upper()).split(".")
    which = place % 3
    raw = bytearray(decoded(parts[which]))
    raw[place % len(raw)] ^= 1 << bit
    parts[which] = encoded(bytes(raw))

    refusal(strict, ".".join(parts))


@settings(deadline=None, max_examples=300)
@given(st.text(max_size=400) | st.binary(max_size=400).map(lambda raw: raw.decode("latin-1")))
def test_any_text_is_refused_in_words(strict: Verifier, text: str) -> None:
    assert "shape" == refusal(strict, text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
NAMES = st.sampled_from(["iss", "aud", "exp", "iat", "nbf", "jti", "tenant"])
HEADS = st.sampled_from(["alg", "kid", "jku", "typ", "crit", "b64", "jwk"])


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(NAMES, JSON, min_size=1, max_size=3), st.dictionaries(HEADS, JSON, max_size=2))
def test_any_claims_and_headers_are_refused_or_let_in_never_more(
    strict: Verifier, said: dict[str, Any], head: dict[str, Any]
) -> None:
    with suppress(Refused):
        strict.verify(token({**claims(), **said}, {**header(), **head}, by="ES384"), (AUDIENCE,))


# --- addresses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://A.example/x", "https://a.example/x"),
        ("https://a.example:443/x", "https://a.example/x"),
        ("http://a.example:80/x", "http://a.example/x"),
        ("https://a.example/x/", "https://a.example/x"),
        ("HTTPS://a.example/x", "https://a.example/x"),
        ("https://[::1]:443/x", "https://[::1]/x"),
    ],
)
def test_two_spellings_of_one_address(one: str, other: str) -> None:
    assert normal(one) == normal(other)


@pytest.mark.parametrize(
    "odd", ["x", "", "https://", "https://a:b:c/x", "https://a.example:x/", "https://[::1/x", f"{PUBLIC_URL}#x", "a b"]
)
def test_what_is_no_plain_address_stays_as_it_is(odd: str) -> None:
    assert odd == normal(odd)
