"""Helpers without Django and without knowledge of Directus."""
