"""The floor: a Flask application that reads the body and does nothing with it."""

from __future__ import annotations

from flask import Flask, Response, request

app = Flask(__name__)


@app.post("/cds-services/<service_id>")
def call(service_id: str) -> Response:  # noqa: ARG001 - the same route as ours
    """Read the body and answer with its length."""
    length = len(request.get_data(cache=False))
    return Response(f'{{"read":{length}}}', mimetype="application/json")
