"""Users of this site for the people of the demonstration."""

from __future__ import annotations

from collections.abc import Mapping

from django.contrib.auth.models import User

from example_project.demo.content import PEOPLE
from example_project.site.directus import directus
from example_project.site.models import DirectusProfile


def link_people(directus_users: Mapping[str, str]) -> list[str]:
    """Create users without a password for the people that visitors play.

    Args:
        directus_users: Keys of the users in Directus by e-mail address.

    Returns:
        The names of the linked users.
    """
    linked = []
    for person in PEOPLE:
        if not person.is_played or person.email not in directus_users:
            continue
        user = _make_user(person.username, person.first_name)
        if user.has_usable_password():
            continue  # a user of the site's own has that name
        linked.append(person.username)
        key = directus_users[person.email]
        # In another Directus, the key was another's.
        DirectusProfile.objects.filter(directus_user=key).exclude(user=user).delete()
        DirectusProfile.objects.update_or_create(user=user, defaults={"directus_user": key})
    return linked


async def read_directus_users() -> dict[str, str]:
    """Keys of the demonstration's people in Directus, by e-mail address.

    Raises:
        DirectusProblem: Directus is unavailable, or refuses to list its users.
    """
    emails = [each.email for each in PEOPLE]
    async with directus() as client:
        users = await client.read_items(
            "directus_users", filter={"email": {"_in": emails}}, fields=["id", "email"]
        )
    return {user["email"]: user["id"] for user in users}


def played_user(username: str) -> User | None:
    """Return the user of a person that visitors play, if it exists."""
    if username not in {each.username for each in PEOPLE if each.is_played}:
        return None
    # A user with a password, or of the staff, needs the password.
    user = User.objects.filter(username=username, is_staff=False).first()
    return None if user is None or user.has_usable_password() else user


def _make_user(username: str, first_name: str) -> User:
    users = User.objects
    user = users.filter(username=username).first()
    if user is None:
        user = users.create_user(username, first_name=first_name)
    return user
