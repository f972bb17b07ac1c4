"""Where the tasks framework comes from: Django 6, or its backport on Django 5.2."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any


def find_task() -> Callable[..., Any] | None:
    """Return the decorator of the tasks framework; ``None`` where there is none."""
    for name in ("django.tasks", "django_tasks"):
        try:
            decorator: Callable[..., Any] = import_module(name).task
        except ImportError:
            continue
        return decorator
    return None
