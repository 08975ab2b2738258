"""ONVIF cameras."""
