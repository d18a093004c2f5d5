# syntax=docker/dockerfile:1
# Pinned by tag, since a digest could not be looked up where this was written. A site pins the digest it has scanned:
#   docker build --build-arg BASE=python@sha256:... .
ARG BASE=python:3.13-slim-bookworm

# --- build: one environment with everything in it, compiled --------------------------------------------------------
# hadolint ignore=DL3006
FROM ${BASE} AS build
WORKDIR /src
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ONLY_BINARY=:all:

# The locks before the code, so that a change of code downloads nothing. pip compiles what it installs: without the
# compiled files a worker takes three times as long to start, and a read-only image could never write them.
COPY requirements.lock requirements-build.lock ./
RUN python -m venv /opt/cds \
 && /opt/cds/bin/pip install --require-hashes -r requirements.lock \
 && pip install --require-hashes -r requirements-build.lock

COPY . .
RUN pip wheel --no-index --no-deps --no-build-isolation --wheel-dir /wheels . \
 && /opt/cds/bin/pip install --no-index --no-deps /wheels/*.whl \
 && /opt/cds/bin/pip check \
 && /opt/cds/bin/pip uninstall --yes pip

# --- run: no compiler, no pip, no root -----------------------------------------------------------------------------
# hadolint ignore=DL3006
FROM ${BASE}
# By number, so that an orchestrator can see that it is not root without reading /etc/passwd.
RUN useradd --uid 10001 --no-create-home --home-dir /srv/cds --shell /usr/sbin/nologin cds \
 && install --directory --owner=cds --group=cds --mode=0700 /srv/cds /srv/cds/data
COPY --from=build /opt/cds /opt/cds
ENV PATH=/opt/cds/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /srv/cds
# The only place that is written to: everything else may be mounted read-only (docker run --read-only --tmpfs /tmp).
VOLUME /srv/cds/data
EXPOSE 8080
# With Python, since a slim image has no curl. A proxy set in the environment is not for a call to oneself.
HEALTHCHECK --interval=15s --timeout=3s --start-period=10s --retries=3 \
  CMD ["python", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8080, timeout=2); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
# Callers must sign in (CDS_AUTH=jwt, the default). `none` is refused on an address like this one, unless
# CDS_ALLOW_UNAUTHENTICATED=1 says that something in front does it.
CMD ["cds-service", "serve", "--host", "0.0.0.0", "--port", "8080"]
