// The list of events. Whatever an event says is put in as text.

const SHOWN = 200; // events
const REMEMBERED = 2000; // ids

function part(name, text, tag = "span") {
  const made = document.createElement(tag);
  made.className = name;
  made.textContent = text;
  return made;
}

function link(url, text) {
  const made = document.createElement("a");
  made.href = url;
  made.textContent = text;
  return made;
}

export class Feed {
  #list;
  #config;
  #ask;
  #seen = new Set();
  #held = [];
  #isPaused = false;
  #collection = "";

  constructor(list, config, ask) {
    this.#list = list;
    this.#config = config;
    this.#ask = ask;
  }

  get isPaused() {
    return this.#isPaused;
  }

  set isPaused(value) {
    this.#isPaused = value;
    if (!value) {
      const held = this.#held;
      this.#held = [];
      this.#show(held);
    }
  }

  /** Events that came in while the list stands still. */
  get waiting() {
    return this.#held.length;
  }

  get isEmpty() {
    return !this.#list.childElementCount && !this.#held.length;
  }

  /** Begin anew, with the events of one collection, or of all. */
  clear(collection) {
    this.#collection = collection;
    this.#seen.clear();
    this.#held = [];
    this.#list.replaceChildren();
  }

  /** Take events, the oldest first; returns those that are new and wanted. */
  add(events) {
    const added = events.filter((event) => this.#isNew(event));
    if (this.#isPaused) {
      this.#held = [...this.#held, ...added].slice(-SHOWN);
    } else {
      this.#show(added);
    }
    return added;
  }

  #isNew({ id, collection }) {
    if (this.#seen.has(id) || (this.#collection && collection !== this.#collection)) {
      return false;
    }
    this.#seen.add(id);
    if (this.#seen.size > REMEMBERED) {
      this.#seen.delete(this.#seen.values().next().value);
    }
    return true;
  }

  #show(events) {
    for (const event of events.slice(-SHOWN)) {
      this.#list.prepend(this.#row(event));
    }
    while (this.#list.childElementCount > SHOWN) {
      this.#list.lastElementChild.remove();
    }
  }

  #row(event) {
    const { actions, origins } = this.#config;
    const details = document.createElement("details");
    const summary = document.createElement("summary");
    summary.append(
      part("directus-quiet", event.time, "time"),
      part("directus-item", `${event.collection} ${event.key}`),
      part("directus-action", actions[event.action] ?? event.action),
      part("directus-quiet", event.subscription),
      part("directus-quiet", origins[event.origin] ?? event.origin),
    );
    details.append(summary);
    details.addEventListener("toggle", () => this.#open(details, event), { once: true });
    const row = document.createElement("li");
    row.dataset.id = event.id;
    row.append(details);
    return row;
  }

  async #open(details, { id }) {
    const { words, event: address } = this.#config;
    const payload = document.createElement("div");
    payload.className = "directus-payload";
    payload.textContent = words.loading;
    details.append(payload);
    try {
      const found = await this.#ask(address.replace("00000000-0000-0000-0000-000000000000", id));
      const text = part("directus-pre", found.data, "pre");
      text.tabIndex = 0; // it scrolls, so it must be reached by keyboard
      payload.replaceChildren(text, link(found.url, words.inbox));
      if (found.studio_url) {
        payload.append(link(found.studio_url, words.studio));
      }
    } catch {
      payload.textContent = words.failed;
      details.addEventListener("toggle", () => {
        payload.remove();
        if (details.open) {
          this.#open(details, { id });
        }
      }, { once: true });
    }
  }
}
