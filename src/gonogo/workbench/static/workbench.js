// Keys on pages that show one image, and a log that stays at its end while a run goes on.
"use strict";

const KEYS = { ArrowLeft: "prev", ArrowRight: "next", Escape: "up" };

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, select, textarea");
  const link = !typing && !event.ctrlKey && !event.metaKey && !event.altKey && document.querySelector(`a[rel="${KEYS[event.key]}"]`);
  if (link) link.click();
});

document.addEventListener("htmx:afterSwap", () => {
  const log = document.querySelector(".log");
  if (log) log.scrollTop = log.scrollHeight;
});
