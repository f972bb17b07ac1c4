from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import gc, os
import django
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
django.setup()
from directus_realtime.management.commands.directus_listen import tune_gc
class Node: pass
node = Node(); node.itself = node
tune_gc()
assert gc.get_freeze_count() > 1000 and gc.isenabled()
first = gc.get_threshold()[0]
assert first > 700
# What is made from now on is collected all the same.
import weakref
node = Node(); node.itself = node
gone = weakref.ref(node)
del node
kept = [[] for _ in range(first + 100)]
assert gone() is None
"""


def test_what_was_made_at_the_start_is_not_looked_at_again() -> None:
    # In a process of its own: it holds for all of it.
    subprocess.run([sys.executable, "-c", SCRIPT], check=True)
