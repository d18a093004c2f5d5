"""docs/figures.md names every admin page, and for each figure a test that is there."""

from __future__ import annotations

import re

from flask import Flask

from tests.build import ROOT

TABLE = (ROOT / "docs" / "figures.md").read_text("utf-8").partition("## Which test holds which figure")[2]


def test_every_page_stands_in_the_table_or_is_said_to_show_no_figure(admin_site: Flask) -> None:
    pages = {
        rule.rule
        for rule in admin_site.url_map.iter_rules()
        if rule.rule.startswith("/admin/") and "GET" in (rule.methods or ())
    }
    named = set(re.findall(r"`(/admin/[^`]*)`", TABLE))

    assert pages - {"/admin/static/<path:filename>", "/admin/<path:_rest>"} == named


def test_every_test_that_the_table_names_is_there() -> None:
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", TABLE)

    assert len(named) > 20
    for file, test in named:
        assert f"\ndef {test}(" in (ROOT / "tests" / "insight" / file).read_text("utf-8"), test
