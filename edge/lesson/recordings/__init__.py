"""Recordings on a box: files, time line, captions, how long they stay."""
