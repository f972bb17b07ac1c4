/* Keeps the states in the list as they are now, while somebody can see them. */
"use strict";
{
  const INTERVAL = 5000; // milliseconds

  function rows() {
    return [...document.querySelectorAll("#result_list [data-directus-row]")];
  }

  async function refresh() {
    const keys = rows().map((mark) => mark.dataset.directusRow);
    if (!keys.length || document.hidden) return;
    const response = await fetch(`live/?ids=${keys.join(",")}`);
    if (!response.ok || response.redirected) return;
    const answer = await response.json();
    for (const mark of rows()) {
      const cells = answer.rows[mark.dataset.directusRow];
      const row = mark.closest("tr");
      for (const [name, html] of Object.entries(cells ?? {})) put(row, name, html);
    }
  }

  /* The site made the HTML of the cell as it made the page, with everything escaped. */
  function put(row, name, html) {
    const cell = row.querySelector(`.field-${name}`);
    const now = document.createElement("template");
    now.innerHTML = html;
    const isNew = cell.innerHTML !== now.innerHTML;
    if (isNew && !cell.contains(document.activeElement)) cell.replaceChildren(now.content);
  }

  async function run() {
    try {
      await refresh();
    } catch {
      // The site is away for a moment; what is shown stays.
    }
    setTimeout(run, INTERVAL);
  }

  document.addEventListener("DOMContentLoaded", () => {
    if (!document.getElementById("changelist")) return;
    setTimeout(run, INTERVAL);
    document.addEventListener("visibilitychange", () => refresh().catch(() => {}));
  });
}
