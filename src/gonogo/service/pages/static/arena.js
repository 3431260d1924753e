// The arena: keys for its buttons. Without this script the buttons work all the same.
"use strict";

const BUTTONS = { g: "good", d: "defect", n: "next" };
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || localStorage.getItem("keys") === "off") return;
  const button = document.getElementById(BUTTONS[event.key]);
  if (!button || event.repeat) return;
  event.preventDefault();
  button.click();
});
