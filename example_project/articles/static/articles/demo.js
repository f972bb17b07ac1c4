// The demo's button. With a Directus of your own there is none.
import { texts } from "./texts.js";

export function startDemo() {
  const form = document.getElementById("demo");
  form?.addEventListener("submit", (event) => {
    event.preventDefault();
    makeChange(form);
  });
}

async function makeChange(form) {
  const button = form.querySelector("button");
  // Not "disabled": that would take the focus away from somebody at the keyboard.
  if (button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true");
  showError(await send(form));
  button.removeAttribute("aria-disabled");
}

async function send(form) {
  try {
    const response = await fetch(form.action, { method: "POST", body: new FormData(form) });
    const answer = await response.json();
    return answer.error;
  } catch {
    return texts.changeFailed;
  }
}

function showError(text) {
  const box = document.getElementById("demo-error");
  box.textContent = text;
  box.hidden = text === "";
}
