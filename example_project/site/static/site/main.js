// What every page does.
import { startDemo } from "./demo.js";
import "./live.js";
import { keepChecking } from "./status.js";

startDemo();
keepChecking();
