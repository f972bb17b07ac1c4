// The WebSocket that brings events as they are delivered. Without it the page polls.

const FIRST_DELAY = 1000; // milliseconds
const LAST_DELAY = 30000;
const NOT_ALLOWED = 4403;

export class Source {
  #path;
  #handlers;
  #socket = null;
  #delay = FIRST_DELAY;
  #hasGap = true;
  #hasEnded = false;

  /**
   * @param path Of the WebSocket; empty where there is none.
   * @param handlers onEvents(events, leftOut), onConnection(), onChange().
   */
  constructor(path, handlers) {
    this.#path = path;
    this.#handlers = handlers;
  }

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /** Whether events may have passed that nobody told, since this was asked last. */
  hasGap() {
    const had = this.#hasGap;
    this.#hasGap = !this.isOpen;
    return had || !this.isOpen;
  }

  start() {
    if (!this.#path || this.#hasEnded) {
      return;
    }
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}${this.#path}`);
    this.#socket = socket;
    socket.addEventListener("open", () => {
      this.#delay = FIRST_DELAY;
      this.#hasGap = true;
      this.#handlers.onChange();
    });
    socket.addEventListener("message", ({ data }) => this.#take(JSON.parse(data)));
    socket.addEventListener("close", ({ code }) => this.#wait(code));
  }

  end() {
    this.#hasEnded = true;
    this.#socket?.close();
  }

  #take(message) {
    if (message.type === "events") {
      this.#handlers.onEvents(message.events, message.left_out);
    } else if (message.type === "connection") {
      this.#handlers.onConnection();
    }
  }

  #wait(code) {
    this.#handlers.onChange();
    if (code === NOT_ALLOWED || this.#hasEnded) {
      return;
    }
    // Not all pages at the same time, after the server was restarted.
    setTimeout(() => this.start(), this.#delay * (0.5 + Math.random()));
    this.#delay = Math.min(this.#delay * 2, LAST_DELAY);
  }
}
