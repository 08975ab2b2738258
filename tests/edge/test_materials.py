"""Slides on a box's disk: only pictures, only whole, only what their name says."""

import hashlib
import random
from dataclasses import replace
from pathlib import Path

import pytest

from edge.lesson.teaching.materials import GROWING_MAX, MaterialError, Materials, media_type_of
from sync.errors import MalformedError
from sync.lessons.fragment_log import LessonId
from sync.lessons.materials import FILE_BYTES_MAX, chunks_of

LESSON, OTHER = LessonId("lesson-1"), LessonId("lesson-2")
HEADS = {
    "image/png": b"\x89PNG\r\n\x1a\n",
    "image/jpeg": b"\xff\xd8\xff\xe0",
    "image/webp": b"RIFF\x10\x00\x00\x00WEBPVP8 ",
}


def picture(size: int = 100_000, seed: int = 1, media_type: str = "image/png") -> bytes:
    head = HEADS[media_type]
    return head + random.Random(seed).randbytes(size - len(head))


@pytest.mark.parametrize("media_type", HEADS)
def test_a_picture_is_kept_under_its_hash_and_its_lesson(tmp_path: Path, media_type: str) -> None:
    materials = Materials(tmp_path)
    data = picture(media_type=media_type)
    material = materials.add(LESSON, 3, "认识分数", data)
    assert material.digest == hashlib.sha256(data).digest()
    assert material.row["media_type"] == media_type
    path = materials.find(LESSON, material.digest)
    assert path is not None
    assert path.read_bytes() == data
    assert materials.find(OTHER, material.digest) is None


@pytest.mark.parametrize(
    ("data", "title", "why"),
    [
        (b"<svg onload=alert(1)>", "a", "no PNG"),
        (b"", "a", "no PNG"),
        (HEADS["image/png"] + bytes(FILE_BYTES_MAX), "a", "larger than 4 MB"),
        (picture(), "", "a title"),
        (picture(), "x" * 121, "a title"),
    ],
)
def test_what_is_no_slide_is_refused_with_the_remedy(
    tmp_path: Path, data: bytes, title: str, why: str
) -> None:
    materials = Materials(tmp_path)
    with pytest.raises(MaterialError, match=why):
        materials.add(LESSON, 1, title, data)
    assert materials.digests(LESSON) == []


def test_a_lesson_has_a_bounded_number_of_slides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.lesson.teaching.materials.MATERIALS_MAX", 2)
    materials = Materials(tmp_path)
    for seed in (1, 2, 1):
        materials.add(LESSON, seed, "a", picture(1000, seed))
    with pytest.raises(MaterialError, match="2 slides already"):
        materials.add(LESSON, 3, "a", picture(1000, 3))
    with pytest.raises(MalformedError, match="more than 2"):
        materials.grow(LESSON, next(chunks_of(picture(1000, 4))))


def test_a_slide_grows_from_chunks_in_any_order_and_is_there_when_it_is_whole(
    tmp_path: Path,
) -> None:
    materials = Materials(tmp_path)
    data = picture()
    digest = hashlib.sha256(data).digest()
    chunks = list(chunks_of(data))
    random.Random(3).shuffle(chunks)
    for chunk in [*chunks[:-1], *chunks[:-1]]:
        assert not materials.grow(LESSON, chunk)
        assert materials.find(LESSON, digest) is None
    assert materials.grow(LESSON, chunks[-1])
    path = materials.find(LESSON, digest)
    assert path is not None
    assert path.read_bytes() == data
    assert not materials.grow(LESSON, chunks[0])


def test_what_does_not_have_the_hash_it_is_named_by_is_never_shown(tmp_path: Path) -> None:
    materials = Materials(tmp_path)
    honest, other = list(chunks_of(picture(seed=1))), list(chunks_of(picture(seed=2)))
    forged = [replace(one, data=two.data) for one, two in zip(honest, other, strict=True)]
    for chunk in forged[:-1]:
        assert not materials.grow(LESSON, chunk)
    with pytest.raises(MalformedError, match="not the picture its name says"):
        materials.grow(LESSON, forged[-1])
    assert materials.find(LESSON, honest[0].digest) is None
    assert [materials.grow(LESSON, chunk) for chunk in honest][-1]


def test_what_is_no_picture_is_not_shown_though_its_hash_is_right(tmp_path: Path) -> None:
    with pytest.raises(MalformedError):
        Materials(tmp_path).grow(LESSON, next(chunks_of(b"<script>alert(1)</script>")))


def test_files_that_grow_are_bounded_and_the_oldest_gives_way(tmp_path: Path) -> None:
    materials = Materials(tmp_path)
    slides = [list(chunks_of(picture(40_000, seed))) for seed in range(GROWING_MAX + 1)]
    for first, _ in slides:
        materials.grow(LESSON, first)
    assert len(list((tmp_path / LESSON).iterdir())) == GROWING_MAX
    assert materials.grow(LESSON, slides[-1][1])
    assert not materials.grow(LESSON, slides[0][1])


def test_one_lessons_slides_never_push_out_those_of_another(tmp_path: Path) -> None:
    materials = Materials(tmp_path)
    first, last = chunks_of(picture(40_000, 0))
    materials.grow(LESSON, first)
    for seed in range(1, GROWING_MAX + 2):
        materials.grow(OTHER, next(chunks_of(picture(40_000, seed))))
    assert materials.grow(LESSON, last)


def test_a_lesson_that_is_given_up_takes_its_slides_along(tmp_path: Path) -> None:
    materials = Materials(tmp_path)
    for lesson in (LESSON, OTHER):
        materials.add(lesson, 1, "a", picture(1000))
    (tmp_path / "not a lesson!").mkdir()
    assert {lesson: size for lesson, (size, _) in materials.sizes().items()} == {
        LESSON: 1000,
        OTHER: 1000,
    }
    materials.forget(LESSON)
    assert materials.digests(LESSON) == []
    assert len(materials.digests(OTHER)) == 1


def test_pictures_are_told_by_their_bytes_alone() -> None:
    for media_type, head in HEADS.items():
        assert media_type_of(head) == media_type
        assert media_type_of(b"x" + head) is None
