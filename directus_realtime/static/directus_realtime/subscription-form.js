/* Guides whoever adds or changes a subscription. Without it, the form is a plain one. */
"use strict";
{
  const { data, guideCollection, guideFields, guideFilter, guideTry } = window.directusSubscription;

  function start() {
    const form = document.getElementById("directussubscription_form");
    // Read-only forms, those of declared rows among them, have nothing to guide.
    if (!data || !form?.elements.filter) return;
    const schema = guideCollection(form);
    guideFields(form, schema);
    const isComplete = guideFilter(form, schema);
    guideTry(form, isComplete);
    const permission = form.querySelector(".field-browser_permission");
    const showPermission = () => {
      permission.hidden = form.elements.browser_access.value !== "permission";
    };
    form.elements.browser_access.addEventListener("change", showPermission);
    showPermission();
  }

  document.addEventListener("DOMContentLoaded", start);
}
