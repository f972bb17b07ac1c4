"""A test of the site, for ``manage.py test``."""

from __future__ import annotations

from django.test import TestCase

from directus_realtime.models import DirectusSubscription


class DeclarationTest(TestCase):
    """Runs in test databases."""

    databases = frozenset({"default", "directus"})

    def test_the_test_database_has_the_declaration(self) -> None:
        """The declaration is shown in the test database."""
        names = DirectusSubscription.objects.values_list("name", flat=True)
        assert list(names) == ["renamed-on-a-branch"]
