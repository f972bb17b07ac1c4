"""The door: an HTTP address that Directus calls when items change, to wake the listener."""
