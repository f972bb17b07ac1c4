"""The process of ``directus_listen``: from the client into the inbox, and out again."""
