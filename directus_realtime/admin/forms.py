"""The forms of a subscription and of a replay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.forms.widgets import Script
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from directus_realtime.models import BrowserAccess, DirectusSubscription
from directus_realtime.settings import aliases

# Only the stubs know the class as generic.
if TYPE_CHECKING:
    _SubscriptionForm = forms.ModelForm[DirectusSubscription]
else:
    _SubscriptionForm = forms.ModelForm


def script(name: str) -> Script:
    """A script of the subscription's pages; it runs after the page is parsed, in order."""
    return Script(f"directus_realtime/subscription-{name}.js", defer=True)


class DirectusSubscriptionForm(_SubscriptionForm):
    """Form with the configured connections; an empty filter or field list means none."""

    class Media:
        js = (
            *(script("elements"), script("combobox"), script("schema"), script("fields")),
            *(script("values"), script("filter"), script("try"), script("form")),
        )

    class Meta:
        model = DirectusSubscription
        exclude = ()
        widgets = {
            "filter": forms.Textarea(attrs={"rows": 6, "cols": 60, "spellcheck": "false"}),
            "fields": forms.Textarea(attrs={"rows": 3, "cols": 60, "spellcheck": "false"}),
        }
        # Here, not in the model: a changed help text there would be a migration.
        help_texts = {
            "filter": _(
                'A Directus filter such as {"status": {"_eq": "published"}}; {} for all. A delete '
                "carries no data that a filter could judge: it is delivered for an item that was "
                "in the filter when it was last seen, and for every item where “on create” or "
                "“on update” is not chosen."
            ),
            "on_delete": _(
                "Directus itself sends the deletes of all items; see the filter for those that "
                "are delivered."
            ),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "connection" in self.fields:
            known = list(dict.fromkeys([*aliases(), self.instance.connection]))
            self.fields["connection"].widget = forms.Select(choices=[(a, a) for a in known])
        if "browser_access" in self.fields:
            # A function is named in code, so only a subscription that is declared there has one.
            choices = [c for c in BrowserAccess.choices if c[0] != BrowserAccess.FUNCTION]
            self.fields["browser_access"].choices = choices  # type: ignore[attr-defined]

    def clean_filter(self) -> Any:
        """Return ``{}`` for an empty filter."""
        value = self.cleaned_data.get("filter")
        return {} if value is None else value

    def clean_fields(self) -> Any:
        """Return ``[]`` for an empty list."""
        value = self.cleaned_data.get("fields")
        return [] if value is None else value


def _moment() -> forms.DateTimeInput:
    """The browser's own input of date and time, in the current time zone."""
    return forms.DateTimeInput({"type": "datetime-local", "step": 1}, "%Y-%m-%dT%H:%M:%S")


class ReplayForm(forms.Form):
    """Time span of a replay."""

    since = forms.DateTimeField(label=_("Since"), widget=_moment())
    until = forms.DateTimeField(
        label=_("Until"),
        widget=_moment(),
        required=False,
        help_text=_("Leave it empty to replay up to now."),
    )
    key = forms.CharField(
        label=_("Key"),
        required=False,
        max_length=255,
        help_text=_("Only the item with this primary key; empty for all."),
    )

    def clean(self) -> dict[str, Any]:
        """Check that the span begins in the past, and before its end."""
        cleaned = super().clean() or {}
        since, until = cleaned.get("since"), cleaned.get("until")
        if since and since > timezone.now():
            raise ValidationError(_("“Since” is in the future."))
        if since and until and until < since:
            raise ValidationError(_("“Until” is before “Since”."))
        return cleaned
