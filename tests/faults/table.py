"""
RELIABILITY.md section 3, row by row: which tests show what the service does when this goes wrong.

A test is named by its file below ``tests/`` and its function; ``test_table.py`` holds that each is there, and that
docs/security.md shows the same.
"""

from __future__ import annotations

FHIR, PAGES, LOAD, NAMES = (f"faults/test_fhir_{one}.py" for one in ("faults", "pages", "load", "names"))
KEYS, TOKENS, DOOR = "adapters/auth/test_keys.py", "adapters/auth/test_tokens.py", "web/test_door.py"
FEEDBACK, DURABLE, SHARED, HTTP = (f"ledger/test_{one}.py" for one in ("feedback", "durability", "shared", "http"))
DECISIONS, TABLES = "ledger/test_decisions.py", "ledger/test_tables.py"
SLOW, SIGNALS, LOGS, LIMITS, METRICS = (
    f"operations/test_{one}.py" for one in ("slow_clients", "signals", "logging", "limits", "metrics")
)
RULES, ANYWHERE = "faults/test_rules_in_use.py", "faults/test_anywhere.py"
IN_TIME = f"{FHIR}::test_where_nothing_can_be_had_the_answer_is_412_within_the_budget"

FAULTS: dict[int, tuple[str, tuple[str, ...]]] = {
    1: ("FHIR server slow", (IN_TIME, f"{FHIR}::test_what_was_prefetched_is_answered_all_the_same")),
    2: ("FHIR server accepts, never answers", (IN_TIME,)),
    3: ("headers then silence; dripping", (IN_TIME,)),
    4: (
        "500, 503 with Retry-After",
        (
            f"{FHIR}::test_a_query_is_asked_again_only_where_that_may_help",
            f"{FHIR}::test_the_breaker_stops_asking_after_five_failed_calls_and_one_tries_again",
        ),
    ),
    5: ("429", (IN_TIME, f"{FHIR}::test_a_query_is_asked_again_only_where_that_may_help")),
    6: (
        "401, 403, token expired",
        (
            f"{FHIR}::test_a_token_that_has_expired_is_not_tried",
            f"{FHIR}::test_one_patients_or_tokens_refusal_does_not_stop_the_others",
        ),
    ),
    7: ("404 Patient", (f"{FHIR}::test_where_the_server_does_not_know_the_patient_its_empty_lists_are_not_believed",)),
    8: (
        "paging loop, endless pages",
        (
            f"{PAGES}::test_after_ten_pages_it_is_enough_and_the_rest_is_unknown",
            f"{PAGES}::test_pages_that_never_end_are_left",
        ),
    ),
    9: ("next link to another host", (f"{PAGES}::test_a_next_link_to_another_place_is_not_followed",)),
    10: ("redirects", (f"{PAGES}::test_redirects_are_not_followed",)),
    11: ("answers that are no FHIR JSON", (IN_TIME,)),
    12: (
        "huge and packed answers",
        (
            f"{PAGES}::test_a_huge_answer_is_cut_and_takes_little_memory",
            f"{PAGES}::test_all_pages_of_a_call_together_have_a_limit",
        ),
    ),
    13: (
        "half of the queries fail",
        (
            f"{FHIR}::test_where_some_queries_fail_the_rules_with_data_speak",
            f"{FHIR}::test_where_half_of_the_queries_hang_the_other_half_is_used",
        ),
    ),
    14: ("data of another patient", (f"{FHIR}::test_data_of_another_patient_are_412_without_a_card",)),
    15: ("32 calls hang on FHIR", (f"{LOAD}::test_calls_that_hang_do_not_hold_up_those_that_bring_their_data",)),
    16: ("reset, garbage status line", (IN_TIME, f"{FHIR}::test_a_server_that_is_not_there_is_a_gap")),
    17: (
        "names that are not found, or slowly",
        (
            f"{NAMES}::test_a_name_that_is_not_known_is_a_gap",
            f"{NAMES}::test_a_resolver_that_sleeps_costs_the_budget_and_one_thread",
        ),
    ),
    18: (
        "keys of issuers: down, slow, garbage, rotated",
        (
            f"{KEYS}::test_a_fetch_that_fails_never_loses_keys",
            f"{KEYS}::test_a_flood_of_unknown_keys_is_at_most_two_fetches",
            f"{KEYS}::test_a_server_that_hangs_costs_two_seconds_once",
            f"{DOOR}::test_where_keys_were_never_had_the_answer_is_503",
        ),
    ),
    19: (
        "database locked by another process",
        (
            f"{FEEDBACK}::test_while_somebody_else_holds_the_lock_feedback_waits_two_seconds",
            f"{HTTP}::test_hooks_are_answered_at_once_while_the_ledger_is_locked",
        ),
    ),
    20: (
        "disk of the database full",
        (
            f"{FEEDBACK}::test_a_full_disk_refuses_and_recovers",
            f"{FEEDBACK}::test_a_full_tmpfs_refuses_keeps_what_it_has_and_recovers",
            f"{METRICS}::test_trouble_with_the_ledger_is_said_within_a_second",
        ),
    ),
    21: ("write error, fsync error", (f"{DURABLE}::test_what_the_disk_refuses_is_not_acknowledged",)),
    22: (
        "slow fsync",
        (
            f"{DECISIONS}::test_recording_takes_no_time_while_the_database_is_locked",
            f"{HTTP}::test_hooks_are_answered_at_once_while_the_ledger_is_locked",
        ),
    ),
    23: (
        "database read-only, deleted, damaged",
        (
            f"{FEEDBACK}::test_a_file_made_read_only_takes_no_feedback",
            f"{FEEDBACK}::test_a_file_deleted_while_open_takes_no_more_feedback",
            f"{TABLES}::test_a_damaged_file_is_refused_and_left_alone",
            "cli/test_ledger.py::test_a_file_that_is_damaged_can_be_set_aside",
        ),
    ),
    24: ("kill -9 while writing", (f"{DURABLE}::test_nothing_acknowledged_is_lost_by_kill_9",)),
    25: ("power cut", (f"{DURABLE}::test_it_is_acknowledged_after_the_disk_has_it",)),
    26: ("the same feedback 24 times at once", (f"{FEEDBACK}::test_24_at_once_are_one_row",)),
    27: (
        "rules broken at a reload",
        (
            f"{SIGNALS}::test_broken_content_never_replaces_good_content",
            f"{SIGNALS}::test_all_workers_follow_new_content",
        ),
    ),
    28: ("rules change during a call", (f"{RULES}::test_a_call_never_sees_two_books",)),
    29: (
        "one rule raises",
        (
            "web/test_failures.py::test_a_rule_that_fails_does_not_silence_the_others",
            f"{RULES}::test_a_rule_that_does_nothing_but_fail_is_not_asked_any_more",
        ),
    ),
    30: ("a worker is killed", (f"{SIGNALS}::test_a_killed_worker_takes_only_its_own_calls_with_it",)),
    31: (
        "TERM",
        (
            f"{SIGNALS}::test_calls_in_flight_finish_and_the_probe_says_stopping_first",
            f"{SIGNALS}::test_what_was_decided_is_on_disk_when_the_service_has_stopped",
        ),
    ),
    32: ("HUP", (f"{SIGNALS}::test_no_call_is_lost_over_two_reloads_and_a_stop",)),
    33: (
        "slow and idle clients",
        (
            f"{SLOW}::test_a_good_call_is_answered_beside_hostile_clients",
            f"{SLOW}::test_more_clients_than_places_push_out_the_silent_ones",
        ),
    ),
    34: (
        "clients hang up",
        (
            f"{SLOW}::test_clients_that_hang_up_in_the_middle_leave_no_trace_in_the_log",
            f"{SLOW}::test_nothing_is_left_of_them",
        ),
    ),
    35: ("little memory", (f"{LIMITS}::test_with_little_memory_a_large_request_is_refused_and_the_process_lives",)),
    36: (
        "64 file descriptors",
        (f"{LIMITS}::test_with_64_file_descriptors_the_service_recovers_from_more_clients_than_it_can_hold",),
    ),
    37: ("processors saturated", (f"{LIMITS}::test_with_the_processors_saturated_what_is_accepted_is_answered_soon",)),
    38: (
        "clocks",
        (
            f"{RULES}::test_the_same_cards_at_odd_moments",
            f"{RULES}::test_a_clock_that_jumps_changes_no_answer_it_does_not_concern",
            f"{RULES}::test_time_limits_follow_a_clock_that_nobody_sets",
            f"{TOKENS}::test_within_the_leeway_after_its_end_a_token_still_counts_once",
        ),
    ),
    39: ("the same call twice at once", (f"{RULES}::test_the_same_call_twice_at_once_gets_the_same_answer",)),
    40: (
        "2,000 and 20,000 results",
        (
            f"{LIMITS}::test_as_many_resources_as_a_call_may_hold_are_answered",
            "properties/test_hostile_input.py::test_very_many_results_are_answered_in_time_and_like_the_few_that_matter",
        ),
    ),
    41: (
        "prefetch null, absent, failed, empty, first page",
        (
            "web/test_completion.py::test_what_the_client_has_looked_for_is_not_looked_for_again",
            "web/test_completion.py::test_the_pages_that_follow_a_prefetched_one_are_read",
        ),
    ),
    42: ("two patients at once", ("operations/test_patients.py::test_ten_thousand_calls_never_mix_two_patients",)),
    43: (
        "content saved under load",
        (f"{SIGNALS}::test_broken_content_never_replaces_good_content", f"{RULES}::test_a_call_never_sees_two_books"),
    ),
    44: (
        "log disk full, log pipe blocked",
        (
            f"{LOGS}::test_calls_go_on_where_nobody_reads_the_log",
            f"{LOGS}::test_calls_go_on_where_the_disk_of_the_log_is_full",
        ),
    ),
    45: ("metrics read slowly", (f"{SLOW}::test_a_good_call_is_answered_beside_hostile_clients",)),
    46: ("wrong settings", ("cli/test_refused_start.py::test_a_wrong_setting_ends_the_start_and_is_named",)),
    47: (
        "tables of another version",
        (
            f"{TABLES}::test_a_migration_that_fails_leaves_nothing_behind",
            f"{TABLES}::test_a_newer_database_is_refused_in_words",
            f"{TABLES}::test_before_the_tables_change_the_file_is_copied",
        ),
    ),
    48: ("time zone of the machine", (f"{ANYWHERE}::test_the_answers_are_the_same_anywhere",)),
    49: ("locale, hash seed, -O", (f"{ANYWHERE}::test_the_answers_are_the_same_anywhere",)),
    50: (
        "the n-th call fails",
        (
            f"{RULES}::test_whichever_file_cannot_be_opened_the_book_in_force_stays",
            f"{FEEDBACK}::test_a_message_that_fails_half_way_is_not_there_at_all",
        ),
    ),
}
