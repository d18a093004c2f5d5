"""Settings: one table of names, defaults and meanings, read from the environment once at start."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from cds_service.errors import SettingsError

MAX_BODY = 8 * 1024 * 1024


class Setting(msgspec.Struct, frozen=True):
    """One setting: its environment variable, its default, and what it means."""

    name: str
    default: str
    means: str


SETTINGS = (
    Setting("CDS_AUTH", "jwt", "How clients prove who they are: jwt, or none (loopback only, unless overridden)"),
    Setting("CDS_ALLOW_UNAUTHENTICATED", "0", "1 allows CDS_AUTH=none on an address that others can reach"),
    Setting("CDS_DATABASE_URL", "sqlite:///data/ledger.db", "Where the ledger is kept: SQLite, or PostgreSQL"),
    Setting("CDS_RETENTION_DAYS", "2192", "Days after which the ledger forgets; 0: never (docs/ledger.md)"),
    Setting("CDS_PSEUDONYM_KEY", "", "The key of the ledger's pseudonyms; SQLite makes one beside its file"),
    Setting("CDS_PSEUDONYM_KEY_FILE", "", "A file of mode 0600 that holds that key"),
    Setting("CDS_ISSUERS", "", "The file with the issuers whose tokens are accepted (docs/operate.md)"),
    Setting("CDS_FHIR_ALLOW", "", "FHIR base URLs that may be contacted, separated by commas; exact; none: never"),
    Setting("CDS_FHIR_BUDGET_MS", "800", "How long one call may wait for the FHIR server, in milliseconds"),
    Setting("CDS_FHIR_CALLS", "8", "How many calls of a process may wait for FHIR servers at once; below --threads"),
    Setting("CDS_FHIR_PLAIN_HTTP", "0", "1 allows http:// FHIR servers beyond this machine's network: tests only"),
    Setting("CDS_CA_FILE", "", "A PEM file with authorities to trust besides the usual ones (FHIR servers, issuers)"),
    Setting("CDS_TRUSTED_PROXY", "", "Addresses or networks of the proxy whose client certificate header is believed"),
    Setting("CDS_CLIENT_CERT_HEADER", "", "The header in which that proxy names the subject of the client certificate"),
    Setting("CDS_METRICS_TOKEN_FILE", "", "A file with the Bearer token that opens /metrics; none: this machine only"),
    Setting("CDS_RATE", "0", "How many calls a second one client may send; 0: as many as it likes"),
    Setting("CDS_DRAIN_SECONDS", "1", "How long, after TERM, /readyz says that the service stops before it does"),
    Setting("CDS_CONTENT", "", "Another content folder than the one that comes with the service"),
    Setting("CDS_SITE", "", "The site file to apply: hooks/sites/<name>.yaml"),
    Setting("CDS_LINT_FORM", "0", "1 lets anybody paste a call into /integrate/ (demo and CDS_AUTH=none: always)"),
    Setting("CDS_ADMIN", "0", "1 shows the admin pages at /admin/ (docs/admin.md); needs CDS_PUBLIC_URL with https"),
    Setting("CDS_APPROVALS", "listed", "Which changes need a second person: those listed in docs/admin.md, or all"),
    Setting("CDS_OIDC_ISSUER", "", "The hospital's sign-in for the admin pages (OpenID Connect): its issuer"),
    Setting("CDS_OIDC_CLIENT_ID", "", "What this service is called there"),
    Setting("CDS_OIDC_SECRET_FILE", "", "A file with our secret there; none: we are a public client with PKCE"),
    Setting("CDS_OIDC_ROLES", "", "Which group has which roles: cds-editors=viewer+editor, cds-duty=operator"),
    Setting("CDS_OIDC_NAME", "preferred_username", "The claim that says who somebody is, never given to another"),
    Setting("CDS_OIDC_GROUPS", "groups", "The claim that lists the groups of somebody"),
    Setting("CDS_COHORTS", "", "Folders with patients to try changes on, separated by commas"),
    Setting("CDS_SANDBOX", "0", "1 shows the sandbox chart with synthetic patients at /sandbox/"),
    Setting("CDS_OTHER_PATIENT", "refuse", "Data of another patient: refuse the call (412), or drop the data"),
    Setting("CDS_ALLOW_PRELIMINARY", "0", "1 lets preliminary results count"),
    Setting("CDS_FHIR_BASES", "", "Further FHIR base URLs under which this site's patients are known"),
    Setting("CDS_CORS_ORIGINS", "*", "Origins whose pages may call the service from a browser, separated by blanks"),
    Setting("CDS_PUBLIC_URL", "", "Where browsers reach the service from the EHR; cards link to their sources there"),
    Setting("CDS_EVIDENCE_LINKS", "", "1 puts a link to its evidence view on each card; unset: in the sandbox only"),
    Setting("CDS_EVIDENCE_HOURS", "8", "For how many hours such a link works"),
    Setting("CDS_EVIDENCE_FRAMES", "", "Origins whose pages may frame the evidence view, separated by blanks"),
    Setting("CDS_SMART_CLIENT_ID", "", "Our client id at the EHRs of CDS_FHIR_ALLOW, which may then launch the app"),
    Setting("CDS_SMART_SERVERS", "", "Authorization servers on other hosts than the FHIR servers, separated by commas"),
    Setting("CDS_BULK_CLIENT_ID", "", "Our client id for Bulk Data exports (cds-service screen); none: without token"),
    Setting("CDS_BULK_KEY_FILE", "", "A file of mode 0600 with the private key of that client, as JWK with a kid"),
    Setting("CDS_BULK_FILES", "", "Hosts of exported files other than the FHIR servers, separated by commas"),
    Setting("CDS_DEVELOPER", "Calcinosis CDS project", "The developer, as the source attributes name it"),
    Setting("CDS_FUNDING", "not stated", "Who paid for the technical implementation, as the source attributes say it"),
)  # fmt: skip


class Settings(msgspec.Struct, frozen=True):
    """The settings in force."""

    auth: str = "jwt"
    issuers: str = ""
    fhir_allow: str = ""
    fhir_budget_ms: int = 800
    fhir_calls: int = 8
    fhir_plain_http: bool = False
    ca_file: str = ""
    trusted_proxy: tuple[str, ...] = ()
    client_cert_header: str = ""
    metrics_token_file: str = ""
    rate: int = 0
    drain_seconds: int = 1
    content: str = ""
    site: str = ""
    sandbox: bool = False
    lint_form: bool = False
    admin: bool = False
    approvals: str = "listed"
    oidc_issuer: str = ""
    oidc_client_id: str = ""
    oidc_secret_file: str = ""
    oidc_roles: str = ""
    oidc_name: str = "preferred_username"
    oidc_groups: str = "groups"
    cohorts: tuple[str, ...] = ()
    drop_strangers: bool = False
    allow_preliminary: bool = False
    fhir_bases: frozenset[str] = frozenset()
    cors_origins: tuple[str, ...] = ("*",)
    database_url: str = "sqlite:///data/ledger.db"
    retention_days: int = 2192
    allow_unauthenticated: bool = False
    public_url: str = ""
    evidence_links: bool | None = None
    evidence_hours: int = 8
    evidence_frames: tuple[str, ...] = ()
    smart_client_id: str = ""
    smart_servers: str = ""
    bulk_client_id: str = ""
    bulk_key_file: str = ""
    bulk_files: str = ""
    developer: str = "Calcinosis CDS project"
    funding: str = "not stated"

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Settings:
        """Read settings from environment variables. Raises SettingsError where a value is not one of those allowed."""

        def text(name: str) -> str:
            default = next(setting.default for setting in SETTINGS if setting.name == name)
            return environment.get(name, "").strip() or default

        return cls(
            auth=_one_of("CDS_AUTH", text("CDS_AUTH"), ("jwt", "none")),
            issuers=text("CDS_ISSUERS"),
            fhir_allow=text("CDS_FHIR_ALLOW"),
            fhir_budget_ms=_number("CDS_FHIR_BUDGET_MS", text("CDS_FHIR_BUDGET_MS"), 50, 30_000),
            fhir_calls=_number("CDS_FHIR_CALLS", text("CDS_FHIR_CALLS"), 1, 256),
            fhir_plain_http=_switch("CDS_FHIR_PLAIN_HTTP", text("CDS_FHIR_PLAIN_HTTP")),
            ca_file=text("CDS_CA_FILE"),
            trusted_proxy=_networks("CDS_TRUSTED_PROXY", text("CDS_TRUSTED_PROXY")),
            client_cert_header=_header("CDS_CLIENT_CERT_HEADER", text("CDS_CLIENT_CERT_HEADER")),
            metrics_token_file=text("CDS_METRICS_TOKEN_FILE"),
            rate=_number("CDS_RATE", text("CDS_RATE"), 0, 100_000),
            drain_seconds=_number("CDS_DRAIN_SECONDS", text("CDS_DRAIN_SECONDS"), 0, 60),
            content=text("CDS_CONTENT"),
            site=text("CDS_SITE"),
            sandbox=_switch("CDS_SANDBOX", text("CDS_SANDBOX")),
            lint_form=_switch("CDS_LINT_FORM", text("CDS_LINT_FORM")),
            admin=_switch("CDS_ADMIN", text("CDS_ADMIN")),
            approvals=_one_of("CDS_APPROVALS", text("CDS_APPROVALS"), ("listed", "all")),
            oidc_issuer=text("CDS_OIDC_ISSUER"),
            oidc_client_id=text("CDS_OIDC_CLIENT_ID"),
            oidc_secret_file=text("CDS_OIDC_SECRET_FILE"),
            oidc_roles=text("CDS_OIDC_ROLES"),
            oidc_name=text("CDS_OIDC_NAME"),
            oidc_groups=text("CDS_OIDC_GROUPS"),
            cohorts=_folders("CDS_COHORTS", text("CDS_COHORTS")),
            drop_strangers=_one_of("CDS_OTHER_PATIENT", text("CDS_OTHER_PATIENT"), ("refuse", "drop")) == "drop",
            allow_preliminary=_switch("CDS_ALLOW_PRELIMINARY", text("CDS_ALLOW_PRELIMINARY")),
            fhir_bases=frozenset(base.rstrip("/") for base in text("CDS_FHIR_BASES").split()),
            cors_origins=tuple(text("CDS_CORS_ORIGINS").split()),
            database_url=text("CDS_DATABASE_URL"),
            retention_days=_number("CDS_RETENTION_DAYS", text("CDS_RETENTION_DAYS"), 0, 36_525),
            allow_unauthenticated=_switch("CDS_ALLOW_UNAUTHENTICATED", text("CDS_ALLOW_UNAUTHENTICATED")),
            public_url=_address("CDS_PUBLIC_URL", text("CDS_PUBLIC_URL")),
            evidence_links=_unset_or_switch("CDS_EVIDENCE_LINKS", text("CDS_EVIDENCE_LINKS")),
            evidence_hours=_number("CDS_EVIDENCE_HOURS", text("CDS_EVIDENCE_HOURS"), 1, 72),
            evidence_frames=_origins("CDS_EVIDENCE_FRAMES", text("CDS_EVIDENCE_FRAMES")),
            smart_client_id=text("CDS_SMART_CLIENT_ID"),
            smart_servers=text("CDS_SMART_SERVERS"),
            bulk_client_id=text("CDS_BULK_CLIENT_ID"),
            bulk_key_file=text("CDS_BULK_KEY_FILE"),
            bulk_files=text("CDS_BULK_FILES"),
            developer=text("CDS_DEVELOPER"),
            funding=text("CDS_FUNDING"),
        )

    @property
    def evidence(self) -> bool:
        """Whether cards link to their evidence view: as was said, else in the sandbox only."""
        return self.sandbox if self.evidence_links is None else self.evidence_links

    @property
    def lints(self) -> bool:
        """Whether calls may be pasted into the page for integrators: where it was said, or nobody has to sign in."""
        return self.lint_form or self.sandbox or self.auth == "none"

    def check_address(self, host: str) -> None:
        """Refuse to answer others than this machine without authentication (CHECKLIST I3)."""
        if self.auth == "none" and not self.allow_unauthenticated and not _loopback(host):
            raise SettingsError(
                f"CDS_AUTH=none is refused on the address {host}.",
                slug="unauthenticated-address",
                why="Anybody who reaches this address could send and read patient data.",
                remedy="Use --host 127.0.0.1, or CDS_AUTH=jwt; where a proxy authenticates, "
                "set CDS_ALLOW_UNAUTHENTICATED=1.",
            )


def content_folder(settings: Settings) -> Path:
    """Return the content folder: the one that was named, the one in the wheel, or the one in the checkout."""
    if settings.content:
        return Path(settings.content)
    return packaged("hooks")


def packaged(name: str) -> Path:
    """Return a folder that travels with the service: inside the wheel, or beside the package in a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "_content" / name
    return inside if inside.is_dir() else package.parent / name


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise SettingsError(f"{name} must be one of: {', '.join(allowed)}.", where=name, slug="bad-setting")
    return value


def _folders(name: str, value: str) -> tuple[str, ...]:
    named = [one.strip() for one in value.split(",") if one.strip()]
    for one in named:
        if not Path(one).is_dir():
            raise SettingsError(f"{name} names a folder that is not there.", where=name, slug="bad-setting")
    return tuple(named)


def _number(name: str, value: str, least: int, most: int) -> int:
    if not (value.isascii() and value.isdecimal()) or not least <= int(value) <= most:
        raise SettingsError(f"{name} must be a whole number from {least} to {most}.", where=name, slug="bad-setting")
    return int(value)


def _address(name: str, value: str) -> str:
    """Check an address that others will be sent to: absolute, and nothing but scheme, host and path."""
    try:
        parts = urlsplit(value)
        sound = parts.scheme in ("http", "https") and parts.hostname and not parts.query and not parts.fragment
    except ValueError:
        sound = False
    if value and (not sound or "@" in value or not value.isprintable() or " " in value):
        raise SettingsError(
            f"{name} must be an address like https://cds.hospital.example.", where=name, slug="bad-setting"
        )
    return value.rstrip("/")


def _networks(name: str, value: str) -> tuple[str, ...]:
    """Read addresses and networks, separated by commas or blanks."""
    found = value.replace(",", " ").split()
    try:
        return tuple([str(ipaddress.ip_network(one)) for one in found])
    except ValueError:
        raise SettingsError(
            f"{name} must be addresses or networks like 10.1.2.3 or 10.1.2.0/24.", where=name, slug="bad-setting"
        ) from None


def _header(name: str, value: str) -> str:
    if value and not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{0,63}", value):
        raise SettingsError(f"{name} must be the name of a header.", where=name, slug="bad-setting")
    return value


def _origins(name: str, value: str) -> tuple[str, ...]:
    """Check origins that go into a header: scheme and host, nothing else."""
    found = tuple(value.split())
    if not all(re.fullmatch(r"https?://[A-Za-z0-9.-]{1,253}(?::[0-9]{1,5})?", one) for one in found):
        raise SettingsError(f"{name} must be origins like https://ehr.example.", where=name, slug="bad-setting")
    return found


def _unset_or_switch(name: str, value: str) -> bool | None:
    return _switch(name, value) if value else None


def _switch(name: str, value: str) -> bool:
    return _one_of(name, value, ("0", "1")) == "1"
