// A WebSocket that comes back by itself.

const FIRST_DELAY = 500; // milliseconds
const LONGEST_DELAY = 10000;
const STABLE_AFTER = 5000; // open that long, the delays begin anew

export function keepConnected(path, { onMessage, onDown }) {
  let delay = FIRST_DELAY;
  let timer = null;

  function open() {
    timer = null;
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}${path}`);
    let stable;
    socket.onopen = () => { stable = setTimeout(() => { delay = FIRST_DELAY; }, STABLE_AFTER); };
    socket.onmessage = (message) => onMessage(JSON.parse(message.data));
    socket.onclose = () => {
      clearTimeout(stable);
      onDown();
      timer = setTimeout(open, delay * (0.5 + Math.random() / 2));
      delay = Math.min(delay * 2, LONGEST_DELAY);
    };
  }

  // Not later than the network is back.
  addEventListener("online", () => {
    if (timer === null) return;
    clearTimeout(timer);
    open();
  });
  open();
}
