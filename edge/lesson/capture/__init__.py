"""From cameras and screens to one take: sessions, tracks, time line, fMP4."""
