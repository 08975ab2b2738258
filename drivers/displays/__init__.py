"""Projectors, panels and smart blackboards."""
