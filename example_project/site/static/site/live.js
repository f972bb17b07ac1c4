// The page's one connection to the gateway.
import { connect } from "../directus_realtime/gateway.js";
import { setConnection, setLine } from "./state.js";
import { readStatus } from "./status.js";
import { texts } from "./texts.js";

export const gateway = connect(document.body.dataset.gatewayUrl, {
  onState: setLine,
  onConnection: ({ connection, state }) => {
    if (connection !== "default") return;
    setConnection({ state, reason: texts[`${state}Reason`] ?? "" });
    readStatus().catch(() => {}); // it knows the reason
  },
});
