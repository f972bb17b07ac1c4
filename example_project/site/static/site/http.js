// Requests to this site.
import { texts } from "./texts.js";

export async function fetchJson(url) {
  const response = await fetch(url, { headers: { Accept: "application/json" } });
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  return response.json();
}

// Posts fields; answers with the sentence that says what went wrong, or with none.
export async function post(url, fields = {}) {
  const headers = { "X-CSRFToken": document.body.dataset.csrf, Accept: "application/json" };
  try {
    const response = await fetch(url, { method: "POST", headers, body: new URLSearchParams(fields) });
    const answer = await response.json();
    return answer.error;
  } catch {
    return texts.changeFailed;
  }
}
