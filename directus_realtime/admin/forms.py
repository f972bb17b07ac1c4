"""The form of a subscription."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms

from directus_realtime.models import DirectusSubscription
from directus_realtime.settings import aliases

# Only the stubs know the class as generic.
if TYPE_CHECKING:
    _SubscriptionForm = forms.ModelForm[DirectusSubscription]
else:
    _SubscriptionForm = forms.ModelForm


class DirectusSubscriptionForm(_SubscriptionForm):
    """Offers the configured connections; an empty filter or field list means none."""

    class Meta:
        model = DirectusSubscription
        exclude = ()
        widgets = {
            "filter": forms.Textarea(attrs={"rows": 4, "cols": 60, "spellcheck": "false"}),
            "fields": forms.Textarea(attrs={"rows": 2, "cols": 60, "spellcheck": "false"}),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "connection" in self.fields:
            known = list(dict.fromkeys([*aliases(), self.instance.connection]))
            self.fields["connection"].widget = forms.Select(choices=[(a, a) for a in known])

    def clean_filter(self) -> Any:
        """An emptied filter is no filter."""
        value = self.cleaned_data.get("filter")
        return {} if value is None else value

    def clean_fields(self) -> Any:
        """An emptied list is no list."""
        value = self.cleaned_data.get("fields")
        return [] if value is None else value
