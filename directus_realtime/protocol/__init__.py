"""The Directus WebSocket protocol without I/O: frames in, frames and actions out."""
