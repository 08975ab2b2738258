"""What a lesson needs and what of it fails, and a class's plan, in the reader's language."""

from collections.abc import Mapping

import msgspec

from edge.lesson.preparing.checks import Check, Fixer, Item, LessonPlan, SourceTrouble
from edge.pages.box_view import LessonView
from edge.pages.language import Language
from sync.lessons.tracks import BLACKBOARD, DOCUMENT, PICTURE, PICTURE_SMALL, SOUND


def told_lesson(lesson: LessonView, language: Language) -> dict[str, object]:
    """Return a lesson as JSON shows it, every sentence in the reader's language."""
    told: dict[str, object] = msgspec.to_builtins(lesson)
    told["flagship"] = language.either(lesson.flagship, lesson.flagship_en)
    told["receivers"] = [language.either(*names) for names in lesson.receivers]
    told["preflight"] = [told_check(check, language) for check in lesson.preflight]
    told["plan"] = None if lesson.plan is None else told_plan(lesson.plan, language)
    return told


def told_check(check: Check, language: Language) -> dict[str, str]:
    """Return a check's item, light, fact, remedy and who can apply it."""
    return {
        "item": item_words(language)[check.item],
        "state": check.state.value,
        "fact": language.retold(check.fact),
        "remedy": language.retold(check.remedy) if check.remedy else "",
        "who": "" if check.who is None else fixer_words(language)[check.who],
    }


def told_trouble(trouble: SourceTrouble, language: Language) -> dict[str, str]:
    """Return a trouble's source, light, fact, remedy and who can apply it."""
    return {
        "item": source_words(language)[trouble.track],
        "state": trouble.state.value,
        "fact": language.retold(trouble.fact),
        "remedy": language.retold(trouble.remedy) if trouble.remedy else "",
        "who": fixer_words(language)[trouble.who],
    }


def told_plan(plan: LessonPlan, language: Language) -> dict[str, list[str]]:
    return {
        "has": [language.retold(text) for text in plan.has],
        "gets": [language.retold(text) for text in plan.gets],
    }


def item_words(language: Language) -> Mapping[Item, str]:
    _ = language.translations.gettext
    return {
        Item.CAMERA: _("camera"),
        Item.AIM: _("camera's position"),
        Item.SOUND: _("sound"),
        Item.BLACKBOARD: _("blackboard"),
        Item.BOARD_PICTURE: _("blackboard's picture"),
        Item.DOCUMENT: _("document camera"),
        Item.CLASS_CARD: _("class card"),
        Item.PAGE: _("classroom page"),
        Item.STAND_IN: _("recording that stands in"),
        Item.LINE: _("line to the hub"),
        Item.KEY: _("lesson's key"),
        Item.DISK: _("room on the disk"),
        Item.CLOCK: _("clock"),
    }


def source_words(language: Language) -> Mapping[int, str]:
    """Return what each track comes from that a room's cameras and microphone give."""
    _ = language.translations.gettext
    return {
        PICTURE: _("camera"),
        SOUND: _("sound"),
        PICTURE_SMALL: _("camera's small picture"),
        BLACKBOARD: _("blackboard's picture"),
        DOCUMENT: _("document camera"),
    }


def fixer_words(language: Language) -> Mapping[Fixer, str]:
    _ = language.translations.gettext
    return {
        Fixer.IT: _("the school's IT"),
        Fixer.TEACHER: _("the teacher"),
        Fixer.PARTNER: _("the other school's IT"),
        Fixer.DISTRICT: _("the district"),
    }
