// The cards of the connections: texts from the server, put where they belong.

function card(alias) {
  return document.querySelector(`[data-connection="${CSS.escape(alias)}"]`);
}

/** Show how the connections stand; returns those whose state has changed. */
export function showConnections(connections) {
  const changed = [];
  for (const { alias, state, level, dead, texts } of connections) {
    const article = card(alias);
    if (!article) {
      continue;
    }
    const shown = article.querySelector('[data-text="state"]');
    if (shown.textContent !== texts.state) {
      changed.push({ alias, state: texts.state });
    }
    shown.className = `directus-state directus-state-${state}`;
    article.querySelector('[data-text="level"]').className = `directus-state directus-level-${level}`;
    for (const target of article.querySelectorAll("[data-text]")) {
      const text = texts[target.dataset.text];
      if (target.textContent !== text) {
        target.textContent = text;
      }
    }
    article.querySelector('[data-text="reason"]').hidden = !texts.reason;
    article.querySelector(".directus-live-dead").hidden = !dead;
  }
  return changed;
}

/** Show the last hour of each connection. */
export function showPlots(plots) {
  for (const [alias, { path, text }] of Object.entries(plots)) {
    const figure = card(alias)?.querySelector(".directus-plot");
    if (figure) {
      figure.querySelector("path").setAttribute("d", path);
      figure.querySelector("svg").setAttribute("aria-label", text);
      figure.querySelector("figcaption").textContent = text;
    }
  }
}
