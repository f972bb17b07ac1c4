/**
 * The gateway of django-directus-realtime in a page: live items of Directus, by way of Django.
 *
 *     import { connect } from "/static/directus_realtime/gateway.js";
 *
 *     const gateway = connect("/directus/", { onState: (state) => console.log(state) });
 *     gateway.subscribe("articles", {
 *       query: { fields: ["id", "title"], filter: { status: { _eq: "published" } } },
 *       onFirstLoad: (rows) => rows.forEach(show),
 *       onEvent: ({ action, data }) => (action === "delete" ? remove(data) : show(data)),
 *       onError: ({ code, message }) => console.warn(code, message),
 *     });
 *
 * The connection comes back by itself, and its subscriptions with it: what was missed is
 * handed over as events where the server still has it, else the first load comes anew.
 * No event is handed over twice.
 */

const FIRST_DELAY = 500; // milliseconds until the first attempt to come back
const LONGEST_DELAY = 10_000;
const STABLE_AFTER = 5_000; // open that long, the delays begin anew
const OPEN_TIMEOUT = 10_000;
const SILENCE = 20_000; // without a word for that long, the server is asked
const ANSWER_TIMEOUT = 10_000; // for a ping, or for a subscribe
const CHECK_PERIOD = 5_000;
const LONGEST_RETRY = 30_000; // between two tries of a subscription
const REMEMBERED = 1_000; // ids of events, of each subscription
const TEMPORARY = new Set(["SERVICE_UNAVAILABLE", "REQUESTS_EXCEEDED"]);

/**
 * Open a connection that comes back by itself.
 *
 * @param {string} url Where `asgi.py` serves the gateway.
 * @param {object} [options]
 * @param {(state: "connecting" | "live" | "reconnecting" | "offline") => void} [options.onState]
 *   Called with each new state of the line between this page and Django. `offline`: the
 *   browser has no network, or the connection was closed.
 * @param {(news: {connection: string, state: string, reason: string}) => void}
 *   [options.onConnection] Called with the state of the line between Django and a Directus.
 * @param {(error: {code: string, message: string}) => void} [options.onError] Called with
 *   errors that belong to no subscription.
 * @param {string | (() => string | Promise<string>)} [options.token] For gateways with an
 *   `authenticate` of their own; a function is asked for each attempt. Else Django's session
 *   says who it is.
 * @returns {Connection}
 */
export function connect(url = "/directus/", options = {}) {
  return new Connection(url, options);
}

class Connection {
  #url;
  #options;
  #state = "";
  #socket = null;
  #isReady = false; // open, and authenticated where a token is wanted
  #isClosed = false;
  #delay = FIRST_DELAY;
  #reopening = null; // the timer
  #opened = null; // timers of the socket at hand
  #heardAt = 0;
  #askedAt = 0; // when a ping was sent that nothing followed
  #subscriptions = new Map(); // by uid
  #uids = 0;
  #listeners = new AbortController();
  #checking;

  constructor(url, options) {
    this.#url = new URL(url, location.href);
    this.#url.protocol = this.#url.protocol.replace("http", "ws");
    this.#options = options;
    const { signal } = this.#listeners;
    addEventListener("online", () => this.#hurry(), { signal });
    addEventListener("offline", () => this.#hurry(), { signal });
    addEventListener("pageshow", () => this.#hurry(), { signal });
    document.addEventListener("visibilitychange", () => document.hidden || this.#hurry(), { signal });
    this.#checking = setInterval(() => this.#check(), CHECK_PERIOD);
    this.#setState("connecting");
    this.#open();
  }

  /** Where the line between this page and Django stands. */
  get state() {
    return this.#state;
  }

  /**
   * Subscribe to what the gateway offers.
   *
   * @param {string} collection A collection, or the name of a subscription.
   * @param {object} [options]
   * @param {object} [options.query] Directus's: `fields`, `filter`, and `sort` and `limit` for
   *   the first load.
   * @param {"create" | "update" | "delete"} [options.event] Only these; then no rows come first.
   * @param {(rows: object[], info: {isComplete: boolean}) => void} [options.onFirstLoad]
   *   Called at first, and again whenever events may have been missed: replace what you have.
   *   `isComplete` is false where there is more, or where the gateway gives no rows.
   * @param {() => void} [options.onConfirmed] Called each time the gateway has confirmed, before
   *   anything else: what `onError` said is over.
   * @param {(event: {action: string, data: any, id: string, origin: string}) => void}
   *   [options.onEvent] Called with each event; `data` is the row, or the key of a delete.
   * @param {(error: {code: string, message: string, isTemporary: boolean}) => void}
   *   [options.onError] Called when it is refused or ended; where that is temporary it is
   *   tried again, else with the next connection.
   * @returns {{unsubscribe: () => void}}
   */
  subscribe(collection, options = {}) {
    const uid = String(++this.#uids);
    const subscription = new Subscription(uid, collection, options, (message) => this.#send(message));
    this.#subscriptions.set(uid, subscription);
    if (this.#isReady) subscription.ask();
    return {
      unsubscribe: () => {
        if (!this.#subscriptions.delete(uid)) return;
        subscription.pause();
        this.#send({ type: "unsubscribe", uid });
      },
    };
  }

  /** End the connection and all of its subscriptions. */
  close() {
    this.#isClosed = true;
    this.#listeners.abort();
    clearInterval(this.#checking);
    clearTimeout(this.#reopening);
    this.#lose();
    this.#subscriptions.clear();
    this.#setState("offline");
  }

  #open() {
    this.#reopening = null;
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    const late = setTimeout(() => this.#fail(socket), OPEN_TIMEOUT);
    this.#opened = [late];
    socket.onopen = () => {
      if (socket !== this.#socket) return;
      clearTimeout(late);
      this.#opened.push(setTimeout(() => { this.#delay = FIRST_DELAY; }, STABLE_AFTER));
      this.#heard();
      this.#greet(socket);
    };
    socket.onmessage = ({ data }) => {
      if (socket === this.#socket) this.#receive(data);
    };
    socket.onclose = () => this.#fail(socket);
  }

  async #greet(socket) {
    const { token } = this.#options;
    if (token === undefined) return this.#begin();
    try {
      const value = typeof token === "function" ? await token() : token;
      if (socket === this.#socket) this.#send({ type: "auth", access_token: value });
    } catch (error) {
      this.#tell("onError", { code: "AUTH_FAILED", message: String(error) });
      this.#fail(socket);
    }
  }

  #begin() {
    this.#isReady = true;
    this.#setState("live");
    for (const subscription of this.#subscriptions.values()) subscription.ask();
  }

  #receive(text) {
    this.#heard();
    const message = JSON.parse(text);
    const { type, uid } = message;
    const subscription = this.#subscriptions.get(uid);
    if (type === "ping") this.#send(uid === undefined ? { type: "pong" } : { type: "pong", uid });
    else if (type === "connection") this.#tell("onConnection", message);
    else if (type === "auth" && message.status === "ok") this.#isReady || this.#begin();
    else if (type === "subscription") subscription?.receive(message);
    else if (message.status === "error" && subscription) subscription.refuse(message.error);
    else if (message.status === "error") this.#tell("onError", message.error);
  }

  #fail(socket) {
    if (socket !== this.#socket || this.#isClosed) return;
    this.#lose();
    this.#sayDown();
    this.#reopening = setTimeout(() => this.#open(), this.#delay * (0.5 + Math.random() / 2));
    this.#delay = Math.min(this.#delay * 2, LONGEST_DELAY);
  }

  #lose() {
    const socket = this.#socket;
    this.#socket = null;
    this.#isReady = false;
    this.#opened?.forEach(clearTimeout);
    for (const subscription of this.#subscriptions.values()) subscription.pause();
    socket?.close();
  }

  // The network has changed, or somebody looks at the page again.
  #hurry() {
    if (this.#reopening !== null) {
      clearTimeout(this.#reopening);
      this.#open();
    } else if (this.#isReady) {
      this.#check(0);
    }
    if (this.#state === "offline") this.#sayDown();
  }

  #check(silence = SILENCE) {
    if (!this.#isReady) return;
    const now = Date.now();
    if (this.#askedAt && now - this.#askedAt > ANSWER_TIMEOUT) return this.#fail(this.#socket);
    if (this.#askedAt || now - this.#heardAt < silence) return;
    this.#askedAt = now;
    this.#send({ type: "ping" });
    // Not only at the next check: timers of a hidden page are rare.
    const socket = this.#socket;
    this.#opened.push(setTimeout(() => {
      if (socket === this.#socket && this.#askedAt === now) this.#fail(socket);
    }, ANSWER_TIMEOUT));
  }

  #heard() {
    this.#heardAt = Date.now();
    this.#askedAt = 0;
  }

  #send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #sayDown() {
    if (this.#isReady || this.#isClosed) return;
    this.#setState(navigator.onLine ? "reconnecting" : "offline");
  }

  #setState(state) {
    if (state === this.#state) return;
    this.#state = state;
    this.#tell("onState", state);
  }

  #tell(name, news) {
    this.#options[name]?.(news);
  }
}

class Subscription {
  #uid;
  #collection;
  #options;
  #send;
  #lastId = null; // of the last event; where to go on after a break
  #seen = new Set(); // ids of events
  #timer = null;
  #delay = 1_000;

  constructor(uid, collection, options, send) {
    this.#uid = uid;
    this.#collection = collection;
    this.#options = options;
    this.#send = send;
  }

  ask() {
    const { query, event } = this.#options;
    const message = { type: "subscribe", collection: this.#collection, uid: this.#uid };
    if (query !== undefined) message.query = query;
    if (event !== undefined) message.event = event;
    if (this.#lastId !== null) message.last_event_id = this.#lastId;
    this.#send(message);
    this.#askAgain(ANSWER_TIMEOUT);
  }

  pause() {
    clearTimeout(this.#timer);
  }

  receive(message) {
    if (message.event === "init") this.#start(message);
    else if (message.event !== "unsubscribe") this.#takeEvent(message);
  }

  refuse({ code, message }) {
    this.pause();
    const isTemporary = TEMPORARY.has(code);
    if (isTemporary) {
      this.#askAgain(this.#delay * (0.5 + Math.random() / 2));
      this.#delay = Math.min(this.#delay * 2, LONGEST_RETRY);
    }
    this.#options.onError?.({ code, message, isTemporary });
  }

  #start({ data, complete = true, resumed = false }) {
    this.pause();
    this.#delay = 1_000;
    this.#options.onConfirmed?.();
    if (resumed) return;
    this.#lastId = null;
    const isComplete = data !== undefined && complete;
    this.#options.onFirstLoad?.(data ?? [], { isComplete });
  }

  #takeEvent({ event: action, data, id, origin }) {
    if (id !== undefined) {
      if (this.#seen.has(id)) return;
      this.#seen.add(id);
      if (this.#seen.size > REMEMBERED) this.#seen.delete(this.#seen.values().next().value);
      this.#lastId = id;
    }
    for (const each of Array.isArray(data) ? data : [data]) {
      this.#options.onEvent?.({ action, data: each, id, origin });
    }
  }

  #askAgain(delay) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.ask(), delay);
  }
}
