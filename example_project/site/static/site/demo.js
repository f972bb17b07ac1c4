// The demo's button. With a Directus of your own there is none.
import { post } from "./http.js";
import { showError } from "./rows.js";

export function startDemo() {
  for (const form of document.querySelectorAll("[data-demo]")) {
    const button = form.querySelector("button");
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      // Not "disabled": that would take the focus away from somebody at the keyboard.
      if (button.getAttribute("aria-disabled") === "true") return;
      button.setAttribute("aria-disabled", "true");
      showError(form.querySelector("[data-part=error]"), await post(form.action));
      button.removeAttribute("aria-disabled");
    });
  }
}
