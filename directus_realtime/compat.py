"""Where the tasks framework comes from: Django 6, or its backport on Django 5.2."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any


def _find_task() -> Any:
    for name in ("django.tasks", "django_tasks"):
        try:
            return import_module(name).task
        except ImportError:
            continue
    return None


#: The decorator of the tasks framework; ``None`` where there is none.
task: Callable[..., Any] | None = _find_task()
