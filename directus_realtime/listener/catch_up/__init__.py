"""What the socket did not bring: read from Directus's activity log, each change once."""
