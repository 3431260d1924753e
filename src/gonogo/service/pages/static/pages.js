// What all pages share: a message where the network fails, and focus that stays where it was.
"use strict";

document.addEventListener("htmx:sendError", () => showNoNetwork());
document.addEventListener("htmx:timeout", () => showNoNetwork());
document.addEventListener("htmx:afterRequest", (event) => {
  if (event.detail.successful) document.getElementById("messages").replaceChildren();
});

// on a phone the navigation may be wider than the window
document.querySelector("nav [aria-current=page]")?.scrollIntoView({ block: "nearest", inline: "nearest" });

function showNoNetwork() {
  const message = document.getElementById("no-network").content.cloneNode(true);
  document.getElementById("messages").replaceChildren(message);
}
