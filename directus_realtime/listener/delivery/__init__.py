"""The way out: events of the inbox to receivers and groups, in the listener or by workers."""
