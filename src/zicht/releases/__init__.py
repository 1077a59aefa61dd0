"""Releases: from protected values to published files, and the pointer that readers follow."""
