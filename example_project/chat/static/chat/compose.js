// Writing a message. It shows up when it comes back from Directus, as everybody's does.
import { post } from "../site/http.js";
import { showError } from "../site/rows.js";

export function startComposing() {
  const form = document.getElementById("compose");
  if (form === null) return;
  const text = form.elements.content;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const content = text.value.trim();
    if (content === "" || form.classList.contains("is-sending")) return;
    form.classList.add("is-sending");
    const error = await post(form.action, { content });
    form.classList.remove("is-sending");
    showError(document.getElementById("compose-error"), error);
    // What could not be sent stays to be tried again, and so does what was written meanwhile.
    if (!error && text.value.trim() === content) text.value = "";
  });
  text.addEventListener("keydown", (event) => sendOnEnter(event, form));
}

// Enter sends, Shift+Enter begins a line; while a word is composed, Enter belongs to that.
export function sendOnEnter(event, form) {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  form.requestSubmit();
}
