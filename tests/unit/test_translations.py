"""The French translation is whole: of what is marked in the source, all is there."""

from __future__ import annotations

import gettext
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import directus_realtime

PACKAGE = Path(directus_realtime.__file__).parent
CATALOGUE = PACKAGE / "locale" / "fr" / "LC_MESSAGES" / "django"
KEYWORDS = ("gettext_lazy", "ngettext:1,2", "ngettext_lazy:1,2", "gettext", "gettext_noop", "_")


def test_nothing_is_left_untranslated_or_doubtful() -> None:
    text = CATALOGUE.with_suffix(".po").read_text(encoding="utf-8")
    assert "fuzzy" not in text
    entries = text.split("\n\n")[1:]
    assert [entry for entry in entries if re.search(r'msgstr(\[\d\])? ""(?!\n")', entry)] == []


def test_every_text_of_the_source_is_in_the_catalogue() -> None:
    if shutil.which("xgettext") is None:
        pytest.skip("xgettext (Debian's package gettext)")
    with CATALOGUE.with_suffix(".mo").open("rb") as file:
        catalogue: Any = gettext.GNUTranslations(file)
    # A plural form has its number beside the text.
    known = {key if isinstance(key, str) else key[0] for key in catalogue._catalog}
    command = ["xgettext", "--from-code=UTF-8", "-L", "Python", "-o", "-", "--no-location"]
    command += [f"--keyword={keyword}" for keyword in KEYWORDS]
    files = [str(path) for path in PACKAGE.rglob("*.py")]
    done = subprocess.run([*command, *files], capture_output=True, text=True, check=True)
    asked = {_text(found) for found in re.findall(r'^msgid ((?:".*"\n)+)', done.stdout, re.M)}
    assert asked - known - {""} == set()


def _text(quoted: str) -> str:
    parts = re.findall(r'"(.*)"', quoted)
    return "".join(parts).replace('\\"', '"').replace("\\n", "\n").replace("\\\\", "\\")
