"""
Acts as an EHR, with HealthChain's own client: sends a hook call and prints what came back as JSON.

A script of its own: HealthChain asks for other versions than the service does, so it runs in its own environment.
Usage: healthchain_calls.py URL HOOK CALL.json
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path


def main(url: str, hook: str, path: str) -> None:
    """Build the request with HealthChain's models, send it with its client, read the answer with its models."""
    from healthchain.models import CDSResponse  # type: ignore[import-not-found]
    from healthchain.sandbox import SandboxClient  # type: ignore[import-not-found]
    from healthchain.sandbox.requestconstructors import CdsRequestConstructor  # type: ignore[import-not-found]
    from healthchain.sandbox.workflows import Workflow  # type: ignore[import-not-found]
    from pydantic import ValidationError

    refusals: list[str] = []
    ear = logging.Handler(logging.ERROR)
    ear.emit = lambda record: refusals.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("healthchain").addHandler(ear)
    call, workflow = json.loads(Path(path).read_bytes()), Workflow(hook)
    client = SandboxClient(url=url, workflow=workflow)
    request = CdsRequestConstructor().construct_request(call["prefetch"], workflow=workflow, context=call["context"])
    client.requests.append(request)
    [answer] = client.send_requests()
    complaints: list[str] = []
    try:
        CDSResponse(**answer)
    except ValidationError as wrong:
        complaints = sorted({f"{one['loc'][-1]}: {one['type']}" for one in wrong.errors()})
    print(json.dumps({"answer": answer, "complaints": complaints, "refusals": refusals}))  # noqa: T201 - what it is for


if __name__ == "__main__":
    main(*sys.argv[1:4])
