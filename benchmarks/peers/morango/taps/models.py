"""The benchmark's rows as Morango's models: taps are events, slots are written again and again."""

from django.db import models
from morango.models.core import SyncableModel

PROFILE = "school"


class _Row(SyncableModel):
    morango_profile = PROFILE

    # Whose it is; Morango's partitions begin with it.
    dataset = models.CharField(max_length=32)

    class Meta:
        abstract = True

    def calculate_partition(self, *args, **kwargs):
        return self.dataset


class Tap(_Row):
    morango_model_name = "tap"

    at_ms = models.BigIntegerField()
    device = models.CharField(max_length=40)
    person = models.BigIntegerField()
    room = models.CharField(max_length=40)
    card = models.CharField(max_length=40, null=True, blank=True)

    def calculate_source_id(self, *args, **kwargs):
        return None  # random: two taps may be alike


class Slot(_Row):
    morango_model_name = "slot"

    slot = models.CharField(max_length=40, db_index=True)
    subject = models.CharField(max_length=40)
    teacher = models.CharField(max_length=40)

    def calculate_source_id(self, *args, **kwargs):
        return self.slot
