from hypothesis import given
from hypothesis import strategies as st

from edge.card_book import CardBook

ZHANG, WANG = 17, 18


def book(**cards: int) -> CardBook:
    made = CardBook()
    for card, person in cards.items():
        made.put(card.removeprefix("_"), person)
    return made


def test_a_card_is_its_holders_in_every_notation() -> None:
    cards = book(_6F007B3972=ZHANG)
    for read in ("0008075634", "007B3972", "123,14706", "12314706", "8075634", "6f 00 7b 39 72"):
        assert cards.person_of(read) == ZHANG, read
    assert cards.person_of("0008075635") is None


def test_a_roster_of_hexadecimal_digits_without_letters_is_understood_too() -> None:
    cards = book(_0100123456=ZHANG)
    assert cards.person_of(f"{0x00123456:010}") == ZHANG


def test_a_reader_that_sends_the_bytes_the_other_way_round_finds_the_card() -> None:
    assert book(_12345678AB=ZHANG).person_of("AB785634") == ZHANG


def test_wiegand_26_finds_a_card_by_24_bits_unless_two_share_them() -> None:
    cards = book(_1A7B3972=ZHANG)
    assert cards.person_of("7B3972") == ZHANG
    cards.put("2B7B3972", WANG)
    assert cards.person_of("7B3972") is None
    assert cards.person_of("2B7B3972") == WANG
    cards.drop("2B7B3972")
    assert cards.person_of("7B3972") == ZHANG


def test_a_roster_by_wiegand_26_knows_the_whole_number() -> None:
    assert CardBook().person_of("1A7B3972") is None
    cards = CardBook()
    cards.put("123,14706", ZHANG)
    assert cards.person_of("1A7B3972") == ZHANG


def test_a_card_passes_on_whichever_way_it_is_written() -> None:
    cards = book(_0008075634=ZHANG)
    cards.put("6F007B3972", WANG)
    assert cards.person_of("0008075634") == WANG
    cards.drop_person(WANG)
    assert cards.person_of("007B3972") is None
    assert cards.holder("0008075634") is None


@given(st.lists(st.tuples(st.text("0123456789ABCDEF,", max_size=10), st.integers(1, 3))))
def test_what_is_dropped_leaves_nothing_behind(cards: list[tuple[str, int]]) -> None:
    kept = CardBook()
    for card, person in cards:
        kept.put(card, person)
    for card, _ in cards:
        kept.drop(card)
    assert not kept._holders
    assert not kept._written
    assert not kept._possible
    assert not kept._low
