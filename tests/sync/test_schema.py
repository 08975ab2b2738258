"""What every table declares, so that no column travels without a reader and a merge rule."""

import pytest

from sync.schema import BY_NAME, BY_NUMBER, TABLES
from sync.schema.model import Audience, Group, Kind, Lane, Merge, Owner, Table, Type

ARCHITECTURE = """
school room class_group person enrolment staff_role consent roster_offer
device device_state device_event reading profile_version release_state
card_tap attendance_entry leave health_check notice duty honour card_screen
timetable_slot lesson lesson_party lesson_quality lesson_minutes recording resource hand_raise
quick_answer caption_track lesson_order
farm_plot farm_rule farm_action grow_log labour_point labour_confirmation farm_experiment
exercise_session heart_rate fitness_result scoring_table
evaluation_entry evaluation_aggregate growth_percentile_aggregate
alarm drill key_grant erasure audit_entry clock_clamp
"""
SEALED = {Group.HEALTH, Group.IDENTITY}


def test_every_table_of_the_architecture_is_declared() -> None:
    assert set(ARCHITECTURE.split()) <= BY_NAME.keys()


def test_names_and_numbers_are_unique() -> None:
    assert len(BY_NAME) == len(BY_NUMBER) == len(TABLES)
    assert all(0 < number < 1 << 16 for number in BY_NUMBER)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
class TestTable:
    def test_each_column_has_a_group_and_a_merge_rule_that_fits_the_kind(
        self, table: Table
    ) -> None:
        fitting = {
            (Kind.EVENT, table.owner): {Merge.ADD},
            (Kind.STATE, Owner.BOTH): {Merge.LAST_WRITER, Merge.KEY},
        }.get((table.kind, table.owner), {Merge.ROW, Merge.KEY})
        for column in table.columns:
            assert isinstance(column.group, Group)
            assert isinstance(column.type, Type)
            assert column.merge in fitting, column.name

    def test_columns_are_numbered_from_one_and_fit_the_set_of_those_present(
        self, table: Table
    ) -> None:
        numbers = [column.number for column in table.columns]
        assert numbers == list(range(1, len(numbers) + 1))
        assert numbers[-1] <= 62
        assert len(set(table.column_names)) == len(numbers)

    def test_a_states_key_stands_in_the_group_that_makes_its_rows(self, table: Table) -> None:
        if table.kind is Kind.STATE:
            # A school is one row, named by the row's own school number.
            assert table.key or table.name == "school"
            assert table.primary_group is Group.DISTRICT
        for column in table.columns:
            if column.merge is Merge.KEY:
                assert column.group is table.primary_group

    def test_only_key_grants_travel_unsealed(self, table: Table) -> None:
        groups = {column.group for column in table.columns}
        assert (Group.GRANT in groups) == (table.name == "key_grant")
        assert Group.GRANT not in groups or len(groups) == 1

    def test_what_is_sealed_to_a_school_has_that_school_as_writer_and_audience(
        self, table: Table
    ) -> None:
        if SEALED & {column.group for column in table.columns}:
            assert table.owner is Owner.SCHOOL
            assert table.audience is Audience.SCHOOL

    def test_it_has_a_lane(self, table: Table) -> None:
        assert isinstance(table.lane, Lane)

    def test_a_devices_key_is_readable_where_it_is_compared(self, table: Table) -> None:
        if table.dedupe is not None:
            column = next(column for column in table.columns if column.name == table.dedupe)
            assert table.kind is Kind.EVENT
            assert column.group is table.primary_group
            assert (table.owner, table.audience) == (Owner.SCHOOL, Audience.SCHOOL)

    def test_a_lessons_table_says_which_lesson(self, table: Table) -> None:
        if table.audience is Audience.LESSON:
            assert "lesson" in table.column_names


def test_names_heart_rates_and_checks_are_never_readable_by_the_district() -> None:
    groups = {
        f"{table.name}.{column.name}": column.group for table in TABLES for column in table.columns
    }
    assert groups["person.name"] is Group.IDENTITY
    assert groups["person.guardian"] is Group.IDENTITY
    assert groups["person.card"] is Group.IDENTITY
    assert groups["person.code"] is Group.IDENTITY
    assert groups["heart_rate.bpm"] is Group.HEALTH
    assert groups["health_check.temperature_c"] is Group.HEALTH
    assert groups["evaluation_entry.remark"] is Group.IDENTITY
