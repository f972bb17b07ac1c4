"""Follows Directus's activity log: each row becomes one event for each subscription."""
