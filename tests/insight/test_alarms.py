"""Rules that go silent, jump or drop are told of; those that behave as they did are not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random

import pytest

from cds_service.insight import Call, Figures
from cds_service.insight.alarms import DROPPED, JUMPED, SILENT, UNASKED, Alarm
from cds_service.insight.comments import ranked, read_words
from cds_service.insight.counting import CardSeen
from cds_service.insight.events import Answer, Content, Fired

TODAY, DAY = 20_700, 86_400
RULE = "a-rule"


def call(day: int, verdict: str, number: int = 0) -> Call:
    """Return a call at which the rule said something."""
    said = {
        "fired": Content(hook="patient-view", book="b", fired=[Fired(RULE, 1, "info")]),
        "no": Content(hook="patient-view", book="b", not_fired=[RULE]),
        "unknown": Content(hook="patient-view", book="b", not_evaluated={RULE: ["phosphate"]}),
    }
    return Call(number, str(number), day * DAY + 43_200.0, "s", f"p-{number}", said[verdict])


def alarms(calls: Iterable[Call]) -> list[Alarm]:
    figures = Figures(TODAY)
    figures.take(calls)
    return figures.alarms([RULE])


def steady(
    share: Callable[[int], float], *, asked: Callable[[int], int] = lambda _day: 40, verdict: str = "fired"
) -> list[Call]:
    """Return ten weeks of calls, of which a share of each day (counted back from today) has a verdict."""
    random, found = Random(11), list[Call]()
    for ago in range(70, 0, -1):
        for _ in range(asked(ago)):
            said = verdict if random.random() < share(ago) else "no"
            found.append(call(TODAY - ago, said, len(found)))
    return found


def test_a_rule_that_behaves_as_it_did_raises_no_alarm() -> None:
    assert [] == alarms(steady(lambda _ago: 0.2))


def test_a_quiet_weekend_is_no_alarm() -> None:
    """Weekdays are compared with their own weekday."""
    assert [] == alarms(steady(lambda _ago: 0.2, asked=lambda ago: 6 if (TODAY - ago) % 7 in (2, 3) else 40))


@pytest.mark.parametrize(("share", "kind"), [(0.9, JUMPED), (0.02, DROPPED)])
def test_a_rate_that_changes_is_told_in_both_directions(share: float, kind: str) -> None:
    found = alarms(steady(lambda ago: share if ago <= 2 else 0.4))

    assert [(RULE, kind, TODAY - 1)] == [(one.rule, one.kind, one.day) for one in found]
    assert found[0].p < 0.0005
    assert f"{found[0].observed} findings in 40 evaluations" in found[0].words


def test_a_rule_that_goes_silent_is_told() -> None:
    found = alarms(steady(lambda ago: 0.2 if ago > 10 else 0.0))

    assert [SILENT] == [one.kind for one in found]
    assert "No finding in " in found[0].words
    assert found[0].expected > 50


def test_a_rare_rule_is_not_called_silent_too_early() -> None:
    """One finding in 400 evaluations: 40 without one are no surprise."""
    rare = [call(TODAY - 60, "fired", 1), *steady(lambda _ago: 0.0)[-400:]]

    assert [] == alarms(rare)


def test_a_rule_that_can_no_longer_tell_is_told() -> None:
    """The code of a test was changed elsewhere: nothing fires, nothing fails, everything is unknown."""
    found = alarms(steady(lambda ago: 0.95 if ago <= 3 else 0.05, verdict="unknown"))

    assert [(JUMPED, "evaluations without an answer")] == [(one.kind, one.what) for one in found]


def test_a_rule_that_nobody_asks_any_more_is_told() -> None:
    found = alarms(steady(lambda _ago: 0.0, asked=lambda ago: 10 if ago > 9 else 0))

    assert [UNASKED] == [one.kind for one in found]


def test_a_hook_of_weekdays_is_not_missed_on_a_sunday() -> None:
    assert [] == alarms(steady(lambda _ago: 0.0, asked=lambda ago: 0 if ago % 7 in (1, 2) else 10))


# --- comments --------------------------------------------------------------------------------------------------------


def test_comments_with_a_word_of_the_list_come_first_and_each_group_newest_first() -> None:
    said = [(1.0, "wrong dose shown"), (2.0, "thank you"), (3.0, "WRONG patient, again"), (4.0, "fine"), (5.0, "")]
    answers = [Answer(number, "c", "overridden", at, comment=text) for number, (at, text) in enumerate(said)]
    found = ranked(answers, {}, read_words("# a remark\nWrong\n\nagain\n wrong patient \n"))

    assert ["WRONG patient, again", "wrong dose shown", "fine", "thank you"] == [one.text for one in found]
    assert ("wrong patient", "again") == found[0].hits
    assert [("WRONG patient", True), (", ", False), ("again", True)] == found[0].parts


def test_only_whole_words_count() -> None:
    answers = [Answer(1, "c", "overridden", 1.0, comment="wrongly coded, stopping")]

    assert () == ranked(answers, {}, ("wrong", "stop"))[0].hits


def test_a_comment_knows_its_card() -> None:
    card = CardSeen("c", 1.0, 0, "patient-view", "s", "info", (RULE,), (), 1, ("", ""))
    found = ranked([Answer(1, "c", "overridden", 1.0, comment="x")], {"c": card}, ())

    assert card is found[0].card
