// The page by itself: reads its data and shows it.

import { unpack } from "./data.js";
import { Explorer } from "./explorer.js";
import { showLive } from "./live.js";

const root = document.getElementById("explorer");
const data = JSON.parse(document.getElementById("data").textContent);
if (document.body.dataset.mode === "live") showLive(root, data);
else new Explorer(root, unpack(data));
document.body.dataset.ready = "true";
