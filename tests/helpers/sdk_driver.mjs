// Has @directus/sdk do what a test says, in Node and in a page; the SDK itself is unchanged.
// What happens is noted by `tell`, an object at a time.

const watched = (Socket, tell, options) =>
  class extends Socket {
    constructor(url) {
      super(url, ...options);
    }

    send(text) {
      tell({ what: "sent", type: JSON.parse(text).type });
      super.send(text);
    }
  };

export class Driver {
  constructor(sdk, tell, Socket, ...options) {
    this.sdk = sdk;
    this.tell = tell;
    this.globals = { WebSocket: watched(Socket, tell, options) };
    this.unsubscribes = new Map();
  }

  // `options` are those of realtime(); a token is sent in an auth message.
  async connect(url, options, token) {
    const { createDirectus, realtime, staticToken } = this.sdk;
    let client = createDirectus(url, { globals: this.globals });
    if (token) client = client.with(staticToken(token));
    this.client = client.with(realtime(options));
    this.client.onWebSocket("message", (message) => this.note(message));
    this.client.onWebSocket("open", () => this.tell({ what: "open" }));
    this.client.onWebSocket("close", ({ code }) => this.tell({ what: "close", code }));
    await this.client.connect();
    this.tell({ what: "connected" });
  }

  // What comes on the socket, whatever the iterators make of it.
  note({ type, event }) {
    if (type === "pong") this.tell({ what: "answered" });
    if (type === "subscription") this.tell({ what: "heard", event });
  }

  async subscribe(name, collection, options) {
    const { subscription, unsubscribe } = await this.client.subscribe(collection, options);
    this.unsubscribes.set(name, unsubscribe);
    this.follow(name, subscription);
  }

  async follow(name, subscription) {
    try {
      for await (const message of subscription) this.tell({ what: "item", name, message });
      this.tell({ what: "ended", name });
    } catch (error) {
      this.tell({ what: "refused", name, error: error?.error ?? String(error) });
    }
  }

  async unsubscribe(name) {
    this.unsubscribes.get(name)();
  }

  async send(message) {
    this.client.sendMessage(message);
  }
}
