"""Cameras as people use them: seen live and turned by hand."""
