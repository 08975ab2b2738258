"""Places and people. Names, guardians and codes are sealed to the school."""

from sync.schema.model import Audience, Lane, Owner, events, states

SCHOOL = states(
    1,
    "school",
    Lane.CONTROL,
    Audience.DISTRICT,
    Owner.HUB,
    """
    name TEXT district
    name_en TEXT district
    role TEXT district
    latitude REAL district
    longitude REAL district
    """,
)
ROOM = states(
    2,
    "room",
    Lane.CONTROL,
    Audience.SCHOOL,
    Owner.SCHOOL,
    """
    room TEXT district key
    name TEXT district
    """,
)
CLASS_GROUP = states(
    3,
    "class_group",
    Lane.CONTROL,
    Audience.SCHOOL,
    Owner.SCHOOL,
    """
    class_group TEXT district key
    name TEXT district
    grade INTEGER district
    room TEXT district
    """,
)
# The identity columns hold cells sealed under the person's own key (sync.persons.vault). A code is
# the roster keeper's name of the person, by which a later roster finds them again.
PERSON = states(
    4,
    "person",
    Lane.CONTROL,
    Audience.SCHOOL,
    Owner.SCHOOL,
    """
    person INTEGER district key
    kind TEXT district
    name BLOB identity
    card BLOB identity
    guardian BLOB identity
    code BLOB identity
    """,
)
ENROLMENT = states(
    5,
    "enrolment",
    Lane.CONTROL,
    Audience.SCHOOL,
    Owner.SCHOOL,
    """
    person INTEGER district key
    class_group TEXT district
    since_ms INTEGER district
    """,
)
STAFF_ROLE = states(
    6,
    "staff_role",
    Lane.CONTROL,
    Audience.SCHOOL,
    Owner.SCHOOL,
    """
    staff TEXT district key
    role TEXT district key
    name TEXT district
    """,
)
CONSENT = events(
    7,
    "consent",
    Lane.CONTROL,
    Audience.SCHOOL,
    """
    at_ms INTEGER district
    person INTEGER district
    purpose TEXT district
    granted INTEGER district
    """,
)
# A sealed roster (sync.rosters.sealed) that the district proposes, in pieces; a person at the
# school takes it or not. The hub reads no more of it than of the file: the header.
ROSTER_OFFER = states(
    8,
    "roster_offer",
    Lane.BULK,
    Audience.SCHOOL,
    Owner.HUB,
    """
    piece INTEGER district key
    pieces INTEGER district
    made_ms INTEGER district
    content BLOB district
    """,
)

TABLES = (SCHOOL, ROOM, CLASS_GROUP, PERSON, ENROLMENT, STAFF_ROLE, CONSENT, ROSTER_OFFER)
