"""The signed, sealed unit of a log, byte by byte."""
