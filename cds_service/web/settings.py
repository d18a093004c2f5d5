"""Settings: one table of names, defaults and meanings, read from the environment once at start."""

from __future__ import annotations

import ipaddress
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
    Setting("CDS_DATABASE_URL", "sqlite:///data/ledger.db", "Where the ledger will be kept; nothing is stored yet"),
    Setting("CDS_ISSUERS", "", "The file with the issuers whose tokens are accepted (docs/operate.md)"),
    Setting("CDS_FHIR_ALLOW", "", "FHIR base URLs that may be contacted, separated by commas; exact; none: never"),
    Setting("CDS_FHIR_BUDGET_MS", "800", "How long one call may wait for the FHIR server, in milliseconds"),
    Setting("CDS_CONTENT", "", "Another content folder than the one that comes with the service"),
    Setting("CDS_SITE", "", "The site file to apply: hooks/sites/<name>.yaml"),
    Setting("CDS_SANDBOX", "0", "1 shows the sandbox chart with synthetic patients at /sandbox/"),
    Setting("CDS_OTHER_PATIENT", "refuse", "Data of another patient: refuse the call (412), or drop the data"),
    Setting("CDS_ALLOW_PRELIMINARY", "0", "1 lets preliminary results count"),
    Setting("CDS_FHIR_BASES", "", "Further FHIR base URLs under which this site's patients are known"),
    Setting("CDS_CORS_ORIGINS", "*", "Origins whose pages may call the service from a browser, separated by blanks"),
    Setting("CDS_PUBLIC_URL", "", "Where browsers reach the service from the EHR; cards link to their sources there"),
    Setting("CDS_DEVELOPER", "Calcinosis CDS project", "The developer, as the source attributes name it"),
    Setting("CDS_FUNDING", "not stated", "Who paid for the technical implementation, as the source attributes say it"),
)  # fmt: skip


class Settings(msgspec.Struct, frozen=True):
    """The settings in force."""

    auth: str = "jwt"
    issuers: str = ""
    fhir_allow: str = ""
    fhir_budget_ms: int = 800
    content: str = ""
    site: str = ""
    sandbox: bool = False
    drop_strangers: bool = False
    allow_preliminary: bool = False
    fhir_bases: frozenset[str] = frozenset()
    cors_origins: tuple[str, ...] = ("*",)
    database_url: str = "sqlite:///data/ledger.db"
    allow_unauthenticated: bool = False
    public_url: str = ""
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
            content=text("CDS_CONTENT"),
            site=text("CDS_SITE"),
            sandbox=_switch("CDS_SANDBOX", text("CDS_SANDBOX")),
            drop_strangers=_one_of("CDS_OTHER_PATIENT", text("CDS_OTHER_PATIENT"), ("refuse", "drop")) == "drop",
            allow_preliminary=_switch("CDS_ALLOW_PRELIMINARY", text("CDS_ALLOW_PRELIMINARY")),
            fhir_bases=frozenset(base.rstrip("/") for base in text("CDS_FHIR_BASES").split()),
            cors_origins=tuple(text("CDS_CORS_ORIGINS").split()),
            database_url=text("CDS_DATABASE_URL"),
            allow_unauthenticated=_switch("CDS_ALLOW_UNAUTHENTICATED", text("CDS_ALLOW_UNAUTHENTICATED")),
            public_url=_address("CDS_PUBLIC_URL", text("CDS_PUBLIC_URL")),
            developer=text("CDS_DEVELOPER"),
            funding=text("CDS_FUNDING"),
        )

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


def _number(name: str, value: str, least: int, most: int) -> int:
    if not value.isdecimal() or not least <= int(value) <= most:
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


def _switch(name: str, value: str) -> bool:
    return _one_of(name, value, ("0", "1")) == "1"
