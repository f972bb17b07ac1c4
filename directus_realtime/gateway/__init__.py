"""Hands group messages on to browsers."""
