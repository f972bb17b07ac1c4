// The page's one connection to the gateway.
import { connect } from "../directus_realtime/gateway.js";
import { setConnection, setLine } from "./state.js";

export const gateway = connect(document.body.dataset.gatewayUrl, {
  onState: setLine,
  onConnection: ({ connection, state, reason }) => {
    if (connection === "default") setConnection({ state, reason });
  },
});
