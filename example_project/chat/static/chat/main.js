import { startComposing } from "./compose.js";
import { startMessages } from "./messages.js";

startMessages();
startComposing();
